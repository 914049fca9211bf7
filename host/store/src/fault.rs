//! A disk that fails at each step of a change.

use crate::{Store, StoreError};
use mortise_model::Json;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use std::cell::Cell;
use std::io;
use std::ops::Bound;

thread_local! {
    /// The disk of this thread's store: the first step that fails, and how many do from there.
    static FAULT: Cell<Option<(u32, u32)>> = const { Cell::new(None) };
    /// Whether something was written since the last sync, and how many syncs there were.
    static SYNCED: Cell<(bool, u32)> = const { Cell::new((true, 0)) };
}

/// The file with its faults.
#[derive(Debug)]
pub(crate) struct Faulty(pub(crate) FileBackend);

/// Counts a step, and fails it if it is its turn.
fn step() -> io::Result<()> {
    match FAULT.get() {
        None | Some((_, 0)) => Ok(()),
        Some((0, left)) => {
            FAULT.set(Some((0, left - 1)));
            Err(io::ErrorKind::StorageFull.into())
        }
        Some((steps, left)) => {
            FAULT.set(Some((steps - 1, left)));
            Ok(())
        }
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        step()?;
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        step()?;
        SYNCED.set((true, SYNCED.get().1 + 1));
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        step()?;
        SYNCED.set((false, SYNCED.get().1));
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
}

fn number(text: &str) -> Json {
    Json::new(text.to_owned()).unwrap()
}

/// Two rows in one change, so that half of one would show.
fn put(store: &Store, text: &str) -> Result<(), StoreError> {
    store.write(|change| {
        change.put_setting("a", &number(text))?;
        change.put_setting("b", &number(text))
    })
}

fn get(store: &Store) -> Result<String, StoreError> {
    let settings = store.settings()?;
    assert_eq!(settings.len(), 2);
    assert_eq!(settings["a"], settings["b"], "half a change");
    Ok(settings["a"].as_str().to_owned())
}

/// Fails `count` steps from each step on, and tells what came of the change at each.
fn play(count: u32) -> Vec<&'static str> {
    let mut outcomes = Vec::new();
    for first in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        put(&store, "1").unwrap();
        FAULT.set(Some((first, count)));
        let changed = put(&store, "2");
        let fired = FAULT.take().is_some_and(|(_, left)| left < count);
        if !fired {
            changed.unwrap();
            break;
        }
        match &changed {
            Ok(()) => panic!("a step failed, and nobody said so"),
            Err(StoreError::InDoubt { .. }) => assert!(["1", "2"].contains(&get(&store).unwrap().as_str())),
            Err(_) => assert_eq!(get(&store).unwrap(), "1"),
        }
        let after = get(&store).unwrap();
        put(&store, "3").unwrap();
        assert_eq!(get(&store).unwrap(), "3", "after {after}");
        drop(store);
        assert_eq!(get(&Store::open(folder.path()).unwrap()).unwrap(), "3");
        outcomes.push(changed.unwrap_err().code());
    }
    outcomes
}

#[test]
fn a_change_is_on_disk_when_it_returns() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert!(SYNCED.get().0, "the store was made and not synced");
    let before = SYNCED.get().1;
    put(&store, "1").unwrap();
    let (all, syncs) = SYNCED.get();
    assert!(all && syncs > before, "{all} {before} {syncs}");
}

#[test]
fn a_step_that_fails_undoes_the_change_unless_it_is_the_last() {
    let mut outcomes = play(1);
    // The sync that makes it last: it can be read afterwards, and may not be on disk.
    assert_eq!(outcomes.pop(), Some("state_in_doubt"));
    assert!(outcomes.len() >= 3 && outcomes.iter().all(|code| *code == "disk_full"), "{outcomes:?}");
}

#[test]
fn a_disk_that_goes_on_failing_leaves_a_whole_change_or_none() {
    assert!(play(u32::MAX).len() >= 3);
}
