//! A plugin on its way in: unpacked or copied, checked, not yet in place.

use crate::commit::{CommitError, Committed, IfExists, commit};
use crate::dependencies::DependencyError;
use crate::folder::{self, FolderError};
use crate::tree::{Found, Selection, Tree, TreeError, TreeSize, walk};
use crate::unpack::{ArchiveError, ArchiveFormat, ArchiveLimits, Sink, unpack};
use crate::{Staging, TreeLimits};
use mortise_model::{Digest, Manifest, ManifestError, PluginId, Provenance};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A plugin that is not accepted. Nothing of it is left on disk.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// See [`ArchiveError`].
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// See [`FolderError`].
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// See [`DependencyError`].
    #[error(transparent)]
    Dependencies(#[from] DependencyError),
    /// Neither file nor link (wire contract 10.3, `install_plugin`).
    #[error("Source path is not a directory: {}", path.display())]
    SourceNotAFolder {
        /// As given.
        path: PathBuf,
    },
    /// Wire contract 10.3, `install_plugin`.
    #[error("Missing manifest.json in {}", path.display())]
    SourceNoManifest {
        /// As given.
        path: PathBuf,
    },
}

impl StageError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Archive(error) => error.code(),
            Self::Folder(error) => error.code(),
            Self::Dependencies(error) => error.code(),
            Self::SourceNotAFolder { .. } => "not_a_folder",
            Self::SourceNoManifest { .. } => "missing_manifest",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Archive(error) => error.hint(),
            Self::Folder(error) => error.hint(),
            Self::Dependencies(error) => error.hint(),
            Self::SourceNotAFolder { .. } => "name the plugin's folder itself, not a file or a link".to_owned(),
            Self::SourceNoManifest { .. } => "put a manifest.json at the top of the plugin's folder".to_owned(),
        }
    }
}

/// A plugin in a staging folder of its own, checked as far as that is possible without running it. Dropped, it leaves
/// nothing behind.
#[derive(Debug)]
pub struct StagedPlugin {
    /// As asked for, else from the manifest, else the archive's or source's folder name.
    pub id: PluginId,
    /// Its id is `id`.
    pub manifest: Arc<Manifest>,
    /// Tree digest: over path, mode and content of every file.
    pub tree: Digest,
    /// Unpacked.
    pub size: TreeSize,
    /// Where it came from, as far as whoever staged it says so.
    pub provenance: Arc<Provenance>,
    pub(crate) root: PathBuf,
    pub(crate) guard: TempDir,
}

impl StagedPlugin {
    /// Unpacks an archive (wire contract 10.5). Blocks: for callers on threads that may.
    ///
    /// `id` is the id that the caller asks for; a manifest that says otherwise is an error.
    ///
    /// # Errors
    /// [`StageError`].
    pub fn from_archive(
        bytes: &[u8],
        format: ArchiveFormat,
        id: Option<&PluginId>,
        limits: &ArchiveLimits,
        staging: &Staging,
    ) -> Result<Self, StageError> {
        let unpacked = unpack(bytes, format, limits, staging)?;
        Self::check(unpacked.root, unpacked.guard, id, unpacked.top.as_deref(), &limits.tree)
    }

    /// Copies a folder, without dot files and what tools leave behind (`target` beside a `Cargo.toml`,
    /// `node_modules`, `__pycache__`). Blocks.
    ///
    /// `id` is the id that the caller asks for; a manifest that says otherwise is an error.
    ///
    /// # Errors
    /// [`StageError`].
    pub fn from_folder(
        source: &Path,
        id: Option<&PluginId>,
        limits: &TreeLimits,
        staging: &Staging,
    ) -> Result<Self, StageError> {
        let metadata = std::fs::symlink_metadata(source);
        if !metadata.is_ok_and(|metadata| metadata.is_dir()) {
            return Err(StageError::SourceNotAFolder { path: source.to_owned() });
        }
        let (guard, content) = staging.fresh().map_err(ArchiveError::from)?;
        let mut sink = Sink::new(content.clone(), *limits);
        copy(source, Selection::Authored, limits, &mut sink)?;
        sink.finish()?;
        let name = source.file_name().and_then(|name| name.to_str());
        match Self::check(content, guard, id, name, limits) {
            Err(StageError::Folder(FolderError::NoManifest)) => {
                Err(StageError::SourceNoManifest { path: source.to_owned() })
            }
            staged => staged,
        }
    }

    fn check(
        root: PathBuf,
        guard: TempDir,
        id: Option<&PluginId>,
        folder: Option<&str>,
        limits: &TreeLimits,
    ) -> Result<Self, StageError> {
        let parse = |bytes: &[u8]| match (Manifest::parse(bytes, id), folder) {
            // The folder's name is only a default: archives are packed under any name.
            (Err(ManifestError::MissingId), Some(folder)) => Manifest::parse(bytes, Some(&PluginId::new(folder)?)),
            (parsed, _) => parsed,
        };
        let (manifest, tree) = folder::read(&root, Selection::Everything, limits, &parse)?;
        let (id, manifest) = (manifest.id.clone(), Arc::new(manifest));
        let provenance = Arc::default();
        Ok(Self { id, manifest, tree: tree.digest, size: tree.size, provenance, root, guard })
    }

    /// The same after files were added.
    pub(crate) fn checked_again(self, limits: &TreeLimits) -> Result<Self, FolderError> {
        let tree = Tree::read(&self.root, Selection::Everything, limits)?;
        Ok(Self { tree: tree.digest, size: tree.size, ..self })
    }

    /// Where its files are, until it is committed or dropped.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Puts it at `<capabilities_dir>/<id>`, in one step. Blocks until everything is on disk. Callers serialise the
    /// commits of one plugin.
    ///
    /// # Errors
    /// [`CommitError`]; what was there is there still.
    pub fn commit(self, capabilities_dir: &Path, if_exists: IfExists) -> Result<Committed, CommitError> {
        commit(self.root, self.guard, capabilities_dir, &self.id, if_exists)
    }
}

/// Copies the selected files of a folder into a sink, with the sink's modes.
pub(crate) fn copy(
    source: &Path,
    selection: Selection,
    limits: &TreeLimits,
    sink: &mut Sink,
) -> Result<(), StageError> {
    /// What may fail while a file is read from one place and written to the other.
    enum CopyError {
        Source(TreeError),
        Target(ArchiveError),
    }
    impl From<TreeError> for CopyError {
        fn from(error: TreeError) -> Self {
            Self::Source(error)
        }
    }
    walk(source, selection, limits, &mut |found: Found<'_>| {
        let path = source.join(found.path);
        let explain = |error| ArchiveError::Disk(crate::disk::failed("read", &path)(error));
        let mode = if found.executable { 0o755 } else { 0o644 };
        let written = sink.file(found.path.as_bytes(), mode, found.content, &explain);
        written.map(drop).map_err(CopyError::Target)
    })
    .map_err(|error| match error {
        CopyError::Source(error) => FolderError::from(error).into(),
        CopyError::Target(error) => error.into(),
    })
}
