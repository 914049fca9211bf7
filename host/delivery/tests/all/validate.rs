//! Validation says what is wrong, and runs nothing.

use crate::archive::RawTar;
use crate::fixture::MANIFEST;
use mortise_delivery::{ArchiveLimits, Inspect, Inspected, Report, validate};
use rustix::fs::{FileType, Mode};
use std::fs;
use std::path::Path;

const PACKED_MAX: u64 = 1 << 20;

fn check(path: &Path, inspect: Option<Inspect<'_>>) -> Report {
    validate(path, PACKED_MAX, &ArchiveLimits::default(), inspect)
}

fn plugin(manifest: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("demo")).unwrap();
    fs::write(dir.path().join("demo/manifest.json"), manifest).unwrap();
    fs::write(dir.path().join("demo/plugin.wasm"), "").unwrap();
    dir
}

#[test]
fn a_sound_plugin_passes_as_a_folder_and_as_an_archive() {
    let dir = plugin(MANIFEST);
    let archive = dir.path().join("demo.tgz");
    fs::write(&archive, RawTar::plugin().gz()).unwrap();
    let inspect: Inspect<'_> = &|root, manifest| {
        assert!(root.join(&manifest.entry_point).is_file());
        let functions = vec!["b".to_owned(), "a".to_owned()];
        Inspected { functions, ..Inspected::default() }
    };
    for path in [dir.path().join("demo"), archive] {
        let report = check(&path, Some(inspect));
        assert!(report.ok, "{report:?}");
        assert_eq!(report.plugin_id.as_deref(), Some("demo"));
        assert_eq!(report.rpc_methods, ["a", "b"]);
        assert_eq!((report.errors.len(), report.warnings.len()), (0, 0));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["manifest"]["entry_point"], "plugin.wasm");
    }
}

#[test]
fn what_the_inspection_finds_counts() {
    let dir = plugin(MANIFEST);
    let inspect: Inspect<'_> = &|_, _| Inspected { errors: vec!["no exports".to_owned()], ..Inspected::default() };
    let report = check(&dir.path().join("demo"), Some(inspect));
    assert_eq!((report.ok, report.errors), (false, vec!["no exports".to_owned()]));
}

#[test]
fn errors_are_worded_as_the_reference_words_them() {
    let looked_inside: Inspect<'_> = &|_, _| panic!("a plugin that is not sound is not looked into");
    for (manifest, error) in [
        ("[]", "manifest.json must be a JSON object"),
        (r#"{"id": "demo"}"#, "manifest missing class_name"),
        (r#"{"type": "wasm"}"#, "manifest missing entry_point"),
        (r#"{"id": "demo", "entry_point": "gone.wasm"}"#, "entry point not found: gone.wasm"),
        (
            r#"{"id": "demo", "entry_point": "plugin.wasm", "limits": {"memory": "64"}}"#,
            "invalid `limits.memory`: `64` has no unit: expected one of B, KiB, MiB, GiB",
        ),
    ] {
        let dir = plugin(manifest);
        let report = check(&dir.path().join("demo"), Some(looked_inside));
        assert_eq!((report.ok, report.errors, report.hints.len()), (false, vec![error.to_owned()], 1));
        // A refused manifest is shown all the same.
        assert_eq!(report.manifest.is_some(), manifest != "[]");
    }
    let dir = plugin("{");
    let report = check(&dir.path().join("demo"), None);
    assert!(report.errors[0].starts_with("invalid manifest.json: "), "{report:?}");
    fs::remove_file(dir.path().join("demo/manifest.json")).unwrap();
    let report = check(&dir.path().join("demo"), None);
    assert_eq!((report.errors, report.plugin_id.as_deref()), (vec!["missing manifest.json".to_owned()], Some("demo")));
    let gone = dir.path().join("gone");
    assert_eq!(check(&gone, None).errors, [format!("not a directory: {}", gone.display())]);
    let archive = dir.path().join("big.tgz");
    fs::write(&archive, vec![0; PACKED_MAX as usize + 1]).unwrap();
    assert_eq!(check(&archive, None).errors, [format!("bundle exceeds max size ({PACKED_MAX} bytes)")]);
}

#[test]
fn a_manifest_that_is_no_plain_file_is_neither_opened_nor_followed() {
    let dir = plugin(MANIFEST);
    let manifest = dir.path().join("demo/manifest.json");
    let elsewhere = dir.path().join("elsewhere.json");
    fs::rename(&manifest, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &manifest).unwrap();
    let report = check(&dir.path().join("demo"), None);
    assert_eq!(report.errors, ["symbolic link in plugin folder: manifest.json"]);
    assert_eq!(report.manifest, None);
    fs::remove_file(&manifest).unwrap();
    // Whoever opens a pipe to read it waits for a writer that never comes.
    rustix::fs::mknodat(rustix::fs::CWD, &manifest, FileType::Fifo, Mode::RUSR, 0).unwrap();
    let report = check(&dir.path().join("demo"), None);
    assert_eq!(report.errors, ["special file in plugin folder: manifest.json"]);
    assert_eq!(report.manifest, None);
}

#[test]
fn warnings_do_not_fail_it() {
    let dir = plugin(r#"{"entry_point": "plugin.wasm", "dependencies": {"python": ["x"]}, "author": "me"}"#);
    let report = check(&dir.path().join("demo"), None);
    assert!(report.ok, "{report:?}");
    assert_eq!(report.warnings, ["unknown key `author`", "manifest missing id; using directory name"]);
}
