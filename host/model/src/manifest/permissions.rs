//! `permissions`: what a plugin asks for beyond computing.

use super::{ManifestError, texts, wrong_type};
use crate::suggestion::suggestion;
use serde_json::{Map, Value};

/// What a plugin asks for beyond computing. Empty unless its manifest says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permissions {
    /// Functions of other plugins on this host: globs over `<plugin>.<function>`.
    pub plugins: Vec<String>,
    /// `mesh.invoke`: globs over device ids, or `<device>/<function>`.
    pub mesh_invoke: Vec<String>,
    /// `mesh.discover`.
    pub mesh_discover: bool,
}

/// Permissions that the manifest format knows and this version does not grant.
const UNSUPPORTED: [&str; 5] = ["http", "env", "secrets", "files", "state"];
const MESH_UNSUPPORTED: [&str; 2] = ["subscribe", "emit"];

impl Permissions {
    /// Checks the manifest's `permissions` object.
    pub(super) fn parse(asked: &Map<String, Value>) -> Result<Self, ManifestError> {
        let mut permissions = Self::default();
        for (name, value) in asked {
            match name.as_str() {
                "plugins" => permissions.plugins = patterns("permissions.plugins", value, false)?,
                "mesh" => permissions.parse_mesh(value)?,
                name if UNSUPPORTED.contains(&name) => return Err(unsupported(name)),
                name => {
                    let known = UNSUPPORTED.into_iter().chain(["plugins", "mesh"]);
                    return Err(unknown(format!("permissions.{name}"), suggestion(name, known)));
                }
            }
        }
        Ok(permissions)
    }

    fn parse_mesh(&mut self, value: &Value) -> Result<(), ManifestError> {
        let mesh = value.as_object().ok_or_else(|| wrong_type("permissions.mesh", "an object", value))?;
        for (name, value) in mesh {
            let key = format!("permissions.mesh.{name}");
            match name.as_str() {
                "invoke" => self.mesh_invoke = patterns("permissions.mesh.invoke", value, true)?,
                "discover" => {
                    self.mesh_discover = value.as_bool().ok_or_else(|| wrong_type(&key, "true or false", value))?;
                }
                name if MESH_UNSUPPORTED.contains(&name) => return Err(unsupported(&format!("mesh.{name}"))),
                name => {
                    let known = MESH_UNSUPPORTED.into_iter().chain(["invoke", "discover"]);
                    return Err(unknown(key, suggestion(name, known)));
                }
            }
        }
        Ok(())
    }
}

fn unsupported(name: &str) -> ManifestError {
    ManifestError::PermissionUnsupported { name: name.to_owned() }
}

fn unknown(key: String, suggestion: Option<&'static str>) -> ManifestError {
    ManifestError::UnknownKey { key, suggestion }
}

fn patterns(key: &'static str, value: &Value, device: bool) -> Result<Vec<String>, ManifestError> {
    let patterns = texts(key, value)?;
    for pattern in &patterns {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '*') || (device && c == '/');
        let reason = if pattern.is_empty() {
            "it is empty"
        } else if !pattern.chars().all(allowed) {
            "it holds a character that no name has"
        } else if pattern.matches('/').count() > 1 {
            "it has more than one `/`"
        } else if pattern.starts_with('/') || pattern.ends_with('/') {
            "it lacks the device or the function"
        } else {
            continue;
        };
        return Err(ManifestError::Pattern { key, pattern: pattern.clone(), reason });
    }
    Ok(patterns)
}
