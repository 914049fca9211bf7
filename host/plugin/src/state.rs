//! The durable key-value of plugins: served from memory, saved in the background.
//!
//! A plugin has one, whichever of its generations are there, as long as any of them is. What a generation writes before it
//! serves lies in an overlay of its own.

mod rows;
mod saver;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use saver::States;
pub(crate) use view::{StateView, check_key};

use mortise_model::{Failure, PluginId};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// What an entry counts for beside its key and its value, so that tiny ones are bounded too.
const ENTRY_BYTES: usize = 64;

/// Where the key-value of plugins lies while no host runs. All methods block.
pub trait StateStore: Send + Sync + 'static {
    /// Every entry of a plugin.
    ///
    /// # Errors
    /// They cannot be read.
    fn load(&self, plugin: &PluginId) -> Result<Vec<(String, Vec<u8>)>, StateStoreError>;

    /// Makes all of these changes or none of them; they are on disk when this returns. After a failure the same changes
    /// come again, with what was written meanwhile.
    ///
    /// # Errors
    /// They were not made, or nobody can say whether they were.
    fn save(&self, changes: &[StateChanges]) -> Result<(), StateStoreError>;
}

/// Why the key-value of plugins cannot be read or written.
pub type StateStoreError = Box<dyn std::error::Error + Send + Sync>;

/// What has changed in the key-value of one plugin. Keys that begin with `\0` are the host's own.
#[derive(Debug, Clone)]
pub struct StateChanges {
    /// Whose.
    pub plugin: PluginId,
    /// Whatever is there goes first.
    pub clear: bool,
    /// Each key that changed.
    pub entries: Vec<StateChange>,
}

/// A key and its new value; none where it is gone.
pub type StateChange = (Arc<str>, Option<Arc<[u8]>>);

/// The key-value of one plugin.
pub(crate) struct KeyValue {
    plugin: PluginId,
    /// The std mutex is held for a look-up or a page of keys, and to begin and end a save.
    live: Mutex<Live>,
    saved: watch::Sender<Saved>,
    wake: Arc<Wake>,
}

#[derive(Default)]
struct Live {
    entries: BTreeMap<Arc<str>, Arc<[u8]>>,
    /// As the limit counts them.
    bytes: usize,
    /// Grows with every change.
    version: u64,
    /// Keys whose value on disk may be another.
    unsaved: HashSet<Arc<str>>,
    /// Keys that may be on disk. One that never was need not be removed there, so keys that come and go between two saves
    /// leave nothing behind.
    on_disk: HashSet<Arc<str>>,
    /// Which version of the plugin it is of.
    of: Of,
    /// What there was before it was migrated last.
    before: Option<Snapshot>,
    /// Whatever is on disk goes first, asked for at that version.
    clear: Option<u64>,
    /// Grows when it is migrated or goes back: generations from before have no more to do with it.
    epoch: u64,
    /// How many generations that do not serve yet have migrated it, one that is on its way out among them: no other may
    /// write meanwhile.
    migrators: usize,
    /// Nobody saves it: the plugin is uninstalled, or never to serve.
    gone: bool,
}

/// A version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Of {
    /// As its manifest names it; empty where that names none.
    pub(crate) version: Arc<str>,
    /// Larger is newer.
    pub(crate) generation: u64,
}

/// The key-value as a version left it that another has migrated.
struct Snapshot {
    version: Arc<str>,
    entries: BTreeMap<Arc<str>, Arc<[u8]>>,
}

/// How far the disk has come.
#[derive(Debug, Default)]
struct Saved {
    version: u64,
    failures: u64,
}

/// Tells the task that saves.
#[derive(Debug, Default)]
struct Wake {
    /// There may be something to do.
    changed: Notify,
    /// Somebody waits for it.
    urgent: Notify,
}

impl KeyValue {
    fn new(plugin: PluginId, live: Live, wake: Arc<Wake>) -> Self {
        Self { plugin, live: Mutex::new(live), saved: watch::Sender::default(), wake }
    }

    fn loaded(plugin: PluginId, rows: Vec<(String, Vec<u8>)>, wake: Arc<Wake>) -> Self {
        Self::new(plugin, rows::read(rows), wake)
    }

    /// Of a plugin that is only asked what it would bring, and of tests: nobody saves it.
    pub(crate) fn apart(plugin: PluginId) -> Self {
        Self::new(plugin, Live { gone: true, ..Live::default() }, Arc::default())
    }

    /// How many entries there are, and their bytes as the limit counts them.
    pub(crate) fn size(&self) -> (usize, usize) {
        let live = self.live();
        (live.entries.len(), live.bytes)
    }

    /// Waits until everything written so far is on disk. Cancel safe.
    async fn flush(&self) -> Result<(), Failure> {
        let mut saved = self.saved.subscribe();
        let before = saved.borrow().failures;
        let (version, gone) = {
            let live = self.live();
            (live.version, live.gone)
        };
        if gone {
            return Err(Failure::new("stopped", "the plugin is uninstalled: what it writes is not kept any more"));
        }
        if saved.borrow().version < version {
            self.wake.changed.notify_one();
            self.wake.urgent.notify_one();
        }
        // The sender lives as long as `self`.
        let told = saved.wait_for(|saved| saved.version >= version || saved.failures > before).await;
        match told {
            Ok(saved) if saved.version < version => Err(Failure::retryable(
                "state_not_saved",
                "the disk did not take what was written: it is in memory, and is tried again; the host's log says why",
            )),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// What has to be saved, and which version that is; none where everything is.
    fn begin_save(&self) -> Option<(u64, StateChanges)> {
        let mut live = self.live();
        let live = &mut *live;
        if live.gone || live.version == self.saved.borrow().version {
            return None;
        }
        let unsaved = std::mem::take(&mut live.unsaved).into_iter();
        let mut entries: Vec<StateChange> = match live.clear {
            None => unsaved.map(|key| (Arc::clone(&key), live.entries.get(&key).cloned())).collect(),
            Some(_) => live.entries.iter().map(|(key, value)| (Arc::clone(key), Some(Arc::clone(value)))).collect(),
        };
        live.on_disk.extend(entries.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| Arc::clone(key)));
        entries.extend(rows::own(live));
        Some((live.version, StateChanges { plugin: self.plugin.clone(), clear: live.clear.is_some(), entries }))
    }

    /// Notes what came of a save that was begun.
    fn end_save(&self, version: u64, changes: &StateChanges, is_saved: bool) {
        let mut live = self.live();
        if is_saved {
            let entries = changes.entries.iter().filter(|(key, _)| !rows::is_own(key));
            if changes.clear {
                live.on_disk = entries.filter(|(_, value)| value.is_some()).map(|(key, _)| Arc::clone(key)).collect();
            } else {
                for (key, _) in entries.filter(|(_, value)| value.is_none()) {
                    live.on_disk.remove(key);
                }
            }
            live.clear = live.clear.filter(|asked| *asked > version);
        } else {
            // What is on disk now nobody needs to remember: the next save is of everything.
            live.clear = Some(live.version);
            live.on_disk = HashSet::new();
            live.unsaved = HashSet::new();
        }
        drop(live);
        self.saved.send_modify(|saved| {
            if is_saved {
                saved.version = version;
            } else {
                saved.failures += 1;
            }
        });
    }

    fn is_saved(&self) -> bool {
        let live = self.live();
        live.gone || live.version == self.saved.borrow().version
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Of {
    /// None yet.
    fn default() -> Self {
        Self { version: Arc::from(""), generation: 0 }
    }
}

impl Live {
    fn put(&mut self, key: Arc<str>, value: Option<Arc<[u8]>>) {
        let added = value.as_ref().map_or(0, |value| counted(&key, value));
        let replaced = match &value {
            Some(value) => self.entries.insert(Arc::clone(&key), Arc::clone(value)),
            None => self.entries.remove(&key),
        };
        let removed = replaced.as_ref().map_or(0, |replaced| counted(&key, replaced));
        if value.is_none() && replaced.is_none() {
            return;
        }
        self.bytes = (self.bytes + added).saturating_sub(removed);
        self.version += 1;
        if value.is_some() || self.on_disk.contains(&key) {
            self.unsaved.insert(key);
        } else {
            self.unsaved.remove(&key);
        }
    }
}

/// What an entry counts for.
fn counted(key: &str, value: &[u8]) -> usize {
    ENTRY_BYTES + key.len() + value.len()
}
