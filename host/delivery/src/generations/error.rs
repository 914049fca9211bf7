//! What the folder of generations refuses.

use crate::{CommitError, DiskError, FolderError};
use mortise_model::{Digest, PluginId};
use std::path::PathBuf;

/// A generation that was not put in place, not found, or is not what it was.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// Numbers are used once.
    #[error("generation {sequence} of `{id}` already exists")]
    Exists {
        /// The plugin.
        id: PluginId,
        /// Its number.
        sequence: u64,
    },
    /// There is no folder of that number.
    #[error("generation {sequence} of `{id}` is missing")]
    Missing {
        /// The plugin.
        id: PluginId,
        /// Its number.
        sequence: u64,
    },
    /// Its files are not those that were committed.
    #[error("generation {sequence} of `{id}` is corrupt: expected {expected}, got {actual}")]
    Corrupt {
        /// The plugin.
        id: PluginId,
        /// Its number.
        sequence: u64,
        /// Tree digest when it was committed.
        expected: Digest,
        /// Tree digest now.
        actual: Digest,
    },
    /// A file or a link lies where a folder should.
    #[error("not a directory: `{}`", path.display())]
    NotAFolder {
        /// Where.
        path: PathBuf,
    },
    /// See [`FolderError`].
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// See [`CommitError`].
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// See [`DiskError`].
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl GenerationError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "generation_exists",
            Self::Missing { .. } => "generation_missing",
            Self::Corrupt { .. } => "generation_corrupt",
            Self::NotAFolder { .. } => "not_a_folder",
            Self::Folder(error) => error.code(),
            Self::Commit(error) => error.code(),
            Self::Disk(_) => "disk",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Exists { .. } => "commit it under the next number".to_owned(),
            Self::Missing { .. } | Self::Corrupt { .. } => "install the plugin again".to_owned(),
            Self::NotAFolder { .. } => "move away what is there".to_owned(),
            Self::Folder(error) => error.hint(),
            Self::Commit(error) => error.hint(),
            Self::Disk(error) => error.hint(),
        }
    }
}
