//! Plugins as they are sent: guests from `target/guests`, packed well or badly.

use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use mortise_model::Digest;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tar::EntryType;

/// Where `cargo xtask guests` puts what it builds.
fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests")
}

/// The component of a guest.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let path = guests().join(format!("out/{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("`{}`: {error}: run `cargo xtask guests`", path.display()))
}

/// A plugin: its manifest and everything else in its folder.
#[derive(Clone)]
pub(crate) struct Plugin {
    pub(crate) manifest: Value,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

impl Plugin {
    /// The component `code` under an id of its own.
    pub(crate) fn new(id: &str, code: Vec<u8>) -> Self {
        let manifest = json!({"id": id, "version": "1.0.0", "type": "wasm", "entry_point": "plugin.wasm"});
        Self { manifest, files: vec![("plugin.wasm".to_owned(), code)] }
    }

    /// A guest under an id of its own.
    pub(crate) fn of(id: &str, guest_name: &str) -> Self {
        Self::new(id, guest(guest_name))
    }

    /// A plugin as `cargo xtask guests` assembled it.
    pub(crate) fn assembled(id: &str) -> Self {
        let folder = guests().join("plugins").join(id);
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path)
                .unwrap_or_else(|error| panic!("`{}`: {error}: run `cargo xtask guests`", path.display()))
        };
        let manifest = serde_json::from_slice(&read("manifest.json")).unwrap();
        Self { manifest, files: vec![("plugin.wasm".to_owned(), read("plugin.wasm"))] }
    }

    /// The same with one more key in its manifest.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.manifest[key] = value;
        self
    }

    pub(crate) fn id(&self) -> &str {
        self.manifest["id"].as_str().unwrap()
    }

    fn members(&self) -> Vec<(String, Vec<u8>)> {
        let manifest = ("manifest.json".to_owned(), self.manifest.to_string().into_bytes());
        std::iter::once(manifest).chain(self.files.iter().cloned()).collect()
    }

    /// Writes the folder where a host finds it.
    pub(crate) fn put_into(&self, capabilities: &Path) {
        let folder = capabilities.join(self.id());
        std::fs::create_dir_all(&folder).unwrap();
        for (name, content) in self.members() {
            std::fs::write(folder.join(name), content).unwrap();
        }
    }

    /// A gzip tar with one top-level folder.
    pub(crate) fn tarball(&self) -> Vec<u8> {
        let top = self.id();
        tarball(self.members().iter().map(|(name, content)| Member::file(&format!("{top}/{name}"), content)))
    }

    /// A zip with the files at its root.
    pub(crate) fn zip(&self) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in self.members() {
            writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(&content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }
}

/// A version of the plugin `versioned`, whose function of the same name tells which one answers.
pub(crate) fn version(number: usize) -> Plugin {
    Plugin::of("versioned", &format!("version-{number}")).with("version", json!(format!("{number}.0.0")))
}

/// One member of an archive, named and linked as its maker likes.
pub(crate) struct Member<'a> {
    pub(crate) name: String,
    pub(crate) kind: EntryType,
    pub(crate) link: &'a str,
    pub(crate) content: &'a [u8],
}

impl<'a> Member<'a> {
    pub(crate) fn file(name: &str, content: &'a [u8]) -> Self {
        Self { name: name.to_owned(), kind: EntryType::Regular, link: "", content }
    }
}

/// A gzip tar, whose names are written as they are: `tar` itself would refuse the bad ones.
pub(crate) fn tarball<'a>(members: impl IntoIterator<Item = Member<'a>>) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for Member { name, kind, link, content } in members {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// The parameters of `install_plugin_from_bundle`.
pub(crate) fn bundle(archive: &[u8]) -> Value {
    json!({"bundle_b64": base64::engine::general_purpose::STANDARD.encode(archive)})
}

/// The same, pinned.
pub(crate) fn pinned_bundle(archive: &[u8]) -> Value {
    let mut params = bundle(archive);
    params["digest"] = digest_of(archive).into();
    params
}

/// `sha256:` and the digest of an archive's bytes.
pub(crate) fn digest_of(archive: &[u8]) -> String {
    Digest::of(archive).to_string()
}
