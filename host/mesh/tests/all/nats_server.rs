//! A real `nats-server` for one test.

use mortise_mesh::{NatsConfig, NatsMesh};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) struct NatsServer {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl NatsServer {
    /// Starts a server on a free loopback port, with `config` in its own syntax.
    pub(crate) fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server.conf"), config).unwrap();
        let child = spawn(folder.path(), "-1");
        let port = port_of(folder.path(), child.id());
        Self { child, port, folder }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn config(&self) -> NatsConfig {
        NatsConfig { urls: vec![self.url()], auth: None, tls: None, name: "test".to_owned() }
    }

    pub(crate) async fn connect(&self) -> NatsMesh {
        NatsMesh::connect(self.config()).await.unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again, on the port that it had.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.folder.path(), &self.port.to_string());
        assert_eq!(port_of(self.folder.path(), self.child.id()), self.port);
    }

    fn log(folder: &Path) -> String {
        std::fs::read_to_string(folder.join("log")).unwrap_or_default()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // It may have been killed by its test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, port: &str) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    // Debian keeps it in `/usr/sbin`, which `PATH` may lack: `cargo xtask test` says where it is.
    let program = std::env::var_os("NATS_SERVER").filter(|path| !path.is_empty());
    Command::new(program.unwrap_or_else(|| "nats-server".into()))
        .args(["-c", "server.conf", "-a", "127.0.0.1", "-p", port, "--ports_file_dir", "."])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("failed to start `nats-server`: {error}; install it with `apt-get install nats-server`, or name it in `NATS_SERVER`")
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
        assert!(Instant::now() < deadline, "`nats-server` did not start: {}", NatsServer::log(folder));
        std::thread::sleep(Duration::from_millis(10));
    }
}
