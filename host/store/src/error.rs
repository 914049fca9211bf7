//! What the store refuses.

use std::io;
use std::path::{Path, PathBuf};

/// Something the store did not do. Unless it is [`StoreError::InDoubt`], the store holds what it held before.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open, or this one has already.
    #[error("the state store `{}` is in use", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A later release has written it. Nothing was changed.
    #[error("the state store `{}` has format {found}: this build knows formats up to {supported}", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The highest that this build knows.
        supported: u64,
    },
    /// A folder, a link or a device lies where the file should.
    #[error("not a plain file: `{}`", path.display())]
    NotAFile {
        /// Where.
        path: PathBuf,
    },
    /// The disk or the system refused.
    #[error("failed to {action} `{}`", path.display())]
    Disk {
        /// A verb.
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be understood. When it is first opened it is set aside instead.
    #[error("the state store `{}` is corrupt: {reason}", path.display())]
    CorruptFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// One record cannot be understood; the others can. The next start quarantines it.
    #[error("record `{key}` of `{table}` is corrupt: {reason}")]
    CorruptRecord {
        /// Its table.
        table: &'static str,
        /// Its key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A record that is too large to be kept.
    #[error("record `{key}` of `{table}` exceeds max size ({bytes} > {bytes_max} bytes)")]
    TooLarge {
        /// Its table.
        table: &'static str,
        /// Its key, cut.
        key: String,
        /// What it would take.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A record has no encoding.
    #[error("failed to encode record `{key}` of `{table}`")]
    Encode {
        /// Its table.
        table: &'static str,
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Any other failure of the database library.
    #[error("the state store `{}` failed", path.display())]
    Engine {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// The disk failed at the very end of a commit, or again when its outcome was to be read. The change was made wholly
    /// or not at all, and the store tells which once it can be read; but a loss of power may still undo it. What the
    /// state before names must not be removed because of it.
    #[error("it is not known whether the change of the state store `{}` was made", path.display())]
    InDoubt {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: Box<StoreError>,
    },
}

impl StoreError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "state_in_use",
            Self::NewerFormat { .. } => "state_format_newer",
            Self::NotAFile { .. } => "not_a_file",
            Self::Disk { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "disk_full",
                io::ErrorKind::ReadOnlyFilesystem => "disk_read_only",
                io::ErrorKind::PermissionDenied => "permission_denied",
                _ => "disk",
            },
            Self::CorruptFile { .. } => "state_corrupt",
            Self::CorruptRecord { .. } => "record_corrupt",
            Self::TooLarge { .. } => "record_too_large",
            Self::Encode { .. } => "record_not_encodable",
            Self::Engine { .. } => "state_store",
            Self::InDoubt { .. } => "state_in_doubt",
        }
    }

    /// The cure, as one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::InUse { .. } => "stop the other host, or give this one a state folder of its own".to_owned(),
            Self::NewerFormat { .. } => {
                "run the release that wrote it or a later one, or give this one a state folder of its own".to_owned()
            }
            Self::NotAFile { .. } => "move away what is there".to_owned(),
            Self::Disk { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk".to_owned(),
                io::ErrorKind::ReadOnlyFilesystem => {
                    "mount it for writing, or give the host another state folder".to_owned()
                }
                io::ErrorKind::PermissionDenied => "let the host's user write there".to_owned(),
                _ => format!("the system says: {source}"),
            },
            Self::CorruptFile { .. } | Self::CorruptRecord { .. } => {
                "restart the host, which sets it aside, and check the disk".to_owned()
            }
            Self::TooLarge { .. } => "make the plugin's manifest or description smaller".to_owned(),
            Self::Encode { .. } => "report it: every record has an encoding".to_owned(),
            Self::Engine { .. } => "restart the host; report it if it comes back".to_owned(),
            Self::InDoubt { source, .. } => source.hint(),
        }
    }

    /// Gives an error of the database library the path and, where it has one, the system's reason.
    pub(crate) fn engine(path: &Path, error: impl Into<redb::Error>) -> Self {
        let path = path.to_owned();
        match error.into() {
            redb::Error::Io(source) => Self::Disk { action: "use", path, source },
            redb::Error::Corrupted(reason) => Self::CorruptFile { path, reason },
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::InUse { path },
            other => Self::Engine { path, source: Box::new(other) },
        }
    }
}

/// Makes a [`StoreError::Disk`] of what the system says.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Disk { action, path: path.to_owned(), source }
}
