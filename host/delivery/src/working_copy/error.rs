//! What working copies refuse.

use crate::{CommitError, DiskError, StageError, TreeError};
use mortise_model::PluginId;
use std::path::PathBuf;

/// A working copy that was neither written nor removed. What was there is there still.
#[derive(Debug, thiserror::Error)]
pub enum WorkingCopyError {
    /// A file or a link lies where the folder should.
    #[error("not a directory: `{}`", path.display())]
    NotAFolder {
        /// Where.
        path: PathBuf,
    },
    /// So many of a plugin's edits lie aside that nobody seems to look at them.
    #[error("{edits_max} edited copies of `{id}` are in `{}` already", path.display())]
    TooManyEdits {
        /// The plugin.
        id: PluginId,
        /// The limit.
        edits_max: u32,
        /// Where they are.
        path: PathBuf,
    },
    /// See [`CommitError`].
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// See [`StageError`].
    #[error(transparent)]
    Stage(#[from] StageError),
    /// See [`TreeError`].
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// See [`DiskError`].
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl WorkingCopyError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAFolder { .. } => "not_a_folder",
            Self::TooManyEdits { .. } => "too_many_edits",
            Self::Commit(error) => error.code(),
            Self::Stage(error) => error.code(),
            Self::Tree(error) => error.code(),
            Self::Disk(_) => "disk",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotAFolder { .. } => "move away what is there".to_owned(),
            Self::TooManyEdits { .. } => "look them through, and remove what is not needed".to_owned(),
            Self::Commit(error) => error.hint(),
            Self::Stage(error) => error.hint(),
            Self::Tree(error) => error.hint(),
            Self::Disk(error) => error.hint(),
        }
    }
}
