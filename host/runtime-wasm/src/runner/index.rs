//! `runners.json`: which files of the folder are a runner.

use super::RunnerError;
use mortise_model::{Digest, RuntimeKind, one_line};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The list's own file.
const FILE: &str = "runners.json";

/// What the runners of a folder have to be made for: their shims know this host's world and habits.
pub(super) const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// The list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    release: String,
    /// By the type of plugins.
    pub(super) runners: BTreeMap<String, Listed>,
}

/// One runner.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    pub(super) component: Artifact,
    /// One for each architecture.
    pub(super) compiled: Vec<Compiled>,
}

/// A file of the folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Artifact {
    pub(super) file: String,
    #[serde(serialize_with = "show", deserialize_with = "parse")]
    pub(super) digest: Digest,
}

/// What one engine made of the component.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Compiled {
    #[serde(flatten)]
    pub(super) artifact: Artifact,
    /// Tells the engine: version, settings and architecture.
    pub(super) engine: String,
}

impl Default for Index {
    fn default() -> Self {
        Self { release: RELEASE.to_owned(), runners: BTreeMap::new() }
    }
}

impl Index {
    /// Where the list of a folder is.
    fn path(dir: &Path) -> PathBuf {
        dir.join(FILE)
    }

    /// The list of a folder, of this release. Blocks on the disk.
    pub(super) fn read(dir: &Path) -> Result<Self, RunnerError> {
        let path = Self::path(dir);
        let text = fs::read(&path).map_err(RunnerError::file(&path))?;
        let index: Self = serde_json::from_slice(&text)
            .map_err(|error| RunnerError::Index { path: path.clone(), reason: one_line(&error.to_string()) })?;
        if index.release != RELEASE {
            return Err(RunnerError::Release { dir: dir.to_owned(), found: index.release, expected: RELEASE });
        }
        let artifacts = index.runners.values().flat_map(|runner| {
            std::iter::once(&runner.component).chain(runner.compiled.iter().map(|compiled| &compiled.artifact))
        });
        for artifact in artifacts {
            // A list that names files elsewhere is not ours.
            if artifact.file.contains('/') || artifact.file.starts_with('.') {
                let reason = format!("`{}` is no file of the folder", artifact.file);
                return Err(RunnerError::Index { path, reason });
            }
        }
        Ok(index)
    }

    /// The runner of that kind.
    pub(super) fn runner(mut self, dir: &Path, kind: RuntimeKind) -> Result<Listed, RunnerError> {
        self.runners.remove(kind.name()).ok_or_else(|| RunnerError::Missing { dir: dir.to_owned(), kind })
    }

    /// Replaces the list at once.
    pub(super) fn write(&self, dir: &Path) -> Result<PathBuf, RunnerError> {
        let path = Self::path(dir);
        let text = serde_json::to_vec_pretty(self).map_err(|error| RunnerError::file(&path)(error.into()))?;
        write_file(dir, FILE, &text)
    }
}

/// Replaces a file at once.
pub(super) fn write_file(dir: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, RunnerError> {
    let path = dir.join(name);
    let write = || {
        let mut file = tempfile::Builder::new().permissions(readable()).tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(RunnerError::file(&path))?;
    Ok(path)
}

/// A release's files are everybody's to read.
fn readable() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o644)
}

fn show<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

fn parse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    Digest::parse(&text).map_err(serde::de::Error::custom)
}
