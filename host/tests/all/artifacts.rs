//! `mortise artifact serve` as a process of its own.

use crate::cli::{json_of, plugin_folder};
use crate::program::{mortise, run};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};

/// Ends with its test, however that ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_server_logs_what_it_finds_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let capabilities = folder.path().join("capabilities");
    let plugin = plugin_folder(folder.path());
    let ended = run(mortise().args(["artifact", "publish"]).arg(plugin).arg("--capabilities-dir").arg(&capabilities));
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    std::fs::write(capabilities.join(".artifacts/p-1/artifact.json"), "{").unwrap();

    let log = folder.path().join("log");
    let mut command = mortise();
    command.args(["artifact", "serve", "--port", "0", "--log-format", "json", "--capabilities-dir"]).arg(&capabilities);
    let child = command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap()).spawn().unwrap();
    let mut server = Server(child);
    let mut output = BufReader::new(server.0.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let (_, url) = line.trim_end().rsplit_once("http://").unwrap();
    let (address, path) = url.split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("p-1"), "{answer}");

    kill_process(Pid::from_raw(i32::try_from(server.0.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
    let log = std::fs::read_to_string(log).unwrap();
    let mut lines = log.lines().map(json_of);
    assert!(lines.any(|line| line["level"] == "WARN" && line["plugin"] == "p-1"), "{log}");
}
