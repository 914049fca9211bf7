//! Who this device is: credentials file, device id, tenant (wire contract 1.1, 1.2, 9.2, 9.5).

use super::credentials::{self, Credentials, origin_of};
use super::env;
use super::error::{ConfigError, ConfigWarning};
use super::host::HostFlags;
use super::setting::{Origin, Resolver, Sourced};
use mortise_model::{DeviceId, Tenant};
use std::path::PathBuf;

const DEVICE_ID_DEFAULT: &str = "plugin-host-1";
const TENANT_DEFAULT: &str = "default";
/// Where portals put credentials (wire contract 9.4).
pub(super) const PORTAL_DIR_DEFAULT: &str = "~/.config/device-connect";
const PORTAL_GLOB_DEFAULT: &str = "*.creds.json";

/// Wire contract 9.5: the flags, then the variables, then in portal mode the newest file of a folder.
pub(super) fn resolve_credentials(flags: &HostFlags, portal: bool, r: &mut Resolver<'_>) -> Option<Credentials> {
    if !portal {
        let reason = "only portal mode (`--portal`) searches a folder for credentials";
        let (folder, glob) = (flags.portal_credentials_dir.as_deref(), flags.portal_credentials_glob.as_deref());
        r.without_effect("--portal-credentials-dir", folder, &env::PORTAL_CREDENTIALS_DIR, reason);
        r.without_effect("--portal-credentials-glob", glob, &env::PORTAL_CREDENTIALS_GLOB, reason);
    }
    let named = r.text("--portal-credentials", flags.portal_credentials.as_deref(), &[]).or_else(|| {
        r.text(
            "--nats-credentials-file",
            flags.nats_credentials_file.as_deref(),
            &[&env::NATS_CREDENTIALS_FILE, &env::PORTAL_CREDENTIALS_FILE, &env::MESSAGING_CREDENTIALS_FILE],
        )
    });
    let path = match named {
        Some(text) => r.path(text)?,
        None if portal => newest_of_portal(flags, r)?,
        None => return None,
    };
    match credentials::load(&path) {
        Ok(credentials) => {
            r.show("credentials_file", credentials.path.display(), &path.origin);
            Some(credentials)
        }
        Err(error) => r.fail(error),
    }
}

fn newest_of_portal(flags: &HostFlags, r: &mut Resolver<'_>) -> Option<Sourced<PathBuf>> {
    let folder = r
        .text("--portal-credentials-dir", flags.portal_credentials_dir.as_deref(), &[&env::PORTAL_CREDENTIALS_DIR])
        .unwrap_or_else(|| Sourced::new(PORTAL_DIR_DEFAULT.to_owned(), Origin::Default));
    let glob = r
        .text("--portal-credentials-glob", flags.portal_credentials_glob.as_deref(), &[&env::PORTAL_CREDENTIALS_GLOB])
        .unwrap_or_else(|| Sourced::new(PORTAL_GLOB_DEFAULT.to_owned(), Origin::Default));
    if glob.value.contains('/') {
        return r.fail(ConfigError::Value {
            origin: glob.origin,
            value: glob.value,
            expected: "a file name with `*` and `?`",
        });
    }
    let folder = r.path(folder)?;
    match credentials::newest(&folder.value, &glob.value) {
        Some(path) => Some(Sourced::new(path, folder.origin)),
        None => r.fail(ConfigError::CredentialsMissing { folder: folder.value, glob: glob.value }),
    }
}

/// Flag, then environment, then file, then the default; in portal mode the file comes before the environment. Outside
/// insecure mode an id asked for must be the file's (wire contract 9.2, 9.5).
pub(super) fn resolve_device_id(
    flags: &HostFlags,
    portal: bool,
    insecure: bool,
    credentials: Option<&Credentials>,
    r: &mut Resolver<'_>,
) -> Option<DeviceId> {
    let of_file = credentials
        .and_then(|credentials| credentials.device_id.clone().map(|id| Sourced::new(id, origin_of(credentials))));
    let explicit = match r.text("--device-id", flags.device_id.as_deref(), &[]) {
        None if portal && of_file.is_some() => None,
        None => r.env(&[&env::DEVICE_ID, &env::DC_PLUGIN_DEVICE_ID]),
        flag => flag,
    };
    if let (Some(explicit), Some(of_file), Some(credentials), false) = (&explicit, &of_file, credentials, insecure)
        && explicit.value != of_file.value
    {
        r.errors.push(ConfigError::DeviceIdMismatch {
            configured: explicit.value.clone(),
            origin: explicit.origin.clone(),
            credentials: of_file.value.clone(),
            path: credentials.path.clone(),
        });
    }
    let id = explicit.or(of_file).unwrap_or_else(|| Sourced::new(DEVICE_ID_DEFAULT.to_owned(), Origin::Default));
    r.show("device_id", &id.value, &id.origin);
    match DeviceId::new(&id.value) {
        Ok(device_id) => {
            if device_id.has_dots() {
                r.warnings.push(ConfigWarning::DottedDeviceId(id.value));
            }
            Some(device_id)
        }
        Err(source) => r.fail(ConfigError::Id { origin: id.origin, source }),
    }
}

/// As the device id, but the literal `default` counts as not said (wire contract 1.2).
pub(super) fn resolve_tenant(
    flags: &HostFlags,
    portal: bool,
    credentials: Option<&Credentials>,
    r: &mut Resolver<'_>,
) -> Option<Tenant> {
    let said = |text: &Sourced<String>| text.value != TENANT_DEFAULT;
    let flag = r.text("--tenant", flags.tenant.as_deref(), &[]).filter(said);
    let of_env = r.env(&[&env::TENANT, &env::DC_PLUGIN_TENANT]).filter(said);
    let of_file = credentials
        .and_then(|credentials| credentials.tenant.clone().map(|tenant| Sourced::new(tenant, origin_of(credentials))));
    let tenant = if portal { flag.or(of_file).or(of_env) } else { flag.or(of_env).or(of_file) };
    checked_tenant(tenant, r)
}

/// `tenant`, or the default, shown and checked.
pub(super) fn checked_tenant(tenant: Option<Sourced<String>>, r: &mut Resolver<'_>) -> Option<Tenant> {
    let tenant = tenant.unwrap_or_else(|| Sourced::new(TENANT_DEFAULT.to_owned(), Origin::Default));
    r.show("tenant", &tenant.value, &tenant.origin);
    match Tenant::new(&tenant.value) {
        Ok(tenant) => Some(tenant),
        Err(source) => r.fail(ConfigError::Id { origin: tenant.origin, source }),
    }
}
