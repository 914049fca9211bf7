//! Flags of `run` and `config` (wire contract 10.12).

use clap::{Args, Subcommand};

/// Flags of the plugin host. Each has an environment variable; the flag wins.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Device id of this host: 1 to 255 of A-Z a-z 0-9 . _ - [env: DEVICE_ID, DC_PLUGIN_DEVICE_ID] [default: the credentials file's, else plugin-host-1]
    #[arg(long, value_name = "ID", help_heading = "Identity")]
    pub device_id: Option<String>,

    /// Tenant of the mesh: 1 to 64 of A-Z a-z 0-9 _ - [env: TENANT, DC_PLUGIN_TENANT] [default: the credentials file's, else default]
    #[arg(long, value_name = "TENANT", help_heading = "Identity")]
    pub tenant: Option<String>,

    /// Availability word of a ready host; the portal counts only `available` as online [env: MORTISE_AVAILABILITY] [default: idle]
    #[arg(long, value_name = "WORD", value_parser = ["idle", "available"], ignore_case = true, hide_possible_values = true, help_heading = "Identity")]
    pub availability: Option<String>,

    /// How long one heartbeat lasts, from 3s to 1h; a beat goes out three times as often [env: MORTISE_HEARTBEAT_TTL] [default: 15s]
    #[arg(long, value_name = "DURATION", help_heading = "Identity")]
    pub heartbeat_ttl: Option<String>,

    /// Folder with one subfolder for each plugin; created when missing [env: DC_PLUGIN_CAPABILITIES_DIR, CAPABILITIES_DIR] [default: capabilities]
    #[arg(long, value_name = "DIR", help_heading = "Plugins")]
    pub capabilities_dir: Option<String>,

    /// Folder of the host's records, lock and control socket [env: MORTISE_STATE_DIR] [default: <capabilities-dir>/.mortise]
    #[arg(long, value_name = "DIR", help_heading = "Plugins")]
    pub state_dir: Option<String>,

    /// Load nothing at start [env: DC_PLUGIN_AUTO_LOAD=0]
    #[arg(long, help_heading = "Plugins")]
    pub no_auto_load: bool,

    /// Folder of plugins that come with the host: installed at start where they are missing, and upgraded where nobody put others in their place [env: MORTISE_BUNDLED_PLUGINS] [default: none]
    #[arg(long, value_name = "DIR", help_heading = "Plugins")]
    pub bundled_plugins: Option<String>,

    /// Folder on this machine from which callers on the mesh may install; may be repeated [env: MORTISE_INSTALL_SOURCE_ROOTS] [default: none]
    #[arg(long = "install-source-root", value_name = "DIR", help_heading = "Plugins")]
    pub install_source_roots: Vec<String>,

    /// Let plugins be fetched over plain http, not https alone [env: MORTISE_INSTALL_ALLOW_HTTP]
    #[arg(long, help_heading = "Plugins")]
    pub install_allow_http: bool,

    /// Let plugins be fetched from addresses of private networks and of this machine [env: MORTISE_INSTALL_ALLOW_PRIVATE]
    #[arg(long, help_heading = "Plugins")]
    pub install_allow_private: bool,

    /// PEM file of certificate authorities that are trusted beside the system's when plugins are fetched; may be repeated [env: MORTISE_INSTALL_CA_FILES]
    #[arg(long = "install-ca-file", value_name = "FILE", help_heading = "Plugins")]
    pub install_ca_files: Vec<String>,

    /// Earlier versions of each plugin that are kept for a rollback, from 1 to 100 [env: MORTISE_KEEP_VERSIONS] [default: 2]
    #[arg(long, value_name = "N", help_heading = "Plugins")]
    pub keep_versions: Option<String>,

    /// How long after an upgrade a version that keeps failing is rolled back by the host itself, up to 24h; 0s for never [env: MORTISE_PROBATION] [default: 30s]
    #[arg(long, value_name = "DURATION", help_heading = "Plugins")]
    pub probation: Option<String>,

    /// What plugins may do, and who on the mesh may call what: a TOML file, read again when it changes and on SIGHUP; or the word development, which grants plugins whatever they ask for [env: MORTISE_POLICY] [default: nothing is granted]
    #[arg(long, value_name = "FILE", help_heading = "Plugins")]
    pub policy: Option<String>,

    /// Folder with one file for each secret that plugins may be granted [env: MORTISE_SECRETS_DIR] [default: none]
    #[arg(long, value_name = "DIR", help_heading = "Plugins")]
    pub secrets_dir: Option<String>,

    /// Folder of the runners that interpret plugins in Python and JavaScript [env: MORTISE_RUNNERS_DIR] [default: `runners` beside the program]
    #[arg(long, value_name = "DIR", help_heading = "Plugins")]
    pub runners_dir: Option<String>,

    /// Serve published plugins over HTTP, without authentication, at DC_PLUGIN_ARTIFACT_HOST and DC_PLUGIN_ARTIFACT_PORT [env: DC_PLUGIN_ARTIFACT_SERVE] [default: off; 127.0.0.1:8790]
    #[arg(long, help_heading = "Plugins")]
    pub artifact_serve: bool,

    /// Transport: nats or zenoh [env: MESSAGING_BACKEND] [default: told by the first broker URL, else zenoh]
    #[arg(long, value_name = "BACKEND", help_heading = "Mesh")]
    pub messaging_backend: Option<String>,

    /// Broker URL such as nats://host:4222, tls://host:4222, zenoh://host:7447 or tcp/host:7447; may be repeated. Without any, Zenoh finds its peers on the local network [env: MESSAGING_URLS, NATS_URL, ZENOH_CONNECT] [default: the credentials file's, else none]
    #[arg(long = "messaging-url", value_name = "URL", help_heading = "Mesh")]
    pub messaging_urls: Vec<String>,

    /// How devices find one another: d2d (also p2p) by presence messages, infra by a registry (not built yet) [env: DEVICE_CONNECT_DISCOVERY_MODE] [default: infra with a broker, else d2d]
    #[arg(long, value_name = "MODE", value_parser = ["d2d", "p2p", "infra"], ignore_case = true, hide_possible_values = true, help_heading = "Mesh")]
    pub discovery_mode: Option<String>,

    /// The one network interface, by name or address, that Zenoh peers are scouted on, and listened on unless ZENOH_LISTEN says where; refused with a broker [env: MORTISE_ZENOH_SCOUTING_INTERFACE] [default: all of them]
    #[arg(long, value_name = "INTERFACE", help_heading = "Mesh")]
    pub zenoh_scouting_interface: Option<String>,

    /// Credentials: portal JSON or NATS .creds text [env: NATS_CREDENTIALS_FILE, PORTAL_CREDENTIALS_FILE, MESSAGING_CREDENTIALS_FILE]
    #[arg(long, value_name = "FILE", help_heading = "Credentials")]
    pub nats_credentials_file: Option<String>,

    /// Portal mode: identity, tenant and broker come from a credentials file [env: DEVICE_CONNECT_PORTAL, DC_PLUGIN_PORTAL]
    #[arg(long, help_heading = "Credentials")]
    pub portal: bool,

    /// Portal credentials; wins over --nats-credentials-file
    #[arg(long, value_name = "FILE", help_heading = "Credentials")]
    pub portal_credentials: Option<String>,

    /// Which files portal mode considers when none is named; refused without it [env: PORTAL_CREDENTIALS_GLOB] [default: *.creds.json]
    #[arg(long, value_name = "GLOB", help_heading = "Credentials")]
    pub portal_credentials_glob: Option<String>,

    /// Where portal mode looks for the newest credentials file; refused without it [env: PORTAL_CREDENTIALS_DIR] [default: ~/.config/device-connect]
    #[arg(long, value_name = "DIR", help_heading = "Credentials")]
    pub portal_credentials_dir: Option<String>,

    /// Skip the start-up checks of NATS authentication and of the device id against the credentials file; turns off neither TLS nor authentication [env: DEVICE_CONNECT_ALLOW_INSECURE]
    #[arg(long, help_heading = "Credentials")]
    pub allow_insecure: bool,

    /// How it logs.
    #[command(flatten)]
    pub log: LogArgs,

    /// Run plugins in containers. Not built yet: refused [env: DC_PLUGIN_ENABLE_SIDECARS]
    #[arg(long, help_heading = "Not built yet")]
    pub enable_sidecars: bool,

    /// Container network of sidecars. Not built yet: refused
    #[arg(long, value_name = "NETWORK", help_heading = "Not built yet")]
    pub sidecar_network: Option<String>,
}

/// How a process logs, on stderr.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Log level: off, error, warn, info, debug or trace [env: DC_PLUGIN_LOG_LEVEL, DEVICE_CONNECT_LOG_LEVEL; directives: MORTISE_LOG] [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = "Logs")]
    pub log_level: Option<String>,

    /// Log format: human or json [env: MORTISE_LOG_FORMAT] [default: human]
    #[arg(long, value_name = "FORMAT", help_heading = "Logs")]
    pub log_format: Option<String>,
}

/// `config …`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting that `run` would use with the same flags, and where it comes from. Secrets are masked.
    Show {
        /// Print JSON: name, value and origin of each setting.
        #[arg(long)]
        json: bool,
        /// As for `run`.
        #[command(flatten)]
        run: RunArgs,
    },
}

impl ConfigCommand {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Show { json, .. } => *json,
        }
    }
}
