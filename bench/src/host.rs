//! The bench's surroundings: a broker, the host on it, and the bare responder.

use crate::arguments::Plan;
use crate::caller::{Call, Caller};
use crate::process::{Process, cpu_of};
use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TENANT: &str = "bench";
const START_LIMIT: Duration = Duration::from_secs(60);

/// A broker on a port of its own, and a folder that goes when the bench ends.
pub(crate) struct Surroundings {
    // Processes end before their folder goes: fields drop from top to bottom.
    broker: Process,
    port: u16,
    folder: TempDir,
}

impl Surroundings {
    /// Starts the broker.
    pub(crate) fn start(plan: &Plan) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut broker = Process::start(
            Command::new(&plan.nats_server).args(["--addr", "127.0.0.1", "--port", &port.to_string()]),
            &folder.path().join("broker.log"),
        )?;
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            broker.check().context("the broker")?;
            if Instant::now() > deadline {
                bail!("the broker does not listen");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { broker, port, folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// User and system time of the broker and of this process, the load generator, so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(self.broker.cpu()? + cpu_of(std::process::id())?)
    }

    /// A connection of one load generator.
    pub(crate) fn caller(&self, name: &str) -> anyhow::Result<Caller> {
        Caller::connect(&format!("127.0.0.1:{}", self.port), name)
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts the host; `capabilities` holds what it loads. Does not wait for it.
    pub(crate) fn spawn_host(&self, plan: &Plan, capabilities: &Path) -> anyhow::Result<Host> {
        let device = "host";
        let mut command = Command::new(&plan.host);
        command
            .arg("run")
            .args(["--device-id", device, "--tenant", TENANT, "--messaging-backend", "nats", "--discovery-mode", "d2d"])
            .arg("--allow-insecure")
            .arg("--messaging-url")
            .arg(self.url())
            .arg("--capabilities-dir")
            .arg(capabilities);
        if plan.runners.is_dir() {
            command.arg("--runners-dir").arg(&plan.runners);
        }
        let policy = self.policy_file();
        if policy.is_file() {
            command.arg("--policy").arg(policy);
        }
        // What configures a mesh client elsewhere on this machine is none of the bench's business.
        for (name, _) in std::env::vars_os() {
            let foreign = ["MESSAGING_", "NATS_", "ZENOH_", "DEVICE_", "DC_", "MORTISE_", "TENANT", "PORTAL_"];
            if name.to_str().is_some_and(|name| foreign.iter().any(|prefix| name.starts_with(prefix))) {
                command.env_remove(name);
            }
        }
        let process = Process::start(&mut command, &self.folder.path().join("host.log"))?;
        Ok(Host { process, subject: subject(device) })
    }

    /// Where the policy of hosts lies that are started from then on; without it they have none.
    pub(crate) fn policy_file(&self) -> PathBuf {
        self.folder.path().join("policy.toml")
    }

    /// Starts the host with these guests and returns when they are loaded.
    pub(crate) fn host(&self, plan: &Plan, guests: &[&str]) -> anyhow::Result<Host> {
        let capabilities = self.folder.path().join("capabilities");
        for guest in guests {
            copy_guest(plan, guest, &capabilities.join(guest))?;
        }
        let mut host = self.spawn_host(plan, &capabilities)?;
        let mut caller = self.caller("start")?;
        host.wait_for(&mut caller, guests.len()).with_context(|| self.log("host.log"))?;
        Ok(host)
    }

    /// Starts the bare responder and returns when it answers.
    pub(crate) fn bare(&self) -> anyhow::Result<Host> {
        let device = "bare";
        let process = Process::start(
            Command::new(std::env::current_exe()?)
                .args(["bare", "--broker", &self.url()])
                .args(["--subject", &subject(device)]),
            &self.folder.path().join("bare.log"),
        )?;
        let mut bare = Host { process, subject: subject(device) };
        let mut caller = self.caller("start")?;
        let call = bare.echo();
        let deadline = Instant::now() + START_LIMIT;
        while caller.ask(&call, Duration::from_millis(50))?.is_none() {
            bare.process.check().context("the bare responder")?;
            if Instant::now() > deadline {
                bail!("the bare responder does not answer");
            }
        }
        Ok(bare)
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

/// Something that answers: the host, or the bare responder.
pub(crate) struct Host {
    pub(crate) process: Process,
    subject: String,
}

impl Host {
    /// A call of one of its functions.
    pub(crate) fn call(&self, method: impl Into<Cow<'static, str>>, params: impl Into<String>) -> Call {
        Call { subject: self.subject.clone(), method: method.into(), params: params.into() }
    }

    /// The call that is compared.
    pub(crate) fn echo(&self) -> Call {
        self.call("echo", r#"{"message":"hello"}"#)
    }

    /// Waits until `get_status` names this many loaded plugins.
    pub(crate) fn wait_for(&mut self, caller: &mut Caller, loaded: usize) -> anyhow::Result<()> {
        let status = self.call("get_status", "{}");
        let deadline = Instant::now() + START_LIMIT;
        loop {
            self.process.check().context("the host")?;
            let reply = caller.ask(&status, Duration::from_millis(20))?;
            let count = reply.as_ref().and_then(|reply| reply.pointer("/result/loaded_count")?.as_u64());
            if count == Some(loaded as u64) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the host has not loaded {loaded} plugins; its last answer: {reply:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn subject(device: &str) -> String {
    format!("device-connect.{TENANT}.{device}.cmd")
}

/// Copies a guest to where the host loads it from: an assembled plugin, or the component of a fixture.
pub(crate) fn copy_guest(plan: &Plan, guest: &str, to: &Path) -> anyhow::Result<()> {
    let from = plan.guests.join(guest);
    fs::create_dir_all(to)?;
    let component = plan.guests.with_file_name("out").join(format!("{guest}.wasm"));
    if !from.is_dir() && component.is_file() {
        // A fixture is a bare component.
        fs::copy(component, to.join("plugin.wasm"))?;
        let manifest = serde_json::json!({"id": guest, "type": "wasm", "entry_point": "plugin.wasm"});
        return Ok(fs::write(to.join("manifest.json"), serde_json::to_vec(&manifest)?)?);
    }
    let entries = fs::read_dir(&from)
        .with_context(|| format!("no assembled guest in {}: `cargo xtask guests` makes them", from.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// An assembled plugin as it is sent.
pub(crate) fn bundle(plan: &Plan, guest: &str, folder: &Path) -> anyhow::Result<String> {
    packed(plan, &plan.guests.join(guest), folder)
}

/// A plugin's folder as it is sent: packed by the host's own command, in base64.
pub(crate) fn packed(plan: &Plan, plugin: &Path, folder: &Path) -> anyhow::Result<String> {
    let archive = folder.join("packed.tar.gz");
    let packed = Command::new(&plan.host).arg("pack").arg(plugin).arg("--output").arg(&archive).output()?;
    if !packed.status.success() {
        bail!("failed to pack `{}`: {}", plugin.display(), String::from_utf8_lossy(&packed.stderr));
    }
    Ok(STANDARD.encode(fs::read(archive)?))
}
