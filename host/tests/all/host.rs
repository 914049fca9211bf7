//! The host under test, its folder, and the ways to talk to it.

use crate::broker::Broker;
use crate::bundle::{Plugin, bundle};
use crate::peer::{Inbox, Peer};
use crate::{LONG, until};
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

/// A stop takes no longer (issue: exit 0 within 5 s).
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// One number for each device, request and log of this process.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Which way a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Mesh,
    Control,
}

/// What hosts are started on: a folder, a device on a mesh of its own. Kept, with all logs, when the test fails.
pub(crate) struct Site {
    folder: TempDir,
    capabilities: PathBuf,
    /// None: where the host puts it by itself.
    state: Option<PathBuf>,
    pub(crate) device: String,
    pub(crate) tenant: String,
    /// None: Zenoh.
    broker: Option<Arc<Broker>>,
}

impl Site {
    pub(crate) fn on_nats() -> Self {
        Self::new(Some(Arc::new(Broker::start())))
    }

    /// With a broker that keeps objects.
    pub(crate) fn on_nats_with_jetstream() -> Self {
        Self::new(Some(Arc::new(Broker::with_jetstream())))
    }

    /// Without infrastructure: peers on the loopback interface, told apart by tenant and device.
    pub(crate) fn on_zenoh() -> Self {
        Self::new(None)
    }

    fn new(broker: Option<Arc<Broker>>) -> Self {
        let name = format!("e2e-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().unwrap();
        let capabilities = folder.path().join("capabilities");
        std::fs::create_dir(&capabilities).unwrap();
        Self { folder, capabilities, state: None, device: format!("{name}-device"), tenant: name, broker }
    }

    /// With folders that do not exist yet.
    pub(crate) fn with_missing_folders(mut self, capabilities: &str, state: Option<&str>) -> Self {
        self.capabilities = self.folder.path().join(capabilities);
        self.state = state.map(|state| self.folder.path().join(state));
        self
    }

    /// Another device on the same mesh.
    pub(crate) fn beside(&self) -> Self {
        let mut other = Self::new(self.broker.clone());
        other.tenant.clone_from(&self.tenant);
        other
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn capabilities(&self) -> PathBuf {
        self.capabilities.clone()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(|| self.capabilities.join(".mortise"))
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("this test is on NATS")
    }

    /// Writes the policy file, from which hosts that start here take their policy.
    pub(crate) fn policy(&self, text: &str) {
        // Renamed, so that nobody reads half of it.
        let unfinished = self.path().join("policy.new");
        std::fs::write(&unfinished, text).unwrap();
        std::fs::rename(unfinished, self.policy_file()).unwrap();
    }

    pub(crate) fn policy_file(&self) -> PathBuf {
        self.path().join("policy.toml")
    }

    /// Puts a plugin where the host finds it at its start.
    pub(crate) fn put(&self, plugin: &Plugin) {
        plugin.put_into(&self.capabilities());
    }

    /// `mortise run` on this site, with nothing in its environment that a test did not put there.
    pub(crate) fn command(&self) -> Command {
        let mut command = crate::program::mortise();
        command.arg("run");
        self.flags_for(command)
    }

    /// A program that runs a host, with the flags that put it on this site.
    pub(crate) fn flags_for(&self, mut command: Command) -> Command {
        command
            .args(["--device-id", &self.device, "--tenant", &self.tenant, "--log-level", "debug"])
            .arg("--capabilities-dir")
            .arg(&self.capabilities);
        if let Some(state) = &self.state {
            command.arg("--state-dir").arg(state);
        }
        if self.policy_file().exists() {
            command.arg("--policy").arg(self.policy_file());
        }
        match &self.broker {
            Some(broker) => {
                command.args(["--messaging-url", &broker.url(), "--discovery-mode", "d2d", "--allow-insecure"])
            }
            None => command.args(["--zenoh-scouting-interface", "lo"]),
        };
        command
    }

    pub(crate) async fn peer(&self) -> Peer {
        match &self.broker {
            Some(broker) => Peer::on_nats(&broker.url()).await,
            None => Peer::on_zenoh().await,
        }
    }

    pub(crate) async fn start(&self) -> Host<'_> {
        self.start_as(self.command()).await
    }

    /// Starts a host and waits until it answers on its control socket and on the mesh.
    pub(crate) async fn start_as(&self, command: Command) -> Host<'_> {
        let mut host = self.spawn(command).await;
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "requestRegistration"}).to_string();
        host.wait_for("it is on the mesh", async |host| {
            host.peer.request(&host.site.subject("cmd"), request.clone().into(), LONG).await.is_ok()
        })
        .await;
        // It answers a moment before it has joined, and one that is stopped in between has nothing to depart from.
        host.wait_for("it has joined", async |host| host.log().contains("the device is on the mesh")).await;
        host
    }

    /// Starts a host and waits until it answers on its control socket.
    pub(crate) async fn spawn(&self, mut command: Command) -> Host<'_> {
        let log = self.folder.path().join(format!("host-{}.log", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let output = File::create(&log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        let mut host = Host { site: self, child, log, peer: self.peer().await };
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "get_status"}).to_string();
        host.wait_for("its control socket answers", async |host| host.try_control(request.as_bytes()).await.is_ok())
            .await;
        host
    }

    fn subject(&self, tail: &str) -> String {
        format!("device-connect.{}.{}.{tail}", self.tenant, self.device)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("the site of the failed test is kept in {}", self.folder.path().display());
        }
    }
}

/// A running host. Dropped without [`Host::stop`] it is killed.
pub(crate) struct Host<'a> {
    site: &'a Site,
    child: Child,
    log: PathBuf,
    pub(crate) peer: Peer,
}

impl Host<'_> {
    /// Waits for a condition while the process lives.
    async fn wait_for(&mut self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + LONG;
        while !holds(self).await {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the host ended with {status}: {}", self.log());
            }
            assert!(Instant::now() < deadline, "not within a minute: {what}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Sends one line to the control socket and waits for one line.
    async fn try_control(&self, line: &[u8]) -> std::io::Result<Value> {
        let mut stream = UnixStream::connect(self.site.state().join("control.sock")).await?;
        stream.write_all(line).await?;
        stream.write_all(b"\n").await?;
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).await?;
        Ok(serde_json::from_str(&reply)?)
    }

    /// Sends a payload as it is and waits for the reply to it.
    pub(crate) async fn send(&self, way: Way, payload: impl Into<Bytes>) -> Value {
        let payload = payload.into();
        match way {
            Way::Control => tokio::time::timeout(LONG, self.try_control(&payload)).await.unwrap().unwrap(),
            Way::Mesh => {
                let reply = self.peer.request(&self.site.subject("cmd"), payload, LONG).await.unwrap();
                serde_json::from_slice(&reply).unwrap()
            }
        }
    }

    /// Sends a payload and wants no reply.
    pub(crate) async fn tell(&self, payload: impl Into<Bytes>) {
        self.peer.publish(&self.site.subject("cmd"), payload.into()).await;
    }

    /// Calls a function and returns the whole reply.
    pub(crate) async fn ask(&self, way: Way, method: &str, params: Value) -> Value {
        let id = format!("d2d-{:012x}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let reply = self.send(way, request.to_string()).await;
        assert_eq!((&reply["jsonrpc"], &reply["id"]), (&json!("2.0"), &json!(id)), "{reply}");
        reply
    }

    /// The result of a call that way.
    pub(crate) async fn result(&self, way: Way, method: &str, params: Value) -> Value {
        let mut reply = self.ask(way, method, params).await;
        assert!(reply.get("error").is_none(), "{method}: {reply}");
        reply["result"].take()
    }

    /// The result of a call over the mesh.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        self.result(Way::Mesh, method, params).await
    }

    /// The error of a call over the mesh.
    pub(crate) async fn fail(&self, method: &str, params: Value) -> Value {
        let mut reply = self.ask(Way::Mesh, method, params).await;
        assert!(reply.get("result").is_none(), "{method}: {reply}");
        reply["error"].take()
    }

    /// A host function that must succeed.
    pub(crate) async fn succeed(&self, method: &str, params: Value) -> Value {
        let result = self.call(method, params).await;
        assert_eq!(result["status"], "success", "{method}: {result}");
        result
    }

    /// A host function that must refuse.
    pub(crate) async fn refuse(&self, method: &str, params: Value) -> Value {
        let result = self.call(method, params).await;
        assert_eq!(result["status"], "error", "{method}: {result}");
        result
    }

    pub(crate) async fn install(&self, plugin: &Plugin) -> Value {
        self.succeed("install_plugin_from_bundle", bundle(&plugin.tarball())).await
    }

    /// The `capabilities` object of `requestRegistration`.
    pub(crate) async fn capabilities(&self) -> Value {
        self.call("requestRegistration", json!({})).await["capabilities"].take()
    }

    /// The names of all functions that a registration advertises, in order.
    pub(crate) async fn advertised(&self) -> Vec<String> {
        function_names(&self.capabilities().await)
    }

    /// The plugins that are advertised and do not serve yet.
    pub(crate) async fn preparing(&self) -> Value {
        self.result(Way::Control, "get_status", json!({})).await["preparing_plugins"].take()
    }

    /// The loaded plugins in load order.
    pub(crate) async fn loaded(&self) -> Vec<String> {
        let status = self.result(Way::Control, "get_status", json!({})).await;
        serde_json::from_value(status["loaded_plugins"].clone()).unwrap()
    }

    /// Waits for what is loaded at start.
    pub(crate) async fn wait_for_loaded(&self, plugins: &[&str]) {
        until(&format!("{plugins:?} are loaded"), async || self.loaded().await == plugins).await;
    }

    pub(crate) async fn presence(&self) -> Inbox {
        self.subscribe("presence").await
    }

    /// Every event of the device.
    pub(crate) async fn events(&self) -> Inbox {
        self.subscribe("event.>").await
    }

    async fn subscribe(&self, tail: &str) -> Inbox {
        let inbox = self.peer.subscribe(&self.site.subject(tail)).await;
        // On Zenoh it is the publisher who must know of a subscription; it does once it answers what was sent after.
        self.capabilities().await;
        inbox
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end, at most `limit`.
    pub(crate) async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the host has not ended within {limit:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it as an operator does: exit 0 in time, and its departure is the last thing heard of it.
    pub(crate) async fn stop(mut self) {
        let mut presence = self.presence().await;
        self.signal(Signal::TERM);
        let status = self.ended(STOP_LIMIT).await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
        let departure = presence.next_where("no departure", |message| message.get("departing").is_some()).await;
        assert_eq!(departure["departing"], true);
        assert_eq!(
            (&departure["device_id"], &departure["tenant"]),
            (&json!(self.site.device), &json!(self.site.tenant))
        );
        assert!(departure["ts"].is_f64(), "{departure}");
        self.peer.round_trip().await;
        assert_eq!(presence.arrived(), Vec::<Value>::new(), "there was something after the departure");
        assert!(!self.site.state().join("control.sock").exists(), "the control socket was left behind");
    }

    /// Ends it as a power cut does.
    pub(crate) async fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(60)..];
            eprintln!("the host's last words:\n{}", last.join("\n"));
        }
    }
}

/// The names of the functions of a capabilities object, in order.
pub(crate) fn function_names(capabilities: &Value) -> Vec<String> {
    let functions = capabilities["functions"].as_array().unwrap();
    functions.iter().map(|function| function["name"].as_str().unwrap().to_owned()).collect()
}
