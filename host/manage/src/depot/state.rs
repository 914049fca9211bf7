//! What plugins keep, in the state store.

use super::Depot;
use mortise_model::PluginId;
use mortise_plugin::{StateChanges, StateStore, StateStoreError};
use mortise_store::StoreError;

impl StateStore for Depot {
    fn load(&self, plugin: &PluginId) -> Result<Vec<(String, Vec<u8>)>, StateStoreError> {
        Ok(self.store.state(plugin)?)
    }

    fn save(&self, changes: &[StateChanges]) -> Result<(), StateStoreError> {
        self.store.write(|tx| {
            for StateChanges { plugin, clear, entries } in changes {
                if *clear {
                    tx.clear_state(plugin)?;
                }
                for (key, value) in entries {
                    match value {
                        Some(value) => tx.put_state(plugin, key, value)?,
                        None => tx.remove_state(plugin, key)?,
                    }
                }
            }
            Ok::<_, StoreError>(())
        })?;
        Ok(())
    }
}
