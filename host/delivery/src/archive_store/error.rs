//! What the archive store refuses.

use crate::DiskError;
use mortise_model::Digest;
use std::path::PathBuf;

/// Something the archive store did not do. What it held it holds still.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveStoreError {
    /// The file to be stored is another one than was announced.
    #[error("digest mismatch for `{}`: expected {expected}, got {actual}", path.display())]
    DigestMismatch {
        /// The file.
        path: PathBuf,
        /// As announced.
        expected: Digest,
        /// Of its content.
        actual: Digest,
    },
    /// There is no such file to be stored.
    #[error("no such file: `{}`", path.display())]
    NotFound {
        /// Where.
        path: PathBuf,
    },
    /// A folder, a link or a device lies where an archive should.
    #[error("not a plain file: `{}`", path.display())]
    NotAFile {
        /// Where.
        path: PathBuf,
    },
    /// An archive that may not be read whole. It is still stored.
    #[error("archive `{digest}` exceeds max size ({bytes_max} bytes)")]
    TooLarge {
        /// Which.
        digest: Digest,
        /// The limit of the reader.
        bytes_max: u64,
    },
    /// See [`DiskError`].
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl ArchiveStoreError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::NotFound { .. } => "file_not_found",
            Self::NotAFile { .. } => "not_a_file",
            Self::TooLarge { .. } => "bundle_too_large",
            Self::Disk(_) => "disk",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::DigestMismatch { .. } => "deliver it again; it changed on its way".to_owned(),
            Self::NotFound { .. } => "deliver it again".to_owned(),
            Self::NotAFile { .. } => "move away what is there".to_owned(),
            Self::TooLarge { .. } => "raise the limit on plugins' bytes to what it was".to_owned(),
            Self::Disk(error) => error.hint(),
        }
    }
}

/// A warning: an archive of the store had other content than its name says. It was removed and counts as absent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stored archive is corrupt: expected {expected}, got {actual}")]
pub struct CorruptArchive {
    /// Its name.
    pub expected: Digest,
    /// Of its content.
    pub actual: Digest,
    /// Where it was.
    pub path: PathBuf,
}

impl CorruptArchive {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "archive_corrupt"
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        "install the plugin again to have the archive back, and check the disk".to_owned()
    }
}
