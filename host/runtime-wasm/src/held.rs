//! What an instance has of the host's surroundings, and cannot forget.

use mortise_model::{FileAccess, Permission};
use mortise_plugin::Services;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a judgement holds where nobody changes anything: a grant may end by itself.
const JUDGED_FOR: Duration = Duration::from_millis(50);

/// Folders, and variables of WASI's environment.
pub(crate) struct Held {
    permissions: Vec<Permission>,
    changes: watch::Receiver<u64>,
    judged_at: Instant,
}

impl Held {
    /// Nothing yet. To be made before anything is judged.
    pub(crate) fn nothing(services: &Services) -> Self {
        Self { permissions: Vec::new(), changes: services.changes(), judged_at: Instant::now() }
    }

    pub(crate) fn add(&mut self, permission: Permission) {
        self.permissions.push(permission);
    }

    /// The folders among it.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &FileAccess> {
        self.permissions.iter().filter_map(|held| match held {
            Permission::Files(access) => Some(access),
            _ => None,
        })
    }

    /// Whether somebody else may put something into what the instance sees.
    pub(crate) fn has_folders(&self) -> bool {
        self.folders().next().is_some()
    }

    /// Whether something of it was taken back.
    pub(crate) fn is_outdated(&mut self, services: &Services, now: Instant) -> bool {
        // A closed channel tells of no more changes.
        let is_changed = self.changes.has_changed().unwrap_or(false);
        if self.permissions.is_empty() || (!is_changed && now < self.judged_at + JUDGED_FOR) {
            return false;
        }
        self.changes.mark_unchanged();
        self.judged_at = now;
        !services.has_still(&self.permissions)
    }
}
