//! A real `nats-server` for one test.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A server on a free loopback port, which it keeps when it is restarted. Ends with this value.
pub(crate) struct Broker {
    // Held for a start or a kill only; a test may do either while hosts use the broker.
    child: Mutex<Child>,
    port: u16,
    folder: TempDir,
    flags: &'static [&'static str],
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// One that keeps streams and objects.
    pub(crate) fn with_jetstream() -> Self {
        Self::start_with(&["-js", "-sd", "streams"])
    }

    fn start_with(flags: &'static [&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = spawn(folder.path(), "-1", flags);
        let port = port_of(folder.path(), child.id());
        Self { child: Mutex::new(child), port, folder, flags }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts the server again, on the port that it had.
    pub(crate) fn restart(&self) {
        let mut child = self.child.lock().unwrap();
        *child = spawn(self.folder.path(), &self.port.to_string(), self.flags);
        assert_eq!(port_of(self.folder.path(), child.id()), self.port);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Its test may have killed it, or failed with the lock.
        let child = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn spawn(folder: &Path, port: &str, flags: &[&str]) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    Command::new("nats-server")
        .args(["-a", "127.0.0.1", "-p", port, "--ports_file_dir", "."])
        .args(flags)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("failed to start `nats-server`: {error}; install it with `apt-get install nats-server`")
        })
}

/// The server writes this file once it listens.
fn port_of(folder: &Path, pid: u32) -> u16 {
    let ports = folder.join(format!("nats-server_{pid}.ports"));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(&ports).unwrap_or_default();
        if let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text) {
            let url = ports["nats"][0].as_str().unwrap();
            return url.rsplit_once(':').unwrap().1.parse().unwrap();
        }
        let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "`nats-server` did not start: {}", log());
        std::thread::sleep(Duration::from_millis(10));
    }
}
