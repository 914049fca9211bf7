//! The folders of a host with everything that lies in them.

use crate::archive::RawTar;
use crate::fixture::names;
use mortise_delivery::{
    ArchiveFormat, ArchiveLimits, GenerationFolder, Generations, StagedPlugin, Staging, TreeLimits, WorkingCopies,
};
use mortise_model::PluginId;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct PluginHost {
    pub(crate) capabilities: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) staging: Staging,
    pub(crate) generations: Generations,
    pub(crate) copies: WorkingCopies,
}

impl PluginHost {
    /// In a folder that exists. Called again for the same one, it is the host's next start.
    pub(crate) fn in_folder(outer: &Path) -> Self {
        let capabilities = outer.join("capabilities");
        let state = capabilities.join(".mortise");
        fs::create_dir_all(&state).unwrap();
        let staging = Staging::open(&state).unwrap();
        let generations = Generations::open(&state, staging.clone()).unwrap();
        let copies = WorkingCopies::new(capabilities.clone(), staging.clone(), TreeLimits::default());
        Self { capabilities, state, staging, generations, copies }
    }

    /// A plugin `demo` with a file of every kind that a plugin may have.
    pub(crate) fn stage(&self, content: &str) -> StagedPlugin {
        let tar = RawTar::plugin()
            .file("assets/content", content.as_bytes())
            .file(".env", b"dot files of an archive belong to it")
            .file("node_modules/a/index.js", b"so do these")
            .member_with_mode("bin/tool", b'0', "", b"#!/bin/sh\n", 0o755);
        self.stage_archive(&tar.gz())
    }

    pub(crate) fn stage_archive(&self, bytes: &[u8]) -> StagedPlugin {
        let limits = ArchiveLimits::default();
        StagedPlugin::from_archive(bytes, ArchiveFormat::TarGz, None, &limits, &self.staging).unwrap()
    }

    pub(crate) fn generation(&self, content: &str, sequence: u64) -> GenerationFolder {
        self.generations.commit(self.stage(content), sequence).unwrap().keep()
    }

    pub(crate) fn assert_nothing_staged(&self) {
        assert_eq!(names(self.staging.path()), [""; 0]);
    }
}

pub(crate) fn demo() -> PluginId {
    PluginId::new("demo").unwrap()
}
