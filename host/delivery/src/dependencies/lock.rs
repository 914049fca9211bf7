//! `dependencies.lock`: what the requirements came to, in the format that pip reads.

use super::requirement;
use crate::disk::{DiskError, failed};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The file in the plugin's folder.
const FILE: &str = "dependencies.lock";

/// How the line with the requirements begins.
const REQUIREMENTS: &str = "# requirements: ";

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// As it calls itself.
    pub name: String,
    /// As it calls it.
    pub version: String,
    /// SHA-256 of its wheel, in hex.
    pub sha256: String,
}

/// What was installed, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// As the manifest declared them.
    pub requirements: Vec<String>,
    /// Everything that was installed, by name.
    pub packages: Vec<Package>,
}

impl Lock {
    /// The lock in a plugin's folder, if there is one that can be read. Blocks on the disk.
    #[must_use]
    pub fn read(root: &Path) -> Option<Self> {
        let text = fs::read_to_string(root.join(FILE)).ok()?;
        let requirements = text.lines().find_map(|line| line.strip_prefix(REQUIREMENTS))?;
        let requirements = serde_json::from_str(requirements).ok()?;
        let package = |line: &str| {
            let (pinned, sha256) = line.split_once(" --hash=sha256:")?;
            let (name, version) = pinned.split_once("==")?;
            Some(Package { name: name.to_owned(), version: version.to_owned(), sha256: sha256.to_owned() })
        };
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        Some(Self { requirements, packages: lines.map(package).collect::<Option<_>>()? })
    }

    /// Takes the lock away; whether there was one.
    pub(super) fn remove(root: &Path) -> Result<bool, DiskError> {
        let path = root.join(FILE);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("remove", &path)(error)),
        }
    }

    pub(super) fn write(&self, root: &Path) -> Result<(), DiskError> {
        let requirements: Value = self.requirements.as_slice().into();
        let mut text =
            format!("# What `dependencies.python` came to, in `site-packages`.\n{REQUIREMENTS}{requirements}\n");
        for Package { name, version, sha256 } in &self.packages {
            text.push_str(&format!("{name}=={version} --hash=sha256:{sha256}\n"));
        }
        let path = root.join(FILE);
        fs::write(&path, text).map_err(failed("write", &path))
    }
}

/// What pip says that it installed, or would (its installation report, version 1), each with what it requires.
pub(super) fn read_report(bytes: &[u8]) -> Result<Vec<(Package, Vec<String>)>, String> {
    let report: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let installed = report.get("install").and_then(Value::as_array).ok_or("it has no `install`")?;
    let package = |item: &Value| {
        let text = |pointer| item.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let texts = |pointer| -> Vec<String> {
            let texts = item.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
            texts.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let extras = texts("/requested_extras");
        let needs = texts("/metadata/requires_dist");
        let needs = needs.iter().filter_map(|text| requirement::of_extras(text, &extras)).collect();
        let package = Package {
            name: text("/metadata/name")?,
            version: text("/metadata/version")?,
            sha256: text("/download_info/archive_info/hashes/sha256")?,
        };
        Some((package, needs))
    };
    let packages = installed.iter().map(package).collect::<Option<_>>();
    packages.ok_or_else(|| "a package has no name, version or hash".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Lock::read(folder.path()), None);
        let package = |name: &str| Package { name: name.into(), version: "1.0".into(), sha256: "ab".repeat(32) };
        let lock = Lock { requirements: vec!["b>=1; x == '\"'".into()], packages: vec![package("a"), package("b")] };
        lock.write(folder.path()).unwrap();
        assert_eq!(Lock::read(folder.path()), Some(lock));
        fs::write(folder.path().join(FILE), "somebody's own\n").unwrap();
        assert_eq!(Lock::read(folder.path()), None);
    }

    #[test]
    fn a_report_without_hashes_is_none() {
        let report = json!({"install": [{"metadata": {"name": "b", "version": "1"},
            "download_info": {"archive_info": {"hashes": {"sha256": "00"}}}}]});
        let packages = read_report(report.to_string().as_bytes()).unwrap();
        assert_eq!((packages[0].0.name.as_str(), packages[0].0.sha256.as_str()), ("b", "00"));
        for bad in [json!({}), json!({"install": [{"metadata": {"name": "b", "version": "1"}}]}), json!("x")] {
            assert!(read_report(bad.to_string().as_bytes()).is_err(), "{bad}");
        }
    }
}
