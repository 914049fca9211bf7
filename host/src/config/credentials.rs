//! Credentials files: a portal's JSON for NATS or Zenoh, and NATS `.creds` text (wire contract 9.2).

use super::error::ConfigError;
use super::setting::{Origin, Sourced};
use mortise_mesh::{Pem, Secret};
use mortise_model::glob;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// More than this is no credentials file; it is not read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a credentials file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) path: PathBuf,
    pub(super) device_id: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) nats: Option<Section>,
    pub(super) zenoh: Option<Section>,
}

/// What it says for one backend.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Section {
    pub(super) urls: Vec<String>,
    pub(super) jwt: Option<Secret>,
    pub(super) nkey_seed: Option<Secret>,
    pub(super) ca: Option<Pem>,
    pub(super) cert: Option<Pem>,
    pub(super) key: Option<Pem>,
}

#[derive(Deserialize)]
struct JsonFile {
    device_id: Option<String>,
    tenant: Option<String>,
    nats: Option<JsonSection>,
    zenoh: Option<JsonSection>,
}

#[derive(Deserialize)]
struct JsonSection {
    #[serde(default)]
    urls: Vec<String>,
    /// Older files have one `url`.
    url: Option<String>,
    jwt: Option<String>,
    nkey_seed: Option<String>,
    tls: Option<JsonTls>,
    /// Older files have it here.
    tls_ca_file: Option<String>,
}

#[derive(Deserialize, Default)]
struct JsonTls {
    ca_file: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
    ca_pem: Option<String>,
    cert_pem: Option<String>,
    key_pem: Option<String>,
}

/// Reads the file at `path`, or beside `x.creds` the richer `x.creds.json` when there is one.
pub(super) fn load(path: &Sourced<PathBuf>) -> Result<Credentials, ConfigError> {
    let path_chosen = preferred(&path.value);
    let text = read(&path_chosen).map_err(|source| ConfigError::CredentialsRead {
        path: path_chosen.clone(),
        origin: path.origin.clone(),
        source,
    })?;
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(_) => from_json(path_chosen, &text),
        Err(_) => from_text(path_chosen, &text),
    }
}

fn preferred(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|extension| extension == "creds") {
        let sibling = path.with_extension("creds.json");
        if sibling.is_file() {
            return sibling;
        }
    }
    path.to_owned()
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind};
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(Error::new(ErrorKind::FileTooLarge, "larger than any credentials file"));
    }
    std::fs::read_to_string(path)
}

fn from_json(path: PathBuf, text: &str) -> Result<Credentials, ConfigError> {
    // serde's own text may quote a value of the file; only the place is safe to show.
    let file: JsonFile = serde_json::from_str(text).map_err(|error| ConfigError::CredentialsForm {
        path: path.clone(),
        reason: format!("unexpected form at line {}, column {}", error.line(), error.column()),
    })?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let section = |section: JsonSection| section.resolve(&folder);
    Ok(Credentials {
        device_id: given(file.device_id),
        tenant: given(file.tenant),
        nats: file.nats.map(section),
        zenoh: file.zenoh.map(section),
        path,
    })
}

impl JsonSection {
    fn resolve(self, folder: &Path) -> Section {
        let tls = self.tls.unwrap_or_default();
        let pem = |file: Option<String>, inline: Option<String>| match (given(file), given(inline)) {
            (Some(file), _) => Some(Pem::File(beside(folder, &file))),
            (None, Some(text)) => Some(Pem::Inline(Secret::new(text))),
            (None, None) => None,
        };
        Section {
            urls: self.urls.into_iter().chain(self.url).filter_map(|url| given(Some(url))).collect(),
            jwt: given(self.jwt).map(Secret::new),
            nkey_seed: given(self.nkey_seed).map(Secret::new),
            ca: pem(tls.ca_file.or(self.tls_ca_file), tls.ca_pem),
            cert: pem(tls.cert_file, tls.cert_pem),
            key: pem(tls.key_file, tls.key_pem),
        }
    }
}

/// A relative path of the file means the file's own folder; where nothing lies there, the working directory, as in the
/// reference.
fn beside(folder: &Path, file: &str) -> PathBuf {
    let there = folder.join(file);
    if there.exists() { there } else { PathBuf::from(file) }
}

fn given(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn from_text(path: PathBuf, text: &str) -> Result<Credentials, ConfigError> {
    let block = |begin: &str, end: &str| {
        let lines = text.lines().map(str::trim);
        let inside = lines.skip_while(|line| !line.contains(begin)).skip(1).take_while(|line| !line.contains(end));
        given(Some(inside.filter(|line| !line.starts_with('*')).collect::<String>()))
    };
    let jwt = block("-----BEGIN NATS USER JWT-----", "------END NATS USER JWT------");
    let seed = block("-----BEGIN USER NKEY SEED-----", "------END USER NKEY SEED------");
    let (Some(jwt), Some(seed)) = (jwt, seed) else { return Err(ConfigError::CredentialsText { path }) };
    let section = Section { jwt: Some(Secret::new(jwt)), nkey_seed: Some(Secret::new(seed)), ..Section::default() };
    Ok(Credentials { path, device_id: None, tenant: None, nats: Some(section), zenoh: None })
}

/// The newest file in `folder` whose name matches `pattern`; of equally old ones the last by name.
pub(super) fn newest(folder: &Path, pattern: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let candidates = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let metadata = std::fs::metadata(entry.path()).ok()?;
        let matches = metadata.is_file() && glob(pattern, entry.file_name().to_str()?);
        matches.then(|| (metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path()))
    });
    candidates.max().map(|(_, path)| path)
}

/// Which file a search or a setting found, for messages.
pub(super) fn origin_of(credentials: &Credentials) -> Origin {
    Origin::File(credentials.path.clone())
}
