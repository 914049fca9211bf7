//! Working copies from the outside.

use crate::faults::TinyDisk;
use crate::fixture::{names, noise};
use crate::plugin_host::{PluginHost, demo};
use mortise_delivery::{
    FolderError, Repaired, StageError, TreeError, TreeLimits, WorkingCopyError, WorkingCopyState, list_folders,
};
use mortise_model::ManifestWarning;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

fn host() -> (tempfile::TempDir, PluginHost) {
    let outer = tempfile::tempdir().unwrap();
    let host = PluginHost::in_folder(outer.path());
    (outer, host)
}

fn content(folder: &Path) -> String {
    fs::read_to_string(folder.join("assets/content")).unwrap()
}

#[test]
fn a_tree_keeps_its_digest_all_the_way_round() {
    let (_outer, host) = host();
    let first = host.generation("one", 1);
    let copy = host.copies.write(&first).unwrap();
    assert_eq!(copy, host.capabilities.join("demo"));
    let mode = |path: &str| fs::metadata(copy.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(""), mode("assets"), mode("plugin.wasm"), mode("bin/tool")), (0o755, 0o755, 0o644, 0o755));
    assert!(matches!(host.copies.state(&demo(), &first.tree).unwrap(), WorkingCopyState::Same));
    // An editor leaves other modes behind, and folders without files.
    fs::set_permissions(copy.join("bin/tool"), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(copy.join("plugin.wasm"), Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(copy.join("empty")).unwrap();
    let snapshot = host.copies.snapshot(&demo()).unwrap();
    assert_eq!((&snapshot.id, snapshot.tree), (&demo(), first.tree));
    let second = host.generations.commit(snapshot, 2).unwrap().keep();
    assert!(host.generations.verify(&demo(), 2, &first.tree, &TreeLimits::default()).is_ok());
    host.copies.write(&second).unwrap();
    assert_eq!(host.copies.snapshot(&demo()).unwrap().tree, first.tree);
    host.assert_nothing_staged();
}

#[test]
fn a_working_copy_is_a_copy() {
    let (_outer, host) = host();
    let generation = host.generation("one", 1);
    let copy = host.copies.write(&generation).unwrap();
    assert_eq!(fs::metadata(copy.join("assets/content")).unwrap().nlink(), 1);
    fs::write(copy.join("assets/content"), "edited").unwrap();
    assert_eq!(content(&generation.path), "one");
    assert!(host.generations.verify(&demo(), 1, &generation.tree, &TreeLimits::default()).is_ok());
}

#[test]
fn writing_replaces_all_of_what_was_there() {
    let (_outer, host) = host();
    let copy = host.copies.write(&host.generation("one", 1)).unwrap();
    fs::write(copy.join("stray"), "").unwrap();
    let second = host.generation("two", 2);
    host.copies.write(&second).unwrap();
    assert_eq!(content(&copy), "two");
    assert!(!copy.join("stray").exists());
    host.assert_nothing_staged();
}

#[test]
fn the_state_is_told() {
    let (_outer, host) = host();
    let generation = host.generation("one", 1);
    let state = || host.copies.state(&demo(), &generation.tree).unwrap();
    assert!(matches!(state(), WorkingCopyState::Missing));
    let copy = host.copies.write(&generation).unwrap();
    assert!(matches!(state(), WorkingCopyState::Same));
    fs::write(copy.join("assets/content"), "two").unwrap();
    let edited = host.stage("two").tree;
    assert!(matches!(state(), WorkingCopyState::Edited { tree } if tree == edited));
    symlink("/etc/hostname", copy.join("link")).unwrap();
    assert!(matches!(state(), WorkingCopyState::Unfit { error: TreeError::SymbolicLink { name } } if name == "link"));
}

#[test]
fn repair_touches_only_what_is_wrong_and_keeps_edits() {
    let (_outer, host) = host();
    let first = host.generation("one", 1);
    let copy = host.capabilities.join("demo");
    assert_eq!(host.copies.repair(&first, None).unwrap(), Repaired::Written);
    let inode = fs::metadata(&copy).unwrap().ino();
    assert_eq!(host.copies.repair(&first, None).unwrap(), Repaired::Same);
    assert_eq!(fs::metadata(&copy).unwrap().ino(), inode);

    // As if the host had died after the record of the second and before its working copy.
    let second = host.generation("two", 2);
    assert_eq!(host.copies.repair(&second, Some(&first.tree)).unwrap(), Repaired::Replaced);
    assert_eq!((content(&copy).as_str(), host.capabilities.join(".edits").exists()), ("two", false));

    fs::write(copy.join("assets/content"), "edited").unwrap();
    let edits = host.capabilities.join(".edits/demo.1");
    let set_aside = Repaired::SetAside { edits: edits.clone() };
    assert_eq!(host.copies.repair(&second, Some(&first.tree)).unwrap(), set_aside);
    assert_eq!((content(&copy).as_str(), content(&edits).as_str()), ("two", "edited"));

    // What no plugin may hold was put there by somebody, too.
    symlink("/etc/hostname", copy.join("link")).unwrap();
    let edits = host.capabilities.join(".edits/demo.2");
    let set_aside = Repaired::SetAside { edits: edits.clone() };
    assert_eq!(host.copies.repair(&second, None).unwrap(), set_aside);
    assert!(edits.join("link").is_symlink() && !copy.join("link").is_symlink());
    assert_eq!(host.copies.repair(&second, None).unwrap(), Repaired::Same);
    let listed: Vec<String> = list_folders(&host.capabilities).unwrap().into_iter().map(|folder| folder.name).collect();
    assert_eq!(listed, ["demo"]);
    host.assert_nothing_staged();
}

#[test]
fn uninstalling_removes_the_copy_or_sets_it_aside() {
    let (_outer, host) = host();
    assert!(!host.copies.remove(&demo()).unwrap());
    assert_eq!(host.copies.set_aside(&demo()).unwrap(), None);
    let copy = host.copies.write(&host.generation("one", 1)).unwrap();
    assert!(host.copies.remove(&demo()).unwrap());
    assert_eq!(names(&host.capabilities), [".mortise"]);
    host.copies.write(&host.generation("two", 2)).unwrap();
    fs::write(copy.join("assets/content"), "edited").unwrap();
    let edits = host.copies.set_aside(&demo()).unwrap().unwrap();
    assert_eq!((edits, copy.exists()), (host.capabilities.join(".edits/demo.1"), false));
    host.assert_nothing_staged();
}

#[test]
fn files_and_links_in_the_way_are_refused_by_name_and_untouched() {
    let (outer, host) = host();
    let generation = host.generation("one", 1);
    let place = host.capabilities.join("demo");
    let elsewhere = outer.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let check = || {
        let refused = |error: WorkingCopyError| match error {
            WorkingCopyError::NotAFolder { path } => assert_eq!(path, place),
            other => panic!("{other:?}"),
        };
        refused(host.copies.write(&generation).unwrap_err());
        refused(host.copies.repair(&generation, None).unwrap_err());
        refused(host.copies.state(&demo(), &generation.tree).unwrap_err());
        refused(host.copies.remove(&demo()).unwrap_err());
        refused(host.copies.set_aside(&demo()).unwrap_err());
        let snapshot = host.copies.snapshot(&demo());
        assert!(matches!(snapshot, Err(StageError::Folder(FolderError::Tree(TreeError::NotAFolder { .. })))));
        host.assert_nothing_staged();
    };
    fs::write(&place, "a file").unwrap();
    check();
    assert_eq!(fs::read_to_string(&place).unwrap(), "a file");
    fs::remove_file(&place).unwrap();
    symlink(&elsewhere, &place).unwrap();
    check();
    assert!(place.is_symlink());
    fs::remove_file(&place).unwrap();

    // The same for the folder of edits: the edits stay where they are.
    let copy = host.copies.write(&generation).unwrap();
    fs::write(copy.join("assets/content"), "edited").unwrap();
    symlink(&elsewhere, host.capabilities.join(".edits")).unwrap();
    let error = host.copies.repair(&generation, None).unwrap_err();
    assert!(
        matches!(&error, WorkingCopyError::NotAFolder { path } if *path == host.capabilities.join(".edits")),
        "{error:?}"
    );
    assert_eq!((content(&copy).as_str(), names(&elsewhere).len()), ("edited", 0));
    host.assert_nothing_staged();
}

#[test]
fn a_snapshot_that_cannot_be_loaded_is_refused_as_the_folder_is() {
    let (_outer, host) = host();
    let refused = || match host.copies.snapshot(&demo()) {
        Err(StageError::Folder(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(), FolderError::Tree(TreeError::NotFound { .. })));
    let copy = host.capabilities.join("demo");
    fs::create_dir(&copy).unwrap();
    assert!(matches!(refused(), FolderError::NoManifest));
    fs::write(copy.join("manifest.json"), r#"{"id": "other", "entry_point": "plugin.wasm"}"#).unwrap();
    assert!(matches!(refused(), FolderError::NoEntryPoint { .. }));
    // The folder's name is the plugin's id.
    fs::write(copy.join("plugin.wasm"), "").unwrap();
    let snapshot = host.copies.snapshot(&demo()).unwrap();
    assert_eq!((&snapshot.id, &snapshot.manifest.id), (&demo(), &demo()));
    assert!(matches!(snapshot.manifest.warnings[..], [ManifestWarning::IdMismatch { .. }]));
    drop(snapshot);
    host.assert_nothing_staged();
}

#[test]
fn a_missing_generation_changes_no_working_copy() {
    let (_outer, host) = host();
    let mut generation = host.generation("one", 1);
    let copy = host.copies.write(&generation).unwrap();
    generation.path = host.state.join("generations/demo/2").into();
    let error = host.copies.write(&generation).unwrap_err();
    assert_eq!(error.code(), "folder_not_found");
    assert_eq!(content(&copy), "one");
    host.assert_nothing_staged();
}

#[test]
fn a_full_or_read_only_disk_changes_nothing() {
    let Some(disk) = TinyDisk::mount(256 << 10) else { return };
    let host = PluginHost::in_folder(disk.path());
    let generation = host.generation("one", 1);
    let copy = host.copies.write(&generation).unwrap();
    fs::write(copy.join("assets/content"), "edited").unwrap();
    let filler = disk.path().join("filler");
    assert!(fs::write(&filler, noise(1 << 20)).is_err());
    let full = |error: WorkingCopyError| assert_eq!(error.hint(), "make room on the disk", "{error:?}");
    full(host.copies.write(&generation).unwrap_err());
    full(host.copies.repair(&generation, None).unwrap_err());
    assert_eq!(content(&copy), "edited");
    host.assert_nothing_staged();
    fs::remove_file(&filler).unwrap();
    disk.set_read_only(true);
    assert_eq!(host.copies.write(&generation).unwrap_err().hint(), "let the host's user write there");
    assert_eq!(host.copies.remove(&demo()).unwrap_err().code(), "disk");
    disk.set_read_only(false);
    assert!(matches!(host.copies.repair(&generation, None), Ok(Repaired::SetAside { .. })));
}
