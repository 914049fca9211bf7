//! Runs the built binary, and plays the host it talks to.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The binary, with nothing in its environment that a test did not put there.
pub(crate) fn mortise() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mortise"));
    command.env_clear();
    command
}

/// The same by another name: a link to it in `folder`.
pub(crate) fn called(name: &str, folder: &Path) -> Command {
    let link = folder.join(name);
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mortise"), &link).unwrap();
    }
    let mut command = Command::new(link);
    command.env_clear();
    command
}

/// The same, held to the modes of files and folders: whoever is root is stopped by none otherwise.
pub(crate) fn held_to_modes() -> Command {
    if !rustix::process::geteuid().is_root() {
        return mortise();
    }
    let rights = "-dac_override,-dac_read_search";
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", rights, "--inh-caps", rights, env!("CARGO_BIN_EXE_mortise")]);
    command.env_clear();
    command
}

/// The same, told of a file that may not grow any further rather than ended by it.
pub(crate) fn told_of_full_files() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_mortise")]);
    command.env_clear();
    command
}

/// The same, where names are resolved by this file in the place of `/etc/hosts`.
pub(crate) fn with_names_of(hosts: &Path) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let script = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(hosts).arg(env!("CARGO_BIN_EXE_mortise"));
    command.env_clear();
    command
}

pub(crate) fn run(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Serves one connection on the control socket of a folder of its own.
pub(crate) struct FakeHost {
    folder: TempDir,
    requests: mpsc::Receiver<Value>,
}

impl FakeHost {
    /// Answers every request with the member (`result` or `error`) that `answer` makes.
    pub(crate) fn start(answer: impl Fn(&Value) -> Value + Send + 'static) -> Self {
        Self::serve(move |request, stream| {
            // Something else first: the client must wait for its own answer.
            let mut lines = json!({"jsonrpc": "2.0", "id": "another", "result": 1}).to_string();
            let mut reply = answer(request);
            reply["jsonrpc"] = json!("2.0");
            reply["id"] = request["id"].clone();
            lines.push_str(&format!("\n{reply}\n"));
            // A client that gave up has closed its end.
            let _ = stream.write_all(lines.as_bytes());
        })
    }

    /// Takes requests and never answers.
    pub(crate) fn silent() -> Self {
        Self::serve(|_, _| {})
    }

    fn serve(reply: impl Fn(&Value, &mut UnixStream) + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("control.sock")).unwrap();
        let (sender, requests) = mpsc::sync_channel(16);
        // Ends with its client: each run of the binary makes one connection and closes it.
        let serve = move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                let request: Value = serde_json::from_str(&line).unwrap();
                reply(&request, &mut stream);
                let _ = sender.send(request);
                line.clear();
            }
        };
        std::thread::Builder::new().name("fake-host".to_owned()).spawn(serve).unwrap();
        Self { folder, requests }
    }

    pub(crate) fn state_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The one request that was made.
    pub(crate) fn only_request(&self) -> Value {
        let request = self.requests.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(self.requests.try_recv().is_err(), "there was another request");
        request
    }
}
