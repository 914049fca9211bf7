//! Which policy the host keeps.

use super::env;
use super::error::{ConfigError, ConfigWarning};
use super::host::HostFlags;
use super::setting::{Origin, Resolver};
use crate::policy::PolicyFile;
use mortise_policy::Policy;

/// The word that stands for the permissive policy; a file of that name is written `./development`.
const DEVELOPMENT: &str = "development";

/// Which policy the host keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyConfig {
    /// As it was read at start.
    pub policy: Policy,
    /// Where it was read, and is read again when it changes.
    pub file: Option<PolicyFile>,
}

pub(super) fn resolve(flags: &HostFlags, r: &mut Resolver<'_>) -> Option<PolicyConfig> {
    let Some(given) = r.text("--policy", flags.policy.as_deref(), &[&env::MORTISE_POLICY]) else {
        r.show("policy", "strict", &Origin::Default);
        return Some(PolicyConfig::default());
    };
    if given.value == DEVELOPMENT {
        r.show("policy", DEVELOPMENT, &given.origin);
        r.warnings.push(ConfigWarning::DevelopmentPolicy);
        return Some(PolicyConfig { policy: Policy::development(), file: None });
    }
    let path = r.path(given)?;
    r.show("policy", path.value.display(), &path.origin);
    match PolicyFile::open(path.value) {
        Ok((file, policy)) => {
            if policy.is_development() {
                r.warnings.push(ConfigWarning::DevelopmentPolicy);
            }
            Some(PolicyConfig { policy, file: Some(file) })
        }
        Err(source) => r.fail(ConfigError::Policy { origin: path.origin, source }),
    }
}
