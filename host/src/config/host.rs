//! The configuration of `run` (wire contract 9.1 to 9.5, 10.12).

use super::artifact::{self, ArtifactConfig};
use super::broker::{self, BrokerFlags, MeshConfig, Role};
use super::env::{self, EnvVar, Environment};
use super::error::{ConfigError, ConfigErrors, ConfigWarning};
use super::identity;
use super::install::{self, InstallConfig};
use super::policy::{self, PolicyConfig};
use super::setting::{Origin, Resolver, Setting, Sourced};
use super::surroundings;
use mortise_manage::Surroundings;
use mortise_model::{DeviceId, Tenant};
use mortise_telemetry::{LogConfig, LogFormat, LogLevel};
use std::path::PathBuf;
use std::time::Duration;

const CAPABILITIES_DIR_DEFAULT: &str = "capabilities";
const STATE_FOLDER: &str = ".mortise";
const HEARTBEAT_TTL_DEFAULT: Duration = Duration::from_secs(15);
const DOCS_BASE_URL_DEFAULT: &str = "https://github.com/mortise-host/mortise/blob/main";

/// What the command line of `run` says; nothing is checked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the flag of its name, documented where it is parsed")]
pub struct HostFlags {
    pub device_id: Option<String>,
    pub tenant: Option<String>,
    pub capabilities_dir: Option<String>,
    pub state_dir: Option<String>,
    pub no_auto_load: bool,
    pub bundled_plugins: Option<String>,
    pub enable_sidecars: bool,
    pub sidecar_network: Option<String>,
    pub artifact_serve: bool,
    pub messaging_backend: Option<String>,
    pub messaging_urls: Vec<String>,
    pub nats_credentials_file: Option<String>,
    pub portal: bool,
    pub portal_credentials: Option<String>,
    pub portal_credentials_glob: Option<String>,
    pub portal_credentials_dir: Option<String>,
    pub allow_insecure: bool,
    pub discovery_mode: Option<String>,
    pub zenoh_scouting_interface: Option<String>,
    pub install_source_roots: Vec<String>,
    pub install_allow_http: bool,
    pub install_allow_private: bool,
    pub install_ca_files: Vec<String>,
    pub keep_versions: Option<String>,
    pub probation: Option<String>,
    pub policy: Option<String>,
    pub secrets_dir: Option<String>,
    pub runners_dir: Option<String>,
    pub availability: Option<String>,
    pub heartbeat_ttl: Option<String>,
    pub log_level: Option<String>,
    pub log_format: Option<String>,
}

/// Everything `run` needs to know. Correct once it exists.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// This device.
    pub device_id: DeviceId,
    /// Its tenant.
    pub tenant: Tenant,
    /// How it reaches the mesh. Discovery is device-to-device in every case.
    pub mesh: MeshConfig,
    /// One subfolder for each plugin; absolute; may not exist yet.
    pub capabilities_dir: PathBuf,
    /// Records, lock, control socket; absolute; may not exist yet.
    pub state_dir: PathBuf,
    /// Whether plugins found at start are loaded.
    pub auto_load: bool,
    /// Plugins that come with the host, one subfolder each; absolute.
    pub bundled_plugins: Option<PathBuf>,
    /// What an install may bring, from where, and what is kept of it.
    pub install: InstallConfig,
    /// What plugins may do, and who may call what.
    pub policy: PolicyConfig,
    /// Runners of source plugins; absolute. None: beside the program.
    pub runners_dir: Option<PathBuf>,
    /// What plugins may be granted to read of the host's surroundings.
    pub surroundings: Surroundings,
    /// Published plugins.
    pub artifacts: ArtifactConfig,
    /// Base of documentation links, without a slash at its end.
    pub docs_base_url: String,
    /// Availability of a host that is ready: `idle` or `available`.
    pub availability: &'static str,
    /// How long one heartbeat lasts, in whole seconds; a beat goes out every third of it.
    pub heartbeat_ttl: Duration,
    /// The credentials file.
    pub credentials_file: Option<PathBuf>,
    /// How it logs.
    pub log: LogConfig,
    /// To be logged once logging works.
    pub warnings: Vec<ConfigWarning>,
}

impl HostConfig {
    /// Where the runners of source plugins lie: as configured, else beside the program.
    #[must_use]
    pub fn runners_dir(&self) -> PathBuf {
        self.runners_dir.clone().unwrap_or_else(runners_beside_program)
    }

    /// Files and folders of the host itself, of which no plugin is given anything.
    #[must_use]
    pub fn own_paths(&self) -> Vec<PathBuf> {
        let mut own = vec![self.capabilities_dir.clone(), self.state_dir.clone(), self.artifacts.dir.clone()];
        own.extend(self.bundled_plugins.clone());
        own.push(self.runners_dir());
        own.extend(self.policy.file.as_ref().map(|file| file.path().to_owned()));
        own.extend(self.install.ca_files.iter().cloned());
        own.extend(self.credentials_file.clone());
        own.extend(self.mesh.files());
        own
    }
}

/// A resolved configuration and who said what.
#[derive(Debug)]
pub struct HostResolution {
    /// The configuration.
    pub config: HostConfig,
    /// For `config show`, in a fixed order.
    pub settings: Vec<Setting>,
}

/// Resolves the configuration of `run`: flag, then environment, then credentials file, then default.
///
/// Reads the credentials file, if one is named or found, the policy file, and the files of authorities that downloads
/// are to trust.
/// Touches nothing else.
///
/// # Errors
/// [`ConfigErrors`] holds everything that is wrong, not only the first.
pub fn resolve_host(flags: &HostFlags, env: &dyn Environment) -> Result<HostResolution, ConfigErrors> {
    let mut resolver = Resolver::new(env);
    let config = resolve(flags, &mut resolver);
    let Resolver { errors, settings, warnings, .. } = resolver;
    // A failed part leaves its error behind, so a missing configuration comes with at least one.
    match config {
        Some(config) if errors.is_empty() => Ok(HostResolution { config: HostConfig { warnings, ..config }, settings }),
        _ => Err(ConfigErrors::of(errors)),
    }
}

fn resolve(flags: &HostFlags, r: &mut Resolver<'_>) -> Option<HostConfig> {
    refuse_unbuilt(flags, r);
    let log = resolve_log(flags.log_level.as_deref(), flags.log_format.as_deref(), r);
    let portal = shown_switch(
        r,
        "portal",
        "--portal",
        flags.portal,
        &[&env::DEVICE_CONNECT_PORTAL, &env::DC_PLUGIN_PORTAL],
        false,
    );
    let insecure = shown_switch(
        r,
        "allow_insecure",
        "--allow-insecure",
        flags.allow_insecure,
        &[&env::DEVICE_CONNECT_ALLOW_INSECURE],
        false,
    );
    if insecure {
        r.warnings.push(ConfigWarning::Insecure);
    }
    let credentials = identity::resolve_credentials(flags, portal, r);
    let device_id = identity::resolve_device_id(flags, portal, insecure, credentials.as_ref(), r);
    let tenant = identity::resolve_tenant(flags, portal, credentials.as_ref(), r);
    let mesh = broker::resolve(
        r,
        Role::Host { portal, insecure },
        BrokerFlags {
            urls: ("--messaging-url", &flags.messaging_urls),
            backend: flags.messaging_backend.as_deref(),
            discovery: flags.discovery_mode.as_deref(),
            scouting_interface: flags.zenoh_scouting_interface.as_deref(),
        },
        credentials.as_ref(),
    );
    let (capabilities_dir, state_dir) =
        resolve_folders(flags.capabilities_dir.as_deref(), flags.state_dir.as_deref(), r);
    // `--no-auto-load` or the environment: either turns it off (wire contract 9.5).
    let auto_load = if flags.no_auto_load {
        r.show("auto_load", false, &Origin::Flag("--no-auto-load"));
        false
    } else {
        shown_switch(r, "auto_load", "", false, &[&env::DC_PLUGIN_AUTO_LOAD], true)
    };
    let bundled_plugins = resolve_existing(
        r,
        "bundled_plugins",
        "--bundled-plugins",
        flags.bundled_plugins.as_deref(),
        &env::MORTISE_BUNDLED_PLUGINS,
    );
    let install = install::resolve(flags, r);
    let policy = policy::resolve(flags, r);
    let given = flags.runners_dir.as_deref();
    let runners_dir = resolve_existing(r, "runners_dir", "--runners-dir", given, &env::MORTISE_RUNNERS_DIR);
    let surroundings = surroundings::resolve(flags, r);
    let serve = artifact::resolve_serve(flags.artifact_serve, r);
    let artifacts = artifact::resolve(artifact::Place::default(), serve, capabilities_dir.as_deref(), r);
    let docs = r.env(&[&env::DC_PLUGIN_DOCS_BASE_URL]);
    let docs = docs.unwrap_or_else(|| Sourced::new(DOCS_BASE_URL_DEFAULT.to_owned(), Origin::Default));
    r.show("docs_base_url", &docs.value, &docs.origin);
    let availability = resolve_availability(flags, r);
    let heartbeat_ttl = resolve_heartbeat(flags, r);
    for (name, reason) in env::WITHOUT_EFFECT {
        if r.is_set(name) {
            r.warnings.push(ConfigWarning::WithoutEffect { name, reason });
        }
    }
    let device_id = device_id?;
    let mut mesh = mesh?;
    if let MeshConfig::Nats(nats) = &mut mesh {
        nats.name = device_id.to_string();
    }
    Some(HostConfig {
        device_id,
        tenant: tenant?,
        mesh,
        capabilities_dir: capabilities_dir?,
        state_dir: state_dir?,
        auto_load,
        bundled_plugins,
        install: install?,
        policy: policy?,
        runners_dir,
        surroundings,
        artifacts: artifacts?,
        docs_base_url: docs.value.trim_end_matches('/').to_owned(),
        availability: availability?,
        heartbeat_ttl: heartbeat_ttl?,
        credentials_file: credentials.map(|credentials| credentials.path),
        log: log?,
        warnings: Vec::new(),
    })
}

/// Where the runners lie for a command that needs nothing else of a host: as `--runners-dir` says, else the environment, else
/// beside the program.
///
/// # Errors
/// [`ConfigErrors`] for a folder that is not there.
pub fn resolve_runners_dir(flag: Option<&str>, env: &dyn Environment) -> Result<PathBuf, ConfigErrors> {
    let mut resolver = Resolver::new(env);
    let found = resolve_existing(&mut resolver, "runners_dir", "--runners-dir", flag, &super::env::MORTISE_RUNNERS_DIR);
    if resolver.errors.is_empty() {
        Ok(found.unwrap_or_else(runners_beside_program))
    } else {
        Err(ConfigErrors::of(resolver.errors))
    }
}

/// Where runners lie unless somebody says otherwise.
fn runners_beside_program() -> PathBuf {
    // A program that cannot tell where it lies has none; then the folder is one that is not there.
    let program = std::env::current_exe().unwrap_or_default();
    program.parent().unwrap_or(&program).join("runners")
}

/// A switch with its default, shown. A value that does not parse is an error, and the default goes on.
pub(super) fn shown_switch(
    r: &mut Resolver<'_>,
    name: &'static str,
    flag: &'static str,
    given: bool,
    variables: &[&EnvVar],
    default: bool,
) -> bool {
    let switch = r.switch(flag, given, variables).unwrap_or_else(|| Sourced::new(default, Origin::Default));
    r.show(name, switch.value, &switch.origin);
    switch.value
}

/// Features of the reference host that are not built yet: asked for, they are refused.
fn refuse_unbuilt(flags: &HostFlags, r: &mut Resolver<'_>) {
    let mut refuse = |flag: &'static str, given: bool, variables: &[&EnvVar], feature, cure| {
        if let Some(Sourced { value: true, origin }) = r.switch(flag, given, variables) {
            r.errors.push(ConfigError::Unsupported { feature, origin, cure });
        }
    };
    let sidecars = "start the host without sidecars: WebAssembly plugins need none";
    refuse(
        "--enable-sidecars",
        flags.enable_sidecars,
        &[&env::DC_PLUGIN_ENABLE_SIDECARS],
        "running sidecar containers",
        sidecars,
    );
    refuse("--sidecar-network", flags.sidecar_network.is_some(), &[], "running sidecar containers", sidecars);
}

/// How a process logs, from the flags `--log-level` and `--log-format` and their variables.
pub(super) fn resolve_log(level: Option<&str>, format: Option<&str>, r: &mut Resolver<'_>) -> Option<LogConfig> {
    let level = r.text("--log-level", level, &[&env::DC_PLUGIN_LOG_LEVEL, &env::DEVICE_CONNECT_LOG_LEVEL]);
    let level = parsed(r, level, LogLevel::Info);
    let format = r.text("--log-format", format, &[&env::MORTISE_LOG_FORMAT]);
    let format = parsed(r, format, LogFormat::Human);
    let directives = r.env(&[&env::MORTISE_LOG]);
    if let Some(level) = &level {
        r.show("log_level", level.value, &level.origin);
    }
    if let Some(format) = &format {
        r.show("log_format", format.value, &format.origin);
    }
    let origin = directives.as_ref().map_or(Origin::Default, |directives| directives.origin.clone());
    if let Some(directives) = &directives {
        r.show("log_directives", &directives.value, &directives.origin);
    }
    match LogConfig::new(level?.value, directives.map(|directives| directives.value), format?.value) {
        Ok(config) if r.is_set(env::NO_COLOR.name) => Some(config.without_color()),
        Ok(config) => Some(config),
        Err(source) => r.fail(ConfigError::Log { origin, source }),
    }
}

fn parsed<T: std::str::FromStr<Err = mortise_telemetry::LogError>>(
    r: &mut Resolver<'_>,
    text: Option<Sourced<String>>,
    default: T,
) -> Option<Sourced<T>> {
    let Some(text) = text else { return Some(Sourced::new(default, Origin::Default)) };
    match text.value.parse() {
        Ok(value) => Some(Sourced::new(value, text.origin)),
        Err(source) => r.fail(ConfigError::Log { origin: text.origin, source }),
    }
}

/// The capabilities folder and the state folder.
pub(super) fn resolve_folders(
    capabilities_flag: Option<&str>,
    state_flag: Option<&str>,
    r: &mut Resolver<'_>,
) -> (Option<PathBuf>, Option<PathBuf>) {
    let capabilities = resolve_capabilities_dir(capabilities_flag, r);
    let state = match r.text("--state-dir", state_flag, &[&env::MORTISE_STATE_DIR]) {
        Some(state) => r.path(state),
        None => capabilities.as_ref().map(|folder| Sourced::new(folder.value.join(STATE_FOLDER), Origin::Default)),
    };
    for (name, folder) in [("capabilities_dir", &capabilities), ("state_dir", &state)] {
        if let Some(folder) = folder {
            r.show(name, folder.value.display(), &folder.origin);
        }
    }
    (capabilities.map(|folder| folder.value), state.map(|folder| folder.value))
}

/// A folder that has to be there: without it the setting would have no effect. Shown.
pub(super) fn resolve_existing(
    r: &mut Resolver<'_>,
    name: &'static str,
    flag: &'static str,
    given: Option<&str>,
    variable: &EnvVar,
) -> Option<PathBuf> {
    let given = r.text(flag, given, &[variable])?;
    let folder = r.path(given)?;
    r.show(name, folder.value.display(), &folder.origin);
    if folder.value.is_dir() {
        return Some(folder.value);
    }
    let value = folder.value.display().to_string();
    r.fail(ConfigError::Value { origin: folder.origin, value, expected: "a folder that is there" })
}

/// The capabilities folder alone; not shown.
pub(super) fn resolve_capabilities_dir(flag: Option<&str>, r: &mut Resolver<'_>) -> Option<Sourced<PathBuf>> {
    let folder = r
        .text("--capabilities-dir", flag, &[&env::DC_PLUGIN_CAPABILITIES_DIR, &env::CAPABILITIES_DIR])
        .unwrap_or_else(|| Sourced::new(CAPABILITIES_DIR_DEFAULT.to_owned(), Origin::Default));
    r.path(folder)
}

fn resolve_availability(flags: &HostFlags, r: &mut Resolver<'_>) -> Option<&'static str> {
    let word = match r.text("--availability", flags.availability.as_deref(), &[&env::MORTISE_AVAILABILITY]) {
        Some(text) => r.word(text, &["idle", "available"], "`idle` or `available`")?,
        None => Sourced::new("idle", Origin::Default),
    };
    r.show("availability", word.value, &word.origin);
    Some(word.value)
}

fn resolve_heartbeat(flags: &HostFlags, r: &mut Resolver<'_>) -> Option<Duration> {
    let ttl = match r.text("--heartbeat-ttl", flags.heartbeat_ttl.as_deref(), &[&env::MORTISE_HEARTBEAT_TTL]) {
        Some(text) => {
            let bounds = Duration::from_secs(3)..=Duration::from_secs(3600);
            r.duration(text, false, bounds, "a duration between `3s` and `1h`")?
        }
        None => Sourced::new(HEARTBEAT_TTL_DEFAULT, Origin::Default),
    };
    // Registrations carry whole seconds.
    let seconds = ttl.value.as_secs();
    r.show("heartbeat_ttl", format_args!("{seconds}s"), &ttl.origin);
    Some(Duration::from_secs(seconds))
}
