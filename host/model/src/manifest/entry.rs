//! Which file a plugin is run from, and what its name tells of the plugin's type.

use super::{ManifestError, RuntimeKind};

/// As in the reference host; other types name their file.
const DEFAULT: &str = "capability.py";

/// The plugin's type and entry point, from what the manifest says of either.
pub(super) fn resolve(
    declared: Option<RuntimeKind>,
    entry_point: Option<&str>,
) -> Result<(RuntimeKind, String), ManifestError> {
    let Some(path) = entry_point else {
        return match declared {
            None | Some(RuntimeKind::Python) => Ok((RuntimeKind::Python, DEFAULT.to_owned())),
            // A container is run from its image; the file is the reference host's default and is not looked for.
            Some(RuntimeKind::Docker) => Ok((RuntimeKind::Docker, DEFAULT.to_owned())),
            Some(runtime) => Err(ManifestError::MissingEntryPoint { runtime }),
        };
    };
    check_path(path)?;
    let entry_point = path.to_owned();
    match (declared, told_by(path)) {
        (None, Some(RuntimeKind::Native)) => Err(ManifestError::NativeUndeclared { entry_point }),
        (None, Some(runtime)) => Ok((runtime, entry_point)),
        (None, None) => Err(ManifestError::TypeUndetermined { entry_point }),
        (Some(RuntimeKind::Docker), _) => Ok((RuntimeKind::Docker, entry_point)),
        (Some(runtime), Some(told)) if told != runtime => Err(ManifestError::TypeContradicted { runtime, entry_point }),
        (Some(runtime), _) => Ok((runtime, entry_point)),
    }
}

fn told_by(path: &str) -> Option<RuntimeKind> {
    let (_, extension) = path.rsplit_once('.')?;
    match extension {
        "py" => Some(RuntimeKind::Python),
        "js" | "mjs" => Some(RuntimeKind::Javascript),
        "wasm" => Some(RuntimeKind::Wasm),
        "so" | "dylib" | "dll" => Some(RuntimeKind::Native),
        _ => None,
    }
}

fn check_path(path: &str) -> Result<(), ManifestError> {
    let reason = if path.is_empty() {
        "it is empty"
    } else if path.starts_with('/') {
        "it is absolute"
    } else if path.contains('\\') {
        "it holds a backslash"
    } else if path.chars().any(char::is_control) {
        "it holds a control character"
    } else if path.split('/').any(|component| component == "..") {
        "it leaves the plugin's folder"
    } else if path.split('/').any(|component| matches!(component, "" | ".")) {
        "it has an empty component or one that is `.`"
    } else {
        return Ok(());
    };
    Err(ManifestError::EntryPointPath { path: path.to_owned(), reason })
}
