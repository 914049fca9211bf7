//! How a plugin goes: off the record while it still serves, and its files when it serves no longer.

use super::{Depot, DepotError, Installed};
use crate::refusal::chain;
use mortise_model::PluginId;
use mortise_plugin::NameClaims;
use mortise_store::GenerationRecord;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tracing::warn;

/// What was on record of a plugin.
#[derive(Debug)]
pub(crate) struct Uninstalled {
    pub(crate) generations: BTreeMap<u64, GenerationRecord>,
    /// Where its edited working copy lies now.
    pub(crate) edits: Option<PathBuf>,
}

impl Depot {
    /// Takes a plugin off the record, and its working copy away; none where there was nothing. What it has run from is
    /// left to [`Depot::clear`].
    ///
    /// The working copy goes first: a crash before the record goes brings the plugin back whole.
    pub(crate) fn uninstall(&self, id: &PluginId) -> Result<Option<Uninstalled>, DepotError> {
        let installed = self.installed(id)?;
        let edited = match &installed {
            Some(installed) => self.is_edited(id, installed)?,
            // Nothing is known of what lies there, so nobody can say that it was not somebody's only copy.
            None => true,
        };
        let edits = if edited { self.copies.set_aside(id)? } else { None };
        let had_copy = edits.is_some() || self.copies.remove(id)?;
        let generations = self.store.generations(id)?;
        if let Err(error) = self.store.write(|tx| {
            tx.remove_plugin(id)?;
            // Whoever comes under that name later was granted nothing, and finds nothing.
            tx.put_grants(id, &[])?;
            tx.clear_state(id)
        }) {
            if had_copy {
                self.bring_back(id, installed.as_ref(), edits.as_deref());
            }
            return Err(error.into());
        }
        let was_there = had_copy || installed.is_some() || !generations.is_empty();
        Ok(was_there.then_some(Uninstalled { generations, edits }))
    }

    /// Puts the working copy back of a plugin that stays after all.
    fn bring_back(&self, id: &PluginId, installed: Option<&Installed>, edits: Option<&Path>) {
        let back = match (edits, installed) {
            (Some(edits), _) => std::fs::rename(edits, self.copies.path(id))
                .map_err(|error| DepotError::Internal(format!("failed to bring back `{}`: {error}", edits.display()))),
            (None, Some(Installed { number, generation, .. })) => {
                self.open_generation(id, *number, generation).and_then(|folder| self.show(&folder)).map(drop)
            }
            (None, None) => Ok(()),
        };
        if let Err(error) = back {
            // The plugin is whole without it, and the next start writes it.
            warn!(plugin = %id, error = chain(&error), "failed to put a working copy back");
        }
    }

    /// Removes the files of a plugin that is uninstalled and runs no longer, and remembers who claims its names now.
    /// What this leaves is swept at the next start.
    pub(crate) fn clear(
        &self,
        id: &PluginId,
        generations: &BTreeMap<u64, GenerationRecord>,
        names: impl FnOnce() -> NameClaims,
    ) -> Result<(), DepotError> {
        self.remember_names(names)?;
        for number in generations.keys() {
            self.generations.remove(id, *number)?;
        }
        self.forget_archives(generations.values().filter_map(|generation| generation.archive).collect())
    }
}
