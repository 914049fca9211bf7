//! Disks that are full or may not be written. They are file systems of their own, which only root can make.

use crate::fixture::{folder, open, put_setting};
use mortise_store::{Store, StoreError};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A mounted file system, until it is dropped.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    /// None where this user may not mount.
    fn new(path: &'a Path, options: &str) -> Option<Self> {
        if run("mount", &["-t", "tmpfs", "-o", options, "tmpfs"], path) {
            return Some(Self(path));
        }
        println!("skipped: this user may not mount a file system");
        None
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        assert!(run("umount", &[], self.0) || std::thread::panicking());
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    #[expect(clippy::disallowed_methods, reason = "a test's own file system; it is waited for")]
    let mut command = Command::new(program);
    let ended = command.args(arguments).arg(path).stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}

#[test]
fn a_full_disk_is_named_and_the_store_goes_on_when_there_is_room() {
    let folder = folder();
    let Some(_mount) = Mount::new(folder.path(), "size=6m") else { return };
    let store = open(folder.path());
    put_setting(&store, "kept", "1").unwrap();
    let ballast = folder.path().join("ballast");
    // Until the disk is full.
    fs::write(&ballast, vec![1; 8 << 20]).unwrap_err();

    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let error = put_setting(&store, "large", &large).unwrap_err();
    assert!(matches!(error, StoreError::Disk { .. }), "{error:?}");
    assert_eq!(error.code(), "disk_full", "{error:?}");
    assert_eq!(error.hint(), "make room on the disk");
    let read = store.setting("kept");
    assert!(read.as_ref().is_ok_and(Option::is_some), "{read:?}");

    fs::remove_file(&ballast).unwrap();
    assert_eq!(store.setting("large").unwrap(), None);
    put_setting(&store, "large", &large).unwrap();
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.settings().unwrap().into_keys().collect::<Vec<_>>(), ["kept", "large"]);
}

#[test]
fn a_disk_too_full_for_a_store_is_named() {
    let folder = folder();
    let Some(_mount) = Mount::new(folder.path(), "size=4k") else { return };
    fs::write(folder.path().join("ballast"), vec![1; 4 << 10]).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert_eq!(error.code(), "disk_full", "{error:?}");
    assert!(!folder.path().join("state.redb").exists());
}

#[test]
fn a_disk_that_may_not_be_written_is_named() {
    let folder = folder();
    {
        let Some(_mount) = Mount::new(folder.path(), "size=4m,ro") else { return };
        let error = Store::open(folder.path()).unwrap_err();
        assert_eq!(error.code(), "disk_read_only", "{error:?}");
        assert!(error.hint().contains("mount it for writing"));
    }
    let error = Store::open(&folder.path().join("missing")).unwrap_err();
    assert_eq!(error.code(), "disk", "{error:?}");
}
