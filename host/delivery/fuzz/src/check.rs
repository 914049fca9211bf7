//! Unpacks, and looks at what it did to the disk.

use crate::second_reader::{self, Files};
use crate::unpack::{ArchiveError, unpack};
use crate::{ArchiveFormat, ArchiveLimits, Staging, TreeLimits};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use tempfile::TempDir;

/// So low that an input of a few hundred bytes runs into each of them.
const LIMITS: ArchiveLimits = ArchiveLimits {
    tree: TreeLimits { bytes_max: 64 << 10, members_max: 24, depth_max: 6, name_bytes_max: 64, path_bytes_max: 160 },
    ratio_max: 200,
};

/// A host's state folder with something beside it that must never change.
pub struct Checker {
    outer: TempDir,
    staging: Staging,
}

impl Checker {
    /// In the folder for temporary files, which had better be in memory.
    ///
    /// # Panics
    /// When the folder cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let outer = tempfile::tempdir().expect("a temporary folder");
        fs::write(outer.path().join("canary"), "alive").expect("a file in it");
        fs::create_dir(outer.path().join("state")).expect("a folder in it");
        let staging = Staging::open(&outer.path().join("state")).expect("a staging folder");
        Self { outer, staging }
    }

    /// Unpacks `bytes`.
    ///
    /// # Panics
    /// When anything is left that should not be, lies elsewhere, is no plain file or folder, or is over the limits;
    /// or when the disk failed, which it has no reason to.
    pub fn unpack(&self, bytes: &[u8], format: ArchiveFormat) {
        match unpack(bytes, format, &LIMITS, &self.staging) {
            Ok(unpacked) => {
                assert!(unpacked.root.starts_with(self.staging.path()), "unpacked elsewhere");
                assert!(unpacked.root.join("manifest.json").is_file(), "unpacked without a manifest");
                let mut seen = Seen::default();
                seen.walk(&unpacked.guard.path().join("content"), "");
                assert!(seen.members <= LIMITS.tree.members_max, "{} members", seen.members);
                assert!(seen.bytes <= LIMITS.tree.bytes_max, "{} bytes", seen.bytes);
                assert_eq!(seen.files, second_reader::read(bytes, format), "another reader sees something else");
                assert!(seen.bytes <= (bytes.len() as u64 * LIMITS.ratio_max).max(1 << 20), "{} bytes", seen.bytes);
            }
            Err(ArchiveError::Disk(error)) => panic!("the disk is drawn in: {error:?}"),
            Err(error) => {
                assert!(!error.code().is_empty() && !error.hint().is_empty());
                let text = error.to_string();
                assert!(!text.chars().any(char::is_control), "control characters in {text:?}");
            }
        }
        self.assert_untouched();
    }

    fn assert_untouched(&self) {
        assert_eq!(fs::read_dir(self.staging.path()).expect("staging").count(), 0, "something is left in staging");
        assert_eq!(fs::read_dir(self.outer.path().join("state")).expect("state").count(), 1, "a file beside staging");
        assert_eq!(fs::read_dir(self.outer.path()).expect("outer").count(), 2, "a file beside the state folder");
        assert_eq!(fs::read(self.outer.path().join("canary")).expect("canary"), b"alive");
    }
}

impl Default for Checker {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Default)]
struct Seen {
    members: usize,
    bytes: u64,
    folded: HashSet<String>,
    files: Files,
}

impl Seen {
    fn walk(&mut self, folder: &Path, above: &str) {
        for entry in fs::read_dir(folder).expect("a folder that was unpacked") {
            let entry = entry.expect("an entry");
            let metadata = fs::symlink_metadata(entry.path()).expect("its metadata");
            let name = entry.file_name().into_string().expect("a name in UTF-8");
            assert!(!name.chars().any(char::is_control) && !name.contains('\\'), "{name:?}");
            let path = format!("{above}/{name}");
            assert!(self.folded.insert(path.to_lowercase()), "{path:?} twice but for case");
            assert!(path.split('/').count() <= LIMITS.tree.depth_max + 1, "{path:?} is too deep");
            self.members += 1;
            if metadata.is_dir() {
                assert_eq!(metadata.mode() & 0o7777, 0o755, "{path:?}");
                self.walk(&entry.path(), &path);
            } else {
                assert!(metadata.is_file(), "{path:?} is neither file nor folder");
                assert_eq!(metadata.nlink(), 1, "{path:?} has another name");
                assert!([0o644, 0o755].contains(&(metadata.mode() & 0o7777)), "{path:?}: {:o}", metadata.mode());
                self.bytes += metadata.len();
                self.files.insert(path, fs::read(entry.path()).expect("a file that was unpacked"));
            }
        }
    }
}
