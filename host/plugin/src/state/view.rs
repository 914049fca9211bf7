//! The key-value as one generation sees it.

use super::{KeyValue, Live, Of, Snapshot, counted};
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
    of: Of,
    /// Locked before the key-value itself.
    phase: Mutex<Phase>,
}

/// How far the generation is.
enum Phase {
    /// What it writes lies over the key-value.
    Prepared(Overlay),
    /// What it writes is the key-value, as long as that is of this epoch.
    Serving { epoch: u64 },
}

#[derive(Default)]
struct Overlay {
    /// None: gone.
    entries: BTreeMap<Arc<str>, Option<Arc<[u8]>>>,
    /// What merging adds to what the limit counts, and what it takes away, as things stood at each write.
    added: usize,
    removed: usize,
    /// What its own entries come to, those among them that are gone. The figures above are of no use for that: what they
    /// were taken from may change below.
    own: usize,
    /// Nothing shows through: the generation goes back to what there was before a migration.
    replaces: bool,
    migration: Migration,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Migration {
    /// There is nothing to migrate.
    #[default]
    None,
    /// To be done, or under way since the key-value had this version.
    Open { since: u64 },
    /// The same, and nobody else may write.
    Alone,
    /// What lies over the key-value is what it was migrated to. Nobody else may write.
    Done,
}

impl Migration {
    /// Whether others may not write.
    fn holds_others(self) -> bool {
        matches!(self, Self::Alone | Self::Done)
    }
}

impl StateView {
    /// Of a generation that is not activated yet.
    pub(crate) fn new(state: Arc<KeyValue>, of: Of) -> Self {
        let mut overlay = Overlay::default();
        {
            let live = state.live();
            let differs = live.of.version != of.version;
            if differs && of.generation > live.of.generation {
                // Of nothing there is nothing to migrate.
                overlay.migration =
                    if live.entries.is_empty() { Migration::None } else { Migration::Open { since: live.version } };
            } else if differs && let Some(before) = live.before.as_ref().filter(|before| before.version == of.version) {
                let entries = before.entries.iter();
                overlay.added = entries.clone().map(|(key, value)| counted(key, value)).sum();
                overlay.own = overlay.added;
                overlay.entries = entries.map(|(key, value)| (Arc::clone(key), Some(Arc::clone(value)))).collect();
                overlay.replaces = true;
            }
        }
        Self { state, of, phase: Mutex::new(Phase::Prepared(overlay)) }
    }

    /// From which version to which the key-value has to be migrated; none where there is nothing to do. What an earlier
    /// attempt wrote is forgotten.
    pub(crate) fn migration(&self) -> Option<[Arc<str>; 2]> {
        let mut phase = self.phase();
        let live = self.state.live();
        let Phase::Prepared(overlay) = &mut *phase else { return None };
        match overlay.migration {
            Migration::None | Migration::Done => return None,
            migration @ (Migration::Open { .. } | Migration::Alone) => {
                let migration =
                    if migration == Migration::Alone { migration } else { Migration::Open { since: live.version } };
                *overlay = Overlay { migration, ..Overlay::default() };
            }
        }
        Some([Arc::clone(&live.of.version), Arc::clone(&self.of.version)])
    }

    /// Notes that the key-value was migrated. Where others wrote meanwhile it has to be done once more; from here on they
    /// may not.
    pub(crate) fn migrated(&self) {
        let mut phase = self.phase();
        let mut live = self.state.live();
        let Phase::Prepared(overlay) = &mut *phase else { return };
        live.migrators += usize::from(matches!(overlay.migration, Migration::Open { .. }));
        overlay.migration = match overlay.migration {
            Migration::None => Migration::None,
            Migration::Open { since } if since != live.version => Migration::Alone,
            Migration::Open { .. } | Migration::Alone | Migration::Done => Migration::Done,
        };
    }

    /// Makes what was written so far the plugin's. Called once, at the swap.
    pub(crate) fn activate(&self) {
        let mut phase = self.phase();
        let mut live = self.state.live();
        let overlay = match std::mem::replace(&mut *phase, Phase::Serving { epoch: live.epoch }) {
            Phase::Prepared(overlay) => overlay,
            serving @ Phase::Serving { .. } => return *phase = serving,
        };
        let is_migrated = overlay.migration == Migration::Done;
        if is_migrated {
            live.before = Some(Snapshot { version: Arc::clone(&live.of.version), entries: live.entries.clone() });
        }
        if overlay.replaces {
            (live.entries, live.bytes, live.before) = (BTreeMap::new(), 0, None);
        }
        for (key, value) in overlay.entries {
            live.put(key, value);
        }
        if live.of != self.of {
            live.of = self.of.clone();
            live.version += u64::from(!live.entries.is_empty() || live.before.is_some());
        }
        if is_migrated || overlay.replaces {
            live.epoch += 1;
            live.version += 1;
            live.clear = Some(live.version);
        }
        live.migrators -= usize::from(overlay.migration.holds_others());
        *phase = Phase::Serving { epoch: live.epoch };
        drop(live);
        self.state.wake.changed.notify_one();
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Arc<[u8]>>, Failure> {
        let phase = self.phase();
        let live = self.state.live();
        phase.check(&live)?;
        Ok(phase.get(&live, key).cloned())
    }

    /// Writes a value, or with `None` removes the key. What would take more than `limit` changes nothing.
    pub(crate) fn put(&self, key: &str, value: Option<&[u8]>, limit: ByteSize) -> Result<(), Failure> {
        self.change(key, limit, |_| Ok(value))
    }

    /// The same with the value that `change` makes of the one there is: nobody writes in between. It is copied, if at all, once
    /// it is taken.
    pub(crate) fn change<V: AsRef<[u8]> + Into<Arc<[u8]>>>(
        &self,
        key: &str,
        limit: ByteSize,
        change: impl FnOnce(Option<&[u8]>) -> Result<Option<V>, Failure>,
    ) -> Result<(), Failure> {
        let mut phase = self.phase();
        let mut live = self.state.live();
        phase.check(&live)?;
        let value = change(phase.get(&live, key).map(AsRef::as_ref))?;
        if value.is_none() && phase.get(&live, key).is_none() {
            return Ok(());
        }
        let before = phase.get(&live, key).map_or(0, |value| counted(key, value));
        let after = value.as_ref().map_or(0, |value| counted(key, value.as_ref()));
        let bytes = (phase.bytes(&live) + after).saturating_sub(before);
        // What is over the limit already may still shrink.
        if after > before && bytes as u64 > limit.0 {
            let message = format!(
                "the plugin's state would have {bytes} bytes, more than `limits.state` ({limit}): delete keys, or keep less"
            );
            return Err(Failure::new("state_full", message));
        }
        let own = phase.overlay().map(|overlay| {
            let replaced =
                overlay.entries.get(key).map_or(0, |entry| counted(key, entry.as_deref().unwrap_or_default()));
            (overlay.own, overlay.own - replaced + if value.is_some() { after } else { counted(key, &[]) })
        });
        // Every key may go or be replaced by another one, and no more.
        if let Some((before, after)) = own
            && after > before
            && after as u64 > limit.0.max(live.bytes as u64).saturating_mul(2)
        {
            let message =
                format!("what the plugin writes before it serves is more than twice `limits.state` ({limit})");
            return Err(Failure::new("state_full", message));
        }
        let (key, taken) = (Arc::<str>::from(key), || value.map(Into::into));
        match &mut *phase {
            Phase::Serving { .. } if live.migrators > 0 => Err(Failure::retryable(
                "state_migrating",
                "a new version has migrated the plugin's state and is about to serve: nothing is written until then",
            )),
            Phase::Serving { .. } => {
                live.put(key, taken());
                drop(live);
                self.state.wake.changed.notify_one();
                Ok(())
            }
            Phase::Prepared(overlay) => {
                overlay.added += after;
                overlay.removed += before;
                // Keys that come and go before the swap leave nothing behind.
                let value = taken();
                let is_kept = value.is_some() || (!overlay.replaces && live.entries.contains_key(&key));
                let (known, cost) = own.unwrap_or_default();
                if is_kept {
                    overlay.own = cost;
                    overlay.entries.insert(key, value);
                } else if let Some(gone) = overlay.entries.remove(&key) {
                    overlay.own = known - counted(&key, gone.as_deref().unwrap_or_default());
                }
                Ok(())
            }
        }
    }

    /// The first `limit` keys, and at most 1,000, that begin with `prefix` and come after `after`.
    pub(crate) fn keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, Failure> {
        let limit = limit.min(KEYS_MAX);
        let from = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        let phase = self.phase();
        let live = self.state.live();
        phase.check(&live)?;
        let overlay = phase.overlay();
        let shows = |key: &str| overlay.is_none_or(|overlay| !overlay.replaces && !overlay.entries.contains_key(key));
        let matching = live.entries.range::<str, _>((from, Bound::Unbounded)).map(|(key, _)| key);
        let matching = matching.take_while(|key| key.starts_with(prefix)).filter(|key| shows(key));
        let mut keys: Vec<Arc<str>> = matching.take(limit).cloned().collect();
        if let Some(overlay) = overlay {
            let own = overlay.entries.range::<str, _>((from, Bound::Unbounded));
            let own = own.take_while(|(key, _)| key.starts_with(prefix)).filter(|(_, value)| value.is_some());
            keys.extend(own.take(limit).map(|(key, _)| Arc::clone(key)));
            keys.sort_unstable();
            keys.truncate(limit);
        }
        Ok(keys)
    }

    /// Waits until what was written so far is on disk. Cancel safe.
    pub(crate) async fn flush(&self) -> Result<(), Failure> {
        if self.phase().overlay().is_some() {
            return Err(Failure::retryable(
                "not_active",
                "what is written before the plugin serves comes to disk once it serves: flush then",
            ));
        }
        self.state.flush().await
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Phase {
    fn overlay(&self) -> Option<&Overlay> {
        match self {
            Self::Prepared(overlay) => Some(overlay),
            Self::Serving { .. } => None,
        }
    }

    /// Whether the key-value is still that of the generation.
    fn check(&self, live: &Live) -> Result<(), Failure> {
        match self {
            Self::Serving { epoch } if *epoch != live.epoch => Err(Failure::retryable(
                "state_migrated",
                "another version serves by now, and the plugin's state was migrated for it",
            )),
            Self::Serving { .. } | Self::Prepared(_) => Ok(()),
        }
    }

    fn get<'a>(&'a self, live: &'a Live, key: &str) -> Option<&'a Arc<[u8]>> {
        match self.overlay().map(|overlay| (overlay, overlay.entries.get(key))) {
            Some((_, Some(value))) => value.as_ref(),
            Some((overlay, None)) if overlay.replaces => None,
            Some((_, None)) | None => live.entries.get(key),
        }
    }

    /// What there is as the limit counts it.
    fn bytes(&self, live: &Live) -> usize {
        match self.overlay() {
            None => live.bytes,
            Some(Overlay { added, removed, replaces, .. }) => {
                let below = if *replaces { 0 } else { live.bytes };
                (below + added).saturating_sub(*removed)
            }
        }
    }
}

impl Drop for StateView {
    /// What the generation wrote is saved, and the key-value forgotten if nobody else uses it.
    fn drop(&mut self) {
        let held = self.phase().overlay().is_some_and(|overlay| overlay.migration.holds_others());
        self.state.live().migrators -= usize::from(held);
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
