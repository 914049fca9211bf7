//! A plugin's `echo` at a steady pace, alone and beside plugins that take as much of the host as they can get.
//!
//! The bare responder is called meanwhile as well: a process of its own, which shares nothing with the noise but the machine
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
use std::time::Duration;

/// The neighbour is called once each so often.
const PACE: Duration = Duration::from_millis(2);

/// How long each turn of the plugin that burns the processor takes; `limits.turn` is 5 s.
const TURN: Duration = Duration::from_millis(4_500);

/// Instances of the plugin that computes in all of them: as many as a manifest may ask for.
const POOL: usize = 4;

/// `limits.turn` is over by then.
const REFUSED_AFTER: Duration = Duration::from_secs(10);

/// What goes on beside the neighbour.
#[derive(Debug, Clone, Copy)]
enum Noise {
    /// The same call again and again.
    Call(&'static str, &'static str, fn(Duration) -> serde_json::Value),
    /// The same, where each ends with an error, or with the instance; of many the plugin ends in quarantine.
    Refused(&'static str, &'static str, &'static str),
    /// As many turns at once as there are instances, each as long as the limit lets it.
    Pool,
    /// Begun once; a reload ends it.
    Timers,
    /// A plugin is installed, compiled and uninstalled again and again.
    Installs,
}

const NOISES: [Noise; 14] = [
    Noise::Call("turns that compute up to their limit", "behave.busy_ms", |turn| json!({"ms": turn.as_millis()})),
    Noise::Pool,
    Noise::Refused("an endless loop", "hostile.spin", "{}"),
    Noise::Refused("an endless loop of host calls", "hostile.flood_host", "{}"),
    Noise::Refused("memory beyond its limit", "hostile.fill_memory", "{}"),
    Noise::Refused("recursion beyond the stack", "hostile.recurse", "{}"),
    Noise::Refused("results beyond their limit", "hostile.giant_result", r#"{"count":1048576}"#),
    Noise::Refused("events beyond their limit", "hostile.giant_event", r#"{"count":1048576}"#),
    Noise::Refused("a function that calls itself", "hostile.cycle", "{}"),
    Noise::Call("a flood of log lines", "hostile.flood_log", |_| json!({"count": 10_000})),
    Noise::Call("a flood of events", "hostile.flood_events", |_| json!({"count": 10_000})),
    Noise::Call("a flood of host calls", "hostile.flood_ops", |_| json!({"count": 20_000})),
    Noise::Timers,
    Noise::Installs,
];

impl Noise {
    fn name(self) -> &'static str {
        match self {
            Self::Call(name, ..) | Self::Refused(name, ..) => name,
            Self::Pool => "four instances that compute up to their limit",
            Self::Timers => "10,000 timers of a millisecond",
            Self::Installs => "installs that compile",
        }
    }
}

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let surroundings = Surroundings::start(plan)?;
    let host = surroundings.host(plan, &["behave", "demo", "hostile"])?;
    let scene = Scene {
        host: &host,
        turn: if plan.quick { Duration::from_millis(200) } else { TURN },
        bundle: bundle(plan, "hello-world", surroundings.path())?,
        compiled: surroundings.path().join("capabilities/.mortise/cache"),
    };
    let mut neighbour = surroundings.caller("neighbour")?;
    let mut noisy = surroundings.caller("noisy")?;
    let pool = json!({"bundle_b64": pool(plan, surroundings.path())?}).to_string();
    noisy.succeed(&host.call("install_plugin_from_bundle", pool))?;
    let bare = surroundings.bare()?;
    let (echo, bare_echo) = (host.call("demo.echo", r#"{"message":"hello"}"#), bare.echo());
    let mut drive = |span: Duration| {
        anyhow::Ok(Both { host: neighbour.pace(&echo, PACE, span)?, bare: neighbour.pace(&bare_echo, PACE, span)? })
    };
    let mut alone = Both::default();
    let mut beside = NOISES.map(|noise| (noise, Both::default()));
    for _ in 0..plan.rounds() {
        for (noise, both) in &mut beside {
            alone.merge(&drive(plan.drive() / NOISES.len() as u32)?);
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
        let done = AtomicBool::new(false);
        let measured = std::thread::scope(|scope| {
            let making = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    self.make(noise, noisy)?;
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
        // Whatever it left behind ends with its instance.
        noisy.succeed(&self.host.call("reload_plugin", r#"{"plugin_id":"hostile"}"#))?;
        Ok(measured)
    }

    fn make(&self, noise: Noise, noisy: &mut Caller) -> anyhow::Result<()> {
        match noise {
            Noise::Call(_, function, params) => {
                noisy.call(&self.host.call(function, params(self.turn).to_string())).map(drop)
            }
            Noise::Refused(_, function, params) => {
                let reply = noisy.ask(&self.host.call(function, params), REFUSED_AFTER)?;
                let is_error = reply.as_ref().is_some_and(|reply| reply.get("error").is_some());
                ensure!(is_error, "`{function}` ended with {reply:?}");
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
        }
    }
}

/// The fixture `behave` with several instances, as it is sent.
fn pool(plan: &Plan, folder: &Path) -> anyhow::Result<String> {
    let plugin = folder.join("pool");
    copy_guest(plan, "behave", &plugin)?;
    let manifest = json!({"id": "pool", "type": "wasm", "entry_point": "plugin.wasm", "limits": {"instances": POOL}});
    std::fs::write(plugin.join("manifest.json"), manifest.to_string())?;
    packed(plan, &plugin, folder)
}

/// Removes the files of a folder, so that everything has to be compiled anew.
fn clear(folder: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))? {
        std::fs::remove_file(entry?.path())?;
    }
    Ok(())
}
