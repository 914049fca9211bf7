use super::*;

#[test]
fn a_crash_while_an_archive_is_written_leaves_nothing_of_it() {
    let state = tempfile::tempdir().unwrap();
    let store = ArchiveStore::open(state.path()).unwrap();
    let mut temporary = store.temporary().unwrap();
    temporary.write_all(b"half an arch").unwrap();
    // As if the process had died here.
    let (_file, path) = temporary.keep().unwrap();
    assert!(path.exists());
    assert_eq!(store.list().unwrap(), []);
    let store = ArchiveStore::open(state.path()).unwrap();
    assert!(!path.exists());
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn an_archive_that_replaced_a_corrupt_one_is_not_removed_in_its_stead() {
    let state = tempfile::tempdir().unwrap();
    let store = ArchiveStore::open(state.path()).unwrap();
    let digest = store.put_bytes(b"archive").unwrap();
    let path = store.path(&digest);
    fs::write(&path, "corrupt").unwrap();
    let seen = open_plain(&path).unwrap().unwrap();
    store.put_bytes(b"archive").unwrap();
    store.remove_same(&seen.file, &path).unwrap();
    assert!(store.contains(&digest).unwrap());
}
