//! What plugins may be granted to read of the host's surroundings.

use super::env::{self, SECRET_PREFIX};
use super::host::{HostFlags, resolve_existing};
use super::setting::Resolver;
use mortise_manage::Surroundings;

pub(super) fn resolve(flags: &HostFlags, r: &mut Resolver<'_>) -> Surroundings {
    let given = flags.secrets_dir.as_deref();
    let secrets_dir = resolve_existing(r, "secrets_dir", "--secrets-dir", given, &env::MORTISE_SECRETS_DIR);
    let mut surroundings = Surroundings { secrets_dir, ..Surroundings::default() };
    for (name, value) in r.environment().all() {
        match name.strip_prefix(SECRET_PREFIX) {
            Some(name) => drop(surroundings.secrets.insert(name.to_owned(), value)),
            None if env::is_own(&name) => {}
            None => drop(surroundings.env.insert(name, value)),
        }
    }
    surroundings
}
