//! A change is made wholly or not at all, and changes follow one another.

use crate::fixture::{folder, generation, id, json, loaded, open, put_plugin, put_setting};
use mortise_store::{RECORD_BYTES_MAX, Store, StoreError};

#[derive(Debug, thiserror::Error)]
enum CallerError {
    #[error("changed my mind")]
    ChangedMind,
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[test]
fn a_change_that_fails_in_the_middle_leaves_nothing() {
    let folder = folder();
    let store = open(folder.path());
    put_plugin(&store, "a", &loaded(1));
    let result = store.write(|change| {
        change.put_plugin(&id("a"), &loaded(2))?;
        change.put_generation(&id("a"), 2, &generation("2"))?;
        assert_eq!(change.plugin(&id("a"))?, Some(loaded(2)), "a change sees itself");
        Err::<(), _>(CallerError::ChangedMind)
    });
    assert!(matches!(result, Err(CallerError::ChangedMind)), "{result:?}");
    let unchanged = |store: &Store| {
        assert_eq!(store.plugin(&id("a")).unwrap(), Some(loaded(1)));
        assert_eq!(store.generation(&id("a"), 2).unwrap(), None);
    };
    unchanged(&store);
    drop(store);
    unchanged(&open(folder.path()));
}

#[test]
fn a_change_that_panics_leaves_nothing_and_the_store_usable() {
    let folder = folder();
    let store = open(folder.path());
    let panicked = std::panic::catch_unwind(|| {
        store.write(|change| -> Result<(), StoreError> {
            change.put_plugin(&id("a"), &loaded(1))?;
            panic!("on purpose")
        })
    });
    assert!(panicked.is_err());
    assert_eq!(store.plugin(&id("a")).unwrap(), None);
    put_plugin(&store, "b", &loaded(1));
    drop(store);
    assert_eq!(open(folder.path()).plugins().unwrap().into_keys().collect::<Vec<_>>(), [id("b")]);
}

#[test]
fn a_record_that_is_too_large_is_refused_and_nothing_written() {
    let folder = folder();
    let store = open(folder.path());
    let large = json(&format!("\"{}\"", "x".repeat(RECORD_BYTES_MAX)));
    let error = store
        .write(|change| {
            change.put_setting("small", &json("1"))?;
            change.put_setting("large", &large)
        })
        .unwrap_err();
    let StoreError::TooLarge { table, key, bytes_max, .. } = &error else { panic!("{error}") };
    assert_eq!((*table, key.as_str(), *bytes_max), ("settings", "large", RECORD_BYTES_MAX));
    assert_eq!(error.code(), "record_too_large");
    assert!(store.settings().unwrap().is_empty());
}

#[test]
fn changes_of_several_threads_follow_one_another() {
    let folder = folder();
    let store = open(folder.path());
    put_setting(&store, "count", "0").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = store.clone();
            scope.spawn(move || {
                for round in 0..10 {
                    let plugin = id(&format!("p-{thread}-{round}"));
                    store
                        .write(|change| {
                            let count = change.setting("count")?.unwrap().as_str().parse::<u32>().unwrap();
                            change.put_setting("count", &json(&(count + 1).to_string()))?;
                            change.put_plugin(&plugin, &loaded(1))
                        })
                        .unwrap();
                    assert_eq!(store.plugin(&plugin).unwrap(), Some(loaded(1)));
                }
            });
        }
    });
    assert_eq!(store.setting("count").unwrap(), Some(json("40")));
    assert_eq!(store.plugins().unwrap().len(), 40);
}

#[test]
fn a_second_host_is_refused_while_the_first_has_it() {
    let folder = folder();
    let first = open(folder.path());
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(&error, StoreError::InUse { path } if *path == folder.path().join("state.redb")), "{error}");
    assert_eq!(error.code(), "state_in_use");
    // Nothing was set aside, and the first goes on.
    put_plugin(&first, "a", &loaded(1));
    drop(first);
    assert_eq!(open(folder.path()).plugins().unwrap().len(), 1);
}
