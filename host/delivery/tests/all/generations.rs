//! Generations from the outside.

use crate::archive::RawTar;
use crate::faults::TinyDisk;
use crate::fixture::{names, noise};
use crate::plugin_host::{PluginHost, demo};
use mortise_delivery::{CommitError, FolderError, GenerationError, Generations, TreeError, TreeLimits};
use mortise_model::{Digest, PluginId};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_committed_generation_is_whole_and_read_only() {
    let outer = tempfile::tempdir().unwrap();
    let host = PluginHost::in_folder(outer.path());
    let staged = host.stage("one");
    let tree = staged.tree;
    let guard = host.generations.commit(staged, 7).unwrap();
    let path = host.state.join("generations/demo/7");
    assert_eq!((&*guard.folder().path, guard.folder().tree), (path.as_path(), tree));
    let kept = guard.keep();
    assert_eq!((kept.id, kept.sequence, kept.manifest.entry_point.as_str()), (demo(), 7, "plugin.wasm"));
    assert_eq!(fs::read_to_string(path.join("assets/content")).unwrap(), "one");
    assert_eq!((mode(&path.join("plugin.wasm")), mode(&path.join("bin/tool"))), (0o444, 0o555));
    assert_eq!((mode(&path), mode(&host.state.join("generations"))), (0o755, 0o700));
    let verified = host.generations.verify(&demo(), 7, &tree, &TreeLimits::default()).unwrap();
    assert_eq!((verified.tree, &*verified.path), (tree, &*path));
    host.assert_nothing_staged();
}

#[test]
fn an_unwanted_generation_goes_with_its_guard() {
    let outer = tempfile::tempdir().unwrap();
    let host = PluginHost::in_folder(outer.path());
    let guard = host.generations.commit(host.stage("one"), 1).unwrap();
    assert_eq!(host.generations.list().unwrap(), [(demo(), 1)]);
    drop(guard);
    assert_eq!(host.generations.list().unwrap(), []);
    assert_eq!(names(&host.state.join("generations")), [""; 0]);
    host.assert_nothing_staged();
}

#[test]
fn a_number_is_used_once() {
    let outer = tempfile::tempdir().unwrap();
    let host = PluginHost::in_folder(outer.path());
    let first = host.generation("one", 1);
    match host.generations.commit(host.stage("two"), 1) {
        Err(GenerationError::Exists { id, sequence: 1 }) => assert_eq!(id, demo()),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_to_string(first.path.join("assets/content")).unwrap(), "one");
    host.assert_nothing_staged();
}

#[test]
fn a_removed_generation_leaves_the_others() {
    let outer = tempfile::tempdir().unwrap();
    let host = PluginHost::in_folder(outer.path());
    host.generation("one", 1);
    let second = host.generation("two", 2);
    assert!(host.generations.remove(&demo(), 1).unwrap());
    assert!(!host.generations.remove(&demo(), 1).unwrap());
    assert_eq!(host.generations.list().unwrap(), [(demo(), 2)]);
    assert!(second.path.exists());
    assert!(host.generations.remove(&demo(), 2).unwrap());
    assert_eq!(names(&host.state.join("generations")), [""; 0]);
    host.assert_nothing_staged();
}

#[test]
fn sweeping_removes_what_no_record_names() {
    let outer = tempfile::tempdir().unwrap();
    let host = PluginHost::in_folder(outer.path());
    for sequence in [1, 2, 10] {
        host.generation("any", sequence);
    }
    let dir = host.state.join("generations");
    fs::create_dir(dir.join("empty")).unwrap();
    fs::create_dir_all(dir.join("demo/01")).unwrap();
    fs::write(dir.join("notes"), "").unwrap();
    symlink(outer.path(), dir.join("link")).unwrap();
    assert_eq!(host.generations.list().unwrap(), [(demo(), 1), (demo(), 2), (demo(), 10)]);
    let swept = host.generations.sweep(|id, sequence| *id == demo() && sequence == 2).unwrap();
    assert_eq!(swept.removed, [(demo(), 1), (demo(), 10)]);
    assert!(swept.failed.is_empty(), "{:?}", swept.failed);
    assert_eq!(host.generations.list().unwrap(), [(demo(), 2)]);
    // What is not the host's stays.
    assert_eq!(names(&dir), ["demo", "link", "notes"]);
    assert_eq!(names(&dir.join("demo")), ["01", "2"]);
    host.assert_nothing_staged();
}

#[test]
fn verifying_tells_missing_from_changed_from_unreadable() {
    let outer = tempfile::tempdir().unwrap();
    let host = PluginHost::in_folder(outer.path());
    let folder = host.generation("one", 1);
    let verify = |sequence| host.generations.verify(&demo(), sequence, &folder.tree, &TreeLimits::default());
    assert!(matches!(verify(2), Err(GenerationError::Missing { sequence: 2, .. })));
    let nobody = PluginId::new("nobody").unwrap();
    let missing = host.generations.verify(&nobody, 1, &folder.tree, &TreeLimits::default());
    assert!(matches!(missing, Err(GenerationError::Missing { .. })));
    let content = folder.path.join("assets/content");
    fs::set_permissions(&content, Permissions::from_mode(0o644)).unwrap();
    assert!(verify(1).is_ok(), "whether the owner may write to a file is no part of the digest");
    fs::write(&content, "two").unwrap();
    match verify(1) {
        Err(GenerationError::Corrupt { expected, actual, .. }) => {
            assert_eq!(expected, folder.tree);
            assert_eq!(actual, host.stage("two").tree);
        }
        other => panic!("{other:?}"),
    }
    fs::write(&content, "one").unwrap();
    assert!(verify(1).is_ok());
    fs::set_permissions(&content, Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(verify(1), Err(GenerationError::Corrupt { .. })));
    fs::remove_file(&content).unwrap();
    symlink("/etc/hostname", &content).unwrap();
    assert!(matches!(
        verify(1),
        Err(GenerationError::Folder(FolderError::Tree(TreeError::SymbolicLink { name }))) if name == "assets/content"
    ));
}

#[test]
fn files_and_links_in_the_way_are_refused_by_name() {
    let outer = tempfile::tempdir().unwrap();
    let host = PluginHost::in_folder(outer.path());
    let dir = host.state.join("generations");
    let elsewhere = outer.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("1")).unwrap();
    symlink(&elsewhere, dir.join("demo")).unwrap();
    let error = host.generations.commit(host.stage("one"), 2).unwrap_err();
    assert!(error.code() == "disk" && error.to_string().contains("generations/demo`"), "{error}");
    assert!(matches!(host.generations.remove(&demo(), 1), Err(GenerationError::NotAFolder { .. })));
    let verified = host.generations.verify(&demo(), 1, &Digest::of(b""), &TreeLimits::default());
    assert!(matches!(verified, Err(GenerationError::NotAFolder { .. })));
    assert_eq!(names(&elsewhere), ["1"]);
    fs::remove_file(dir.join("demo")).unwrap();
    fs::create_dir(dir.join("demo")).unwrap();
    fs::write(dir.join("demo/1"), "a file").unwrap();
    let error = host.generations.commit(host.stage("one"), 1).unwrap_err();
    assert!(matches!(&error, GenerationError::NotAFolder { path } if *path == dir.join("demo/1")), "{error}");
    host.assert_nothing_staged();
    fs::remove_dir_all(&dir).unwrap();
    fs::write(&dir, "a file").unwrap();
    assert_eq!(Generations::open(&host.state, host.staging.clone()).unwrap_err().path, dir);
}

#[test]
fn a_generations_folder_that_is_gone_leaves_nothing_behind() {
    let outer = tempfile::tempdir().unwrap();
    let host = PluginHost::in_folder(outer.path());
    fs::remove_dir(host.state.join("generations")).unwrap();
    assert_eq!(host.generations.commit(host.stage("one"), 1).unwrap_err().code(), "disk");
    host.assert_nothing_staged();
}

#[test]
fn staging_on_another_file_system_is_named_as_the_reason() {
    let Some(disk) = TinyDisk::mount(1 << 20) else { return };
    let outer = tempfile::tempdir().unwrap();
    let host = PluginHost::in_folder(outer.path());
    let elsewhere = Generations::open(disk.path(), host.staging.clone()).unwrap();
    let error = elsewhere.commit(host.stage("one"), 1).unwrap_err();
    assert!(matches!(error, GenerationError::Commit(CommitError::OtherFileSystem { .. })), "{error}");
    assert_eq!(elsewhere.list().unwrap(), []);
    host.assert_nothing_staged();
}

#[test]
fn a_read_only_disk_changes_nothing() {
    let Some(disk) = TinyDisk::mount(4 << 20) else { return };
    let host = PluginHost::in_folder(disk.path());
    let kept = host.generation("one", 1);
    let staged = host.stage_archive(&RawTar::plugin().file("noise", &noise(1000)).gz());
    disk.set_read_only(true);
    assert_eq!(host.generations.commit(staged, 2).unwrap_err().hint(), "let the host's user write there");
    assert_eq!(host.generations.remove(&demo(), 1).unwrap_err().code(), "disk");
    let swept = host.generations.sweep(|_, _| false);
    assert!(swept.is_ok_and(|swept| swept.removed.is_empty() && swept.failed.len() == 1));
    disk.set_read_only(false);
    assert!(host.generations.verify(&demo(), 1, &kept.tree, &TreeLimits::default()).is_ok());
}
