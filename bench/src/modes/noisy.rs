//! A plugin's `echo` at a steady pace, alone and beside plugins that take as much of the host as they can get.
//!
//! The bare responder is called between those calls: a process of its own, which shares nothing with the noise but the machine
//! and the broker. What slows it down is not the host's.

use crate::arguments::Plan;
use crate::caller::Caller;
use crate::host::{Host, Surroundings, bundle, copy_guest, packed};
use crate::sample::Sample;
use crate::table::{Table, ratio, time};
use anyhow::{Context, ensure};
use serde_json::json;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The neighbour is called once each so often, and so is the bare responder.
const PACE: Duration = Duration::from_millis(2);

/// How long each turn of the plugin that burns the processor takes; `limits.turn` is 5 s.
const TURN: Duration = Duration::from_millis(4_500);

/// Instances of the plugin that computes in all of them: as many as a manifest may ask for.
const POOL: usize = 4;

/// `limits.turn` is over by then.
const REFUSED_AFTER: Duration = Duration::from_secs(10);

/// Ops that one call starts at once: far more than a plugin may make over the mesh in a second.
const LOOKS: u64 = 10_000;

/// What is answered in the place of a plugin that has lost too many instances, or is about to be taken out of service.
const OUT_OF_SERVICE: [&str; 2] = ["quarantined", "stopped"];

/// What goes on beside the neighbour.
#[derive(Debug, Clone, Copy)]
enum Noise {
    /// The same call again and again.
    Call(&'static str, &'static str, fn(Duration) -> serde_json::Value),
    /// The same, where each call is refused, or costs the instance, and ends with the code named last. A plugin that has
    /// lost many instances ends in quarantine: its calls end with [`OUT_OF_SERVICE`] then, or with what may be tried again.
    Refused(&'static str, &'static str, &'static str, &'static str),
    /// As many turns at once as there are instances, each as long as the limit lets it.
    Pool,
    /// Begun once; a reload ends it.
    Timers,
    /// Many looks at who is on the mesh, begun at once; again when all of them are refused.
    Looks,
    /// A plugin is installed, compiled and uninstalled again and again.
    Installs,
    /// One is installed again and again that is refused for the setting named first, with the code named last.
    RefusedInstalls(&'static str, &'static str, &'static str, &'static str),
    /// One is installed and uninstalled again and again whose stop hook never ends.
    Stops,
}

/// What is granted: the rest of what the noisy plugins try is denied.
const POLICY: &str =
    "[[plugin]]\nid = 'circle'\ngrant = ['plugins:circle.*']\n[[plugin]]\nid = 'keeper'\ngrant = ['state']\n";

/// How long hooks may take that never end.
const HOOK_TIMEOUT: Duration = Duration::from_millis(500);

const NOISES: [Noise; 25] = [
    Noise::Call("turns that compute up to their limit", "behave.busy_ms", |turn| json!({"ms": turn.as_millis()})),
    Noise::Pool,
    Noise::Refused("an endless loop", "hostile.spin", "{}", "turn_limit"),
    Noise::Refused("an endless loop of host calls", "hostile.flood_host", "{}", "turn_limit"),
    Noise::Refused("memory beyond its limit", "hostile.fill_memory", "{}", "trap"),
    Noise::Refused("recursion beyond the stack", "hostile.recurse", "{}", "trap"),
    Noise::Refused("calls that trap", "hostile.trap_one", "{}", "trap"),
    Noise::Refused("results beyond their limit", "hostile.giant_result", r#"{"count":1048576}"#, "result_too_large"),
    Noise::Refused("events beyond their limit", "hostile.giant_event", r#"{"count":1048576}"#, "event_too_large"),
    Noise::Refused("calls in a cycle", "circle.cycle", "{}", "call_cycle"),
    Noise::Call("state beyond its quota", "keeper.state_fill", |_| json!({"count": 10_000, "bytes": 100})),
    Noise::RefusedInstalls("starts that never end", "start", "spin", "hook_failed"),
    Noise::RefusedInstalls("descriptions that are too large", "describe", "huge", "invalid_description"),
    Noise::RefusedInstalls("descriptions with too many functions", "describe", "many", "invalid_description"),
    Noise::Stops,
    Noise::Refused("calls of functions that may not be called", "hostile.cycle", "{}", "permission_denied"),
    Noise::Refused("variables that may not be read", "behave.env", r#"{"name":"HOME"}"#, "permission_denied"),
    Noise::Refused("state that may not be kept", "behave.state_set", r#"{"key":"k","value":1}"#, "permission_denied"),
    Noise::Refused(
        "requests over HTTP that may not be sent",
        "behave.fetch",
        r#"{"url":"http://10.0.0.1/"}"#,
        "permission_denied",
    ),
    Noise::Call("a flood of log lines", "hostile.flood_log", |_| json!({"count": 10_000})),
    Noise::Call("a flood of events", "hostile.flood_events", |_| json!({"count": 10_000})),
    Noise::Call("a flood of host calls", "hostile.flood_ops", |_| json!({"count": 20_000})),
    Noise::Looks,
    Noise::Timers,
    Noise::Installs,
];

impl Noise {
    fn name(self) -> &'static str {
        match self {
            Self::Call(name, ..) | Self::Refused(name, ..) | Self::RefusedInstalls(name, ..) => name,
            Self::Pool => "four instances that compute up to their limit",
            Self::Looks => "a flood of looks at the mesh",
            Self::Timers => "10,000 timers of a millisecond",
            Self::Installs => "installs that compile",
            Self::Stops => "stops that never end",
        }
    }
}

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let surroundings = Surroundings::start(plan)?;
    std::fs::write(surroundings.policy_file(), POLICY)?;
    let host = surroundings.host(plan, &["behave", "demo", "hostile"])?;
    let scene = Scene {
        host: &host,
        turn: if plan.quick { Duration::from_millis(200) } else { TURN },
        plan,
        folder: surroundings.path(),
        bundle: bundle(plan, "hello-world", surroundings.path())?,
        compiled: surroundings.path().join("capabilities/.mortise/cache"),
    };
    let mut neighbour = surroundings.caller("neighbour")?;
    let mut noisy = surroundings.caller("noisy")?;
    for (id, guest, more) in [
        ("pool", "behave", json!({"limits": {"instances": POOL}})),
        ("circle", "hostile", json!({"permissions": {"plugins": ["circle.*"]}})),
        ("keeper", "behave", json!({"permissions": {"state": true}, "limits": {"state": "64KiB"}})),
    ] {
        let bundle = scene.variant(id, guest, more)?;
        noisy.succeed(&host.call("install_plugin_from_bundle", json!({"bundle_b64": bundle}).to_string()))?;
    }
    let bare = surroundings.bare()?;
    let (echo, bare_echo) = (host.call("demo.echo", r#"{"message":"hello"}"#), bare.echo());
    let mut drive = |span: Duration| {
        let [host, bare] = neighbour.pace([&echo, &bare_echo], PACE / 2, span)?;
        anyhow::Ok(Both { host, bare })
    };
    let mut alone = Both::default();
    let chosen = NOISES.into_iter().filter(|noise| noise.name().contains(&plan.beside));
    let mut beside: Vec<(Noise, Both)> = chosen.map(|noise| (noise, Both::default())).collect();
    ensure!(!beside.is_empty(), "no noise has `{}` in its name", plan.beside);
    let share = plan.drive() / u32::try_from(beside.len())?;
    for _ in 0..plan.rounds() {
        for (noise, both) in &mut beside {
            alone.merge(&drive(share)?);
            both.merge(&scene.play(*noise, &mut noisy, || drive(plan.drive() / 2))?);
        }
    }
    let mut table = Table::new([
        "one `echo` each 2 ms beside",
        "calls",
        "lost or failed",
        "p50",
        "p99",
        "ratios of p50, p99",
        "the same of the bare responder",
    ]);
    let all = std::iter::once(("nothing", &alone)).chain(beside.iter().map(|(noise, both)| (noise.name(), both)));
    for (name, Both { host, bare }) in all {
        let to = |sample: &Sample, of: &Sample, part| {
            ratio(sample.quantile(part).as_secs_f64() / of.quantile(part).as_secs_f64())
        };
        let ratios = |sample, of| format!("{}, {}", to(sample, of, 0.5), to(sample, of, 0.99));
        table.row([
            name.to_owned(),
            host.calls().to_string(),
            (host.lost + host.failed).to_string(),
            time(host.quantile(0.5)),
            time(host.quantile(0.99)),
            ratios(host, &alone.host),
            ratios(bare, &alone.bare),
        ]);
    }
    table.print("a neighbour beside noisy plugins");
    Ok(())
}

/// Calls of the neighbour, and of the bare responder.
#[derive(Debug, Default)]
struct Both {
    host: Sample,
    bare: Sample,
}

impl Both {
    fn merge(&mut self, other: &Self) {
        self.host.merge(&other.host);
        self.bare.merge(&other.bare);
    }
}

/// What noise is made with.
struct Scene<'a> {
    host: &'a Host,
    plan: &'a Plan,
    folder: &'a Path,
    /// How long a turn computes.
    turn: Duration,
    bundle: String,
    /// Where compiled code is kept.
    compiled: std::path::PathBuf,
}

impl Scene<'_> {
    /// Measures while the noise goes on, from its first answer or a tenth of a second on.
    fn play(
        &self,
        noise: Noise,
        noisy: &mut Caller,
        measure: impl FnOnce() -> anyhow::Result<Both>,
    ) -> anyhow::Result<Both> {
        let installed = match noise {
            Noise::RefusedInstalls(_, key, how, _) => self.wayward(key, how)?,
            Noise::Stops => self.wayward("stop", "spin")?,
            _ => String::new(),
        };
        let done = AtomicBool::new(false);
        let measured = std::thread::scope(|scope| {
            let making = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    self.make(noise, &installed, noisy)?;
                    if matches!(noise, Noise::Timers) {
                        break;
                    }
                }
                anyhow::Ok(())
            });
            std::thread::sleep(Duration::from_millis(100));
            let measured = measure();
            done.store(true, Ordering::Relaxed);
            making.join().ok().context("the noisy one panicked")??;
            measured
        })?;
        if matches!(noise, Noise::Stops) {
            // The last ones are still at it.
            std::thread::sleep(2 * HOOK_TIMEOUT);
        }
        // Whatever it left behind ends with its instance.
        noisy.succeed(&self.host.call("reload_plugin", r#"{"plugin_id":"hostile"}"#))?;
        Ok(measured)
    }

    fn make(&self, noise: Noise, installed: &str, noisy: &mut Caller) -> anyhow::Result<()> {
        match noise {
            Noise::Call(_, function, params) => {
                noisy.call(&self.host.call(function, params(self.turn).to_string())).map(drop)
            }
            Noise::Refused(_, function, params, meant) => {
                let reply = noisy.ask(&self.host.call(function, params), REFUSED_AFTER)?;
                let data = reply.as_ref().and_then(|reply| reply.pointer("/error/data"));
                let code = data.and_then(|data| data.get("code")?.as_str());
                let is_meant = code.is_some_and(|code| code == meant || OUT_OF_SERVICE.contains(&code));
                let is_retryable = data.and_then(|data| data.get("retryable")?.as_bool()) == Some(true);
                ensure!(is_meant || is_retryable, "`{function}` ended with {reply:?}");
                Ok(())
            }
            Noise::Looks => {
                let all = self.refused(noisy)? + LOOKS;
                noisy.call(&self.host.call("hostile.discover", json!({"count": LOOKS}).to_string()))?;
                let begin = Instant::now();
                while self.refused(noisy)? < all {
                    ensure!(begin.elapsed() < REFUSED_AFTER, "looks at the mesh were not refused");
                    std::thread::sleep(PACE);
                }
                Ok(())
            }
            Noise::Pool => {
                let params = json!({"ms": self.turn.as_millis()}).to_string();
                noisy.drive(&self.host.call("pool.busy_ms", params), POOL, || false).map(drop)
            }
            Noise::Timers => {
                let params = r#"{"count":10000,"ms":1,"again":true}"#;
                noisy.call(&self.host.call("hostile.timers", params)).map(drop)
            }
            Noise::Installs => {
                let params = json!({"bundle_b64": self.bundle}).to_string();
                noisy.succeed(&self.host.call("install_plugin_from_bundle", params))?;
                noisy.succeed(&self.host.call("uninstall_plugin", r#"{"plugin_id":"hello-world"}"#))?;
                clear(&self.compiled)
            }
            Noise::RefusedInstalls(.., meant) => {
                let params = json!({"bundle_b64": installed}).to_string();
                let answer = noisy.call(&self.host.call("install_plugin_from_bundle", params))?;
                ensure!(answer.get("code").is_some_and(|code| code == meant), "the install ended with {answer}");
                Ok(())
            }
            Noise::Stops => {
                let params = json!({"bundle_b64": installed}).to_string();
                noisy.succeed(&self.host.call("install_plugin_from_bundle", params))?;
                noisy.succeed(&self.host.call("uninstall_plugin", r#"{"plugin_id":"wayward"}"#))
            }
        }
    }

    /// The hostile fixture, set to fail in one way, as it is sent.
    fn wayward(&self, key: &str, how: &str) -> anyhow::Result<String> {
        let timeout = format!("{}ms", HOOK_TIMEOUT.as_millis());
        let limits = json!({"start_timeout": timeout, "stop_timeout": timeout});
        self.variant("wayward", "hostile", json!({"config": {key: how}, "limits": limits}))
    }

    /// A fixture under another id and with more in its manifest, as it is sent.
    fn variant(&self, id: &str, guest: &str, more: serde_json::Value) -> anyhow::Result<String> {
        let plugin = self.folder.join(id);
        copy_guest(self.plan, guest, &plugin)?;
        let mut manifest = json!({"id": id, "type": "wasm", "entry_point": "plugin.wasm"});
        if let (Some(manifest), serde_json::Value::Object(more)) = (manifest.as_object_mut(), more) {
            manifest.extend(more);
        }
        std::fs::write(plugin.join("manifest.json"), manifest.to_string())?;
        packed(self.plan, &plugin, self.folder)
    }

    /// How many ops the plugin was refused since its instance began.
    fn refused(&self, noisy: &mut Caller) -> anyhow::Result<u64> {
        let told = noisy.call(&self.host.call("hostile.refused", "{}"))?;
        told.get("refused")
            .and_then(serde_json::Value::as_u64)
            .with_context(|| format!("`hostile.refused` told {told}"))
    }
}

/// Removes the files of a folder, so that everything has to be compiled anew.
fn clear(folder: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))? {
        std::fs::remove_file(entry?.path())?;
    }
    Ok(())
}
