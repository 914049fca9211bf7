//! From what an author has on disk to the archive that a host takes.

use super::guest;
use super::output::CommandError;
use super::progress::Progress;
use super::sandbox;
use crate::config::ARCHIVE_BYTES_MAX;
use crate::config::env::Environment;
use anyhow::{Context as _, anyhow};
use mortise_delivery::{ArchiveLimits, Inspect, Inspected, Report};
use mortise_model::{Digest, Manifest, ManifestError, PluginId, RuntimeKind};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest.json";

const NATIVE_HINT: &str = "bring wheels without native code: `pip install --target site-packages --only-binary=:all: --platform any \
    --implementation py --abi none --python-version 3.14 …`; where a package has none, take another, or have a service outside \
    do that work and call it over HTTP";

/// An archive, ready to be sent.
#[derive(Debug)]
pub(super) struct Package {
    /// Under which the plugin is to be installed; none leaves it to the archive's manifest.
    pub(super) plugin_id: Option<PluginId>,
    /// The archive.
    pub(super) bytes: Vec<u8>,
    /// Of the archive.
    pub(super) digest: Digest,
    /// What its author should know.
    pub(super) warnings: Vec<String>,
    /// Its id and version as the check found them; none without a check.
    pub(super) told: Told,
}

/// What a plugin says of itself.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The manifest's, else the folder's name.
    pub(super) id: Option<String>,
    /// The manifest's.
    pub(super) version: Option<String>,
}

impl From<&Report> for Told {
    fn from(report: &Report) -> Self {
        let version = report.manifest.as_ref().and_then(|manifest| manifest.get("version")?.as_str());
        Self { id: report.plugin_id.clone(), version: version.map(str::to_owned) }
    }
}

impl Package {
    /// Packs the folder at `path`, building it first if it is a Rust crate, or reads the archive at `path`.
    ///
    /// # Errors
    /// [`CommandError`] when the plugin is not sound, unless `skip_validate`; when it does not build, or cannot be read.
    pub(super) fn make(
        path: &Path,
        id: Option<PluginId>,
        skip_validate: bool,
        env: &dyn Environment,
        progress: &Progress,
    ) -> Result<Self, CommandError> {
        let metadata = std::fs::metadata(path).with_context(|| format!("failed to open `{}`", path.display()))?;
        if metadata.is_dir() {
            Self::of_folder(path, id, skip_validate, env, progress)
        } else {
            Self::of_archive(path, id, skip_validate)
        }
    }

    fn of_archive(path: &Path, id: Option<PluginId>, skip_validate: bool) -> Result<Self, CommandError> {
        let report = if skip_validate { None } else { Some(sound(check(path))?) };
        let bytes = std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?;
        Self::new(id, bytes, report)
    }

    fn of_folder(
        path: &Path,
        id: Option<PluginId>,
        skip_validate: bool,
        env: &dyn Environment,
        progress: &Progress,
    ) -> Result<Self, CommandError> {
        let built = if is_crate(path) { Some(BuiltCrate::build(path, env, progress)?) } else { None };
        let folder = built.as_ref().map_or(Cow::Borrowed(path), |built| Cow::Owned(built.folder()));
        progress.stage("packing".to_owned());
        let report = if skip_validate { None } else { Some(sound(check(&folder))?) };
        let id = match id {
            Some(id) => id,
            None => folder_id(&folder)?,
        };
        let packed = mortise_delivery::pack(&folder, &id, &ArchiveLimits::default().tree);
        let bytes = packed.map_err(|error| {
            let (code, hint) = (error.code(), error.hint());
            CommandError::refused(error, code, hint)
        })?;
        Self::new(Some(id), bytes, report)
    }

    fn new(plugin_id: Option<PluginId>, bytes: Vec<u8>, report: Option<Report>) -> Result<Self, CommandError> {
        if bytes.len() as u64 > ARCHIVE_BYTES_MAX {
            let error =
                anyhow!("the archive has {} bytes, more than the {ARCHIVE_BYTES_MAX} that can be sent", bytes.len());
            return Err(CommandError::refused(error, "bundle_too_large", "leave out what is not needed to run"));
        }
        let digest = Digest::of(&bytes);
        let told = report.as_ref().map(Told::from).unwrap_or_default();
        let warnings = report.map(|report| report.warnings).unwrap_or_default();
        Ok(Self { plugin_id, bytes, digest, warnings, told })
    }
}

/// Checks the plugin at `path`, a folder or an archive, without running any of it. What of it is not judged here a host
/// judges when it comes there.
pub(super) fn check(path: &Path) -> Report {
    check_with(path, &inspect)
}

/// The same where no host is about to judge it: the plugin is asked in the sandbox what it brings.
pub(super) fn check_alone(path: &Path, runners_dir: &Path) -> Report {
    check_with(path, &|folder, manifest| {
        let inspected = inspect(folder, manifest);
        if inspected.errors.is_empty() { sandbox::ask(folder, manifest, runners_dir) } else { inspected }
    })
}

fn check_with(path: &Path, inspect: Inspect<'_>) -> Report {
    let mut report = mortise_delivery::validate(path, ARCHIVE_BYTES_MAX, &ArchiveLimits::default(), Some(inspect));
    if !report.ok && is_crate(path) {
        report.hints.push("this is a Rust crate: `mortise pack` builds it and checks what comes out".to_owned());
    }
    report
}

/// Looks at what is told by the files alone. Functions are known only to a plugin that runs.
fn inspect(folder: &Path, manifest: &Manifest) -> Inspected {
    let mut inspected = Inspected::default();
    if manifest.runtime == RuntimeKind::Wasm
        && let Err(error) = guest::check_component(&folder.join(&manifest.entry_point))
    {
        inspected.errors.push(error.chain());
        inspected.hints.extend(error.hints);
    }
    if manifest.runtime == RuntimeKind::Python
        && let Some(file) = mortise_delivery::native_file(folder)
    {
        inspected.errors.push(format!("`{}` is native code, which does not run in the sandbox", file.display()));
        inspected.hints.push(NATIVE_HINT.to_owned());
    }
    inspected
}

/// `report` if it holds no errors, else all of them joined by `; ` (wire contract 10.11), with their cures.
fn sound(report: Report) -> Result<Report, CommandError> {
    if report.ok {
        return Ok(report);
    }
    let error = anyhow::Error::msg(report.errors.join("; "));
    Err(CommandError { hints: report.hints, ..CommandError::failed(error) })
}

/// The manifest's id, else the folder's name.
fn folder_id(folder: &Path) -> Result<PluginId, CommandError> {
    let root = folder.canonicalize().with_context(|| format!("failed to open `{}`", folder.display()))?;
    let path = root.join(MANIFEST);
    let bytes = std::fs::read(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
    let named = serde_json::from_slice::<serde_json::Value>(&bytes)
        .ok()
        .and_then(|manifest| manifest.get("id")?.as_str().map(str::to_owned));
    let name = || root.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    PluginId::new(named.unwrap_or_else(name)).map_err(|error| malformed(error.into()))
}

/// Whether the folder is a Rust crate that has to be built first.
fn is_crate(path: &Path) -> bool {
    path.join("Cargo.toml").is_file()
}

/// A crate's plugin folder as a host takes it: manifest, component, and what a reader wants. No sources.
struct BuiltCrate {
    staging: tempfile::TempDir,
    name: String,
}

impl BuiltCrate {
    fn build(path: &Path, env: &dyn Environment, progress: &Progress) -> Result<Self, CommandError> {
        let root = path.canonicalize().with_context(|| format!("failed to open `{}`", path.display()))?;
        let manifest_path = root.join(MANIFEST);
        let bytes = std::fs::read(&manifest_path)
            .with_context(|| format!("failed to read `{}`", manifest_path.display()))
            .map_err(|error| {
                CommandError::failed(error).hint("a plugin crate has a `manifest.json` beside its `Cargo.toml`")
            })?;
        let name = root.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let manifest = parse_manifest(&bytes, &name)?;
        let component = guest::build(&root, env, progress)?;

        let staging = tempfile::tempdir().context("failed to create a temporary folder")?;
        let folder = staging.path().join(&name);
        let entry_point = folder.join(&manifest.entry_point);
        std::fs::create_dir_all(entry_point.parent().unwrap_or(&folder))
            .context("failed to create a temporary folder")?;
        copy(&component, &entry_point)?;
        copy(&manifest_path, &folder.join(MANIFEST))?;
        let entries = std::fs::read_dir(&root).with_context(|| format!("failed to list `{}`", root.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("failed to list `{}`", root.display()))?;
            let file_name = entry.file_name();
            let is_for_readers =
                file_name.to_str().is_some_and(|name| name == "README.md" || name.starts_with("LICENSE"));
            if is_for_readers && entry.path().is_file() {
                copy(&entry.path(), &folder.join(file_name))?;
            }
        }
        Ok(Self { staging, name })
    }

    fn folder(&self) -> PathBuf {
        self.staging.path().join(&self.name)
    }
}

/// The manifest of a crate; its id may be left to the folder's name.
fn parse_manifest(bytes: &[u8], folder_name: &str) -> Result<Manifest, CommandError> {
    let named = |name| -> Result<Manifest, ManifestError> { Manifest::parse(bytes, Some(&PluginId::new(name)?)) };
    match Manifest::parse(bytes, None) {
        Err(ManifestError::MissingId) => named(folder_name),
        parsed => parsed,
    }
    .map_err(malformed)
}

fn malformed(error: ManifestError) -> CommandError {
    let (code, hint) = (error.code(), error.hint());
    CommandError::refused(error, code, hint)
}

fn copy(from: &Path, to: &Path) -> Result<(), CommandError> {
    std::fs::copy(from, to).with_context(|| format!("failed to copy `{}` to `{}`", from.display(), to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn native_code_among_the_packages_is_refused_before_it_is_sent() {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("door");
        let package = folder.join("site-packages/pillow");
        fs::create_dir_all(&package).unwrap();
        let manifest = br#"{"id": "door", "class_name": "Door", "entry_point": "capability.py"}"#;
        fs::write(folder.join(MANIFEST), manifest).unwrap();
        fs::write(folder.join("capability.py"), "class Door: pass\n").unwrap();
        fs::write(package.join("__init__.py"), "").unwrap();
        // Whatever lies elsewhere nobody imports.
        fs::write(folder.join("model.so"), "").unwrap();
        let report = check(&folder);
        assert!(report.ok, "{:?}", report.errors);
        for name in ["_imaging.cpython-314-x86_64-linux-gnu.so", "_imaging.pyd", "libjpeg.dylib"] {
            fs::write(package.join(name), "").unwrap();
            let report = check(&folder);
            let error = format!("`site-packages/pillow/{name}` is native code, which does not run in the sandbox");
            assert_eq!((report.ok, report.errors, report.hints), (false, vec![error], vec![NATIVE_HINT.to_owned()]));
            fs::remove_file(package.join(name)).unwrap();
        }
    }
}
