//! How much harm a plugin could do with what it asks for.

use mortise_model::{Breadth, Permission, Permissions};

/// How much harm permissions could do, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rating {
    /// The worst of them.
    pub risk: Risk,
    /// One sentence for each permission that is more than low, the worst first.
    pub reasons: Vec<String>,
}

/// From harmless to anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// It computes, and at most sees who is there, hears devices that are named and keeps something for itself.
    Low,
    /// It acts on devices and plugins that are named, or hears devices that are not.
    Medium,
    /// It acts on devices or plugins that nobody has named.
    High,
    /// It acts on everything.
    Critical,
}

impl Risk {
    /// A stable word for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Rates what a plugin asks for, or has been granted.
#[must_use]
pub fn rate(permissions: &Permissions) -> Rating {
    let mut rated: Vec<(Risk, String)> = permissions.iter().filter_map(rate_one).collect();
    rated.sort_by_key(|(risk, _)| std::cmp::Reverse(*risk));
    let risk = rated.first().map_or(Risk::Low, |(risk, _)| *risk);
    Rating { risk, reasons: rated.into_iter().map(|(_, reason)| reason).collect() }
}

fn rate_one(permission: &Permission) -> Option<(Risk, String)> {
    let open = |pattern: &str| pattern.contains('*');
    Some(match permission {
        Permission::MeshDiscover | Permission::State => return None,
        Permission::MeshSubscribe { devices, .. } if open(devices) => {
            (Risk::Medium, format!("`{permission}` hears devices that are not named one by one"))
        }
        Permission::MeshSubscribe { .. } => return None,
        Permission::MeshInvoke { devices, functions } if devices == "*" && functions == "*" => {
            (Risk::Critical, format!("`{permission}` calls every function of every device in this device's name"))
        }
        Permission::MeshInvoke { devices, .. } if open(devices) => {
            (Risk::High, format!("`{permission}` calls devices that are not named one by one"))
        }
        Permission::MeshInvoke { .. } => (Risk::Medium, format!("`{permission}` calls another device")),
        Permission::Plugins(functions) if open(functions.strip_suffix(".*").unwrap_or(functions)) => {
            (Risk::High, format!("`{permission}` calls plugins that are not named one by one, those to come included"))
        }
        Permission::Http(access) => {
            let (risk, reason) = match access.breadth() {
                Breadth::Everywhere => (Risk::High, "sends whatever it knows to whoever it likes"),
                Breadth::Several => (Risk::Medium, "reaches every host below a name"),
                Breadth::One => (Risk::Medium, "reaches a host"),
            };
            let open = if access.is_open_to_others() { ", in the clear" } else { "" };
            (risk, format!("`{permission}` {reason}{open}"))
        }
        Permission::Env(_) => (Risk::Medium, format!("`{permission}` reads a setting of the host's surroundings")),
        Permission::Secret(_) => (Risk::Medium, format!("`{permission}` reads a secret of the operator's")),
        Permission::Files(access) if access.is_writable() => {
            (Risk::High, format!("`{permission}` changes files of the host"))
        }
        Permission::Files(_) => (Risk::Medium, format!("`{permission}` reads files of the host")),
        Permission::Plugins(_) => (Risk::Medium, format!("`{permission}` calls another plugin, or this host")),
    })
}
