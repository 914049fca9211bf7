//! The key-value of all plugins, and the task that saves it.

use super::{KeyValue, Live, StateChanges, StateStore, StateStoreError, Wake};
use mortise_model::{Failure, PluginId, chain};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{info, warn};

/// For how long writes are gathered into one change of the disk, unless somebody waits for it.
const GATHER: Duration = Duration::from_millis(50);

/// How long others have the disk to themselves after each change, whoever waits.
const GAP: Duration = Duration::from_millis(5);

/// How long after a failure the next attempt is made; after each further one twice as long, up to a minute.
const RETRY: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The key-value of every plugin that is loaded, being prepared or not saved yet.
pub(crate) struct States {
    store: Arc<dyn StateStore>,
    /// The std mutex is held for a look-up, and for a walk at each save.
    all: Mutex<HashMap<PluginId, Arc<KeyValue>>>,
    wake: Arc<Wake>,
    /// The host waits for it.
    hurry: Notify,
}

impl States {
    pub(crate) fn new(store: Arc<dyn StateStore>) -> Arc<Self> {
        Arc::new(Self { store, all: Mutex::default(), wake: Arc::default(), hurry: Notify::new() })
    }

    /// A plugin's key-value, read if it is not in memory. To be called with the plugin's turn to change.
    pub(crate) async fn open(&self, plugin: &PluginId) -> Result<Arc<KeyValue>, StateStoreError> {
        if let Some(state) = self.get(plugin) {
            return Ok(state);
        }
        let (store, id) = (Arc::clone(&self.store), plugin.clone());
        let entries = tokio::task::spawn_blocking(move || store.load(&id)).await??;
        let state = Arc::new(KeyValue::loaded(plugin.clone(), entries, Arc::clone(&self.wake)));
        self.all().insert(plugin.clone(), Arc::clone(&state));
        Ok(state)
    }

    /// One that is in memory.
    pub(crate) fn get(&self, plugin: &PluginId) -> Option<Arc<KeyValue>> {
        self.all().get(plugin).cloned()
    }

    /// Forgets all of an uninstalled plugin: what is left of it writes into the void, and whoever comes under its name
    /// later finds nothing. Returns when the disk has forgotten, too. To be called with the plugin's turn to change.
    pub(crate) async fn clear(&self, plugin: &PluginId) -> Result<(), Failure> {
        let cleared = {
            let mut all = self.all();
            // The record has gone with all that was on disk; only what is in memory can come back.
            let Some(state) = all.get(plugin) else { return Ok(()) };
            state.live().gone = true;
            // Whoever waits for the disk waits in vain.
            state.saved.send_modify(|saved| saved.failures += 1);
            let live = Live { clear: Some(1), version: 1, ..Live::default() };
            let cleared = Arc::new(KeyValue::new(plugin.clone(), live, Arc::clone(&self.wake)));
            all.insert(plugin.clone(), Arc::clone(&cleared));
            cleared
        };
        cleared.flush().await
    }

    /// Waits until everything that plugins have written is on disk. Cancel safe.
    pub(crate) async fn flush(&self) -> Result<(), Failure> {
        let all: Vec<_> = self.all().values().cloned().collect();
        self.hurry.notify_one();
        for state in all {
            state.flush().await?;
        }
        Ok(())
    }

    /// Saves what plugins write, until it is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.wake.changed.notified().await;
            tokio::select! {
                () = sleep(GATHER) => {}
                () = self.wake.urgent.notified() => {}
            }
            let (mut failing, mut pause) = (false, RETRY);
            while let Err(error) = self.save().await {
                if !failing {
                    warn!(
                        error = chain(error.as_ref()),
                        "failed to save the state of plugins: it stays in memory, and is tried again"
                    );
                }
                failing = true;
                tokio::select! {
                    () = sleep(pause) => {}
                    () = self.hurry.notified() => {}
                }
                pause = (pause * 2).min(RETRY_MAX);
            }
            if failing {
                info!("the state of plugins is saved again");
            }
            self.all().retain(|_, state| Arc::strong_count(state) > 1 || !state.is_saved());
            sleep(GAP).await;
        }
    }

    /// Saves what has changed, of all plugins at once.
    async fn save(&self) -> Result<(), StateStoreError> {
        let begin = |state: &Arc<KeyValue>| {
            let (version, changes) = state.begin_save()?;
            Some(((Arc::clone(state), version), changes))
        };
        let (begun, changes): (Vec<_>, Vec<StateChanges>) = self.all().values().filter_map(begin).unzip();
        let changes = Arc::new(changes);
        let saved = if changes.iter().any(|changes| changes.clear || !changes.entries.is_empty()) {
            let (store, changes) = (Arc::clone(&self.store), Arc::clone(&changes));
            let saved = tokio::task::spawn_blocking(move || store.save(&changes)).await;
            saved.map_err(StateStoreError::from).flatten()
        } else {
            Ok(())
        };
        for ((state, version), changes) in begun.iter().zip(changes.iter()) {
            state.end_save(*version, changes, saved.is_ok());
        }
        saved
    }

    fn all(&self) -> MutexGuard<'_, HashMap<PluginId, Arc<KeyValue>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
