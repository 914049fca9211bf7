//! `permissions`: what a plugin asks for beyond computing.

use super::{ManifestError, texts, wrong_type};
use crate::suggestion::suggestion;
use crate::{Permission, Permissions};
use serde_json::{Map, Value};

/// Permissions that the manifest format knows and this version does not grant.
const UNSUPPORTED: [&str; 5] = ["http", "env", "secrets", "files", "state"];
const MESH_UNSUPPORTED: [&str; 2] = ["subscribe", "emit"];

/// Checks the manifest's `permissions` object.
pub(super) fn parse(asked: &Map<String, Value>) -> Result<Permissions, ManifestError> {
    let mut permissions = Permissions::default();
    for (name, value) in asked {
        match name.as_str() {
            "plugins" => patterns("permissions.plugins", value, Permission::plugins, &mut permissions)?,
            "mesh" => parse_mesh(value, &mut permissions)?,
            name if UNSUPPORTED.contains(&name) => return Err(unsupported(name)),
            name => {
                let known = UNSUPPORTED.into_iter().chain(["plugins", "mesh"]);
                return Err(unknown(format!("permissions.{name}"), suggestion(name, known)));
            }
        }
    }
    Ok(permissions)
}

fn parse_mesh(value: &Value, permissions: &mut Permissions) -> Result<(), ManifestError> {
    let mesh = value.as_object().ok_or_else(|| wrong_type("permissions.mesh", "an object", value))?;
    for (name, value) in mesh {
        let key = format!("permissions.mesh.{name}");
        match name.as_str() {
            "invoke" => patterns("permissions.mesh.invoke", value, Permission::mesh_invoke, permissions)?,
            "discover" => {
                if value.as_bool().ok_or_else(|| wrong_type(&key, "true or false", value))? {
                    permissions.insert(Permission::MeshDiscover);
                }
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

fn unsupported(name: &str) -> ManifestError {
    ManifestError::PermissionUnsupported { name: name.to_owned() }
}

fn unknown(key: String, suggestion: Option<&'static str>) -> ManifestError {
    ManifestError::UnknownKey { key, suggestion }
}

fn patterns(
    key: &'static str,
    value: &Value,
    permission: fn(&str) -> Result<Permission, &'static str>,
    permissions: &mut Permissions,
) -> Result<(), ManifestError> {
    for pattern in texts(key, value)? {
        let asked = permission(&pattern).map_err(|reason| ManifestError::Pattern { key, pattern, reason })?;
        permissions.insert(asked);
    }
    Ok(())
}
