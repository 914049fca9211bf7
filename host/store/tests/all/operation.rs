//! The last lifecycle operations.

use crate::fixture::{at, folder, id, json, key, open};
use mortise_store::{
    OPERATION_BYTES_MAX, OPERATIONS_MAX, OpenReport, OperationKey, OperationRecord, OperationStatus, Store, StoreError,
};

fn running(second: i64) -> OperationRecord {
    OperationRecord {
        status: OperationStatus::Running,
        plugin: None,
        started_at: at(second),
        finished_at: None,
        outcome: None,
    }
}

fn done(second: i64, outcome: &str) -> OperationRecord {
    OperationRecord {
        status: OperationStatus::Done,
        plugin: Some(id("a")),
        finished_at: Some(at(second + 1)),
        outcome: Some(json(outcome)),
        ..running(second)
    }
}

fn put(store: &Store, key: &OperationKey, record: &OperationRecord) {
    store.write(|change| change.put_operation(key, record)).unwrap();
}

fn requests(store: &Store) -> Vec<String> {
    store.operations().unwrap().into_iter().map(|(key, _)| key.request).collect()
}

#[test]
fn an_operation_keeps_its_place_when_it_ends() {
    let folder = folder();
    let store = open(folder.path());
    put(&store, &key("1"), &running(1));
    put(&store, &key("\"1\""), &running(2));
    put(&store, &key("1"), &done(1, r#"{"status":"success"}"#));
    assert_eq!(requests(&store), ["\"1\"", "1"], "newest first");
    assert_eq!(store.operation(&key("1")).unwrap(), Some(done(1, r#"{"status":"success"}"#)));
    assert_eq!(store.operation(&key("\"1\"")).unwrap(), Some(running(2)));
    let other = OperationKey { method: "unload_plugin".to_owned(), ..key("1") };
    assert_eq!(store.operation(&other).unwrap(), None);
}

#[test]
fn a_later_operation_of_the_same_key_replaces_the_earlier() {
    let folder = folder();
    let store = open(folder.path());
    put(&store, &key("1"), &done(1, "null"));
    put(&store, &key("2"), &done(2, "2"));
    assert_eq!(store.operation(&key("1")).unwrap(), Some(done(1, "null")));
    put(&store, &key("1"), &running(3));
    assert_eq!(requests(&store), ["1", "2"]);
    assert_eq!(store.operation(&key("1")).unwrap(), Some(running(3)));
}

/// Ages are told by the order alone: a clock that was set back neither hides what came last nor keeps what came first.
#[test]
fn a_clock_that_is_set_back_changes_no_order() {
    let folder = folder();
    let store = open(folder.path());
    put(&store, &key("ahead"), &done(4_000_000_000, "1"));
    put(&store, &key("back"), &done(-4_000_000_000, "2"));
    assert_eq!(requests(&store), ["back", "ahead"]);
    drop(store);
    let store = open(folder.path());
    put(&store, &key("ahead"), &running(5));
    assert_eq!(requests(&store), ["ahead", "back"], "the later one replaces the earlier");
    put(&store, &key("ahead"), &done(5, "3"));
    assert_eq!(store.operation(&key("ahead")).unwrap(), Some(done(5, "3")));
    for number in 0..OPERATIONS_MAX - 1 {
        put(&store, &key(&number.to_string()), &running(6));
    }
    assert_eq!(requests(&store).last().map(String::as_str), Some("ahead"), "the one that came first has gone");
}

#[test]
fn the_oldest_goes_and_the_number_is_kept_across_a_restart() {
    let folder = folder();
    let store = open(folder.path());
    let all = i64::try_from(OPERATIONS_MAX).unwrap() + 3;
    store
        .write(|change| -> Result<(), StoreError> {
            for number in 0..all {
                change.put_operation(&key(&number.to_string()), &done(number, "{}"))?;
            }
            Ok(())
        })
        .unwrap();
    let expected: Vec<String> = (3..all).rev().map(|number| number.to_string()).collect();
    assert_eq!(requests(&store), expected);
    drop(store);
    let store = open(folder.path());
    put(&store, &key("new"), &running(9999));
    let mut expected: Vec<String> = (4..all).rev().map(|number| number.to_string()).collect();
    expected.insert(0, "new".to_owned());
    assert_eq!(requests(&store), expected);
}

#[test]
fn what_was_running_is_interrupted_after_a_restart() {
    let folder = folder();
    let store = open(folder.path());
    put(&store, &key("1"), &done(1, "{}"));
    put(&store, &key("2"), &OperationRecord { plugin: Some(id("a")), ..running(2) });
    put(&store, &key("3"), &running(3));
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(*store.report(), OpenReport { interrupted: vec![key("2"), key("3")], ..OpenReport::default() });
    let interrupted = store.operation(&key("2")).unwrap().unwrap();
    assert_eq!(interrupted.status, OperationStatus::Interrupted);
    assert_eq!((interrupted.plugin, interrupted.started_at, interrupted.finished_at), (Some(id("a")), at(2), None));
    assert_eq!(store.operation(&key("1")).unwrap(), Some(done(1, "{}")));
    assert_eq!(requests(&store), ["3", "2", "1"]);
    drop(store);
    // It is reported once and remembered as it was.
    let store = open(folder.path());
    assert_eq!(store.operation(&key("3")).unwrap().unwrap().status, OperationStatus::Interrupted);
}

#[test]
fn an_operation_that_is_too_large_is_refused() {
    let folder = folder();
    let store = open(folder.path());
    let long = "x".repeat(OPERATION_BYTES_MAX);
    for (key, record) in [(key("1"), done(1, &format!("\"{long}\""))), (key(&format!("\"{long}\"")), running(1))] {
        let error = store.write(|change| change.put_operation(&key, &record)).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { table: "operations", .. }), "{error}");
        assert!(error.to_string().len() < 400);
    }
    assert!(store.operations().unwrap().is_empty());
}
