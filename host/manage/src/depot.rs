//! What is installed: the record of each plugin, its generations, the archives they came in, and the working copies that
//! operators see.
//!
//! The record and its generation are the truth, and nothing runs from a working copy. A record is written last: whatever
//! a crash leaves behind without one is swept at the next start, and a working copy that differs is put right.

mod compiled;
mod downloads;
mod error;
mod recovery;
mod state;
mod uninstall;

pub use error::DepotError;
pub use recovery::Recovered;
pub(crate) use uninstall::Uninstalled;

use jiff::Timestamp;
use mortise_delivery::{
    ArchiveStore, FolderError, GenerationError, GenerationFolder, GenerationGuard, Generations, Repaired, StagedPlugin,
    Staging, TreeError, TreeLimits, WorkingCopies, WorkingCopyState,
};
use mortise_model::{Digest, Json, Limits, PluginId, Provenance, Source};
use mortise_plugin::{Asker, NameClaims, Package};
use mortise_store::{Desired, GenerationRecord, PluginRecord, Store, StoreError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Generations before the current one that are kept for a rollback, where the operator says nothing else.
pub const RETENTION: usize = 2;

/// Everything that is installed. Clones share it; everything blocks. Callers serialise what they do with one plugin.
#[derive(Debug, Clone)]
pub struct Depot {
    state_dir: PathBuf,
    store: Store,
    archives: ArchiveStore,
    generations: Generations,
    copies: WorkingCopies,
    staging: Staging,
    /// Archives of installs under way, and of how many.
    pins: Arc<Mutex<Pins>>,
    retention: usize,
}

type Pins = HashMap<String, usize>;

/// An archive that an install under way needs.
#[derive(Debug)]
pub(crate) struct ArchivePin {
    pub(crate) digest: Digest,
    pins: Arc<Mutex<Pins>>,
}

impl Drop for ArchivePin {
    fn drop(&mut self) {
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pins.get_mut(&self.digest.hex()) {
            *count -= 1;
        }
        pins.retain(|_, count| *count > 0);
    }
}

/// The current generation of a plugin that is installed.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) desired: Desired,
    pub(crate) number: u64,
    pub(crate) generation: GenerationRecord,
}

/// A plugin's record, and those of its generations by number.
pub(crate) type Versions = (PluginRecord, BTreeMap<u64, GenerationRecord>);

/// Which of a plugin's files should be loaded.
#[derive(Debug)]
pub(crate) enum ToLoad {
    /// The recorded generation's: the working copy holds nothing else.
    Recorded(GenerationFolder),
    /// The working copy's: it was edited, or is new.
    WorkingCopy(StagedPlugin),
}

/// A generation that the record names. Dropped, it stays; [`Depot::withdraw`] takes it back.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) folder: GenerationFolder,
    /// The record before.
    before: Option<PluginRecord>,
    /// Whether this is a new generation, and not one that had been recorded before.
    fresh: bool,
}

impl Depot {
    /// Opens what `state_dir` holds, and puts right what an earlier process left. Blocks.
    ///
    /// `state_dir` and `capabilities_dir` must exist and lie on one file system, and be locked by this process.
    ///
    /// # Errors
    /// [`DepotError`] when the store or a folder cannot be used at all. What is wrong with one plugin is in the report.
    pub fn open(
        state_dir: &Path,
        capabilities_dir: PathBuf,
        staging: Staging,
        retention: usize,
    ) -> Result<(Self, Recovered), DepotError> {
        let store = Store::open(state_dir)?;
        let set_aside = recovery::set_aside_unknown(&store, state_dir)?;
        let depot = Self {
            state_dir: state_dir.to_owned(),
            store,
            archives: ArchiveStore::open(state_dir).map_err(mortise_delivery::DeliveryError::from)?,
            generations: Generations::open(state_dir, staging.clone())
                .map_err(mortise_delivery::DeliveryError::from)?,
            copies: WorkingCopies::new(capabilities_dir, staging.clone(), TreeLimits::default()),
            staging,
            pins: Arc::default(),
            // A rollback always has somewhere to go.
            retention: retention.max(1),
        };
        let recovered = depot.recover(&set_aside)?;
        Ok((depot, recovered))
    }

    pub(crate) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    pub(crate) fn staging(&self) -> &Staging {
        &self.staging
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn archives(&self) -> &ArchiveStore {
        &self.archives
    }

    /// Where a plugin's working copy is, or would be.
    pub(crate) fn working_copy(&self, id: &PluginId) -> PathBuf {
        self.copies.path(id)
    }

    /// A plugin that has a current generation.
    pub(crate) fn installed(&self, id: &PluginId) -> Result<Option<Installed>, DepotError> {
        let Some(record) = self.store.plugin(id)? else { return Ok(None) };
        let Some(number) = record.current else { return Ok(None) };
        let generation = self.store.generation(id, number)?;
        Ok(generation.map(|generation| Installed { desired: record.desired, number, generation }))
    }

    /// Every recorded generation of a plugin, by number, and its record.
    pub(crate) fn versions(&self, id: &PluginId) -> Result<Option<Versions>, DepotError> {
        let Some(record) = self.store.plugin(id)? else { return Ok(None) };
        Ok(Some((record, self.store.generations(id)?)))
    }

    /// The generation that served last, where the current one was put in its place and never served.
    pub(crate) fn served_before(&self, id: &PluginId) -> Result<Option<GenerationFolder>, DepotError> {
        let Some((record, generations)) = self.versions(id)? else { return Ok(None) };
        let served = |number: &u64| generations.get(number).filter(|known| known.description.is_some());
        if record.current.is_some_and(|current| served(&current).is_some()) {
            return Ok(None);
        }
        let before = record.previous.iter().find_map(|number| Some((*number, served(number)?)));
        before.map(|(number, generation)| self.open_generation(id, number, generation)).transpose()
    }

    /// What loading the plugin would run: its working copy where somebody edited it, else what is recorded.
    pub(crate) fn to_load(&self, id: &PluginId) -> Result<ToLoad, DepotError> {
        let Some(installed) = self.installed(id)? else {
            return Ok(ToLoad::WorkingCopy(self.copies.snapshot(id)?));
        };
        Ok(match self.is_edited(id, &installed)? {
            true => ToLoad::WorkingCopy(self.copies.snapshot(id)?),
            false => ToLoad::Recorded(self.open_generation(id, installed.number, &installed.generation)?),
        })
    }

    /// Whether somebody edited the working copy.
    pub(crate) fn is_edited(&self, id: &PluginId, installed: &Installed) -> Result<bool, DepotError> {
        Ok(match self.copies.state(id, &installed.generation.tree)? {
            WorkingCopyState::Same | WorkingCopyState::Missing => false,
            // One that still shows an earlier generation was not edited: it could not be put right.
            WorkingCopyState::Edited { tree } => self.shown(id)? != Some(tree),
            WorkingCopyState::Unfit { .. } => true,
        })
    }

    /// The folder of a recorded generation. One that is lost or damaged is unpacked anew from its archive.
    pub(crate) fn open_generation(
        &self,
        id: &PluginId,
        number: u64,
        generation: &GenerationRecord,
    ) -> Result<GenerationFolder, DepotError> {
        let known = |folder| GenerationFolder { provenance: Arc::new(generation.provenance()), ..folder };
        match self.generations.verify(id, number, &generation.tree, &TreeLimits::default()) {
            Ok(folder) => Ok(known(folder)),
            // What cannot be read may be sound.
            Err(
                error @ (GenerationError::Disk(_) | GenerationError::Folder(FolderError::Tree(TreeError::Disk(_)))),
            ) => Err(error.into()),
            Err(error) => self.restore(id, number, generation)?.map(known).ok_or_else(|| DepotError::from(error)),
        }
    }

    /// Gives a staged plugin a number and a folder of its own. Dropped, it is removed.
    pub(crate) fn add(&self, staged: StagedPlugin) -> Result<GenerationGuard, DepotError> {
        // Written down first: a number is never given twice, whatever fails in between.
        let number = self.store.write(|tx| tx.take_generation(&staged.id))?;
        Ok(self.generations.commit(staged, number)?)
    }

    /// Makes a new generation the plugin's current one: on disk when this returns.
    pub(crate) fn record(
        &self,
        guard: GenerationGuard,
        description: Option<Json>,
        desired: Option<Desired>,
    ) -> Result<Recorded, DepotError> {
        let folder = guard.folder();
        let (id, number) = (folder.id.clone(), folder.sequence);
        let Provenance { source, archive, signer, .. } = Provenance::clone(&folder.provenance);
        let generation = GenerationRecord {
            version: folder.manifest.version.clone(),
            tree: folder.tree,
            archive,
            source,
            signer,
            installed_at: Timestamp::now(),
            manifest: Json::of(&Value::Object(folder.manifest.raw.clone())),
            description,
        };
        let written = self.store.write(|tx| {
            let before = tx.plugin(&id)?;
            let mut record = before.clone().unwrap_or_else(|| PluginRecord::new(Desired::Loaded));
            // One that was put in its place and never served would push out one that did.
            let generations = tx.generations(&id)?;
            let served = |current: &u64| generations.get(current).is_some_and(|known| known.description.is_some());
            record.current = record.current.filter(served);
            self.promote(&mut record, number);
            record.desired = desired.unwrap_or(record.desired);
            tx.put_generation(&id, number, &generation)?;
            tx.put_plugin(&id, &record)?;
            Ok::<_, DepotError>(before)
        });
        match written {
            Ok(before) => Ok(Recorded { folder: guard.keep(), before, fresh: true }),
            Err(error) => {
                if matches!(error, DepotError::Store(StoreError::InDoubt { .. })) {
                    // The record may be there after all; if it is not, the next start sweeps the files.
                    let _ = guard.keep();
                }
                Err(error)
            }
        }
    }

    /// Makes a recorded generation the current one, as a rollback and a load do: on disk when this returns.
    /// `description` is what it is known by from now on.
    pub(crate) fn choose(&self, folder: GenerationFolder, description: Json) -> Result<Recorded, DepotError> {
        let before = self.store.write(|tx| {
            if let Some(mut generation) = tx.generations(&folder.id)?.remove(&folder.sequence)
                && generation.description.as_ref() != Some(&description)
            {
                generation.description = Some(description);
                tx.put_generation(&folder.id, folder.sequence, &generation)?;
            }
            let before = tx.plugin(&folder.id)?;
            let mut record = before.clone().unwrap_or_else(|| PluginRecord::new(Desired::Loaded));
            self.promote(&mut record, folder.sequence);
            record.desired = Desired::Loaded;
            if before.as_ref() != Some(&record) {
                tx.put_plugin(&folder.id, &record)?;
            }
            Ok::<_, DepotError>(before)
        })?;
        Ok(Recorded { folder, before, fresh: false })
    }

    /// Makes `number` the current generation, and the one that was current the first of those to go back to.
    fn promote(&self, record: &mut PluginRecord, number: u64) {
        if record.current != Some(number) {
            record.previous.retain(|previous| *previous != number);
            record.previous.splice(0..0, record.current);
            record.previous.truncate(self.retention);
            record.current = Some(number);
        }
    }

    /// Takes back what [`Depot::record`] or [`Depot::choose`] did.
    pub(crate) fn withdraw(&self, recorded: &Recorded) -> Result<(), DepotError> {
        let (id, number) = (&recorded.folder.id, recorded.folder.sequence);
        self.store.write(|tx| {
            match &recorded.before {
                Some(before) => tx.put_plugin(id, before)?,
                None => tx.remove_plugin(id)?,
            }
            if recorded.fresh { tx.remove_generation(id, number) } else { Ok(()) }
        })?;
        if recorded.fresh {
            self.generations.remove(id, number)?;
        }
        Ok(())
    }

    /// What follows once the generation serves: the working copy shows it, who owns which name is remembered, and what
    /// is kept no longer goes. Returns where edits were set aside that were in the way.
    ///
    /// None of it is needed for the plugin to be whole: a failure is a warning, and the next start does it again. What is
    /// in use is kept whatever else is: what serves, and what drains.
    pub(crate) fn settle(
        &self,
        recorded: &Recorded,
        names: impl FnOnce() -> NameClaims,
    ) -> Result<Option<PathBuf>, DepotError> {
        let (id, number) = (&recorded.folder.id, recorded.folder.sequence);
        // Last in its outcome: who owns which name must not depend on a folder that people edit.
        let shown = self.show(&recorded.folder);
        let (dropped, archives) = self.store.write(|tx| {
            let names = names();
            if tx.names()? != names {
                tx.put_names(&names)?;
            }
            let Some(mut record) = tx.plugin(id)? else { return Ok::<_, DepotError>(Default::default()) };
            if shown.is_ok() && record.working_copy != Some(number) {
                record.working_copy = Some(number);
                tx.put_plugin(id, &record)?;
            }
            // A working copy that could not be put right is known by what it shows.
            let kept: BTreeSet<u64> = (record.current.into_iter())
                .chain(record.previous.iter().copied())
                .chain(record.working_copy)
                .collect();
            let mut dropped = Vec::new();
            let mut archives = Vec::new();
            for (candidate, generation) in tx.generations(id)? {
                if !kept.contains(&candidate) && !self.generations.in_use(id, candidate) {
                    tx.remove_generation(id, candidate)?;
                    dropped.push(candidate);
                    archives.extend(generation.archive);
                }
            }
            Ok((dropped, archives))
        })?;
        for number in dropped {
            self.generations.remove(id, number)?;
        }
        self.forget_archives(archives)?;
        shown
    }

    /// The tree that the host itself wrote to the working copy last.
    fn shown(&self, id: &PluginId) -> Result<Option<Digest>, DepotError> {
        let Some(number) = self.store.plugin(id)?.and_then(|record| record.working_copy) else { return Ok(None) };
        Ok(self.store.generation(id, number)?.map(|generation| generation.tree))
    }

    /// Makes the working copy show a generation. Returns where edits were set aside that were in the way.
    pub(crate) fn show(&self, folder: &GenerationFolder) -> Result<Option<PathBuf>, DepotError> {
        Ok(match self.copies.repair(folder, self.shown(&folder.id)?.as_ref())? {
            Repaired::SetAside { edits } => Some(edits),
            Repaired::Same | Repaired::Written | Repaired::Replaced => None,
        })
    }

    /// Writes down whether the next start should load the plugin.
    pub(crate) fn desire(&self, id: &PluginId, desired: &Desired) -> Result<(), DepotError> {
        self.store.write(|tx| match tx.plugin(id)? {
            Some(record) if record.desired != *desired => {
                tx.put_plugin(id, &PluginRecord { desired: desired.clone(), ..record })
            }
            _ => Ok(()),
        })?;
        Ok(())
    }

    /// Remembers who claims which name.
    pub(crate) fn remember_names(&self, names: impl FnOnce() -> NameClaims) -> Result<(), DepotError> {
        self.store.write(|tx| {
            let names = names();
            if tx.names()? == names { Ok(()) } else { tx.put_names(&names) }
        })?;
        Ok(())
    }

    /// Removes those of `archives` that no generation came in.
    pub(crate) fn forget_archives(&self, archives: Vec<Digest>) -> Result<(), DepotError> {
        if archives.is_empty() {
            return Ok(());
        }
        // Held throughout, so that nobody begins to need one of them in between.
        let pins = self.pins();
        let kept = self.archives_in_use()?;
        for archive in archives {
            if !kept.contains(&archive.hex()) && !pins.contains_key(&archive.hex()) {
                self.archives.remove(&archive)?;
            }
        }
        Ok(())
    }

    /// Whether a version that is on record came from there in that archive.
    pub(crate) fn came_from(&self, source: &Source, archive: &Digest) -> Result<bool, DepotError> {
        for id in self.store.plugins()?.into_keys() {
            let mut generations = self.store.generations(&id)?.into_values();
            if generations.any(|known| known.archive.as_ref() == Some(archive) && known.source == *source) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stores an archive, and keeps it at least as long as the pin lives.
    pub(crate) fn keep_archive(&self, bytes: &[u8]) -> Result<ArchivePin, DepotError> {
        let digest = Digest::of(bytes);
        *self.pins().entry(digest.hex()).or_default() += 1;
        let pin = ArchivePin { digest, pins: Arc::clone(&self.pins) };
        self.archives.put_bytes(bytes)?;
        Ok(pin)
    }

    fn pins(&self) -> MutexGuard<'_, Pins> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn archives_in_use(&self) -> Result<BTreeSet<String>, DepotError> {
        let mut kept = BTreeSet::new();
        for id in self.store.plugins()?.into_keys() {
            kept.extend(
                self.store.generations(&id)?.into_values().filter_map(|g| g.archive).map(|digest| digest.hex()),
            );
        }
        Ok(kept)
    }
}

/// What the registry is given of a plugin that has no generation yet. Number 0 is nobody's.
pub(crate) fn package_of_staged(staged: &StagedPlugin, limits: Limits) -> Package {
    Package {
        id: staged.id.clone(),
        manifest: Arc::clone(&staged.manifest),
        root: staged.root().into(),
        tree: staged.tree,
        provenance: Arc::clone(&staged.provenance),
        limits,
        generation: 0,
    }
}

/// What the registry is given of a generation in its folder.
pub(crate) fn package_of(folder: &GenerationFolder, limits: Limits) -> Package {
    Package {
        id: folder.id.clone(),
        manifest: Arc::clone(&folder.manifest),
        root: Arc::clone(&folder.path),
        tree: folder.tree,
        provenance: Arc::clone(&folder.provenance),
        limits,
        generation: folder.sequence,
    }
}

/// Who a staged plugin is to those who say what it may do.
pub(crate) fn asker_of_staged(staged: &StagedPlugin) -> Asker<'_> {
    Asker {
        plugin: &staged.id,
        tree: &staged.tree,
        provenance: &staged.provenance,
        wanted: &staged.manifest.permissions,
    }
}

/// Who a generation is to those who say what it may do.
pub(crate) fn asker_of(folder: &GenerationFolder) -> Asker<'_> {
    Asker {
        plugin: &folder.id,
        tree: &folder.tree,
        provenance: &folder.provenance,
        wanted: &folder.manifest.permissions,
    }
}
