//! Checking a plugin without running any of it (wire contract 10.12; its reference runs the plugin's top-level code).

use crate::bundle::BundleError;
use crate::disk::failed;
use crate::folder;
use crate::tree::{Selection, Tree};
use crate::unpack::{ArchiveFormat, ArchiveLimits};
use crate::{DeliveryError, StagedPlugin, Staging};
use mortise_model::{Manifest, ManifestError, PluginId, chain};
use std::fs;
use std::path::Path;

/// What a plugin's validation found. Serialises as `mortise validate --json` prints it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// Whether there are no errors.
    pub ok: bool,
    /// The id it would be installed under; none when that cannot be told.
    pub plugin_id: Option<String>,
    /// As given.
    pub path: String,
    /// What makes it unusable, one sentence each.
    pub errors: Vec<String>,
    /// What to do about the errors.
    pub hints: Vec<String>,
    /// What its author should know, one sentence each.
    pub warnings: Vec<String>,
    /// Its functions, sorted; empty where nobody looked inside.
    pub rpc_methods: Vec<String>,
    /// The manifest, where it could be read.
    pub manifest: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What somebody who knows the plugin's runtime found in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspected {
    /// Names of functions.
    pub functions: Vec<String>,
    /// Added to the report's.
    pub errors: Vec<String>,
    /// Added to the report's.
    pub hints: Vec<String>,
    /// Added to the report's.
    pub warnings: Vec<String>,
}

/// Looks inside the plugin in a folder, without running it.
pub type Inspect<'a> = &'a dyn Fn(&Path, &Manifest) -> Inspected;

/// Checks the plugin in a folder or an archive. Blocks. Never runs any of it.
///
/// `packed_bytes_max` limits archives; `inspect` is asked about a plugin that is sound so far.
///
/// # Errors
/// None: whatever is wrong is in the report.
#[must_use]
pub fn validate(path: &Path, packed_bytes_max: u64, limits: &ArchiveLimits, inspect: Option<Inspect<'_>>) -> Report {
    let mut report = Report {
        ok: false,
        plugin_id: None,
        path: path.display().to_string(),
        errors: Vec::new(),
        hints: Vec::new(),
        warnings: Vec::new(),
        rpc_methods: Vec::new(),
        manifest: None,
    };
    let result = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => archive(path, packed_bytes_max, limits, inspect, &mut report),
        Ok(metadata) if metadata.is_dir() => plugin_folder(path, limits, inspect, &mut report),
        _ => {
            report.errors.push(format!("not a directory: {}", path.display()));
            Ok(())
        }
    };
    if let Err(error) = result {
        report.hints.push(error.hint());
        report.errors.push(chain(&error));
    }
    report.ok = report.errors.is_empty();
    report
}

fn plugin_folder(
    path: &Path,
    limits: &ArchiveLimits,
    inspect: Option<Inspect<'_>>,
    report: &mut Report,
) -> Result<(), DeliveryError> {
    // A link to a folder is as good as the folder here: nothing is installed.
    let root = fs::canonicalize(path).map_err(failed("open", path))?;
    let name = root.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    report.plugin_id = Some(name.to_owned());
    let parse = |bytes: &[u8]| match Manifest::parse(bytes, None) {
        Err(ManifestError::MissingId) => Manifest::parse(bytes, Some(&PluginId::new(name)?)),
        parsed => parsed,
    };
    // As it would be packed: a crate's `target` is no part of the plugin.
    let tree = Tree::read(&root, Selection::Authored, &limits.tree)?;
    // For show, even when it is refused.
    report.manifest = tree.manifest.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok());
    let manifest = folder::check(&tree, &parse)?;
    found(&manifest, report);
    look_inside(&root, &manifest, inspect, report);
    Ok(())
}

fn archive(
    path: &Path,
    packed_bytes_max: u64,
    limits: &ArchiveLimits,
    inspect: Option<Inspect<'_>>,
    report: &mut Report,
) -> Result<(), DeliveryError> {
    let size = fs::metadata(path).map_err(failed("read", path))?.len();
    if size > packed_bytes_max {
        return Err(BundleError::TooLarge { bytes_max: packed_bytes_max, bytes: size }.into());
    }
    let bytes = fs::read(path).map_err(failed("read", path))?;
    let state = tempfile::tempdir().map_err(failed("create a folder for", path))?;
    let staging = Staging::open(state.path())?;
    let format = ArchiveFormat::detect("auto", path.to_str(), &bytes);
    let staged = StagedPlugin::from_archive(&bytes, format, None, limits, &staging)?;
    found(&staged.manifest, report);
    look_inside(staged.root(), &staged.manifest, inspect, report);
    Ok(())
}

fn found(manifest: &Manifest, report: &mut Report) {
    report.plugin_id = Some(manifest.id.to_string());
    report.warnings.extend(manifest.warnings.iter().map(ToString::to_string));
    report.manifest = Some(manifest.raw.clone());
}

fn look_inside(root: &Path, manifest: &Manifest, inspect: Option<Inspect<'_>>, report: &mut Report) {
    let Some(inspect) = inspect else { return };
    let mut inspected = inspect(root, manifest);
    inspected.functions.sort_unstable();
    report.rpc_methods = inspected.functions;
    report.errors.extend(inspected.errors);
    report.hints.extend(inspected.hints);
    report.warnings.extend(inspected.warnings);
}
