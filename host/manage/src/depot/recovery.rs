//! What is put right at the start, before anything is loaded (design: what no record names is swept, what a record names
//! is restored).

use super::{Depot, DepotError};
use crate::refusal::chain;
use jiff::Timestamp;
use mortise_delivery::{ArchiveFormat, ArchiveLimits, DeliveryError, GenerationFolder, ReadArchive, StagedPlugin};
use mortise_model::{Description, Json, Limits, Manifest, PluginId};
use mortise_plugin::{Announced, NameClaims, Quarantined};
use mortise_store::{Desired, GenerationRecord, PluginRecord, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What an earlier process left, and what became of it. One line for each thing that an operator should know.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Lost or damaged: the host goes on without it.
    pub warnings: Vec<String>,
    /// Generations and archives that no record named.
    pub swept: usize,
}

/// The setting of a store that knows what lies in the folders beside it.
const KNOWS_FOLDERS: &str = "depot.knows_folders";

/// The folders that only the store can tell apart.
const FOLDERS: [&str; 2] = ["generations", "store"];

/// A store that has only begun, because there was none or none that could be read, knows nothing of the generations and
/// archives beside it: they are kept under names that nobody sweeps. Returns those names. A crash on the way is no
/// harm: what is left is set aside at the next start.
pub(super) fn set_aside_unknown(store: &Store, state_dir: &Path) -> Result<Vec<PathBuf>, DepotError> {
    // Whoever knows a plugin knows its files, even if the setting is lost.
    if store.setting(KNOWS_FOLDERS)?.is_some() || !store.plugins()?.is_empty() {
        return Ok(Vec::new());
    }
    let of_store = store.report().set_aside.as_ref().and_then(|set_aside| set_aside.path.file_name());
    let of_store = of_store.and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("state.redb"));
    let suffix = match of_store {
        Some(suffix) => suffix.to_owned(),
        None => format!(".unknown-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ")),
    };
    let mut set_aside = Vec::new();
    for name in FOLDERS {
        let from = state_dir.join(name);
        // Holding something: an empty folder, as any host makes it, is nothing to keep.
        if !std::fs::read_dir(&from).is_ok_and(|mut entries| entries.next().is_some()) {
            continue;
        }
        let to = free_name(state_dir, &format!("{name}{suffix}"));
        // On disk before the store says that what lies there is its own.
        std::fs::rename(&from, &to)
            .and_then(|()| std::fs::File::open(state_dir)?.sync_all())
            .map_err(|error| DepotError::Internal(format!("failed to set `{}` aside: {error}", from.display())))?;
        set_aside.push(to);
    }
    store.write(|tx| tx.put_setting(KNOWS_FOLDERS, &Json::of(&true.into())))?;
    Ok(set_aside)
}

/// The lock of the state folder keeps others from making files there.
fn free_name(state_dir: &Path, name: &str) -> PathBuf {
    let numbered = (2_u32..).map(|number| state_dir.join(format!("{name}-{number}")));
    let mut names = std::iter::once(state_dir.join(name)).chain(numbered);
    names.find(|path| std::fs::symlink_metadata(path).is_err()).unwrap_or_else(|| state_dir.join(name))
}

impl Depot {
    /// `unknown` are the folders that were set aside with the store.
    pub(super) fn recover(&self, unknown: &[PathBuf]) -> Result<Recovered, DepotError> {
        let mut recovered = Recovered::default();
        let report = self.store.report();
        let kept: Vec<String> = unknown.iter().map(|path| format!("`{}`", path.display())).collect();
        let kept = kept.join(" and ");
        let begun = "a new one was begun, and plugins are loaded from their folders, also those that were unloaded";
        if let Some(set_aside) = &report.set_aside {
            let (reason, path) = (&set_aside.reason, set_aside.path.display());
            let with = if kept.is_empty() { String::new() } else { format!(" with {kept}") };
            recovered.warnings.push(format!(
                "the state store could not be read ({reason}): {begun}; the old one is kept as `{path}`{with}; check the \
                 disk, and remove what is kept when nothing is missed"
            ));
        } else if !kept.is_empty() {
            recovered.warnings.push(format!(
                "there is no state store that knows of the versions in {}: {begun}; they are kept as {kept}; remove them \
                 when nothing is missed",
                self.state_dir.display()
            ));
        }
        for corrupt in &report.corrupt {
            let (key, table, reason) = (&corrupt.key, corrupt.table, &corrupt.reason);
            recovered.warnings.push(format!("record `{key}` of `{table}` was set aside: {reason}"));
        }
        for operation in &report.interrupted {
            let (method, request) = (&operation.method, &operation.request);
            recovered.warnings.push(format!("`{method}` (request {request}) was interrupted"));
        }
        self.begin_lost_records()?;
        self.clear_orphaned_state()?;
        let kept = self.kept()?;
        let swept =
            self.generations.sweep(|id, number| kept.contains(&(id.clone(), number))).map_err(DeliveryError::from)?;
        recovered.swept += swept.removed.len();
        recovered.warnings.extend(swept.failed.iter().map(|error| chain(error)));
        let in_use = self.archives_in_use()?;
        for (digest, _) in self.archives.list()? {
            if !in_use.contains(&digest.hex()) && self.archives.remove(&digest)? {
                recovered.swept += 1;
            }
        }
        Ok(recovered)
    }

    /// What a plugin that was being uninstalled went on to keep until the host ended goes: whoever comes under its name
    /// finds nothing.
    fn clear_orphaned_state(&self) -> Result<(), DepotError> {
        let plugins = self.store.plugins()?;
        let mut orphaned = self.store.state_owners()?;
        orphaned.retain(|id| !plugins.contains_key(id) && !self.working_copy(id).is_dir());
        self.store.write(|tx| orphaned.iter().try_for_each(|id| tx.clear_state(id)))?;
        Ok(())
    }

    /// What the records name: current and previous.
    fn kept(&self) -> Result<BTreeSet<(PluginId, u64)>, DepotError> {
        let plugins = self.store.plugins()?;
        let numbers = plugins.into_iter().flat_map(|(id, record)| {
            let numbers: Vec<u64> = record.current.into_iter().chain(record.previous).collect();
            numbers.into_iter().map(move |number| (id.clone(), number))
        });
        Ok(numbers.collect())
    }

    /// A plugin whose own record could not be read begins anew: from its folder, and with every version that is known to
    /// go back to.
    fn begin_lost_records(&self) -> Result<(), DepotError> {
        let corrupt = self.store.report().corrupt.iter().filter(|record| record.table == "plugins");
        for id in corrupt.filter_map(|record| PluginId::new(&record.key).ok()) {
            self.store.write(|tx| {
                let previous: Vec<u64> = tx.generations(&id)?.into_keys().rev().collect();
                if tx.plugin(&id)?.is_some() || previous.is_empty() {
                    return Ok(());
                }
                tx.put_plugin(&id, &PluginRecord { previous, ..PluginRecord::new(Desired::Loaded) })
            })?;
        }
        Ok(())
    }

    /// What should become of each recorded plugin, by id.
    pub(crate) fn desired(&self) -> Result<BTreeMap<PluginId, Desired>, DepotError> {
        let plugins = self.store.plugins()?;
        Ok(plugins.into_iter().filter(|(_, r)| r.current.is_some()).map(|(id, r)| (id, r.desired)).collect())
    }

    /// Plugins that are to be loaded, by id, as they described themselves when they served last. One that never did, or of
    /// which that cannot be read, is not among them.
    pub(crate) fn announced(&self) -> Result<Vec<Announced>, DepotError> {
        let mut announced = Vec::new();
        for (id, record) in self.store.plugins()? {
            let (Desired::Loaded, Some(number)) = (record.desired, record.current) else { continue };
            let Ok(Some(generation)) = self.store.generation(&id, number) else { continue };
            let description = generation.description.as_ref().and_then(Description::from_json);
            let manifest = Manifest::parse_installed(generation.manifest.as_str().as_bytes(), &id);
            if let (Some(description), Ok(manifest)) = (description, manifest) {
                // Calls wait for it on the terms that count without a policy, until it is loaded on its own.
                let limits = manifest.limits_within(&Limits::ceilings(manifest.runtime));
                let limits = limits.unwrap_or_else(|_| Limits::for_runtime(manifest.runtime));
                announced.push(Announced { id, description, limits });
            }
        }
        Ok(announced)
    }

    /// Plugins in quarantine, with the functions that they had when they served last.
    pub(crate) fn quarantined(&self) -> Result<Vec<Quarantined>, DepotError> {
        let mut quarantined = Vec::new();
        for (id, record) in self.store.plugins()? {
            let (Desired::Quarantined { reason }, Some(number)) = (record.desired, record.current) else { continue };
            let generation = self.store.generation(&id, number)?;
            let description = generation.and_then(|generation| generation.description);
            let description = description.as_ref().and_then(Description::from_json).unwrap_or_default();
            let functions = description.functions.into_iter().map(|function| function.name).collect();
            quarantined.push(Quarantined { id, reason, functions });
        }
        Ok(quarantined)
    }

    /// Who claimed which name when the host ended, without plugins that are not to be loaded again.
    pub fn names(&self) -> Result<NameClaims, DepotError> {
        let desired = self.desired()?;
        let mut names: NameClaims = self.store.names()?;
        for claimants in names.values_mut() {
            claimants.retain(|id| desired.get(id) == Some(&Desired::Loaded));
        }
        names.retain(|_, claimants| !claimants.is_empty());
        Ok(names)
    }

    /// Unpacks a generation anew from the archive it came in; none where that is gone too, or holds something else.
    pub(super) fn restore(
        &self,
        id: &PluginId,
        number: u64,
        generation: &GenerationRecord,
    ) -> Result<Option<GenerationFolder>, DepotError> {
        let staged = match &generation.archive {
            Some(archive) => match self.archives.read_verified(archive, u64::MAX)? {
                ReadArchive::Intact(bytes) => {
                    let format = ArchiveFormat::detect("auto", None, &bytes);
                    let limits = ArchiveLimits::default();
                    Some(StagedPlugin::from_archive(&bytes, format, Some(id), &limits, &self.staging)?)
                }
                ReadArchive::Absent | ReadArchive::Corrupt(_) => None,
            },
            None => None,
        };
        // The working copy may still hold what is lost.
        let staged = match staged {
            Some(staged) => Some(staged),
            None => self.copies.snapshot(id).ok(),
        };
        let Some(staged) = staged.filter(|staged| staged.tree == generation.tree) else { return Ok(None) };
        self.generations.remove(id, number)?;
        let folder = self.generations.commit(staged, number)?.keep();
        tracing::warn!(plugin = %id, generation = number, "restored a generation whose files were damaged");
        Ok(Some(folder))
    }
}
