//! Failures of the disk, each with what was tried and where.

use std::io;
use std::path::{Path, PathBuf};

/// The disk refused something that has nothing to do with what the plugin is.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} `{}`", path.display())]
pub struct DiskError {
    /// A verb.
    pub action: &'static str,
    /// Of what.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl DiskError {
    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk".to_owned(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "let the host's user write there".to_owned()
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                "move away what is there: it should be a folder".to_owned()
            }
            _ => format!("the system says: {}", self.source),
        }
    }
}

/// Makes a [`DiskError`] of what the system says.
pub(crate) fn failed<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> DiskError {
    move |source| DiskError { action, path: path.to_owned(), source: source.into() }
}
