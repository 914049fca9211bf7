//! The configuration of `deploy` (wire contract 10.11, with its defects mended).

use super::broker::{self, BrokerFlags, MeshConfig, Role};
use super::credentials::{self, Credentials, origin_of};
use super::env::{self, Environment};
use super::error::{ConfigError, ConfigErrors, ConfigWarning};
use super::host::resolve_folders;
use super::identity::{PORTAL_DIR_DEFAULT, checked_tenant};
use super::setting::{Origin, Resolver, Sourced};
use mortise_model::{DeviceId, Tenant};
use std::path::PathBuf;
use std::time::Duration;

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// What the command line of `deploy` says; nothing is checked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the flag of its name, documented where it is parsed")]
pub struct ClientFlags {
    pub host: Option<String>,
    pub tenant: Option<String>,
    pub credentials: Option<String>,
    pub messaging_urls: Vec<String>,
    pub messaging_backend: Option<String>,
    pub zenoh_scouting_interface: Option<String>,
    pub capabilities_dir: Option<String>,
    pub state_dir: Option<String>,
    pub timeout: Option<String>,
    /// Whether the reference's rules hold: `host` has to be said, and credentials are looked for in the home folder too.
    pub as_reference: bool,
}

/// Everything `deploy` needs to know. Correct once it exists.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The host to ask over the mesh; none means the local one, or the only one that can be discovered.
    pub host: Option<DeviceId>,
    /// Of the mesh.
    pub tenant: Tenant,
    /// How the mesh is reached.
    pub mesh: MeshConfig,
    /// Where a local host keeps its control socket; absolute.
    pub state_dir: PathBuf,
    /// Whether the state folder was named, by flag or variable: then that very host is meant.
    pub state_dir_named: bool,
    /// From the request to its answer.
    pub timeout: Duration,
    /// To be told before anything is contacted.
    pub warnings: Vec<ConfigWarning>,
}

/// Resolves the configuration of `deploy`: flag, then environment, then credentials file, then default.
///
/// # Errors
/// [`ConfigErrors`] holds everything that is wrong, not only the first.
pub fn resolve_client(flags: &ClientFlags, env: &dyn Environment) -> Result<ClientConfig, ConfigErrors> {
    let mut resolver = Resolver::new(env);
    let config = resolve(flags, &mut resolver);
    match config {
        Some(config) if resolver.errors.is_empty() => Ok(ClientConfig { warnings: resolver.warnings, ..config }),
        _ => Err(ConfigErrors::of(resolver.errors)),
    }
}

fn resolve(flags: &ClientFlags, r: &mut Resolver<'_>) -> Option<ClientConfig> {
    let credentials = resolve_credentials(flags, r);
    let host = r.text("--host", flags.host.as_deref(), &[]);
    let host_named = host.is_some();
    if flags.as_reference && !host_named {
        r.errors.push(ConfigError::HostMissing);
    }
    let host = host.and_then(|host| match DeviceId::new(&host.value) {
        Ok(id) => Some(id),
        Err(source) => r.fail(ConfigError::Id { origin: host.origin, source }),
    });
    let tenant = resolve_tenant(flags, credentials.as_ref(), r);
    let mesh = broker::resolve(
        r,
        Role::Client,
        BrokerFlags {
            urls: ("--messaging-url", &flags.messaging_urls),
            backend: flags.messaging_backend.as_deref(),
            discovery: None,
            scouting_interface: flags.zenoh_scouting_interface.as_deref(),
        },
        credentials.as_ref(),
    );
    let state_dir_named = flags.state_dir.is_some()
        || flags.capabilities_dir.is_some()
        || [&env::MORTISE_STATE_DIR, &env::DC_PLUGIN_CAPABILITIES_DIR, &env::CAPABILITIES_DIR]
            .into_iter()
            .any(|var| r.is_set(var.name));
    let (_, state_dir) = resolve_folders(flags.capabilities_dir.as_deref(), flags.state_dir.as_deref(), r);
    let timeout = match r.text("--timeout", flags.timeout.as_deref(), &[&env::DC_PLUGIN_DEPLOY_TIMEOUT]) {
        Some(text) => {
            let bounds = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
            r.duration(text, true, bounds, "seconds, or a duration such as `90s`, up to `24h`")
        }
        None => Some(Sourced::new(TIMEOUT_DEFAULT, Origin::Default)),
    };
    if host_named && host.is_none() {
        return None;
    }
    Some(ClientConfig {
        host,
        tenant: tenant?,
        mesh: mesh?,
        state_dir: state_dir?,
        state_dir_named,
        timeout: timeout?.value,
        warnings: Vec::new(),
    })
}

/// The newest file of a folder is taken only when the folder is named: a client without any setting means the local
/// network, not somebody's portal. Under the reference's name it is looked for where the reference does.
fn resolve_credentials(flags: &ClientFlags, r: &mut Resolver<'_>) -> Option<Credentials> {
    let named = r.text(
        "--credentials",
        flags.credentials.as_deref(),
        &[&env::MESSAGING_CREDENTIALS_FILE, &env::NATS_CREDENTIALS_FILE, &env::PORTAL_CREDENTIALS_FILE],
    );
    let path = match named {
        Some(text) => r.path(text)?,
        None => {
            let folder = match r.env(&[&env::PORTAL_CREDENTIALS_DIR]) {
                Some(folder) => folder,
                None if flags.as_reference && r.is_set(env::HOME.name) => {
                    Sourced::new(PORTAL_DIR_DEFAULT.to_owned(), Origin::Default)
                }
                None => return None,
            };
            let folder = r.path(folder)?;
            Sourced::new(credentials::newest(&folder.value, "*.creds.json")?, folder.origin)
        }
    };
    match credentials::load(&path) {
        Ok(credentials) => Some(credentials),
        Err(error) => r.fail(error),
    }
}

/// Flag, then file, then environment (wire contract 10.11); the literal `default` counts as not said.
fn resolve_tenant(flags: &ClientFlags, credentials: Option<&Credentials>, r: &mut Resolver<'_>) -> Option<Tenant> {
    let said = |text: &Sourced<String>| text.value != "default";
    let flag = r.text("--tenant", flags.tenant.as_deref(), &[]).filter(said);
    let of_file = credentials
        .and_then(|credentials| credentials.tenant.clone().map(|tenant| Sourced::new(tenant, origin_of(credentials))));
    let of_env = r.env(&[&env::TENANT, &env::DC_PLUGIN_TENANT]).filter(said);
    checked_tenant(flag.or(of_file).or(of_env), r)
}
