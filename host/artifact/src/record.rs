//! What is known of an artifact, and how `artifact.json` and replies write it (wire contract 10.3, 10.8).

use crate::name::{FileName, Version};
use jiff::Timestamp;
use mortise_model::{Digest, PluginId};
use serde_json::{Map, Value, json};

/// How `artifact.json` writes an instant: ISO 8601 in UTC, always with microseconds.
const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.6f+00:00";

/// One archive of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub plugin_id: PluginId,
    /// Its file in the plugin's folder.
    pub filename: FileName,
    /// Of the file as it is now, whatever `artifact.json` says.
    pub digest: Digest,
    /// Bytes, of the file as it is now.
    pub size: u64,
    /// What the file itself does not tell.
    pub origin: Origin,
}

/// What is known of an artifact beside its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From `artifact.json`: the last one published.
    Published {
        /// Unless it was published without one.
        version: Option<Version>,
        /// When.
        created_at: Timestamp,
    },
    /// Found by its version: the file's name tells it. Nobody noted when it was published.
    Version(Version),
    /// A file without metadata.
    Unknown,
}

impl Record {
    /// The keys and formats of wire contract 10.3, without `url`. A record found by version has no `created_at`, one
    /// without metadata no `version` either.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        let mut insert = |key: &str, value: Value| object.insert(key.to_owned(), value);
        insert("plugin_id", json!(self.plugin_id.as_str()));
        insert("filename", json!(self.filename.as_str()));
        insert("digest", json!(self.digest.to_string()));
        insert("size", json!(self.size));
        match &self.origin {
            Origin::Published { version, created_at } => {
                insert("version", json!(version.as_ref().map(Version::as_str)));
                insert("created_at", json!(created_at.strftime(TIME_FORMAT).to_string()));
            }
            Origin::Version(version) => {
                insert("version", json!(version.as_str()));
            }
            Origin::Unknown => {}
        }
        object
    }
}

/// What of `artifact.json` is believed: which file is the latest, and what the file does not tell. Digest and size
/// are measured, so that a crash between the two writes of a publication leaves no digest that lies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) filename: FileName,
    pub(crate) origin: Origin,
}

impl Metadata {
    /// Reads `artifact.json` of the folder `plugin_id`; `None` for whatever the store would not have written.
    pub(crate) fn parse(bytes: &[u8], plugin_id: &PluginId) -> Option<Self> {
        let object: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        let version = match object.get("version") {
            None | Some(Value::Null) => None,
            Some(Value::String(version)) => Some(Version::new(version).ok()?),
            Some(_) => return None,
        };
        let filename = FileName::parse(text("filename")?).filter(FileName::is_archive)?;
        let created_at = text("created_at")?.parse().ok()?;
        let is_ours = text("plugin_id") == Some(plugin_id.as_str());
        is_ours.then_some(Self { filename, origin: Origin::Published { version, created_at } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    /// As the wire contract shows it, digest completed.
    const GOLDEN: &str = r#"{"plugin_id":"hello-world","filename":"0.1.0.tgz","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1605,"version":"0.1.0","created_at":"2026-01-01T12:00:00.748906+00:00"}"#;

    fn published(version: Option<&str>, created_at: &str) -> Record {
        Record {
            plugin_id: PluginId::new("hello-world").unwrap(),
            filename: FileName::parse("0.1.0.tgz").unwrap(),
            digest: Digest::of(b""),
            size: 1605,
            origin: Origin::Published {
                version: version.map(|version| Version::new(version).unwrap()),
                created_at: created_at.parse().unwrap(),
            },
        }
    }

    fn text(record: &Record) -> String {
        serde_json::to_string(&record.to_json()).unwrap()
    }

    #[test]
    fn a_published_record_is_written_as_the_wire_contract_has_it() {
        assert_eq!(text(&published(Some("0.1.0"), "2026-01-01T12:00:00.748906Z")), GOLDEN);
    }

    #[test]
    fn times_always_have_microseconds_and_a_missing_version_is_null() {
        let json = published(None, "2026-01-01T12:00:00Z").to_json();
        assert_eq!(json["created_at"], "2026-01-01T12:00:00.000000+00:00");
        assert_eq!(json["version"], Value::Null);
        let json = published(None, "2026-01-01T12:00:00.123456789Z").to_json();
        assert_eq!(json["created_at"], "2026-01-01T12:00:00.123456+00:00");
    }

    #[test]
    fn what_is_not_known_has_no_key() {
        let mut record = published(None, "2026-01-01T12:00:00Z");
        record.origin = Origin::Version(Version::new("0.1.0").unwrap());
        expect![[r#"{"plugin_id":"hello-world","filename":"0.1.0.tgz","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1605,"version":"0.1.0"}"#]]
            .assert_eq(&text(&record));
        record.origin = Origin::Unknown;
        expect![[r#"{"plugin_id":"hello-world","filename":"0.1.0.tgz","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1605}"#]]
            .assert_eq(&text(&record));
    }

    #[test]
    fn metadata_comes_back_as_it_was_written() {
        let id = PluginId::new("hello-world").unwrap();
        for version in [Some("0.1.0"), None] {
            let record = published(version, "2026-01-01T12:00:00.748906Z");
            let metadata = Metadata::parse(text(&record).as_bytes(), &id).unwrap();
            assert_eq!(metadata, Metadata { filename: record.filename, origin: record.origin });
        }
    }

    #[test]
    fn metadata_that_the_store_would_not_have_written_is_not_believed() {
        let id = PluginId::new("hello-world").unwrap();
        assert!(Metadata::parse(GOLDEN.as_bytes(), &id).is_some());
        for (from, to) in [
            ("0.1.0.tgz", "../other/0.1.0.tgz"),
            ("0.1.0.tgz", "artifact.json"),
            ("0.1.0.tgz", ".lock"),
            (r#""version":"0.1.0""#, r#""version":"a/b""#),
            (r#""version":"0.1.0""#, r#""version":1"#),
            (r#""hello-world""#, r#""other""#),
            ("2026-01-01", "yesterday"),
            ("}", ""),
        ] {
            let changed = GOLDEN.replace(from, to);
            assert_ne!(changed, GOLDEN);
            assert_eq!(Metadata::parse(changed.as_bytes(), &id), None, "{changed}");
        }
    }
}
