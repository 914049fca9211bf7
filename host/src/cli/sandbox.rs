//! What a plugin brings, asked in the sandbox as a host asks it for a plan.

use mortise_delivery::{Inspected, SITE_PACKAGES};
use mortise_model::{Description, DeviceId, Digest, Manifest, Permission, Provenance, RuntimeKind, Tenant, chain};
use mortise_plugin::{Package, PrepareError, describe_alone};
use mortise_runtime_wasm::{WasmConfig, WasmRuntime};
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Builder;

/// The device and the tenant that the plugin is told of.
const NOWHERE: &str = "nowhere";

const UNJUDGED: &str = "what it brings was not checked";

/// Runs the plugin in `folder`, which is sound so far, as far as it describes itself: a component is instantiated, source is
/// read and its module imported. It is granted nothing, and none of its hooks runs. Blocks.
pub(super) fn ask(folder: &Path, manifest: &Manifest, runners_dir: &Path) -> Inspected {
    let mut inspected = Inspected::default();
    match described(folder, manifest, runners_dir) {
        Ok(description) => {
            inspected.functions = description.functions.iter().map(|function| function.name.to_string()).collect();
            inspected.warnings = description.warnings;
        }
        Err(Unasked::Here(reason)) => inspected.warnings.push(format!("{UNJUDGED}: {reason}")),
        Err(Unasked::Plugin(error)) if lacks_packages(folder, manifest) && may_be_installed(&chain(&error)) => {
            inspected.warnings.push(format!(
                "{UNJUDGED}: it needs packages that a host installs, and `mortise deploy install --plan` has a host judge it ({})",
                chain(&error)
            ));
        }
        Err(Unasked::Plugin(error)) => {
            inspected.errors.push(chain(&error));
            if let PrepareError::Code { hint: Some(hint), .. } = error {
                inspected.hints.push(hint);
            }
        }
    }
    inspected
}

/// Whether the plugin declares packages and brings none: then it cannot be imported here.
fn lacks_packages(folder: &Path, manifest: &Manifest) -> bool {
    !manifest.python_dependencies.is_empty() && !folder.join(SITE_PACKAGES).is_dir()
}

/// Whether a module is not there, which is CPython's own word, and the runner does not say that it never can be (`_NO_C` of
/// its `imports.py`).
fn may_be_installed(error: &str) -> bool {
    error.contains("ModuleNotFound") && !error.contains("the sandbox runs no native code")
}

/// Why a plugin said nothing.
enum Unasked {
    /// It could not be asked here, which is not its fault.
    Here(String),
    Plugin(PrepareError),
}

impl From<PrepareError> for Unasked {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Runner { ref hint, .. } => Self::Here(format!("{error}; {hint}")),
            PrepareError::NoRuntime(_) => Self::Here(chain(&error)),
            PrepareError::Denied { ref denied, error: ref own }
                if denied.iter().any(|denied| is_about(own, denied)) =>
            {
                Self::Here(format!("{}; a host's operator may grant it that", chain(&error)))
            }
            error => Self::Plugin(error),
        }
    }
}

/// Whether it failed by what it was denied: an error of the host's says so, and one of Python's names the variable.
fn is_about(error: &PrepareError, denied: &Permission) -> bool {
    let (told, permission) = (chain(error), denied.to_string());
    let name = permission.split_once(':').map_or(&*permission, |(_, name)| name);
    told.contains("the plugin may not ") || told.contains(&format!("'{name}'")) || told.contains(&format!("`{name}`"))
}

fn described(folder: &Path, manifest: &Manifest, runners_dir: &Path) -> Result<Description, Unasked> {
    let here = |error: &dyn std::error::Error| Unasked::Here(chain(error));
    let package = Package {
        id: manifest.id.clone(),
        manifest: Arc::new(manifest.clone()),
        root: folder.into(),
        // Nobody judges by it here.
        tree: Digest::of(&[]),
        provenance: Arc::new(Provenance::default()),
        // What it asks for, as far as a policy may give it.
        limits: manifest.limits.clone(),
        generation: 0,
    };
    let device = DeviceId::new(NOWHERE).map_err(|error| here(&error))?;
    let tenant = Tenant::new(NOWHERE).map_err(|error| here(&error))?;
    let threads = Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|error| here(&error))?;
    let result = threads.block_on(async {
        let components = WasmRuntime::new(WasmConfig::default()).map_err(|error| here(&error))?;
        let runtime = match manifest.runtime {
            RuntimeKind::Wasm => components,
            kind @ (RuntimeKind::Python | RuntimeKind::Javascript) => {
                components.with_runner(kind, runners_dir.to_owned()).map_err(|error| here(&error))?
            }
            kind => return Err(PrepareError::NoRuntime(kind).into()),
        };
        Ok(describe_alone(&*runtime, &package, device, tenant).await?)
    });
    threads.shutdown_background();
    result
}
