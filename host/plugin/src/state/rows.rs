//! What the host itself notes among a plugin's rows: of which version they are, and what there was before a migration.

use super::{Live, Of, Snapshot, StateChange, counted};
use std::collections::BTreeMap;
use std::sync::Arc;

/// No plugin's key holds a control character.
const OWN: char = '\0';

/// The version, as the number of its generation, a blank and its name.
const OF: &str = "\0of";

/// The version that was migrated.
const BEFORE: &str = "\0before";

/// What begins the keys that it had.
const BEFORE_KEY: &str = "\0before/";

pub(super) fn is_own(key: &str) -> bool {
    key.starts_with(OWN)
}

/// Takes a plugin's rows apart.
pub(super) fn read(rows: Vec<(String, Vec<u8>)>) -> Live {
    let mut live = Live::default();
    let (mut version_before, mut before) = (None, BTreeMap::new());
    for (key, value) in rows {
        let text = || String::from_utf8_lossy(&value);
        match key.as_str() {
            OF => live.of = of(&text()),
            BEFORE => version_before = Some(Arc::from(text())),
            key if let Some(key) = key.strip_prefix(BEFORE_KEY) => {
                drop(before.insert(Arc::from(key), Arc::from(value)))
            }
            key if is_own(key) => {}
            key => {
                live.bytes += counted(key, &value);
                let key: Arc<str> = Arc::from(key);
                live.on_disk.insert(Arc::clone(&key));
                live.entries.insert(key, Arc::from(value));
            }
        }
    }
    live.before = version_before.map(|version| Snapshot { version, entries: before });
    live
}

/// The host's own rows that have to be written. What there was before a migration does not change from then on.
pub(super) fn own(live: &Live) -> Vec<StateChange> {
    let mut rows: Vec<StateChange> = Vec::new();
    if !live.entries.is_empty() || live.before.is_some() {
        let Of { version, generation } = &live.of;
        rows.push((Arc::from(OF), Some(Arc::from(format!("{generation} {version}").into_bytes()))));
    }
    if let Some(Snapshot { version, entries }) = live.before.as_ref().filter(|_| live.clear.is_some()) {
        rows.push((Arc::from(BEFORE), Some(Arc::from(version.as_bytes()))));
        let key = |key: &str| Arc::from(format!("{BEFORE_KEY}{key}"));
        rows.extend(entries.iter().map(|(name, value)| (key(name), Some(Arc::clone(value)))));
    }
    rows
}

fn of(text: &str) -> Of {
    let (generation, version) = text.split_once(' ').unwrap_or_default();
    Of { version: Arc::from(version), generation: generation.parse().unwrap_or(0) }
}
