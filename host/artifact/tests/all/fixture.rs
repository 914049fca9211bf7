//! A store beside something that must never leave the disk, plugins to publish, and a client that normalises nothing.

use mortise_artifact::{ArtifactError, ArtifactServer, ArtifactStore, Record, ServerLimits, Serving, UrlBase};
use mortise_delivery::{Staging, TreeLimits, pack};
use mortise_model::PluginId;
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Far beyond what anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Fixture {
    outer: TempDir,
    pub(crate) store: ArtifactStore,
    pub(crate) staging: Staging,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("secret.tgz"), "secret").unwrap();
        let base = UrlBase::new(None, "127.0.0.1", 8790).unwrap();
        let store = ArtifactStore::open(&outer.path().join("artifacts"), base).unwrap();
        let staging = Staging::open(outer.path()).unwrap();
        Self { outer, store, staging }
    }

    pub(crate) fn outer(&self) -> &Path {
        self.outer.path()
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.store.dir().join(below)
    }

    /// Puts a file into the store as somebody else would.
    pub(crate) fn put(&self, below: &str, content: impl AsRef<[u8]>) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A plugin's folder, named `folder`.
    pub(crate) fn plugin(&self, folder: &str, manifest: &str, code: &[u8]) -> PathBuf {
        let path = self.outer.path().join("plugins").join(folder);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("manifest.json"), manifest).unwrap();
        fs::write(path.join("plugin.wasm"), code).unwrap();
        path
    }

    /// An archive of a plugin.
    pub(crate) fn bundle(&self, id: &str, code: &[u8]) -> Vec<u8> {
        let folder = self.plugin(id, &manifest(id, "0.1.0"), code);
        pack(&folder, &PluginId::new(id).unwrap(), &TreeLimits::default()).unwrap()
    }

    pub(crate) fn publish(&self, id: &str, bytes: &[u8], version: Option<&str>) -> Result<Record, ArtifactError> {
        self.store.publish_bytes(&plugin_id(id), bytes, version, &self.staging)
    }

    pub(crate) async fn serve(&self, limits: ServerLimits) -> Serving {
        ArtifactServer::bind("127.0.0.1", 0).await.unwrap().serve(self.store.clone(), limits)
    }
}

pub(crate) fn plugin_id(id: &str) -> PluginId {
    PluginId::new(id).unwrap()
}

pub(crate) fn manifest(id: &str, version: &str) -> String {
    format!(r#"{{"id": "{id}", "version": "{version}", "entry_point": "plugin.wasm"}}"#)
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("the end of the headers");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.into(), value.into()));
        Self { status, headers: headers.collect(), body: bytes[end + 4..].to_vec() }
    }
}

/// Sends `line` and `headers` as they are and reads to the end of the connection.
pub(crate) async fn ask(address: SocketAddr, line: &[u8], headers: &str) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(line).await.unwrap();
    stream.write_all(format!(" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").as_bytes()).await.unwrap();
    Reply::parse(&read_to_end(&mut stream).await)
}

pub(crate) async fn get(address: SocketAddr, path: &str, headers: &str) -> Reply {
    ask(address, format!("GET {path}").as_bytes(), headers).await
}

/// What is left on a connection, which must end in time. A reset is an end too.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection ends");
    if let Err(error) = end {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    bytes
}
