//! What uploads refuse.

use crate::DiskError;
use mortise_model::Digest;

/// A step of an upload that was not done. Where the upload exists, it stands where it stood.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Never begun, aborted, expired, or lost with a restart of the host.
    #[error("no such upload")]
    NotFound,
    /// An upload of nothing.
    #[error("upload is empty")]
    Empty,
    /// More than one bundle may have.
    #[error("bundle exceeds max size ({bytes_max} bytes)")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
        /// As announced.
        bytes: u64,
    },
    /// No more uploads at once.
    #[error("{open_max} uploads are open already")]
    TooMany {
        /// The limit.
        open_max: usize,
    },
    /// No room beside the other uploads.
    #[error("open uploads exceed {bytes_max} bytes in all")]
    NoRoom {
        /// The limit over all uploads.
        bytes_max: u64,
    },
    /// The chunk lies behind bytes that never came.
    #[error("expected a chunk at offset {expected}, got {offset}")]
    Gap {
        /// Where the next chunk belongs.
        expected: u64,
        /// Where it would begin.
        offset: u64,
    },
    /// Bytes that came already came again, and were others.
    #[error("chunk at offset {offset} differs from what was sent before; expected offset {expected}")]
    Conflict {
        /// Where the next chunk belongs.
        expected: u64,
        /// Where it begins.
        offset: u64,
    },
    /// The chunk ends behind the announced end.
    #[error("chunk exceeds the upload: expected {total_bytes} bytes, got {end}")]
    BeyondEnd {
        /// Where the next chunk belongs.
        expected: u64,
        /// As announced.
        total_bytes: u64,
        /// Where it would end.
        end: u64,
    },
    /// Not all of it has come.
    #[error("upload is incomplete: expected {total_bytes} bytes, got {expected}")]
    Incomplete {
        /// Where the next chunk belongs.
        expected: u64,
        /// As announced.
        total_bytes: u64,
    },
    /// Everything came, and it is something else. Its bytes are gone.
    #[error("digest mismatch for the upload: expected {expected}, got {actual}")]
    DigestMismatch {
        /// As announced.
        expected: Digest,
        /// Of what came.
        actual: Digest,
    },
    /// See [`DiskError`].
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl UploadError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "upload_not_found",
            Self::Empty => "upload_empty",
            Self::TooLarge { .. } => "bundle_too_large",
            Self::TooMany { .. } => "too_many_uploads",
            Self::NoRoom { .. } => "uploads_full",
            Self::Gap { .. } => "upload_gap",
            Self::Conflict { .. } => "upload_conflict",
            Self::BeyondEnd { .. } => "upload_beyond_end",
            Self::Incomplete { .. } => "upload_incomplete",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::Disk(_) => "disk",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotFound => "if it was committed, `get_plugin_operation` tells what became of it; else begin a new upload: one expires when \
                 nothing is appended for a while"
                    .to_owned(),
            Self::Empty => "send a bundle".to_owned(),
            Self::TooLarge { bytes, .. } => {
                format!("it has {bytes} bytes: leave out what the plugin does not need to run, or raise the limit")
            }
            Self::TooMany { .. } | Self::NoRoom { .. } => {
                "try again when another upload is done or has expired".to_owned()
            }
            Self::Gap { expected, .. } | Self::Incomplete { expected, .. } => {
                format!("go on at offset {expected}")
            }
            Self::Conflict { expected, .. } => {
                format!("go on at offset {expected} with the same bundle, or begin a new upload")
            }
            Self::BeyondEnd { .. } => "begin a new upload with the bundle's own size".to_owned(),
            Self::DigestMismatch { .. } => "begin a new upload, with the digest of the bundle that is sent".to_owned(),
            Self::Disk(error) => error.hint(),
        }
    }

    /// The offset of the next chunk, where the error leaves an upload to go on with.
    #[must_use]
    pub fn expected_offset(&self) -> Option<u64> {
        match self {
            Self::Gap { expected, .. }
            | Self::Conflict { expected, .. }
            | Self::BeyondEnd { expected, .. }
            | Self::Incomplete { expected, .. } => Some(*expected),
            _ => None,
        }
    }
}
