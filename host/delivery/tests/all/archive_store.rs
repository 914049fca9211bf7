//! The archive store from the outside.

use crate::faults::TinyDisk;
use crate::fixture::{names, noise};
use mortise_delivery::{ArchiveStore, ArchiveStoreError, ReadArchive};
use mortise_model::Digest;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use tempfile::TempDir;

const MAX: u64 = 1 << 20;

fn open() -> (TempDir, ArchiveStore) {
    let state = tempfile::tempdir().unwrap();
    let store = ArchiveStore::open(state.path()).unwrap();
    (state, store)
}

fn path(state: &TempDir, digest: &Digest) -> PathBuf {
    state.path().join("store/sha256").join(digest.hex())
}

#[test]
fn what_is_put_is_found_under_its_digest() {
    let (state, store) = open();
    let digest = store.put_bytes(b"archive").unwrap();
    assert_eq!(digest, Digest::of(b"archive"));
    assert_eq!(store.put_bytes(b"archive").unwrap(), digest);
    let other = store.put_bytes(b"other archive").unwrap();
    let mut expected = vec![(digest, 7), (other, 13)];
    expected.sort_unstable();
    assert_eq!(store.list().unwrap(), expected);
    assert_eq!(store.read_verified(&digest, 7).unwrap(), ReadArchive::Intact(b"archive".to_vec()));
    let mut opened = store.open_archive(&digest).unwrap().unwrap();
    let mut text = String::new();
    opened.file.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), opened.bytes), ("archive", 7));
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(path(&state, &digest)), mode(state.path().join("store/sha256"))), (0o600, 0o700));
    assert!(store.remove(&digest).unwrap());
    assert!(!store.remove(&digest).unwrap());
    assert!(!store.contains(&digest).unwrap() && store.contains(&other).unwrap());
    assert_eq!(store.read_verified(&digest, MAX).unwrap(), ReadArchive::Absent);
    assert_eq!(names(&state.path().join("store/incoming")), [""; 0]);
}

#[test]
fn a_file_is_stored_only_under_the_digest_it_has() {
    let (state, store) = open();
    let staged = state.path().join("staged");
    fs::write(&staged, "archive").unwrap();
    let wrong = Digest::of(b"another");
    match store.put_file(&staged, &wrong) {
        Err(ArchiveStoreError::DigestMismatch { path, expected, actual }) => {
            assert_eq!((path, expected, actual), (staged.clone(), wrong, Digest::of(b"archive")));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.list().unwrap(), []);
    let digest = Digest::of(b"archive");
    store.put_file(&staged, &digest).unwrap();
    store.put_file(&staged, &digest).unwrap();
    // Whoever still writes to the staged file does not write to the store.
    fs::write(&staged, "changed").unwrap();
    assert_eq!(store.read_verified(&digest, MAX).unwrap(), ReadArchive::Intact(b"archive".to_vec()));
    let link = state.path().join("link");
    symlink(&staged, &link).unwrap();
    assert!(matches!(store.put_file(&link, &digest), Err(ArchiveStoreError::NotAFile { .. })));
    let gone = state.path().join("gone");
    assert!(matches!(store.put_file(&gone, &digest), Err(ArchiveStoreError::NotFound { .. })));
    assert_eq!(names(&state.path().join("store/incoming")), [""; 0]);
}

#[test]
fn a_corrupt_archive_counts_as_absent_and_says_so() {
    let (state, store) = open();
    let digest = store.put_bytes(b"archive").unwrap();
    fs::write(path(&state, &digest), "bitrot!").unwrap();
    match store.read_verified(&digest, MAX).unwrap() {
        ReadArchive::Corrupt(warning) => {
            assert_eq!((warning.expected, warning.actual), (digest, Digest::of(b"bitrot!")));
            assert_eq!((warning.code(), warning.path.as_path()), ("archive_corrupt", path(&state, &digest).as_path()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.read_verified(&digest, MAX).unwrap(), ReadArchive::Absent);
    // One that nobody has noticed yet is put right by putting it again.
    store.put_bytes(b"archive").unwrap();
    fs::write(path(&state, &digest), "bitrot!").unwrap();
    store.put_bytes(b"archive").unwrap();
    assert_eq!(store.read_verified(&digest, MAX).unwrap(), ReadArchive::Intact(b"archive".to_vec()));
    let error = store.read_verified(&digest, 6).unwrap_err();
    assert_eq!(error.code(), "bundle_too_large");
    assert!(store.contains(&digest).unwrap());
}

#[test]
fn a_link_is_neither_read_nor_written_through() {
    let (state, store) = open();
    let outside = tempfile::tempdir().unwrap();
    let canary = outside.path().join("canary");
    fs::write(&canary, "archive").unwrap();
    let digest = Digest::of(b"archive");
    symlink(&canary, path(&state, &digest)).unwrap();
    assert!(matches!(store.open_archive(&digest), Err(ArchiveStoreError::NotAFile { .. })));
    assert!(matches!(store.contains(&digest), Err(ArchiveStoreError::NotAFile { .. })));
    assert!(matches!(store.read_verified(&digest, MAX), Err(ArchiveStoreError::NotAFile { .. })));
    assert_eq!(store.list().unwrap(), []);
    store.put_bytes(b"archive").unwrap();
    assert!(path(&state, &digest).symlink_metadata().unwrap().is_file());
    assert!(store.remove(&digest).unwrap());
    assert_eq!(fs::read_to_string(&canary).unwrap(), "archive");
}

#[test]
fn what_is_no_archive_is_left_out_and_left_alone() {
    let (state, store) = open();
    let digest = store.put_bytes(b"archive").unwrap();
    let folder = state.path().join("store/sha256");
    fs::write(folder.join("README"), "").unwrap();
    fs::write(folder.join(digest.hex().to_uppercase()), "").unwrap();
    fs::create_dir(folder.join("0".repeat(64))).unwrap();
    assert_eq!(store.list().unwrap(), [(digest, 7)]);
    drop(store);
    ArchiveStore::open(state.path()).unwrap();
    assert_eq!(names(&folder).len(), 4);
}

#[test]
fn a_file_or_a_link_in_the_folders_place_is_refused_by_name() {
    for name in ["store", "store/sha256", "store/incoming"] {
        let state = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let place = state.path().join(name);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, "a file").unwrap();
        let error = ArchiveStore::open(state.path()).unwrap_err();
        assert_eq!(error.to_string(), format!("failed to open `{}`", place.display()));
        assert!(error.hint().contains("should be a folder"), "{}", error.hint());
        assert_eq!(fs::read_to_string(&place).unwrap(), "a file");
        fs::remove_file(&place).unwrap();
        symlink(outside.path(), &place).unwrap();
        assert_eq!(ArchiveStore::open(state.path()).unwrap_err().path, place);
        assert_eq!(names(outside.path()), [""; 0]);
    }
    let gone = tempfile::tempdir().unwrap().path().join("gone");
    assert!(ArchiveStore::open(&gone).is_err());
}

#[test]
fn a_full_or_read_only_disk_changes_nothing() {
    let Some(disk) = TinyDisk::mount(64 << 10) else { return };
    let store = ArchiveStore::open(disk.path()).unwrap();
    let digest = store.put_bytes(b"archive").unwrap();
    let error = store.put_bytes(&noise(256 << 10)).unwrap_err();
    assert_eq!((error.code(), error.hint().as_str()), ("disk", "make room on the disk"));
    assert_eq!(names(&disk.path().join("store/incoming")), [""; 0]);
    assert_eq!(store.list().unwrap(), [(digest, 7)]);
    disk.set_read_only(true);
    let error = store.put_bytes(b"more").unwrap_err();
    assert_eq!(error.hint(), "let the host's user write there");
    assert_eq!(store.remove(&digest).unwrap_err().code(), "disk");
    assert_eq!(store.read_verified(&digest, MAX).unwrap(), ReadArchive::Intact(b"archive".to_vec()));
    disk.set_read_only(false);
    store.put_bytes(b"more").unwrap();
}
