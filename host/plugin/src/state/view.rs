//! The key-value as one generation sees it.

use super::{KeyValue, counted};
use mortise_model::{ByteSize, Failure};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 256;

/// The most keys that are listed at once.
const KEYS_MAX: usize = 1000;

/// A generation's way to its plugin's key-value.
pub(crate) struct StateView {
    state: Arc<KeyValue>,
    /// What it wrote before it was activated; none once it is. Locked before the key-value itself.
    overlay: Mutex<Option<Overlay>>,
}

#[derive(Default)]
struct Overlay {
    /// None: gone.
    entries: BTreeMap<Arc<str>, Option<Arc<[u8]>>>,
    /// What merging adds to what the limit counts, and what it takes away, as things stood at each write.
    added: usize,
    removed: usize,
}

impl StateView {
    /// Of a generation that is not activated yet.
    pub(crate) fn new(state: Arc<KeyValue>) -> Self {
        Self { state, overlay: Mutex::new(Some(Overlay::default())) }
    }

    /// Makes what was written so far the plugin's. Called once, at the swap.
    pub(crate) fn activate(&self) {
        let mut overlay = self.overlay();
        let mut live = self.state.live();
        for (key, value) in overlay.take().into_iter().flat_map(|overlay| overlay.entries) {
            live.put(key, value);
        }
        drop(live);
        self.state.wake.changed.notify_one();
    }

    pub(crate) fn get(&self, key: &str) -> Option<Arc<[u8]>> {
        let overlay = self.overlay();
        match overlay.as_ref().and_then(|overlay| overlay.entries.get(key)) {
            Some(value) => value.clone(),
            None => self.state.live().entries.get(key).cloned(),
        }
    }

    /// Writes a value, or with `None` removes the key. What would take more than `limit` changes nothing.
    pub(crate) fn put(&self, key: &str, value: Option<&[u8]>, limit: ByteSize) -> Result<(), Failure> {
        let mut overlay = self.overlay();
        let mut live = self.state.live();
        let own = overlay.as_ref().and_then(|overlay| overlay.entries.get(key));
        let before = own.map_or_else(|| live.entries.get(key), Option::as_ref);
        let before = before.map_or(0, |value| counted(key, value));
        let after = value.map_or(0, |value| counted(key, value));
        let (added, removed) = overlay.as_ref().map_or((0, 0), |overlay| (overlay.added, overlay.removed));
        let bytes = (live.bytes + added + after).saturating_sub(removed + before);
        // What is over the limit already may still shrink.
        if after > before && bytes as u64 > limit.0 {
            let message = format!(
                "the plugin's state would have {bytes} bytes, more than `limits.state` ({limit}): delete keys, or keep less"
            );
            return Err(Failure::new("state_full", message));
        }
        let (key, value) = (Arc::<str>::from(key), value.map(Arc::<[u8]>::from));
        match overlay.as_mut() {
            None => live.put(key, value),
            Some(overlay) => {
                overlay.added += after;
                overlay.removed += before;
                // Keys that come and go before the swap leave nothing behind.
                if value.is_some() || live.entries.contains_key(&key) {
                    overlay.entries.insert(key, value);
                } else {
                    overlay.entries.remove(&key);
                }
                return Ok(());
            }
        }
        drop(live);
        self.state.wake.changed.notify_one();
        Ok(())
    }

    /// The first `limit` keys, and at most 1,000, that begin with `prefix` and come after `after`.
    pub(crate) fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Arc<str>> {
        let limit = limit.min(KEYS_MAX);
        let from = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        let (overlay, live) = (self.overlay(), self.state.live());
        let shadowed = |key: &str| overlay.as_ref().is_some_and(|overlay| overlay.entries.contains_key(key));
        let matching = live.entries.range::<str, _>((from, Bound::Unbounded)).map(|(key, _)| key);
        let matching = matching.take_while(|key| key.starts_with(prefix)).filter(|key| !shadowed(key));
        let mut keys: Vec<Arc<str>> = matching.take(limit).cloned().collect();
        if let Some(overlay) = overlay.as_ref() {
            let own = overlay.entries.range::<str, _>((from, Bound::Unbounded));
            let own = own.take_while(|(key, _)| key.starts_with(prefix)).filter(|(_, value)| value.is_some());
            keys.extend(own.take(limit).map(|(key, _)| Arc::clone(key)));
            keys.sort_unstable();
            keys.truncate(limit);
        }
        keys
    }

    /// Waits until what was written so far is on disk. Cancel safe.
    pub(crate) async fn flush(&self) -> Result<(), Failure> {
        if self.overlay().is_some() {
            return Err(Failure::retryable(
                "not_active",
                "what is written before the plugin serves comes to disk once it serves: flush then",
            ));
        }
        self.state.flush().await
    }

    fn overlay(&self) -> MutexGuard<'_, Option<Overlay>> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StateView {
    /// What the generation wrote is saved, and the key-value forgotten if nobody else uses it.
    fn drop(&mut self) {
        self.state.wake.changed.notify_one();
        self.state.wake.urgent.notify_one();
    }
}

/// Whether `key` is one.
pub(crate) fn check_key(key: &str) -> Result<(), Failure> {
    let wrong = match key.len() {
        0 => "it is empty".to_owned(),
        1..=KEY_BYTES_MAX if key.chars().any(char::is_control) => "it holds a control character".to_owned(),
        1..=KEY_BYTES_MAX => return Ok(()),
        bytes => format!("it has {bytes} bytes, more than {KEY_BYTES_MAX}"),
    };
    Err(Failure::new("invalid_key", format!("a key of the plugin's state is wrong: {wrong}")))
}
