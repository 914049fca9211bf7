//! What is put right at the start, before anything is loaded (design: what no record names is swept, what a record names
//! is restored).

use super::{Depot, DepotError};
use crate::refusal::chain;
use mortise_delivery::{ArchiveFormat, ArchiveLimits, DeliveryError, GenerationFolder, ReadArchive, StagedPlugin};
use mortise_model::PluginId;
use mortise_plugin::NameClaims;
use mortise_store::{Desired, GenerationRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What an earlier process left, and what became of it. One line for each thing that an operator should know.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Lost or damaged: the host goes on without it.
    pub warnings: Vec<String>,
    /// Generations and archives that no record named.
    pub swept: usize,
}

/// A store that could not be read takes with it what only it could tell apart: generations and archives are kept under
/// names like its own, and swept by nobody.
pub(super) fn set_aside_with(state_dir: &Path, store: &Path) -> Result<(), DepotError> {
    let suffix = store.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("state.redb"));
    let suffix = suffix.unwrap_or(".corrupt");
    for name in ["generations", "store"] {
        let from = state_dir.join(name);
        match std::fs::rename(&from, state_dir.join(format!("{name}{suffix}"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(DepotError::Internal(format!("failed to set `{}` aside: {error}", from.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

impl Depot {
    pub(super) fn recover(&self) -> Result<Recovered, DepotError> {
        let mut recovered = Recovered::default();
        let report = self.store.report();
        if let Some(set_aside) = &report.set_aside {
            let path = set_aside.path.display();
            recovered.warnings.push(format!(
                "the state store could not be read ({}): it is kept as `{path}`, and a new one was begun",
                set_aside.reason
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

    /// What the records name: current and previous.
    fn kept(&self) -> Result<BTreeSet<(PluginId, u64)>, DepotError> {
        let plugins = self.store.plugins()?;
        let numbers = plugins.into_iter().flat_map(|(id, record)| {
            let numbers: Vec<u64> = record.current.into_iter().chain(record.previous).collect();
            numbers.into_iter().map(move |number| (id.clone(), number))
        });
        let mut kept: BTreeSet<(PluginId, u64)> = numbers.collect();
        for id in self.of_corrupt_records() {
            kept.extend(self.store.generations(&id)?.into_keys().map(|number| (id.clone(), number)));
        }
        Ok(kept)
    }

    /// Plugins whose own record could not be read: what is known of their generations is kept for whoever mends it.
    pub(super) fn of_corrupt_records(&self) -> Vec<PluginId> {
        let corrupt = self.store.report().corrupt.iter();
        corrupt
            .filter(|record| record.table == "plugins")
            .filter_map(|record| PluginId::new(&record.key).ok())
            .collect()
    }

    /// What should become of each recorded plugin, by id.
    pub(crate) fn desired(&self) -> Result<BTreeMap<PluginId, Desired>, DepotError> {
        let plugins = self.store.plugins()?;
        Ok(plugins.into_iter().filter(|(_, r)| r.current.is_some()).map(|(id, r)| (id, r.desired)).collect())
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
