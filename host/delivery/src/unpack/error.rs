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
    /// A member whose content is not what its checksum says.
    #[error("corrupt archive: `{name}` does not match its checksum")]
    Checksum {
        /// The member.
        name: String,
    },
    /// Another number of members than the archive says.
    #[error("corrupt archive: it has {actual} members, expected {expected}")]
    MemberCount {
        /// As the archive says.
        expected: usize,
        /// As there are.
        actual: usize,
    },
    /// Bytes in front of the first member, as in programs that extract themselves.
    #[error("archive begins with data that belongs to no member")]
    LeadingData,
    /// Bytes between members.
    #[error("archive has data that belongs to no member at byte {offset}")]
    StrayData {
        /// Where.
        offset: u64,
    },
    /// Bytes behind what a reader has any reason to read.
    #[error("archive goes on after {after}")]
    TrailingData {
        /// What should have been the end.
        after: &'static str,
    },
    /// Bytes behind a member's own end, within what it takes in the archive.
    #[error("file in archive has data behind its end: {name}")]
    HiddenData {
        /// The member.
        name: String,
    },
    /// Several gzip files, one behind the other: some readers see the first, others all.
    #[error("archive is several gzip files in one")]
    SeveralGzips,
    /// Two places that may both be the end of a zip file.
    #[error("archive has two ends, one in the other's comment")]
    AmbiguousEnd,
    /// Members that share bytes.
    #[error("file in archive overlaps another: {name}")]
    Overlap {
        /// The later of the two.
        name: String,
    },
    /// A member that is described twice and differently.
    #[error("headers in archive disagree: {name}")]
    HeadersDisagree {
        /// The member.
        name: String,
    },
    /// Two extended headers where only one can count.
    #[error("repeated header in archive: {name}")]
    RepeatedHeader {
        /// What the first one says.
        name: String,
    },
    /// A header that would change every member behind it, for readers that heed it.
    #[error("global header in archive sets `{key}`")]
    GlobalHeader {
        /// What it sets.
        key: String,
    },
    /// A name that is neither ASCII nor marked as UTF-8: other readers take it for another.
    #[error("name in archive is not marked as UTF-8: {name}")]
    NameEncoding {
        /// The member, its name read as UTF-8.
        name: String,
    },
    /// The variety of zip files for more than 4 GiB.
    #[error("zip64 archive")]
    Zip64,
    /// One part of a zip file in several.
    #[error("archive is one part of several")]
    SeveralDisks,
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
    /// Two members that are one file where case, or the way an accent is written, does not count.
    #[error("paths in archive are one path to some file systems: {other} and {name}")]
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
            Self::NotGzip
            | Self::NotZip
            | Self::Corrupt { .. }
            | Self::Truncated { .. }
            | Self::Checksum { .. }
            | Self::MemberCount { .. } => "archive_corrupt",
            Self::LeadingData
            | Self::StrayData { .. }
            | Self::TrailingData { .. }
            | Self::HiddenData { .. }
            | Self::SeveralGzips
            | Self::AmbiguousEnd
            | Self::Overlap { .. }
            | Self::HeadersDisagree { .. }
            | Self::RepeatedHeader { .. }
            | Self::GlobalHeader { .. }
            | Self::NameEncoding { .. } => "archive_ambiguous",
            Self::UnsafePath { .. } => "archive_unsafe_path",
            Self::Duplicate { .. } | Self::CaseCollision { .. } | Self::FileAsFolder { .. } => "archive_path_conflict",
            Self::SymbolicLink { .. } | Self::HardLink { .. } => "archive_link",
            Self::SpecialFile { .. } => "archive_special_file",
            Self::Encrypted { .. } | Self::Compression { .. } | Self::Zip64 | Self::SeveralDisks => {
                "archive_unsupported"
            }
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
            Self::Corrupt { .. } | Self::Truncated { .. } | Self::Checksum { .. } | Self::MemberCount { .. } => {
                "make the archive again and send all of it".to_owned()
            }
            Self::LeadingData | Self::StrayData { .. } | Self::TrailingData { .. } | Self::HiddenData { .. } => {
                "send the archive alone, as the archiver wrote it: nothing before, between or behind its files"
                    .to_owned()
            }
            Self::SeveralGzips => "pack everything into one tar, and that into one gzip file".to_owned(),
            Self::AmbiguousEnd => "pack without a comment".to_owned(),
            Self::Overlap { .. }
            | Self::HeadersDisagree { .. }
            | Self::RepeatedHeader { .. }
            | Self::GlobalHeader { .. } => {
                "make the archive again, with another archiver if need be: readers would differ in what it holds"
                    .to_owned()
            }
            Self::NameEncoding { .. } => {
                "send a .tar.gz, or name the file in ASCII: not every archiver marks names (`zip` on Linux does not)"
                    .to_owned()
            }
            Self::Zip64 => "pack to a file and not to a pipe, or send a .tar.gz".to_owned(),
            Self::SeveralDisks => "pack into one file".to_owned(),
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
