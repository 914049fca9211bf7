//! Names that become parts of a path: versions and files of the store.

use mortise_model::{Digest, PluginId};
use std::fmt;

/// The file that holds a plugin's latest record (wire contract 10.8).
pub(crate) const METADATA: &str = "artifact.json";
const ENDING: &str = ".tgz";
const VERSION_BYTES_MAX: usize = 128;

/// A version that cannot become a file's name (wire contract 11, S3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid artifact version `{}`: must match `^[A-Za-z0-9_+-][A-Za-z0-9._+-]{{0,{}}}$`",
    given.escape_debug(), VERSION_BYTES_MAX - 1
)]
pub struct VersionError {
    /// The offending text, cut after 200 characters.
    pub given: String,
}

/// A version as a file's name holds it: 1 to 128 letters, digits, `.`, `_`, `+` or `-`, no leading dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(String);

impl Version {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`VersionError`].
    pub fn new(text: &str) -> Result<Self, VersionError> {
        if text.len() > VERSION_BYTES_MAX || !is_plain(text) {
            return Err(VersionError { given: text.chars().take(200).collect() });
        }
        Ok(Self(text.to_owned()))
    }

    /// What a caller chose: an empty text counts as none, as with the reference host.
    pub(crate) fn chosen(text: Option<&str>) -> Result<Option<Self>, VersionError> {
        text.filter(|text| !text.is_empty()).map(Self::new).transpose()
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a file that may be served: `<version>.tgz`, `<12 hex digits>.tgz` or `artifact.json`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);

impl FileName {
    /// Where an archive is published (wire contract 10.8).
    #[must_use]
    pub fn of(version: Option<&Version>, digest: &Digest) -> Self {
        match version {
            Some(version) => Self::of_version(version),
            None => Self(digest.hex().chars().take(12).chain(ENDING.chars()).collect()),
        }
    }

    /// Where a version is published.
    #[must_use]
    pub fn of_version(version: &Version) -> Self {
        Self(format!("{version}{ENDING}"))
    }

    /// `text` as a name, if it is one: no separator, no leading dot, nothing that needs an escape.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text == METADATA || text.strip_suffix(ENDING).is_some_and(|stem| Version::new(stem).is_ok());
        fits.then(|| Self(text.to_owned()))
    }

    /// The version that an archive of that name was published under, unless it was under none.
    pub(crate) fn version(&self) -> Option<Version> {
        self.0.strip_suffix(ENDING).and_then(|stem| Version::new(stem).ok())
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an archive, and not the record beside the archives.
    #[must_use]
    pub fn is_archive(&self) -> bool {
        self.0.ends_with(ENDING)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One file of the store, which need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRef {
    /// The folder.
    pub plugin_id: PluginId,
    /// The file in it.
    pub file: FileName,
}

impl ArtifactRef {
    /// Two decoded segments of a path as a reference, if both are names.
    #[must_use]
    pub fn parse(plugin_id: &str, file: &str) -> Option<Self> {
        Some(Self { plugin_id: PluginId::new(plugin_id).ok()?, file: FileName::parse(file)? })
    }
}

/// One path component that means the same everywhere: in a folder, in a URL, in a log.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_safe_path_components() {
        for good in ["1", "0.1.0", "1.0.0-rc.1+build_5", "v2", "1..2", &"x".repeat(128)] {
            assert_eq!(Version::new(good).map(|version| version.to_string()), Ok(good.to_owned()));
        }
        let long = "x".repeat(129);
        for bad in ["", ".", "..", ".1", "../x", "a/b", "a\\b", "1 0", "a\0", "a\n", "1%2e", "é", "\u{202e}", &long] {
            assert_eq!(Version::new(bad), Err(VersionError { given: bad.to_owned() }));
        }
        assert_eq!(
            Version::new("a\n").unwrap_err().to_string(),
            "invalid artifact version `a\\n`: must match `^[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,127}$`"
        );
        assert_eq!(Version::new(&"/".repeat(9_999)).unwrap_err().given.len(), 200);
    }

    #[test]
    fn files_are_archives_and_the_record_and_nothing_else() {
        for good in ["0.1.0.tgz", "7e18aabbccdd.tgz", "artifact.json", "artifact.tgz"] {
            assert_eq!(FileName::parse(good).map(|name| name.to_string()).as_deref(), Some(good));
        }
        for bad in ["", ".tgz", "..tgz", "...tgz", "a.zip", "a", "artifact.json.tmp", ".lock", "a/b.tgz", "../a.tgz"] {
            assert_eq!(FileName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_archive_without_a_version_is_named_by_its_digest() {
        let digest = Digest::of(b"");
        assert_eq!(FileName::of(None, &digest).as_str(), "e3b0c44298fc.tgz");
        assert_eq!(FileName::of(Some(&Version::new("0.1.0").unwrap()), &digest).as_str(), "0.1.0.tgz");
    }
}
