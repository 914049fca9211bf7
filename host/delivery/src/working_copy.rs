//! What an operator sees and edits: `<capabilities_dir>/<plugin_id>`. Nothing runs from it.
//!
//! Every file counts here, dot files included, as in archives and generations: what goes from an archive to a generation,
//! from there to the working copy and back keeps its tree digest.

mod error;
#[cfg(test)]
mod tests;

pub use error::WorkingCopyError;

use crate::commit::{commit, exchange, place, sync_parent, sync_tree};
use crate::disk::failed;
use crate::stage::copy;
use crate::tree::{Selection, Tree, TreeError};
use crate::unpack::{ArchiveError, Sink};
use crate::{
    CommitError, GenerationFolder, IfExists, StageError, StagedPlugin, Staging, TreeLimits, folder, own_folder,
};
use mortise_model::{Digest, Manifest, PluginId};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Where edits are set aside, below the capabilities folder. Dot folders are never plugins.
const EDITS: &str = ".edits";

/// Edited copies of one plugin that are kept. They are never removed by the host.
const EDITS_MAX: u32 = 1_000;

/// The working copies of all plugins. Cheap to clone; everything blocks. Callers serialise what they do with one plugin.
///
/// Edits that must make room are kept as `<capabilities_dir>/.edits/<plugin_id>.<n>`, with the smallest free `n` from 1:
/// a number, since clocks jump and are no proof of order. The host only ever adds to that folder.
#[derive(Debug, Clone)]
pub struct WorkingCopies {
    capabilities_dir: PathBuf,
    staging: Staging,
    limits: TreeLimits,
}

/// How a working copy compares with a generation.
#[derive(Debug)]
pub enum WorkingCopyState {
    /// There is none.
    Missing,
    /// It holds the generation's files and nothing else.
    Same,
    /// It holds something else.
    Edited {
        /// What it holds.
        tree: Digest,
    },
    /// It holds what no plugin may hold, like a link, or more than a plugin may.
    Unfit {
        /// Why.
        error: TreeError,
    },
}

/// What [`WorkingCopies::repair`] did.
#[derive(Debug, PartialEq, Eq)]
pub enum Repaired {
    /// It was as it should be.
    Same,
    /// There was none.
    Written,
    /// It was that of another generation, and nobody had edited it.
    Replaced,
    /// Somebody had edited it.
    SetAside {
        /// Where the edits are now.
        edits: PathBuf,
    },
}

impl WorkingCopies {
    /// The plugins in `capabilities_dir`, which must exist and lie on the file system of `staging`.
    #[must_use]
    pub fn new(capabilities_dir: PathBuf, staging: Staging, limits: TreeLimits) -> Self {
        Self { capabilities_dir, staging, limits }
    }

    /// Where the working copy of a plugin is, or would be.
    #[must_use]
    pub fn path(&self, id: &PluginId) -> PathBuf {
        self.capabilities_dir.join(id.as_str())
    }

    /// Compares a working copy with a tree digest. Reads every file.
    ///
    /// # Errors
    /// [`WorkingCopyError::NotAFolder`], or [`WorkingCopyError::Disk`] when something cannot be read.
    pub fn state(&self, id: &PluginId, tree: &Digest) -> Result<WorkingCopyState, WorkingCopyError> {
        match Tree::read(&self.path(id), Selection::Everything, &self.limits) {
            Ok(found) if found.digest == *tree => Ok(WorkingCopyState::Same),
            Ok(found) => Ok(WorkingCopyState::Edited { tree: found.digest }),
            Err(TreeError::NotFound { .. }) => Ok(WorkingCopyState::Missing),
            Err(TreeError::NotAFolder { path }) => Err(WorkingCopyError::NotAFolder { path }),
            Err(TreeError::Disk(error)) => Err(error.into()),
            Err(error) => Ok(WorkingCopyState::Unfit { error }),
        }
    }

    /// Makes the working copy of a plugin hold what its generation holds, in one step, whatever it held before: who must
    /// not lose edits calls [`WorkingCopies::repair`]. Files are copied, never linked, with the modes 0644 and 0755.
    ///
    /// # Errors
    /// [`WorkingCopyError`].
    pub fn write(&self, generation: &GenerationFolder) -> Result<PathBuf, WorkingCopyError> {
        let (guard, content) = self.stage(&generation.path)?;
        let committed = commit(content, guard, &self.capabilities_dir, &generation.id, IfExists::Replace);
        match committed {
            // What was there before goes with it.
            Ok(committed) => Ok(committed.path().to_owned()),
            Err(CommitError::NotAFolder { path }) => Err(WorkingCopyError::NotAFolder { path }),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the working copy of a plugin hold what its generation holds, and keeps what somebody edited.
    ///
    /// `last_written` is the tree digest that the host itself wrote there last, where that was another generation's: a
    /// working copy that still has it is no edit. Edits of files while this runs may be lost with it.
    ///
    /// # Errors
    /// [`WorkingCopyError`].
    pub fn repair(
        &self,
        generation: &GenerationFolder,
        last_written: Option<&Digest>,
    ) -> Result<Repaired, WorkingCopyError> {
        match self.state(&generation.id, &generation.tree)? {
            WorkingCopyState::Same => Ok(Repaired::Same),
            WorkingCopyState::Missing => self.write(generation).map(|_| Repaired::Written),
            WorkingCopyState::Edited { tree } if Some(&tree) == last_written => {
                self.write(generation).map(|_| Repaired::Replaced)
            }
            WorkingCopyState::Edited { .. } | WorkingCopyState::Unfit { .. } => {
                let (_guard, content) = self.stage(&generation.path)?;
                sync_tree(&content)?;
                let edits = self.place_aside(&content, &generation.id)?;
                self.exchange_with(&edits, &generation.id)?;
                Ok(Repaired::SetAside { edits })
            }
        }
    }

    /// Moves a working copy to where edits are kept and returns where that is; none where there is no working copy.
    ///
    /// # Errors
    /// [`WorkingCopyError`].
    pub fn set_aside(&self, id: &PluginId) -> Result<Option<PathBuf>, WorkingCopyError> {
        let path = self.path(id);
        if !is_folder(&path)? {
            return Ok(None);
        }
        let edits = self.place_aside(&path, id)?;
        sync_parent(&path)?;
        Ok(Some(edits))
    }

    /// Removes a working copy, edited or not, and returns whether there was one. To keep edits, ask
    /// [`WorkingCopies::state`] and call [`WorkingCopies::set_aside`] instead.
    ///
    /// # Errors
    /// [`WorkingCopyError`].
    pub fn remove(&self, id: &PluginId) -> Result<bool, WorkingCopyError> {
        let path = self.path(id);
        if !is_folder(&path)? {
            return Ok(false);
        }
        // Half a plugin never has a plugin's name. What is left of it in staging is swept at the next start.
        let (_guard, content) = self.staging.fresh()?;
        fs::rename(&path, &content).map_err(failed("rename", &path))?;
        sync_parent(&path)?;
        Ok(true)
    }

    /// Stages a copy of a working copy, to make a generation of it. The folder's name is the plugin's id, whatever its
    /// manifest says (wire contract 10.2). Edits of files while this runs are in it or not.
    ///
    /// # Errors
    /// [`StageError::Folder`] for a folder that is missing or cannot be loaded; [`StageError::Archive`] for a disk that
    /// takes no copy.
    pub fn snapshot(&self, id: &PluginId) -> Result<StagedPlugin, StageError> {
        let (guard, root) = self.stage(&self.path(id))?;
        let parse = |bytes: &[u8]| Manifest::parse_installed(bytes, id);
        let (manifest, tree) = folder::read(&root, Selection::Everything, &self.limits, &parse)?;
        Ok(StagedPlugin {
            id: id.clone(),
            manifest: Arc::new(manifest),
            tree: tree.digest,
            size: tree.size,
            provenance: Arc::default(),
            root,
            guard,
        })
    }

    /// Copies a folder into staging.
    fn stage(&self, source: &Path) -> Result<(TempDir, PathBuf), StageError> {
        let (guard, content) = self.staging.fresh().map_err(ArchiveError::from)?;
        let mut sink = Sink::new(content.clone(), self.limits);
        copy(source, Selection::Everything, &self.limits, &mut sink)?;
        sink.finish()?;
        Ok((guard, content))
    }

    /// Renames a folder to the first free name among the edits of a plugin.
    fn place_aside(&self, folder: &Path, id: &PluginId) -> Result<PathBuf, WorkingCopyError> {
        let dir = self.capabilities_dir.join(EDITS);
        own_folder::make(&dir, 0o755).map_err(|error| match error.source.kind() {
            io::ErrorKind::NotADirectory => WorkingCopyError::NotAFolder { path: error.path },
            _ => error.into(),
        })?;
        for number in 1..=EDITS_MAX {
            let edits = dir.join(format!("{id}.{number}"));
            match fs::symlink_metadata(&edits) {
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("read", &edits)(error).into()),
            }
            place(folder, &edits)?;
            sync_parent(&edits)?;
            return Ok(edits);
        }
        Err(WorkingCopyError::TooManyEdits { id: id.clone(), edits_max: EDITS_MAX, path: dir })
    }

    /// The second step of setting edits aside: until it, and after a crash before it, they are where they were, and a
    /// plain copy of the generation lies among the edits.
    fn exchange_with(&self, edits: &Path, id: &PluginId) -> Result<(), WorkingCopyError> {
        let path = self.path(id);
        if let Err(error) = exchange(edits, &path) {
            // It is the host's own copy. Should it stay, it is one more folder to look at and nothing is lost.
            let _ = fs::remove_dir_all(edits);
            return Err(error.into());
        }
        sync_parent(edits)?;
        sync_parent(&path)?;
        Ok(())
    }
}

/// Whether a folder is there. Anything else there is an error.
fn is_folder(path: &Path) -> Result<bool, WorkingCopyError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(true),
        Ok(_) => Err(WorkingCopyError::NotAFolder { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("read", path)(error).into()),
    }
}
