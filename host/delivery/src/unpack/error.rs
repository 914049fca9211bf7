//! Archives that are refused: one variant per malformation.

use crate::disk::DiskError;
use crate::member::PathFault;

/// An archive that is not unpacked. Nothing of it is left on disk.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Neither the gzip magic nor anything else that can be read as one.
    #[error("not a gzip file")]
    NotGzip,
    /// No zip directory at its end.
    #[error("file is not a zip file")]
    NotZip,
    /// Damaged, cut short, or of a variety that is not read.
    #[error("corrupt archive: {reason}")]
    Corrupt {
        /// In the library's words.
        reason: String,
    },
    /// A member shorter than its header says.
    #[error("corrupt archive: `{name}` has {actual} bytes, expected {expected}")]
    Truncated {
        /// The member.
        name: String,
        /// As its header says.
        expected: u64,
        /// As there are.
        actual: u64,
    },
    /// A member that may not be named so.
    #[error("unsafe path in archive: {name}")]
    UnsafePath {
        /// As the archive writes it, control characters escaped.
        name: String,
        /// Which rule it breaks.
        fault: PathFault,
    },
    /// Two members of one name: which one counts would be the reader's choice.
    #[error("duplicate path in archive: {name}")]
    Duplicate {
        /// The member.
        name: String,
    },
    /// Two members that are one file where case does not count.
    #[error("paths in archive differ in case only: {other} and {name}")]
    CaseCollision {
        /// The member.
        name: String,
        /// The one before.
        other: String,
    },
    /// A member below another one that is no folder, or a folder where there is a file.
    #[error("path in archive is both a file and a folder: {other}")]
    FileAsFolder {
        /// The member.
        name: String,
        /// The one before.
        other: String,
    },
    /// A symbolic link, wherever it leads.
    #[error("symbolic link in archive: {name}")]
    SymbolicLink {
        /// The member.
        name: String,
    },
    /// A hard link, wherever it leads.
    #[error("hard link in archive: {name}")]
    HardLink {
        /// The member.
        name: String,
    },
    /// A device, a pipe or anything else that is no file.
    #[error("special file in archive: {name} ({kind})")]
    SpecialFile {
        /// The member.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// An encrypted member.
    #[error("encrypted file in archive: {name}")]
    Encrypted {
        /// The member.
        name: String,
    },
    /// A member that is compressed in a way that is not read.
    #[error("unsupported compression in archive: {name}")]
    Compression {
        /// The member.
        name: String,
    },
    /// More files and folders than a plugin may have.
    #[error("archive has more than {members_max} members")]
    TooManyMembers {
        /// [`crate::TreeLimits::members_max`].
        members_max: usize,
    },
    /// More bytes than a plugin may have.
    #[error("archive unpacks to more than {bytes_max} bytes")]
    UnpackedTooLarge {
        /// [`crate::TreeLimits::bytes_max`].
        bytes_max: u64,
    },
    /// Compressed as only a bomb is.
    #[error("archive unpacks to more than {ratio_max} times its size")]
    RatioTooHigh {
        /// [`crate::ArchiveLimits::ratio_max`].
        ratio_max: u64,
    },
    /// Names or extended headers out of proportion.
    #[error("archive has a header of more than {bytes_max} bytes")]
    MetadataTooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// No manifest where one is looked for (wire contract 10.5).
    #[error("archive must contain manifest.json at root or in a single top-level folder")]
    NoManifest,
    /// See [`DiskError`].
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl ArchiveError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotGzip | Self::NotZip | Self::Corrupt { .. } | Self::Truncated { .. } => "archive_corrupt",
            Self::UnsafePath { .. } => "archive_unsafe_path",
            Self::Duplicate { .. } | Self::CaseCollision { .. } | Self::FileAsFolder { .. } => "archive_path_conflict",
            Self::SymbolicLink { .. } | Self::HardLink { .. } => "archive_link",
            Self::SpecialFile { .. } => "archive_special_file",
            Self::Encrypted { .. } | Self::Compression { .. } => "archive_unsupported",
            Self::TooManyMembers { .. }
            | Self::UnpackedTooLarge { .. }
            | Self::RatioTooHigh { .. }
            | Self::MetadataTooLarge { .. } => "archive_too_large",
            Self::NoManifest => "missing_manifest",
            Self::Disk(_) => "disk",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotGzip => "send a .tar.gz, or pass format \"zip\" for a zip file".to_owned(),
            Self::NotZip => "send a .zip, or pass format \"tar.gz\" for a gzip tar".to_owned(),
            Self::Corrupt { .. } | Self::Truncated { .. } => "make the archive again and send all of it".to_owned(),
            Self::UnsafePath { fault, .. } => {
                format!("{fault}: every path must be relative, of plain components, inside the plugin's folder")
            }
            Self::Duplicate { .. } | Self::CaseCollision { .. } | Self::FileAsFolder { .. } => {
                "rename or leave out one of the two".to_owned()
            }
            Self::SymbolicLink { .. } | Self::HardLink { .. } => "pack the file itself instead of a link".to_owned(),
            Self::SpecialFile { .. } => "pack files and folders only".to_owned(),
            Self::Encrypted { .. } => "pack without a password".to_owned(),
            Self::Compression { .. } => "use deflate, or no compression".to_owned(),
            Self::TooManyMembers { .. }
            | Self::UnpackedTooLarge { .. }
            | Self::RatioTooHigh { .. }
            | Self::MetadataTooLarge { .. } => "leave out what the plugin does not need to run".to_owned(),
            Self::NoManifest => "pack the plugin's folder: `mortise pack <dir> --output FILE`".to_owned(),
            Self::Disk(error) => error.hint(),
        }
    }
}
