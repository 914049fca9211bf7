//! Files and records that cannot be read.

use crate::fixture::{folder, generation, id, json, loaded, name, open, put_plugin, put_raw, put_setting};
use mortise_store::{CorruptRecord, NameClaims, Store, StoreError};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::fs;
use std::path::{Path, PathBuf};

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
type Quarantined = (&'static str, &'static str, &'static [u8], &'static str);
const QUARANTINE: TableDefinition<u64, Quarantined> = TableDefinition::new("quarantine");

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_corrupt_record_is_quarantined_and_the_rest_is_read() {
    let folder = folder();
    let store = open(folder.path());
    let names = NameClaims::from([(name("f"), vec![id("good")]), (name("g"), vec![id("good")])]);
    store
        .write(|change| {
            change.put_plugin(&id("good"), &loaded(1))?;
            change.put_generation(&id("good"), 1, &generation("1"))?;
            change.put_names(&names)
        })
        .unwrap();
    drop(store);
    let bad: [(&str, &str, &[u8], &str); 5] = [
        ("plugins", "cut", b"\x01{\"desired\":\"loa", "EOF"),
        ("plugins", "empty", b"", "empty"),
        ("plugins", "not/an-id", b"\x01{}", "invalid plugin id"),
        ("names", "g", b"\x07[]", "unknown encoding 7"),
        ("settings", "s", b"\x01NaN", "expected value"),
    ];
    for (table, key, bytes, _) in bad {
        put_raw(folder.path(), table, key, bytes);
    }

    let store = Store::open(folder.path()).unwrap();
    let report = store.report().clone();
    assert_eq!(report.corrupt.len(), bad.len(), "{report:?}");
    for ((table, key, _, reason), found) in bad.iter().zip(&report.corrupt) {
        let CorruptRecord { table: found_table, key: found_key, reason: found_reason } = found;
        assert_eq!((*table, *key), (*found_table, found_key.as_str()));
        assert!(found_reason.contains(reason), "{found_reason}");
    }
    assert_eq!(report.set_aside, None);
    assert_eq!(store.plugins().unwrap().into_keys().collect::<Vec<_>>(), [id("good")]);
    assert_eq!(store.plugin(&id("cut")).unwrap(), None);
    assert_eq!(store.names().unwrap(), NameClaims::from([(name("f"), vec![id("good")])]));
    put_plugin(&store, "cut", &loaded(1));
    drop(store);

    assert_eq!(open(folder.path()).plugins().unwrap().len(), 2, "reported once");
    let database = Database::open(folder.path().join("state.redb")).unwrap();
    let table = database.begin_read().unwrap().open_table(QUARANTINE).unwrap();
    let kept: Vec<_> = table.iter().unwrap().map(|row| row.unwrap().1.value().2.to_vec()).collect();
    assert_eq!(kept, bad.map(|(_, _, bytes, _)| bytes.to_vec()), "the bytes are kept");
}

#[test]
fn a_file_that_is_no_store_is_set_aside_and_kept() {
    let of_something_else = {
        let folder = folder();
        let database = Database::create(folder.path().join("x")).unwrap();
        let tables = database.begin_write().unwrap();
        tables.open_table(TableDefinition::<u64, u64>::new("t")).unwrap().insert(1, 1).unwrap();
        tables.commit().unwrap();
        drop(database);
        fs::read(folder.path().join("x")).unwrap()
    };
    let ours = {
        let folder = folder();
        put_plugin(&open(folder.path()), "a", &loaded(1));
        fs::read(folder.path().join("state.redb")).unwrap()
    };
    let mut torn = ours.clone();
    // Both commit slots, where redb keeps the roots of its trees.
    torn[64 + 1..64 + 256].fill(0xa5);
    let cases = [
        ("empty", Vec::new()),
        ("text", b"not a database at all".to_vec()),
        ("zeros", vec![0; 1 << 20]),
        ("cut in the header", ours[..100].to_vec()),
        ("cut in the middle", ours[..ours.len() / 2].to_vec()),
        ("torn header", torn),
        ("another program's", of_something_else),
    ];
    for (case, bytes) in cases {
        let folder = folder();
        let file = folder.path().join("state.redb");
        fs::write(&file, &bytes).unwrap();
        let store = Store::open(folder.path()).unwrap();
        let aside = store.report().set_aside.clone().unwrap_or_else(|| panic!("{case}"));
        assert!(aside.path.to_str().unwrap().contains("state.redb.corrupt-2"), "{aside:?}");
        assert!(!aside.reason.is_empty());
        assert_eq!(fs::read(&aside.path).unwrap().len(), bytes.len(), "{case}");
        assert!(store.plugins().unwrap().is_empty());
        put_plugin(&store, "b", &loaded(1));
        drop(store);
        assert_eq!(open(folder.path()).plugins().unwrap().len(), 1, "{case}");
        assert_eq!(files(folder.path()), [file, aside.path], "{case}");
    }
}

#[test]
fn a_second_file_in_the_same_second_gets_a_name_of_its_own() {
    let folder = folder();
    for _ in 0..3 {
        fs::write(folder.path().join("state.redb"), b"nonsense").unwrap();
        drop(Store::open(folder.path()).unwrap());
    }
    assert_eq!(files(folder.path()).len(), 4);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let folder = folder();
    put_plugin(&open(folder.path()), "a", &loaded(1));
    let set_format = |format| {
        let database = Database::open(folder.path().join("state.redb")).unwrap();
        let tables = database.begin_write().unwrap();
        tables.open_table(META).unwrap().insert("format", format).unwrap();
        tables.commit().unwrap();
    };
    set_format(2);
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    assert_eq!(error.code(), "state_format_newer");
    assert!(error.hint().contains("run the release that wrote it"), "{}", error.hint());
    assert_eq!(files(folder.path()), [folder.path().join("state.redb")], "not set aside");
    set_format(1);
    assert_eq!(open(folder.path()).plugins().unwrap().len(), 1);
}

#[test]
fn a_newer_format_of_the_engine_is_refused_and_left_alone() {
    let folder = folder();
    put_plugin(&open(folder.path()), "a", &loaded(1));
    let file = folder.path().join("state.redb");
    let mut bytes = fs::read(&file).unwrap();
    (bytes[64], bytes[192]) = (4, 4);
    fs::write(&file, &bytes).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 4, supported: 3, .. }), "{error}");
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = folder();
    let file = folder.path().join("state.redb");
    let refused = || {
        let error = Store::open(folder.path()).unwrap_err();
        assert!(matches!(&error, StoreError::NotAFile { path } if *path == file), "{error}");
    };
    fs::create_dir(&file).unwrap();
    refused();
    fs::remove_dir(&file).unwrap();
    let target = folder.path().join("elsewhere");
    fs::write(&target, b"precious").unwrap();
    std::os::unix::fs::symlink(&target, &file).unwrap();
    refused();
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}

#[test]
fn a_flipped_byte_anywhere_never_keeps_the_host_from_starting() {
    let folder = folder();
    let store = open(folder.path());
    for number in 0..40 {
        let plugin = id(&format!("p{number}"));
        store
            .write(|change| {
                change.put_plugin(&plugin, &loaded(number))?;
                change.put_generation(&plugin, number, &generation("1"))
            })
            .unwrap();
    }
    put_setting(&store, "long", &format!("\"{}\"", "x".repeat(20_000))).unwrap();
    drop(store);
    let file = folder.path().join("state.redb");
    let sound = fs::read(&file).unwrap();
    // The header, and the pages that hold something.
    let used: Vec<usize> = (320..sound.len()).filter(|&at| sound[at] != 0).collect();
    let positions = (0..320).step_by(5).chain(used.iter().copied().step_by(used.len() / 80 + 1));
    let mut set_aside = 0;
    for position in positions {
        let mut bytes = sound.clone();
        bytes[position] ^= 0x41;
        fs::write(&file, &bytes).unwrap();
        match Store::open(folder.path()) {
            Ok(store) => {
                assert!(store.report().corrupt.is_empty(), "no checksum missed it");
                match &store.report().set_aside {
                    // Harmless, or in what a crash would have left as well: everything is there.
                    None => {
                        assert_eq!(store.plugins().unwrap().len(), 40, "at {position}");
                        assert_eq!(store.generations(&id("p7")).unwrap().len(), 1, "at {position}");
                    }
                    Some(aside) => {
                        assert!(store.plugins().unwrap().is_empty());
                        fs::remove_file(&aside.path).unwrap();
                        set_aside += 1;
                    }
                }
                put_setting(&store, "again", "1").unwrap();
                assert_eq!(store.setting("again").unwrap(), Some(json("1")));
            }
            Err(error) => assert!(matches!(error, StoreError::NewerFormat { .. }), "{position}: {error}"),
        }
    }
    assert!(set_aside > 40, "{set_aside}");
}
