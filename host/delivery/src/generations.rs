//! What runs: `<state_dir>/generations/<plugin_id>/<sequence>/`, written once and never changed.

mod error;
#[cfg(test)]
mod tests;

pub use error::GenerationError;

use crate::commit::{place, sync, sync_parent, sync_tree};
use crate::disk::{DiskError, failed};
use crate::tree::{Selection, TreeError};
use crate::{FolderError, StagedPlugin, Staging, TreeLimits, folder, own_folder};
use mortise_model::{Digest, Manifest, PluginId, Provenance};
use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tempfile::TempDir;

/// The folder of generations. Clones share it; everything blocks.
///
/// A generation has its name only while all of it is there: it is renamed into place once everything is on disk, and
/// out of it before any of it is removed. Its files have the modes 0444 and 0555, which keeps an editor from changing
/// them by mistake. Folders stay 0755: one that nobody may write to could be neither moved nor removed by a host that
/// is not root. What a generation holds is proven by [`Generations::verify`], not by modes.
#[derive(Debug, Clone)]
pub struct Generations {
    dir: PathBuf,
    staging: Staging,
    /// Held while names change: the folder of a plugin comes with its first generation and goes with its last.
    names: Arc<Mutex<()>>,
    /// The folders that somebody has been told of. The std mutex is held for a look.
    told: Arc<Mutex<Told>>,
}

type Told = HashMap<(PluginId, u64), Weak<Path>>;

/// A generation in its place.
#[derive(Debug, Clone)]
pub struct GenerationFolder {
    /// The plugin.
    pub id: PluginId,
    /// Its number among the plugin's generations.
    pub sequence: u64,
    /// Read together with the files that `tree` covers.
    pub manifest: Arc<Manifest>,
    /// Tree digest: over path, mode and content of every file.
    pub tree: Digest,
    /// Where its files are. As long as somebody has it or a clone of it, the generation is [in use](Generations::in_use).
    pub path: Arc<Path>,
    /// Where they came from: with one that was read from the disk, as far as whoever has its record says so.
    pub provenance: Arc<Provenance>,
}

/// A generation that is in place and not yet wanted: dropped, it is removed. Dropping blocks. What cannot be removed
/// then is removed by the [`Generations::sweep`] of the next start, since no record names it.
#[derive(Debug)]
#[must_use = "dropping it removes the generation"]
pub struct GenerationGuard {
    folder: GenerationFolder,
    /// None once it is kept.
    generations: Option<Generations>,
}

/// What [`Generations::sweep`] did.
#[derive(Debug, Default)]
pub struct SweptGenerations {
    /// Sorted.
    pub removed: Vec<(PluginId, u64)>,
    /// One for each that could not be removed.
    pub failed: Vec<GenerationError>,
}

impl Generations {
    /// Makes the folder where there is none, with mode 0700. `state_dir` must exist, and `staging` be of the same one.
    ///
    /// # Errors
    /// [`DiskError`] when it cannot be made, or a file or a link lies in its place.
    pub fn open(state_dir: &Path, staging: Staging) -> Result<Self, DiskError> {
        let dir = state_dir.join("generations");
        own_folder::make_private(&dir)?;
        Ok(Self { dir, staging, names: Arc::default(), told: Arc::default() })
    }

    /// Where a generation is, or would be.
    #[must_use]
    pub fn path(&self, id: &PluginId, sequence: u64) -> PathBuf {
        self.dir.join(id.as_str()).join(sequence.to_string())
    }

    /// Puts a staged plugin in its place. Blocks until everything is on disk, its name included.
    ///
    /// # Errors
    /// [`GenerationError`]; then nothing of it is left, or nothing that a sweep would not remove.
    pub fn commit(&self, staged: StagedPlugin, sequence: u64) -> Result<GenerationGuard, GenerationError> {
        let StagedPlugin { id, manifest, tree, provenance, root, guard, .. } = staged;
        let path = self.path(&id, sequence);
        seal(&root)?;
        sync_tree(&root)?;
        let names = self.names();
        own_folder::make(&self.dir.join(id.as_str()), 0o755)?;
        if self.find(&id, sequence)?.is_some() {
            return Err(GenerationError::Exists { id, sequence });
        }
        place(&root, &path)?;
        drop((names, guard));
        let path = self.tell(&id, sequence, &path);
        let folder = GenerationFolder { id, sequence, manifest, tree, path, provenance };
        let guard = GenerationGuard { folder, generations: Some(self.clone()) };
        sync_parent(&guard.folder.path)?;
        Ok(guard)
    }

    /// Reads every file of a generation and compares its tree digest with the one it was committed with.
    ///
    /// # Errors
    /// [`GenerationError::Missing`], [`GenerationError::Corrupt`], or what made it unreadable.
    pub fn verify(
        &self,
        id: &PluginId,
        sequence: u64,
        tree: &Digest,
        limits: &TreeLimits,
    ) -> Result<GenerationFolder, GenerationError> {
        let missing = || GenerationError::Missing { id: id.clone(), sequence };
        let path = self.find(id, sequence)?.ok_or_else(missing)?;
        let parse = |bytes: &[u8]| Manifest::parse_installed(bytes, id);
        // The digest before the manifest: a corrupt one is called corrupt, whatever else is wrong with it.
        let found = crate::tree::Tree::read(&path, Selection::Everything, limits).map_err(|error| match error {
            TreeError::NotFound { .. } => missing(),
            error => FolderError::from(error).into(),
        })?;
        if found.digest != *tree {
            let (expected, actual) = (*tree, found.digest);
            return Err(GenerationError::Corrupt { id: id.clone(), sequence, expected, actual });
        }
        let manifest = Arc::new(folder::check(&found, &parse)?);
        let provenance = Arc::default();
        let path = self.tell(id, sequence, &path);
        Ok(GenerationFolder { id: id.clone(), sequence, manifest, tree: *tree, path, provenance })
    }

    /// Whether something may still read the generation's files: it serves, or drains and has calls left that open them.
    #[must_use]
    pub fn in_use(&self, id: &PluginId, sequence: u64) -> bool {
        self.told().get(&(id.clone(), sequence)).is_some_and(|path| path.strong_count() > 0)
    }

    /// The one path of a generation that everybody has who reads it.
    fn tell(&self, id: &PluginId, sequence: u64, path: &Path) -> Arc<Path> {
        let mut told = self.told();
        told.retain(|_, path| path.strong_count() > 0);
        let key = (id.clone(), sequence);
        if let Some(path) = told.get(&key).and_then(Weak::upgrade) {
            return path;
        }
        let path = Arc::from(path);
        told.insert(key, Arc::downgrade(&path));
        path
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a generation and returns whether there was one. Callers see to it that nothing runs from it.
    ///
    /// # Errors
    /// [`GenerationError`]; then it is whole or gone, and a crash may bring it back.
    pub fn remove(&self, id: &PluginId, sequence: u64) -> Result<bool, GenerationError> {
        // Dropped at the end with what was moved there; what is left of it is swept with the staging folder.
        self.move_out(id, sequence).map(|aside| aside.is_some())
    }

    /// The first step of a removal: after it, the name is free and only what lies in staging is left to remove.
    fn move_out(&self, id: &PluginId, sequence: u64) -> Result<Option<TempDir>, GenerationError> {
        let _names = self.names();
        let Some(path) = self.find(id, sequence)? else { return Ok(None) };
        let (guard, content) = self.staging.fresh()?;
        fs::rename(&path, &content).map_err(failed("rename", &path))?;
        sync_parent(&path)?;
        // Not removed when it holds another generation; an empty one is swept.
        let _ = fs::remove_dir(self.dir.join(id.as_str()));
        Ok(Some(guard))
    }

    /// The path of a generation that is there, with no link on the way.
    fn find(&self, id: &PluginId, sequence: u64) -> Result<Option<PathBuf>, GenerationError> {
        let path = self.path(id, sequence);
        Ok((is_folder(&self.dir.join(id.as_str()))? && is_folder(&path)?).then_some(path))
    }

    /// Every generation there is, sorted. What is not named like one is left out.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn list(&self) -> Result<Vec<(PluginId, u64)>, DiskError> {
        let mut found = Vec::new();
        for name in folder_names(&self.dir)? {
            let Ok(id) = PluginId::new(&name) else { continue };
            for name in folder_names(&self.dir.join(&name))? {
                let sequence = name.parse::<u64>().ok().filter(|sequence| sequence.to_string() == name);
                found.extend(sequence.map(|sequence| (id.clone(), sequence)));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Removes every generation that is not `referenced`, and the folders of plugins that have none. For the start,
    /// before anything is committed.
    ///
    /// # Errors
    /// [`DiskError`] when they cannot be listed; those that cannot be removed are in the result.
    pub fn sweep(&self, referenced: impl Fn(&PluginId, u64) -> bool) -> Result<SweptGenerations, DiskError> {
        let mut swept = SweptGenerations::default();
        for (id, sequence) in self.list()? {
            if referenced(&id, sequence) {
                continue;
            }
            match self.remove(&id, sequence) {
                Ok(_) => swept.removed.push((id, sequence)),
                Err(error) => swept.failed.push(error),
            }
        }
        // A crash between the making of a plugin's folder and its first generation leaves an empty one.
        for name in folder_names(&self.dir)? {
            let _names = self.names();
            // Not removed when anything is in it, which is the rule and no failure.
            let _ = fs::remove_dir(self.dir.join(name));
        }
        sync(&self.dir)?;
        Ok(swept)
    }

    fn names(&self) -> MutexGuard<'_, ()> {
        // It guards names on disk and no memory that a panic could have left half changed.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GenerationGuard {
    /// The generation.
    #[must_use]
    pub fn folder(&self) -> &GenerationFolder {
        &self.folder
    }

    /// The generation is wanted: it stays. To be called once the record that names it is written, or just before: a
    /// crash between the two leaves one that no record names, which is swept.
    #[must_use]
    pub fn keep(mut self) -> GenerationFolder {
        self.generations = None;
        self.folder.clone()
    }
}

impl Drop for GenerationGuard {
    fn drop(&mut self) {
        if let Some(generations) = self.generations.take() {
            // There is nobody to tell, and the next start removes what is left.
            let _ = generations.remove(&self.folder.id, self.folder.sequence);
        }
    }
}

/// Takes away every permission to write to the files. The tree is ours: it holds files and folders only.
fn seal(folder: &Path) -> Result<(), DiskError> {
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let entry = entry.map_err(failed("read", folder))?;
        let path = entry.path();
        let metadata = entry.metadata().map_err(failed("read", &path))?;
        if metadata.is_dir() {
            seal(&path)?;
        } else {
            let mode = if metadata.permissions().mode() & 0o111 == 0 { 0o444 } else { 0o555 };
            fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed("set the mode of", &path))?;
        }
    }
    Ok(())
}

/// Whether a folder is there. Anything else there is an error.
fn is_folder(path: &Path) -> Result<bool, GenerationError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(true),
        Ok(_) => Err(GenerationError::NotAFolder { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("read", path)(error).into()),
    }
}

/// Names of the folders in a folder, links left out.
fn folder_names(dir: &Path) -> Result<Vec<String>, DiskError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("read", dir))? {
        let entry = entry.map_err(failed("read", dir))?;
        let is_dir = entry.file_type().map_err(failed("read", &entry.path()))?.is_dir();
        names.extend(entry.file_name().into_string().ok().filter(|_| is_dir));
    }
    Ok(names)
}
