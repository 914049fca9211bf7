//! What plugins may be granted to read of the host's surroundings.

use super::env::{self, SECRET_PREFIX};
use super::error::ConfigError;
use super::host::HostFlags;
use super::setting::Resolver;
use mortise_manage::Surroundings;
use std::path::PathBuf;

pub(super) fn resolve(flags: &HostFlags, r: &mut Resolver<'_>) -> Surroundings {
    let mut surroundings = Surroundings { secrets_dir: resolve_secrets_dir(flags, r), ..Surroundings::default() };
    for (name, value) in r.environment().all() {
        match name.strip_prefix(SECRET_PREFIX) {
            Some(name) => drop(surroundings.secrets.insert(name.to_owned(), value)),
            None if env::is_own(&name) => {}
            None => drop(surroundings.env.insert(name, value)),
        }
    }
    surroundings
}

/// A folder that has to be there: without it the setting would have no effect.
fn resolve_secrets_dir(flags: &HostFlags, r: &mut Resolver<'_>) -> Option<PathBuf> {
    let given = r.text("--secrets-dir", flags.secrets_dir.as_deref(), &[&env::MORTISE_SECRETS_DIR])?;
    let folder = r.path(given)?;
    r.show("secrets_dir", folder.value.display(), &folder.origin);
    if folder.value.is_dir() {
        return Some(folder.value);
    }
    let value = folder.value.display().to_string();
    r.fail(ConfigError::Value { origin: folder.origin, value, expected: "a folder that is there" })
}
