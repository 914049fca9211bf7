//! `permissions`: what a plugin asks for beyond computing.

use super::{ManifestError, texts, wrong_type};
use crate::permission::check_event_pattern;
use crate::suggestion::suggestion;
use crate::{FileAccess, HttpAccess, Permission, Permissions, VariableName};
use serde_json::{Map, Value};
use std::path::Path;

/// What `permissions.mesh` may hold.
const MESH_KEYS: [&str; 4] = ["invoke", "subscribe", "discover", "emit"];

/// Folders that one plugin may ask for.
const FOLDERS_MAX: usize = 16;

/// A folder of the host that a plugin wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// What it asks for.
    pub access: FileAccess,
    /// The absolute path under which it wants to see it.
    pub seen_as: String,
}

/// What the manifest's `permissions` say.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) permissions: Permissions,
    pub(super) folders: Vec<Folder>,
    /// The only events that it will emit, as patterns, if it says so.
    pub(super) emits: Option<Vec<String>>,
}

/// Checks the manifest's `permissions` object.
pub(super) fn parse(asked: &Map<String, Value>) -> Result<Asked, ManifestError> {
    let Asked { mut permissions, mut folders, mut emits } = Asked::default();
    let http = |text: &str| HttpAccess::parse(text).map(Permission::Http);
    let env = |text: &str| VariableName::new(text).map(Permission::Env);
    let secret = |text: &str| VariableName::new(text).map(Permission::Secret);
    for (name, value) in asked {
        match name.as_str() {
            "plugins" => patterns("permissions.plugins", value, Permission::plugins, &mut permissions)?,
            "http" => patterns("permissions.http", value, http, &mut permissions)?,
            "env" => patterns("permissions.env", value, env, &mut permissions)?,
            "secrets" => patterns("permissions.secrets", value, secret, &mut permissions)?,
            "files" => {
                folders = parse_files(value)?;
                folders.iter().for_each(|folder| permissions.insert(Permission::Files(folder.access.clone())));
            }
            "mesh" => emits = parse_mesh(value, &mut permissions)?,
            "state" => switch("permissions.state", value, Permission::State, &mut permissions)?,
            name => {
                let known = ["plugins", "http", "env", "secrets", "files", "mesh", "state"];
                return Err(unknown(format!("permissions.{name}"), suggestion(name, known)));
            }
        }
    }
    Ok(Asked { permissions, folders, emits })
}

fn parse_files(value: &Value) -> Result<Vec<Folder>, ManifestError> {
    let key = "permissions.files";
    let items = value.as_array().ok_or_else(|| wrong_type(key, "an array of objects", value))?;
    if items.len() > FOLDERS_MAX {
        return Err(pattern_error(key, format!("{} folders", items.len()), "a plugin may ask for 16"));
    }
    let mut folders: Vec<Folder> = Vec::with_capacity(items.len());
    for item in items {
        let folder = parse_folder(item)?;
        if folders.iter().any(|other| other.seen_as == folder.seen_as) {
            return Err(pattern_error(key, folder.seen_as, "two folders cannot be seen under one path"));
        }
        folders.push(folder);
    }
    Ok(folders)
}

/// Where a plugin that is source sees its own folder.
pub const GUEST_SOURCE: &str = "/plugin";

fn parse_folder(item: &Value) -> Result<Folder, ManifestError> {
    let (mut path, mut seen_as, mut writable) = (None, None, false);
    let item = item.as_object().ok_or_else(|| wrong_type("permissions.files", "an array of objects", item))?;
    for (name, value) in item {
        let key = format!("permissions.files.{name}");
        let text = || value.as_str().ok_or_else(|| wrong_type(&key, "a string", value));
        match name.as_str() {
            "path" => path = Some(text()?),
            "as" => seen_as = Some(text()?),
            "mode" => {
                writable = match text()? {
                    "ro" => false,
                    "rw" => true,
                    other => {
                        return Err(pattern_error("permissions.files.mode", other.to_owned(), "it is `ro` or `rw`"));
                    }
                }
            }
            name => return Err(unknown(key.clone(), suggestion(name, ["path", "as", "mode"]))),
        }
    }
    let plain = |key, text: &str, writable| {
        FileAccess::new(text, writable).map_err(|reason| pattern_error(key, text.to_owned(), reason))
    };
    let path = path.ok_or_else(|| pattern_error("permissions.files", String::new(), "it lacks `path`"))?;
    let access = plain("permissions.files.path", path, writable)?;
    let seen_as = seen_as.unwrap_or(path);
    plain("permissions.files.as", seen_as, false)?;
    if Path::new(seen_as).starts_with(GUEST_SOURCE) {
        let reason = "there a plugin that is source has its own files";
        return Err(pattern_error("permissions.files.as", seen_as.to_owned(), reason));
    }
    Ok(Folder { access, seen_as: seen_as.to_owned() })
}

/// Which events it binds itself to, if it does.
fn parse_mesh(value: &Value, permissions: &mut Permissions) -> Result<Option<Vec<String>>, ManifestError> {
    let mut emits = None;
    let mesh = value.as_object().ok_or_else(|| wrong_type("permissions.mesh", "an object", value))?;
    for (name, value) in mesh {
        let key = format!("permissions.mesh.{name}");
        match name.as_str() {
            "invoke" => patterns("permissions.mesh.invoke", value, Permission::mesh_invoke, permissions)?,
            "subscribe" => patterns("permissions.mesh.subscribe", value, Permission::mesh_subscribe, permissions)?,
            "discover" => switch(&key, value, Permission::MeshDiscover, permissions)?,
            "emit" => emits = Some(parse_emit(value)?),
            name => return Err(unknown(key, suggestion(name, MESH_KEYS))),
        }
    }
    Ok(emits)
}

fn parse_emit(value: &Value) -> Result<Vec<String>, ManifestError> {
    let key = "permissions.mesh.emit";
    let patterns = texts(key, value)?;
    for pattern in &patterns {
        check_event_pattern(pattern).map_err(|reason| pattern_error(key, pattern.clone(), reason))?;
    }
    Ok(patterns)
}

fn switch(
    key: &str,
    value: &Value,
    permission: Permission,
    permissions: &mut Permissions,
) -> Result<(), ManifestError> {
    if value.as_bool().ok_or_else(|| wrong_type(key, "true or false", value))? {
        permissions.insert(permission);
    }
    Ok(())
}

fn unknown(key: String, suggestion: Option<&'static str>) -> ManifestError {
    ManifestError::UnknownKey { key, suggestion }
}

fn pattern_error(key: &'static str, pattern: String, reason: &'static str) -> ManifestError {
    ManifestError::Pattern { key, pattern, reason }
}

fn patterns(
    key: &'static str,
    value: &Value,
    permission: impl Fn(&str) -> Result<Permission, &'static str>,
    permissions: &mut Permissions,
) -> Result<(), ManifestError> {
    for pattern in texts(key, value)? {
        let asked = permission(&pattern).map_err(|reason| ManifestError::Pattern { key, pattern, reason })?;
        permissions.insert(asked);
    }
    Ok(())
}
