//! One thing that a plugin may do beyond computing: as it is asked for, granted and tried.

mod file;
mod http;
mod variable;

pub use file::FileAccess;
pub use http::{Breadth, HttpAccess};
pub use variable::VariableName;

use crate::{glob, globs_meet};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Something that a plugin may do beyond computing. Names of functions and devices may hold `*` for any run of characters;
/// one without is a single thing, which is how a plugin that does it is judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Call functions of this host, its plugins' and its own, by the names they are called by.
    Plugins(String),
    /// Call functions of other devices.
    MeshInvoke {
        /// Their ids.
        devices: String,
        /// Of these functions.
        functions: String,
    },
    /// Hear events of other devices.
    MeshSubscribe {
        /// Their ids.
        devices: String,
        /// These events.
        events: String,
    },
    /// List the devices on the mesh.
    MeshDiscover,
    /// Send requests over HTTP.
    Http(HttpAccess),
    /// Read one of the host's environment variables.
    Env(VariableName),
    /// Read one of the operator's secrets.
    Secret(VariableName),
    /// Read, or change as well, what lies in a folder of the host.
    Files(FileAccess),
    /// Keep key-value that outlives the instance, the version and the host.
    State,
}

/// A text that names no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no permission: {reason}")]
pub struct PermissionError {
    /// As written.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl PermissionError {
    /// The cure, as one line.
    pub const HINT: &'static str = "write `plugins:<function>`, `mesh.invoke:<device>/<function>`, `mesh.subscribe:<device>/<event>`, `mesh.discover`, `http:<scheme>://<host>`, `env:<name>`, `secret:<name>`, `files.ro:<folder>`, `files.rw:<folder>` or `state`; docs/permissions.md shows each";
}

impl Permission {
    /// To call functions of this host.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn plugins(functions: &str) -> Result<Self, &'static str> {
        check_name(functions)?;
        Ok(Self::Plugins(functions.to_owned()))
    }

    /// To call functions of other devices: `<devices>/<functions>`, or `<devices>` for all of their functions.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn mesh_invoke(pattern: &str) -> Result<Self, &'static str> {
        let (devices, functions) = of_devices(pattern, "it lacks the device or the function")?;
        Ok(Self::MeshInvoke { devices: devices.to_owned(), functions: functions.to_owned() })
    }

    /// To hear events of other devices: `<devices>/<events>`, or `<devices>` for all of their events.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn mesh_subscribe(pattern: &str) -> Result<Self, &'static str> {
        let (devices, events) = of_devices(pattern, "it lacks the device or the event")?;
        check_event_pattern(events)?;
        Ok(Self::MeshSubscribe { devices: devices.to_owned(), events: events.to_owned() })
    }

    /// Whether whoever has this may do all of `other`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            // A `*` in the other is matched by a `*` of ours only: no name that is checked holds one, and no pattern a `?`.
            (Self::Plugins(mine), Self::Plugins(theirs)) => glob(mine, theirs),
            (
                Self::MeshInvoke { devices, functions },
                Self::MeshInvoke { devices: their_devices, functions: their_functions },
            ) => glob(devices, their_devices) && glob(functions, their_functions),
            (
                Self::MeshSubscribe { devices, events },
                Self::MeshSubscribe { devices: their_devices, events: their_events },
            ) => glob(devices, their_devices) && glob(events, their_events),
            (Self::MeshDiscover, Self::MeshDiscover) | (Self::State, Self::State) => true,
            (Self::Http(mine), Self::Http(theirs)) => mine.covers(theirs),
            (Self::Env(mine), Self::Env(theirs)) | (Self::Secret(mine), Self::Secret(theirs)) => mine == theirs,
            (Self::Files(mine), Self::Files(theirs)) => mine.covers(theirs),
            _ => false,
        }
    }

    /// Whether there may be something that both allow. Exact for events of other devices; of the rest, where one covers the
    /// other.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::MeshSubscribe { devices, events },
                Self::MeshSubscribe { devices: their_devices, events: their_events },
            ) => globs_meet(devices, their_devices) && globs_meet(events, their_events),
            _ => self.covers(other) || other.covers(self),
        }
    }

    /// What somebody would grant to a plugin that tried this: not a single path of a server, but the server.
    #[must_use]
    pub fn as_wish(&self) -> Self {
        match self {
            Self::Http(access) => Self::Http(access.of_whole_origin()),
            other => other.clone(),
        }
    }

    /// Whether it is a single thing that can be: a plugin may try to call what no name is.
    #[must_use]
    pub fn is_concrete(&self) -> bool {
        let is_name = |name: &str| !name.contains('*') && check_name(name).is_ok();
        match self {
            Self::Plugins(function) => is_name(function),
            Self::MeshInvoke { devices, functions } => is_name(devices) && is_name(functions),
            Self::Http(access) => access.is_concrete(),
            // Plugins subscribe to patterns. What they hear is named by the host.
            Self::MeshSubscribe { .. }
            | Self::MeshDiscover
            | Self::Env(_)
            | Self::Secret(_)
            | Self::Files(_)
            | Self::State => true,
        }
    }
}

/// `<devices>/<what of them>`, or `<devices>` for all of it.
fn of_devices<'a>(pattern: &'a str, lacking: &'static str) -> Result<(&'a str, &'a str), &'static str> {
    let (devices, things) = pattern.split_once('/').unwrap_or((pattern, "*"));
    if things.contains('/') {
        return Err("it has more than one `/`");
    }
    if pattern.contains('/') && (devices.is_empty() || things.is_empty()) {
        return Err(lacking);
    }
    check_name(devices)?;
    check_name(things)?;
    Ok((devices, things))
}

/// Names have at most so many bytes: a plugin's id, a dot and a function, or a device.
const NAME_BYTES_MAX: usize = 257;

/// Whether a text is a pattern of names of events.
///
/// # Errors
/// What is wrong with it.
pub fn check_event_pattern(pattern: &str) -> Result<(), &'static str> {
    if pattern.contains('.') { Err("no event has a dot in its name") } else { check_name(pattern) }
}

fn check_name(pattern: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '*');
    if pattern.is_empty() {
        Err("it is empty")
    } else if pattern.len() > NAME_BYTES_MAX {
        Err("no name is that long")
    } else if pattern.contains("**") {
        Err("it has two `*` in a row, which mean no more than one")
    } else if !pattern.chars().all(allowed) {
        Err("it holds a character that no name has")
    } else {
        Ok(())
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plugins(functions) => write!(f, "plugins:{functions}"),
            Self::MeshInvoke { devices, functions } if functions == "*" => write!(f, "mesh.invoke:{devices}"),
            Self::MeshInvoke { devices, functions } => write!(f, "mesh.invoke:{devices}/{functions}"),
            Self::MeshSubscribe { devices, events } if events == "*" => write!(f, "mesh.subscribe:{devices}"),
            Self::MeshSubscribe { devices, events } => write!(f, "mesh.subscribe:{devices}/{events}"),
            Self::MeshDiscover => f.write_str("mesh.discover"),
            Self::Http(access) => write!(f, "http:{access}"),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::Secret(name) => write!(f, "secret:{name}"),
            Self::Files(access) => write!(f, "files.{access}"),
            Self::State => f.write_str("state"),
        }
    }
}

impl FromStr for Permission {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Self, PermissionError> {
        let permission = match text.split_once(':') {
            Some(("plugins", functions)) => Self::plugins(functions),
            Some(("mesh.invoke", pattern)) => Self::mesh_invoke(pattern),
            Some(("mesh.subscribe", pattern)) => Self::mesh_subscribe(pattern),
            Some(("http", access)) => HttpAccess::parse(access).map(Self::Http),
            Some(("env", name)) => VariableName::new(name).map(Self::Env),
            Some(("secret", name)) => VariableName::new(name).map(Self::Secret),
            Some(("files.ro", folder)) => FileAccess::new(folder, false).map(Self::Files),
            Some(("files.rw", folder)) => FileAccess::new(folder, true).map(Self::Files),
            None if text == "mesh.discover" => Ok(Self::MeshDiscover),
            None if text == "state" => Ok(Self::State),
            None if matches!(text, "plugins" | "mesh.invoke") => Err("it does not say what may be called"),
            None if text == "mesh.subscribe" => Err("it does not say what may be heard"),
            None if matches!(text, "http" | "env" | "secret" | "files.ro" | "files.rw") => Err("it does not say which"),
            _ => Err("no permission of this version begins so"),
        };
        permission.map_err(|reason| PermissionError { text: text.to_owned(), reason })
    }
}

/// Permissions together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permissions(BTreeSet<Permission>);

impl Permissions {
    /// Whether one of them covers `access`.
    #[must_use]
    pub fn cover(&self, access: &Permission) -> bool {
        self.0.iter().any(|permission| permission.covers(access))
    }

    /// Adds one.
    pub fn insert(&mut self, permission: Permission) {
        self.0.insert(permission);
    }

    /// In a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = &Permission> {
        self.0.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(text: &str) -> Permission {
        text.parse().unwrap()
    }

    #[test]
    fn permissions_are_written_as_they_are_read() {
        for text in [
            "plugins:camera.*",
            "mesh.invoke:camera-*",
            "mesh.invoke:*/capture",
            "mesh.subscribe:camera-*",
            "mesh.subscribe:*/motion",
            "mesh.discover",
            "http:GET https://*.example.com/v1",
            "env:API_KEY",
            "secret:api-key",
            "files.ro:/srv/data",
            "files.rw:/srv/data",
            "state",
        ] {
            assert_eq!(permission(text).to_string(), text);
        }
        assert_eq!(permission("mesh.invoke:camera-*/*").to_string(), "mesh.invoke:camera-*");
        for (text, reason) in [
            ("plugins", "it does not say what may be called"),
            ("plugins:", "it is empty"),
            ("plugins:a/b", "it holds a character that no name has"),
            ("plugins:**", "it has two `*` in a row, which mean no more than one"),
            ("plugins:?", "it holds a character that no name has"),
            ("mesh.invoke:a/b/c", "it has more than one `/`"),
            ("mesh.invoke:/b", "it lacks the device or the function"),
            ("mesh.subscribe", "it does not say what may be heard"),
            ("mesh.subscribe:a/", "it lacks the device or the event"),
            ("mesh.subscribe:a/event/b", "it has more than one `/`"),
            ("state:x", "no permission of this version begins so"),
            ("mesh.discover:x", "no permission of this version begins so"),
            ("http", "it does not say which"),
            ("http:example.com", "it does not begin with `https://` or `http://`"),
            ("env:", "it is empty"),
            ("files.ro:data", "it is no absolute path"),
            ("files:/srv", "no permission of this version begins so"),
        ] {
            let error = text.parse::<Permission>().unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is no permission: {reason}"));
        }
    }

    #[test]
    fn a_permission_covers_what_lies_within_it() {
        for (mine, theirs, expected) in [
            ("plugins:*", "plugins:camera.capture", true),
            ("plugins:camera.*", "plugins:camera.*", true),
            ("plugins:camera.*", "plugins:*", false),
            ("plugins:a*", "plugins:*a*", false),
            ("plugins:*", "mesh.discover", false),
            ("mesh.invoke:camera-*", "mesh.invoke:camera-1/capture", true),
            ("mesh.invoke:*/capture", "mesh.invoke:camera-*/capture", true),
            ("mesh.invoke:*/capture", "mesh.invoke:camera-*", false),
            ("mesh.invoke:camera-1", "mesh.invoke:camera-*", false),
            ("mesh.subscribe:camera-*", "mesh.subscribe:camera-1/motion", true),
            ("mesh.subscribe:*/motion", "mesh.subscribe:camera-*/motion", true),
            ("mesh.subscribe:*/motion", "mesh.subscribe:camera-1/heat", false),
            ("mesh.subscribe:camera-1", "mesh.subscribe:*", false),
            ("mesh.invoke:*", "mesh.subscribe:camera-1/motion", false),
            ("mesh.discover", "mesh.discover", true),
            ("http:https://a.test", "http:GET https://a.test/v1", true),
            ("env:A", "env:A", true),
            ("env:A", "env:B", false),
            ("env:A", "secret:A", false),
            ("files.rw:/srv", "files.ro:/srv/data", true),
            ("state", "state", true),
            ("plugins:*", "state", false),
        ] {
            assert_eq!(permission(mine).covers(&permission(theirs)), expected, "{mine} {theirs}");
        }
    }

    #[test]
    fn permissions_meet_where_an_event_is_within_both() {
        for (one, other, expected) in [
            ("mesh.subscribe:camera-1", "mesh.subscribe:*/motion", true),
            ("mesh.subscribe:camera-*/motion", "mesh.subscribe:*-1/mot*", true),
            ("mesh.subscribe:camera-*/motion", "mesh.subscribe:*/heat", false),
            ("mesh.subscribe:camera-*", "mesh.subscribe:door-*", false),
            ("mesh.subscribe:*", "mesh.invoke:*", false),
            ("state", "state", true),
        ] {
            let (one, other) = (permission(one), permission(other));
            assert_eq!((one.meets(&other), other.meets(&one)), (expected, expected), "{one} {other}");
        }
    }

    #[test]
    fn a_single_thing_has_a_name_that_can_be() {
        let call = |device: &str, function: &str| Permission::MeshInvoke {
            devices: device.to_owned(),
            functions: function.to_owned(),
        };
        assert!(call("camera-1", "zoom").is_concrete() && Permission::MeshDiscover.is_concrete());
        assert!(!call("*", "zoom").is_concrete() && !call("camera-1", "z*").is_concrete());
        assert!(!call("a b", "f").is_concrete() && !call(&"d".repeat(258), "f").is_concrete());
        assert!(
            !Permission::Plugins(String::new()).is_concrete() && !Permission::Plugins("*".to_owned()).is_concrete()
        );
    }
}
