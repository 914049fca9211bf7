//! What is published, what is refused, and what is left when it is.

use crate::fixture::{Fixture, manifest, names, plugin_id};
use mortise_artifact::{ArtifactError, Origin, Record};
use mortise_delivery::{StagedPlugin, TreeLimits, pack};
use mortise_model::Digest;
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

fn version(record: &Record) -> Option<&str> {
    match &record.origin {
        Origin::Published { version, .. } => version.as_ref().map(|version| version.as_str()),
        other => panic!("not published: {other:?}"),
    }
}

#[test]
fn a_folder_is_packed_under_the_version_of_its_manifest() {
    let fixture = Fixture::new();
    let folder = fixture.plugin("demo", &manifest("demo", "0.1.0"), b"code");
    let record = fixture.store.publish_folder(&folder, None, None, &fixture.staging).unwrap();
    assert_eq!((record.plugin_id.as_str(), record.filename.as_str()), ("demo", "0.1.0.tgz"));
    assert_eq!(version(&record), Some("0.1.0"));
    let bytes = fs::read(fixture.path("demo/0.1.0.tgz")).unwrap();
    assert_eq!((record.digest, record.size), (Digest::of(&bytes), bytes.len() as u64));
    assert_eq!(bytes, pack(&folder, &plugin_id("demo"), &TreeLimits::default()).unwrap());
    assert_eq!(fixture.store.get(&plugin_id("demo"), None).unwrap().digest, record.digest);
    assert_eq!(names(&fixture.path("demo")), [".lock", "0.1.0.tgz", "artifact.json"]);
    assert_eq!(names(fixture.staging.path()), [""; 0]);
    // Published again, the same files have the same bytes.
    let again = fixture.store.publish_folder(&folder, Some(&plugin_id("demo")), None, &fixture.staging).unwrap();
    assert_eq!(again.digest, record.digest);
}

#[test]
fn the_record_on_disk_has_the_reference_hosts_keys_and_formats() {
    let fixture = Fixture::new();
    let bytes = fixture.bundle("demo", b"code");
    fixture.publish("demo", &bytes, Some("1.0.0-rc.1+b_5")).unwrap();
    let text = fs::read_to_string(fixture.path("demo/artifact.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["plugin_id", "filename", "digest", "size", "version", "created_at"]);
    assert_eq!(json["digest"], Digest::of(&bytes).to_string());
    assert_eq!(json["filename"], "1.0.0-rc.1+b_5.tgz");
    let created_at = json["created_at"].as_str().unwrap();
    let (time, zone) = created_at.split_at(26);
    let form: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!((form.as_str(), zone), ("9999-99-99T99:99:99.999999", "+00:00"));
}

#[test]
fn without_a_version_the_digest_names_the_file() {
    let fixture = Fixture::new();
    let nameless = r#"{"entry_point": "plugin.wasm", "version": ""}"#;
    let folder = fixture.plugin("demo", nameless, b"code");
    let record = fixture.store.publish_folder(&folder, None, Some(""), &fixture.staging).unwrap();
    assert_eq!(record.filename.as_str(), format!("{}.tgz", &record.digest.hex()[..12]));
    assert_eq!(version(&record), None);
    // A bundle's version is what the caller says (wire contract 10.3).
    let bytes = fixture.bundle("other", b"code");
    assert_eq!(version(&fixture.publish("other", &bytes, None).unwrap()), None);
}

#[test]
fn a_version_is_published_again_in_its_place() {
    let fixture = Fixture::new();
    let (first, second) = (fixture.bundle("demo", b"first"), fixture.bundle("demo", b"second"));
    let before = fixture.publish("demo", &first, Some("1")).unwrap();
    let after = fixture.publish("demo", &second, Some("1")).unwrap();
    assert_ne!(before.digest, after.digest);
    assert_eq!(fs::read(fixture.path("demo/1.tgz")).unwrap(), second);
    assert_eq!(fixture.store.list().unwrap().len(), 1);
    fixture.publish("demo", &first, Some("0")).unwrap();
    // The latest is the one published last, not the highest.
    assert_eq!(version(&fixture.store.get(&plugin_id("demo"), None).unwrap()), Some("0"));
    assert_eq!(fixture.store.versions(&plugin_id("demo")).unwrap().len(), 2);
}

#[test]
fn what_could_not_be_installed_is_not_published() {
    let fixture = Fixture::new();
    let good = fixture.bundle("demo", b"code");
    let folder = fixture.plugin("demo", &manifest("demo", "0.1 beta"), b"code");
    let publish = |bytes: &[u8], version| fixture.publish("demo", bytes, version).unwrap_err();
    assert!(matches!(publish(b"PK\x03\x04", None), ArtifactError::Zip));
    assert!(matches!(publish(b"no archive", None), ArtifactError::Stage(_)));
    assert!(matches!(publish(&good[..good.len() / 2], None), ArtifactError::Stage(_)));
    assert_eq!(publish(&fixture.bundle("other", b"code"), None).code(), "plugin_id_mismatch");
    for version in ["../1", "a/b", ".1", "a\0"] {
        assert_eq!(publish(&good, Some(version)).code(), "invalid_version");
    }
    let refuse = |folder: &std::path::Path, id: Option<&str>, version| {
        let id = id.map(plugin_id);
        fixture.store.publish_folder(folder, id.as_ref(), version, &fixture.staging).unwrap_err()
    };
    assert_eq!(refuse(&folder, None, None).to_string().split(':').next(), Some("invalid artifact version `0.1 beta`"));
    assert_eq!(refuse(&folder, Some("other"), Some("1")).code(), "plugin_id_mismatch");
    let gone = fixture.outer().join("gone");
    let link = fixture.outer().join("link");
    symlink(&folder, &link).unwrap();
    for path in [gone, link, folder.join("manifest.json")] {
        let error = refuse(&path, None, Some("1"));
        assert_eq!(error.to_string(), format!("plugin not found: {}", path.display()));
        assert_eq!(error.code(), "plugin_not_found");
    }
    assert_eq!(names(fixture.store.dir()), [""; 0]);
    assert_eq!(names(fixture.staging.path()), [""; 0]);
}

#[test]
fn a_publication_that_fails_changes_nothing() {
    let fixture = Fixture::new();
    let (first, second) = (fixture.bundle("demo", b"first"), fixture.bundle("demo", b"second"));
    fixture.publish("demo", &first, Some("1")).unwrap();
    let before = fixture.store.list().unwrap();
    // Where the new file should be written is something that cannot be removed.
    fs::create_dir(fixture.path("demo/.incomplete")).unwrap();
    let error = fixture.publish("demo", &second, Some("1")).unwrap_err();
    assert_eq!(error.code(), "disk");
    assert_eq!(fixture.store.list().unwrap(), before);
    assert_eq!(fs::read(fixture.path("demo/1.tgz")).unwrap(), first);
    // A plugin's folder that is a link, or a file, is not written through.
    fs::create_dir(fixture.outer().join("elsewhere")).unwrap();
    symlink(fixture.outer().join("elsewhere"), fixture.path("linked")).unwrap();
    fixture.put("file", "x");
    for id in ["linked", "file"] {
        let bytes = fixture.bundle(id, b"code");
        assert_eq!(fixture.publish(id, &bytes, Some("1")).unwrap_err().code(), "disk");
    }
    assert_eq!(names(&fixture.outer().join("elsewhere")), [""; 0]);
}

#[test]
fn publications_of_one_version_at_once_leave_one_of_them() {
    let fixture = Fixture::new();
    let bundles: Vec<_> = (0..8u8).map(|code| fixture.bundle("demo", &[code; 1000])).collect();
    let digests: HashSet<_> = bundles.iter().map(|bundle| Digest::of(bundle)).collect();
    fixture.publish("demo", &bundles[0], Some("1")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // At every moment there is exactly one, and it is whole.
                let records = fixture.store.list().unwrap();
                assert_eq!(records.len(), 1);
                assert!(matches!(records[0].origin, Origin::Published { .. }));
                assert!(digests.contains(&records[0].digest));
            }
        });
        let writers: Vec<_> = bundles
            .iter()
            .map(|bundle| {
                scope.spawn(|| {
                    for _ in 0..5 {
                        fixture.publish("demo", bundle, Some("1")).unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    let json: Value = serde_json::from_slice(&fs::read(fixture.path("demo/artifact.json")).unwrap()).unwrap();
    let bytes = fs::read(fixture.path("demo/1.tgz")).unwrap();
    assert_eq!(json["digest"], Digest::of(&bytes).to_string());
    assert_eq!(names(&fixture.path("demo")), [".lock", "1.tgz", "artifact.json"]);
    StagedPlugin::from_archive(
        &bytes,
        mortise_delivery::ArchiveFormat::TarGz,
        None,
        &mortise_delivery::ArchiveLimits::default(),
        &fixture.staging,
    )
    .unwrap();
}
