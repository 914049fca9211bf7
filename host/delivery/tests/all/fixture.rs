//! A host's folders, with something beside them that must never change.

pub(crate) use crate::archive::MANIFEST;
use mortise_delivery::{ArchiveError, ArchiveFormat, ArchiveLimits, StageError, StagedPlugin, Staging};
use mortise_model::PluginId;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) struct Fixture {
    outer: TempDir,
    pub(crate) staging: Staging,
    pub(crate) limits: ArchiveLimits,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("canary"), "alive").unwrap();
        fs::create_dir_all(outer.path().join("capabilities/.mortise")).unwrap();
        let staging = Staging::open(&outer.path().join("capabilities/.mortise")).unwrap();
        Self { outer, staging, limits: ArchiveLimits::default() }
    }

    pub(crate) fn capabilities(&self) -> PathBuf {
        self.outer.path().join("capabilities")
    }

    pub(crate) fn outer(&self) -> &Path {
        self.outer.path()
    }

    pub(crate) fn stage(&self, bytes: &[u8], id: Option<&str>) -> Result<StagedPlugin, StageError> {
        let id = id.map(|id| PluginId::new(id).unwrap());
        let format = ArchiveFormat::detect("auto", None, bytes);
        StagedPlugin::from_archive(bytes, format, id.as_ref(), &self.limits, &self.staging)
    }

    /// Stages an archive that must be refused, and checks that nothing of it is left anywhere.
    pub(crate) fn refuse(&self, bytes: &[u8]) -> ArchiveError {
        self.refuse_as(bytes, ArchiveFormat::detect("auto", None, bytes))
    }

    /// The same for an archive whose first bytes do not tell what it is.
    pub(crate) fn refuse_as(&self, bytes: &[u8], format: ArchiveFormat) -> ArchiveError {
        let staged = StagedPlugin::from_archive(bytes, format, None, &self.limits, &self.staging);
        let error = match staged {
            Err(StageError::Archive(error)) => error,
            other => panic!("expected an archive error, got {other:?}"),
        };
        self.assert_untouched();
        assert!(!error.code().is_empty() && !error.hint().is_empty());
        error
    }

    /// Nothing staged, nothing installed, nothing beside it changed.
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(names(self.staging.path()), [""; 0]);
        assert_eq!(names(&self.capabilities()), [".mortise"]);
        assert_eq!(names(&self.capabilities().join(".mortise")), ["staging"]);
        assert_eq!(names(self.outer.path()), ["canary", "capabilities"]);
        assert_eq!(fs::read_to_string(self.outer.path().join("canary")).unwrap(), "alive");
    }
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entry = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(entry).collect();
    names.sort_unstable();
    names
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}
