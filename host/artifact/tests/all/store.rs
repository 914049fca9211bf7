//! The store's folder, whoever wrote it.

use crate::fixture::{Fixture, plugin_id};
use expect_test::expect;
use mortise_artifact::{ArtifactError, ArtifactStore, Record};
use mortise_model::Digest;
use serde_json::{Value, json};
use std::os::unix::fs::symlink;

/// As the reference host writes it (wire contract 10.3).
fn reference(id: &str, filename: &str, version: &str) -> String {
    format!(
        r#"{{
  "plugin_id": "{id}",
  "filename": "{filename}",
  "digest": "sha256:7e18",
  "size": 1605,
  "version": {version},
  "created_at": "2026-01-01T12:00:00.748906+00:00"
}}"#
    )
}

fn shown(store: &ArtifactStore, records: &[Record]) -> String {
    records.iter().map(|record| format!("{}\n", Value::Object(store.to_json(record)))).collect()
}

#[test]
fn what_the_reference_host_wrote_is_read() {
    let fixture = Fixture::new();
    fixture.put("hello-world/0.0.9.tgz", "older");
    fixture.put("hello-world/0.1.0.tgz", "newer");
    fixture.put("hello-world/artifact.json", reference("hello-world", "0.1.0.tgz", r#""0.1.0""#));
    fixture.put("bare/b.tgz", "b");
    fixture.put("bare/a.tgz", "a");
    fixture.put("bare/readme.txt", "not an archive");
    fixture.put("nameless/2c26b46b68ff.tgz", "foo");
    fixture.put("nameless/artifact.json", reference("nameless", "2c26b46b68ff.tgz", "null"));
    expect![[r#"
        {"plugin_id":"bare","filename":"a.tgz","digest":"sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb","size":1,"url":"http://127.0.0.1:8790/artifacts/bare/a.tgz"}
        {"plugin_id":"bare","filename":"b.tgz","digest":"sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d","size":1,"url":"http://127.0.0.1:8790/artifacts/bare/b.tgz"}
        {"plugin_id":"hello-world","filename":"0.1.0.tgz","digest":"sha256:804f51f71254c4081e37e7c887073560f4a6fa6cdad202e9ac67e032c43ed1e1","size":5,"version":"0.1.0","created_at":"2026-01-01T12:00:00.748906+00:00","url":"http://127.0.0.1:8790/artifacts/hello-world/0.1.0.tgz"}
        {"plugin_id":"nameless","filename":"2c26b46b68ff.tgz","digest":"sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae","size":3,"version":null,"created_at":"2026-01-01T12:00:00.748906+00:00","url":"http://127.0.0.1:8790/artifacts/nameless/2c26b46b68ff.tgz"}
    "#]]
    .assert_eq(&shown(&fixture.store, &fixture.store.list().unwrap()));
    let versions = fixture.store.versions(&plugin_id("hello-world")).unwrap();
    let files: Vec<_> = versions.iter().map(|record| (record.filename.as_str(), record.to_json().len())).collect();
    assert_eq!(files, [("0.0.9.tgz", 5), ("0.1.0.tgz", 6)]);
    assert_eq!(versions[0].to_json()["version"], "0.0.9", "its name tells it");
    assert!(fixture.store.versions(&plugin_id("gone")).unwrap().is_empty());
}

#[test]
fn a_listing_tells_the_latest_of_each_plugin_and_every_version() {
    let fixture = Fixture::new();
    let publish = |code: &[u8], version| fixture.publish("demo", &fixture.bundle("demo", code), version).unwrap();
    let nameless = publish(b"1", None);
    publish(b"2", Some("2.0"));
    publish(b"3", Some("1.0"));
    fixture.put("bare/a.tgz", "a");
    let listing = fixture.store.listing().unwrap();
    let told = |key: &str| -> Vec<(String, Value)> {
        let records = listing[key].as_array().unwrap().iter();
        records.map(|record| (record["filename"].as_str().unwrap().to_owned(), record["version"].clone())).collect()
    };
    let told_of = |name: &str, version: Value| (name.to_owned(), version);
    assert_eq!(told("artifacts"), [told_of("a.tgz", json!(null)), told_of("1.0.tgz", json!("1.0"))]);
    let mut versions = vec![
        told_of("1.0.tgz", json!("1.0")),
        told_of("2.0.tgz", json!("2.0")),
        // The reference's name for what has no version.
        told_of(nameless.filename.as_str(), json!(null)),
    ];
    versions.sort_by(|a, b| a.0.cmp(&b.0));
    versions.insert(0, told_of("a.tgz", json!("a")));
    assert_eq!(told("versions"), versions);
    assert!(!listing.contains_key("versions_omitted"));
    let latest = listing["versions"].as_array().unwrap().iter().find(|record| record["version"] == "1.0").unwrap();
    assert_eq!(latest, &listing["artifacts"][1], "one record for one archive");
    for number in 0..1_000 {
        fixture.put(&format!("many/{number}.tgz"), "x");
    }
    let listing = fixture.store.listing().unwrap();
    assert_eq!((listing["versions"].as_array().unwrap().len(), &listing["versions_omitted"]), (1_000, &json!(4)));
}

#[test]
fn one_version_or_the_latest_is_found() {
    let fixture = Fixture::new();
    fixture.put("hello-world/0.0.9.tgz", "older");
    fixture.put("hello-world/0.1.0.tgz", "newer");
    fixture.put("hello-world/artifact.json", reference("hello-world", "0.1.0.tgz", r#""0.1.0""#));
    fixture.put("bare/a.tgz", "a");
    let get = |id: &str, version| fixture.store.get(&plugin_id(id), version);
    for latest in [None, Some("")] {
        let record = get("hello-world", latest).unwrap().to_json();
        assert_eq!(record["created_at"], json!("2026-01-01T12:00:00.748906+00:00"));
    }
    let keys = |version| get("hello-world", Some(version)).unwrap().to_json();
    assert_eq!(keys("0.0.9")["version"], json!("0.0.9"));
    // Also when it is the latest (wire contract 10.3).
    assert!(!keys("0.1.0").contains_key("created_at"));
    for (id, version) in [("hello-world", Some("0.2.0")), ("bare", None), ("gone", None), ("gone", Some("1"))] {
        let error = get(id, version).unwrap_err();
        assert_eq!((error.code(), error.to_string()), ("artifact_not_found", format!("artifact not found for {id}")));
    }
    for version in ["../hello-world/0.1.0", ".lock", "a/b", "a\0"] {
        assert_eq!(get("hello-world", Some(version)).unwrap_err().code(), "invalid_version", "{version}");
    }
}

#[test]
fn a_record_tells_what_its_file_is_now() {
    let fixture = Fixture::new();
    fixture.put("demo/0.1.0.tgz", "old");
    fixture.put("demo/artifact.json", reference("demo", "0.1.0.tgz", r#""0.1.0""#));
    // As if the process had died between the archive and its record.
    fixture.put("demo/0.1.0.tgz", "published again");
    let record = fixture.store.get(&plugin_id("demo"), None).unwrap();
    assert_eq!((record.digest, record.size), (Digest::of(b"published again"), 15));
    // And if the archive is gone, so is the record.
    std::fs::remove_file(fixture.path("demo/0.1.0.tgz")).unwrap();
    assert!(matches!(fixture.store.get(&plugin_id("demo"), None), Err(ArtifactError::NotFound { .. })));
    assert!(fixture.store.list().unwrap().is_empty());
}

#[test]
fn what_is_no_artifact_is_passed_over() {
    let fixture = Fixture::new();
    fixture.put("good/1.tgz", "x");
    fixture.put(".hidden/1.tgz", "x");
    fixture.put("not an id/1.tgz", "x");
    fixture.put("a.file", "x");
    fixture.put("spoilt/artifact.json", "{");
    fixture.put("spoilt/1.tgz", "x");
    fixture.put("astray/artifact.json", reference("astray", "../good/1.tgz", "null"));
    fixture.put("links/.keep", "");
    symlink(fixture.outer().join("secret.tgz"), fixture.path("links/secret.tgz")).unwrap();
    symlink(fixture.path("good"), fixture.path("linked")).unwrap();
    let records = fixture.store.list().unwrap();
    let found: Vec<_> = records.iter().map(|record| (record.plugin_id.as_str(), record.filename.as_str())).collect();
    assert_eq!(found, [("good", "1.tgz"), ("spoilt", "1.tgz")]);
    assert_eq!(fixture.store.get(&plugin_id("links"), Some("secret")).unwrap_err().code(), "artifact_not_found");
    assert_eq!(fixture.store.get(&plugin_id("linked"), Some("1")).unwrap_err().code(), "artifact_not_found");
}

#[test]
fn urls_of_our_own_are_read_from_the_folder() {
    let fixture = Fixture::new();
    let bytes = fixture.bundle("demo", b"code");
    let url = fixture.store.url(&fixture.publish("demo", &bytes, Some("0.1.0")).unwrap());
    let artifact = fixture.store.resolve_local(&url).unwrap();
    let size = bytes.len() as u64;
    assert_eq!(fixture.store.read(&artifact, size).unwrap(), bytes);
    let error = fixture.store.read(&artifact, size - 1).unwrap_err();
    assert_eq!(error.to_string(), format!("artifact exceeds max size ({} bytes)", size - 1));
    let absent = fixture.store.resolve_local(&url.replace("0.1.0", "0.2.0")).unwrap();
    assert_eq!(fixture.store.read(&absent, size).unwrap_err().to_string(), "artifact not found for demo");
    assert_eq!(fixture.store.resolve_local("https://example.com/artifacts/demo/0.1.0.tgz"), None);
}
