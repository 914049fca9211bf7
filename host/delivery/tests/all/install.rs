//! From an archive or a folder to an installed plugin.

use crate::archive::{RawTar, RawZip, ZipMember};
use crate::fixture::{Fixture, MANIFEST, names};
use mortise_delivery::{
    FolderError, IfExists, ListedError, PluginFolder, StageError, StagedPlugin, TreeError, TreeLimits, list_folders,
};
use mortise_model::{ManifestError, ManifestWarning, PluginId};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

fn id(text: &str) -> PluginId {
    PluginId::new(text).unwrap()
}

#[test]
fn a_tarball_and_a_zip_of_the_same_files_are_the_same_plugin() {
    let fixture = Fixture::new();
    let plain = fixture.stage(&RawTar::plugin().gz(), None).unwrap();
    let folder = RawTar::default()
        .pax(b'g', "comment", "as git archive writes it")
        .member("./", b'5', "", b"")
        .member("./demo-1.0/", b'5', "", b"")
        .file("./demo-1.0/plugin.wasm", b"\0asm")
        .file("./demo-1.0/manifest.json", MANIFEST.as_bytes())
        .file("loose", b"dropped");
    let folder = fixture.stage(&folder.gz(), None).unwrap();
    let zip = RawZip::new()
        .with(ZipMember::new("top/", 0o040_755, b""))
        .file("top/manifest.json", MANIFEST.as_bytes())
        .with(ZipMember { method: 8, ..ZipMember::new("top/plugin.wasm", 0, b"\0asm") });
    let zip = fixture.stage(&zip.bytes(), None).unwrap();
    for staged in [&plain, &folder, &zip] {
        assert_eq!((&staged.id, staged.tree), (&id("demo"), plain.tree));
        assert_eq!(names(staged.root()), ["manifest.json", "plugin.wasm"]);
    }
    assert_eq!(names(fixture.staging.path()).len(), 3);
    drop((plain, folder, zip));
    fixture.assert_untouched();
}

#[test]
fn a_committed_plugin_opens_with_the_digest_it_was_staged_with() {
    let fixture = Fixture::new();
    let staged = fixture.stage(&RawTar::plugin().gz(), None).unwrap();
    let tree = staged.tree;
    drop(staged.commit(&fixture.capabilities(), IfExists::Refuse).unwrap());
    assert_eq!(names(fixture.staging.path()), [""; 0]);
    let open = || PluginFolder::open(&fixture.capabilities(), &id("demo"), &TreeLimits::default());
    let folder = open().unwrap();
    assert_eq!((folder.id.clone(), folder.tree), (id("demo"), tree));
    assert_eq!(folder.manifest.entry_point, "plugin.wasm");
    let mode = |path: &str| fs::metadata(folder.root.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(""), mode("plugin.wasm")), (0o755, 0o644));
    fs::write(folder.root.join("plugin.wasm"), b"edited").unwrap();
    assert_ne!(open().unwrap().tree, tree);
}

#[test]
fn modes_are_normalised() {
    let fixture = Fixture::new();
    let zip =
        RawZip::plugin().with(ZipMember::new("tool", 0o104_711, b"x")).with(ZipMember::new("open", 0o100_666, b"x"));
    let staged = fixture.stage(&zip.bytes(), None).unwrap();
    let mode = |path: &str| fs::metadata(staged.root().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("tool"), mode("open")), (0o755, 0o644));
}

#[test]
fn the_id_is_the_argument_or_the_manifests_or_the_folders() {
    let fixture = Fixture::new();
    let archive = |manifest: &str, folder: &str| {
        RawTar::default()
            .file(format!("{folder}manifest.json"), manifest.as_bytes())
            .file(format!("{folder}p.wasm"), b"")
            .gz()
    };
    let (with, without) = (r#"{"id": "m", "entry_point": "p.wasm"}"#, r#"{"entry_point": "p.wasm"}"#);
    for (manifest, folder, argument, expected) in [
        (with, "", None, "m"),
        (with, "top/", None, "m"),
        (with, "top/", Some("m"), "m"),
        (without, "top/", None, "top"),
        (without, "top/", Some("a"), "a"),
        (without, "", Some("a"), "a"),
    ] {
        assert_eq!(fixture.stage(&archive(manifest, folder), argument).unwrap().id, id(expected));
    }
    let refuse = |manifest: &str, folder: &str, argument| match fixture.stage(&archive(manifest, folder), argument) {
        Err(StageError::Folder(FolderError::Manifest(error))) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refuse(with, "", Some("a")), ManifestError::IdMismatch { expected: id("a"), got: id("m") });
    assert_eq!(refuse(without, "", None), ManifestError::MissingId);
    for bad in [".", "..", "../x", "a/b", ".artifacts", ""] {
        let manifest = format!(r#"{{"id": "{bad}", "entry_point": "p.wasm"}}"#);
        let error = refuse(&manifest, "", None);
        assert!(error.to_string().starts_with("invalid plugin id"), "{error}");
    }
    assert!(matches!(refuse(without, "my.plugin/", None), ManifestError::InvalidId(_)));
    fixture.assert_untouched();
}

#[test]
fn a_plugin_that_could_not_load_is_not_staged() {
    let fixture = Fixture::new();
    let stage =
        |manifest: &str| fixture.stage(&RawTar::default().file("manifest.json", manifest.as_bytes()).gz(), None);
    let error = stage(MANIFEST).unwrap_err();
    assert_eq!(error.to_string(), "entry point not found: plugin.wasm");
    let error = stage("{").unwrap_err();
    assert!(matches!(error, StageError::Folder(FolderError::Manifest(ManifestError::Syntax(_)))), "{error:?}");
    let huge = format!("{{{}}}", " ".repeat(300 << 10));
    let error = stage(&huge).unwrap_err();
    assert!(matches!(error, StageError::Folder(FolderError::Manifest(ManifestError::TooLarge { .. }))), "{error:?}");
    fixture.assert_untouched();
}

#[test]
fn a_folder_is_copied_by_the_same_rules() {
    let fixture = Fixture::new();
    let source = tempfile::tempdir().unwrap();
    let source = source.path().join("from-folder");
    fs::create_dir_all(source.join("target")).unwrap();
    fs::create_dir_all(source.join("assets")).unwrap();
    fs::write(source.join("manifest.json"), r#"{"entry_point": "plugin.wasm"}"#).unwrap();
    for file in ["plugin.wasm", "Cargo.toml", "target/big", ".env", "assets/a"] {
        fs::write(source.join(file), file).unwrap();
    }
    let stage = || StagedPlugin::from_folder(&source, None, &TreeLimits::default(), &fixture.staging);
    let staged = stage().unwrap();
    assert_eq!(staged.id, id("from-folder"));
    assert_eq!(names(staged.root()), ["Cargo.toml", "assets", "manifest.json", "plugin.wasm"]);
    drop(staged);

    symlink(fixture.outer().join("canary"), source.join("assets/link")).unwrap();
    let error = stage().unwrap_err();
    assert!(
        matches!(&error, StageError::Folder(FolderError::Tree(TreeError::SymbolicLink { name })) if name == "assets/link"),
        "{error:?}"
    );
    fs::remove_file(source.join("assets/link")).unwrap();
    fs::remove_file(source.join("manifest.json")).unwrap();
    assert_eq!(stage().unwrap_err().to_string(), format!("Missing manifest.json in {}", source.display()));
    let file = source.join("plugin.wasm");
    let error = StagedPlugin::from_folder(&file, None, &TreeLimits::default(), &fixture.staging).unwrap_err();
    assert_eq!(error.to_string(), format!("Source path is not a directory: {}", file.display()));
    fixture.assert_untouched();
}

#[test]
fn a_folder_that_is_a_link_is_not_a_plugin() {
    let fixture = Fixture::new();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("manifest.json"), MANIFEST).unwrap();
    fs::write(elsewhere.path().join("plugin.wasm"), "").unwrap();
    symlink(elsewhere.path(), fixture.capabilities().join("demo")).unwrap();
    let opened = PluginFolder::open(&fixture.capabilities(), &id("demo"), &TreeLimits::default());
    assert!(matches!(opened, Err(FolderError::Tree(TreeError::NotAFolder { .. }))), "{opened:?}");
    let opened = PluginFolder::open(&fixture.capabilities(), &id("gone"), &TreeLimits::default());
    assert!(matches!(opened, Err(FolderError::Tree(TreeError::NotFound { .. }))), "{opened:?}");
}

#[test]
fn every_folder_is_listed_with_its_manifest_or_the_reason() {
    let fixture = Fixture::new();
    let dir = fixture.capabilities();
    for folder in ["good", "empty", "bad", "my.plugin", ".deps", "other"] {
        fs::create_dir(dir.join(folder)).unwrap();
    }
    fs::write(dir.join("good/manifest.json"), r#"{"id": "good", "entry_point": "p.wasm", "author": "x"}"#).unwrap();
    fs::write(dir.join("other/manifest.json"), MANIFEST).unwrap();
    fs::write(dir.join("bad/manifest.json"), b"{\"id\": \"\xff\"}").unwrap();
    fs::write(dir.join("file.txt"), "").unwrap();
    symlink("good", dir.join("link")).unwrap();
    let listed = list_folders(&dir).unwrap();
    let found: Vec<(&str, Result<&str, String>)> = listed
        .iter()
        .map(|folder| {
            (folder.name.as_str(), folder.manifest.as_ref().map(|m| m.id.as_str()).map_err(ToString::to_string))
        })
        .collect();
    assert_eq!(found[1], ("empty", Err("missing manifest.json".to_owned())));
    assert_eq!(found[2], ("good", Ok("good")));
    assert_eq!(found[3], ("link", Err("is a symbolic link".to_owned())));
    assert_eq!(found[5], ("other", Ok("other")));
    let name = |index: usize| found[index].0;
    assert_eq!((name(0), name(4), found.len()), ("bad", "my.plugin", 6));
    assert!(matches!(listed[0].manifest, Err(ListedError::Manifest(ManifestError::Syntax(_)))));
    assert!(matches!(listed[4].manifest, Err(ListedError::Id(_))));
    let good = listed[2].manifest.as_ref().unwrap();
    assert_eq!(good.raw["author"], "x");
    let other = listed[5].manifest.as_ref().unwrap();
    let warning = ManifestWarning::IdMismatch { folder: id("other"), manifest: id("demo") };
    assert_eq!(other.warnings, [warning]);
}
