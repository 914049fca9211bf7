//! Flags of `deploy` (wire contract 10.11).

use clap::{Args, Subcommand};
use std::path::PathBuf;

pub(super) const TARGETS: &str = "\
Which host: with --host the one of that device id, over the mesh. Without, the host that runs on this machine with the \
same state folder (its control socket); if none does, the only plugin host that can be discovered on the mesh within \
three seconds.";

/// `deploy …`.
#[derive(Debug, Args)]
#[command(after_help = TARGETS)]
pub struct DeployArgs {
    /// Which host, and how to reach it.
    #[command(flatten)]
    pub connection: ConnectionArgs,

    /// Print JSON: {"status": "success", "result": …} or {"status": "error", "message": …}
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,

    /// Say what would be sent; contact nobody
    #[arg(long, global = true, help_heading = "Output")]
    pub dry_run: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: DeployCommand,
}

/// Flags that stand before or after the subcommand; of two the last wins.
#[derive(Debug, Args)]
pub struct ConnectionArgs {
    /// Device id of the host to ask over the mesh
    #[arg(long, value_name = "ID", global = true, help_heading = "Host")]
    pub host: Option<String>,

    /// Capabilities folder of the local host [env: DC_PLUGIN_CAPABILITIES_DIR, CAPABILITIES_DIR] [default: capabilities]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Host")]
    pub capabilities_dir: Option<String>,

    /// State folder of the local host, where its control socket lies [env: MORTISE_STATE_DIR] [default: <capabilities-dir>/.mortise]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Host")]
    pub state_dir: Option<String>,

    /// Tenant of the mesh [env: TENANT] [default: the credentials file's, else default]
    #[arg(long, value_name = "TENANT", global = true, help_heading = "Host")]
    pub tenant: Option<String>,

    /// Credentials: portal JSON or NATS .creds text [env: MESSAGING_CREDENTIALS_FILE, NATS_CREDENTIALS_FILE, PORTAL_CREDENTIALS_FILE, newest of PORTAL_CREDENTIALS_DIR]
    #[arg(long, value_name = "FILE", alias = "portal-credentials", global = true, help_heading = "Host")]
    pub credentials: Option<String>,

    /// Broker URL; may be repeated [env: MESSAGING_URLS, NATS_URL, ZENOH_CONNECT] [default: the credentials file's, else Zenoh on the local network] [alias: --nats-url]
    #[arg(long = "messaging-url", value_name = "URL", alias = "nats-url", global = true, help_heading = "Host")]
    pub messaging_urls: Vec<String>,

    /// Transport: nats or zenoh [env: MESSAGING_BACKEND] [default: told by the first broker URL, else zenoh]
    #[arg(long, value_name = "BACKEND", global = true, help_heading = "Host")]
    pub messaging_backend: Option<String>,

    /// The one network interface, by name or address, that Zenoh peers are scouted and listened on; refused with a broker [env: MORTISE_ZENOH_SCOUTING_INTERFACE]
    #[arg(long, value_name = "INTERFACE", global = true, help_heading = "Host")]
    pub zenoh_scouting_interface: Option<String>,

    /// How long to wait for the answer: seconds, or a duration such as 90s or 2m [env: DC_PLUGIN_DEPLOY_TIMEOUT] [default: 60]
    #[arg(long, value_name = "TIME", global = true, help_heading = "Output")]
    pub timeout: Option<String>,

    /// Whether the program was called by the reference's name: `--host` is required then, and credentials are looked for
    /// where the reference looks for them.
    #[arg(skip)]
    pub as_reference: bool,
}

/// What to do with a host.
#[derive(Debug, Subcommand)]
pub enum DeployCommand {
    /// Install a plugin and load it; an older version of it serves until the new one runs.
    Install(InstallArgs),
    /// List loaded and available plugins.
    List,
    /// Load a plugin that lies in the host's capabilities folder.
    Load {
        /// Plugin id.
        plugin_id: String,

        /// Ask the host to install the Python packages that the plugin declares, which its operator has to allow
        #[arg(long)]
        install_dependencies: bool,
    },
    /// Unload a plugin; its files stay.
    Unload {
        /// Plugin id.
        plugin_id: String,
    },
    /// Reload a plugin; the old code serves until the new runs.
    Reload {
        /// Plugin id.
        plugin_id: String,
    },
    /// Make an earlier version of a plugin serve; the newer one serves until it runs.
    Rollback {
        /// Plugin id.
        plugin_id: String,

        /// Which of those that `deploy versions` lists [default: the one before the current one]
        #[arg(long, value_name = "N")]
        generation: Option<u64>,
    },
    /// List the versions of a plugin that the host keeps.
    Versions {
        /// Plugin id.
        plugin_id: String,
    },
    /// Show the last lines that a plugin has logged.
    Logs(PluginLogsArgs),
    /// Show what plugins have done and used since the host started.
    Stats {
        /// Plugin id [default: all]
        plugin_id: Option<String>,
    },
    /// Show what a plugin asks to be allowed, what it is granted, and what it lacks.
    Permissions {
        /// Plugin id.
        plugin_id: String,
    },
    /// Let a plugin do more, at once.
    Grant(GrantArgs),
    /// Take back what a plugin was granted, at once.
    Revoke {
        /// Plugin id.
        plugin_id: String,

        /// What: every grant that it covers goes
        permission: String,
    },
    /// Unload a plugin and remove its files and all its versions.
    Uninstall {
        /// Plugin id.
        plugin_id: String,
    },
    /// Show the host's status.
    Status,
    /// Call a function of the host and print its result.
    Invoke(InvokeArgs),
}

/// Flags of `deploy install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// A plugin folder, a Rust plugin crate (built first), or an archive (.tar.gz, .tgz, .zip)
    pub path: Option<PathBuf>,

    /// Let the host fetch the archive from there instead
    #[arg(long, value_name = "URL", conflicts_with = "path")]
    pub url: Option<String>,

    /// Install under this id [default: the manifest's, else the folder's name]
    #[arg(long, value_name = "ID")]
    pub plugin_id: Option<String>,

    /// Expected SHA-256 of the archive, with or without `sha256:` [default: computed here; with --url none]
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,

    /// File with the archive's signature, as `minisign` makes it
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,

    /// Install only; load it later with `deploy load`
    #[arg(long)]
    pub no_load: bool,

    /// Tell what the install would change, and change nothing
    #[arg(long, conflicts_with_all = ["no_load", "plan_digest", "install_dependencies"])]
    pub plan: bool,

    /// Install only if that changes exactly what the plan with this `plan_digest` says
    #[arg(long, value_name = "DIGEST")]
    pub plan_digest: Option<String>,

    /// Send the folder as it is, without checking it first; with --url nothing is checked here anyway
    #[arg(long)]
    pub skip_validate: bool,

    /// Ask the host to install the Python packages that the plugin declares, which its operator has to allow
    #[arg(long)]
    pub install_dependencies: bool,
}

/// Flags of `deploy grant`.
#[derive(Debug, Args)]
pub struct GrantArgs {
    /// Plugin id.
    pub plugin_id: String,

    /// plugins:<function>, mesh.invoke:<device>/<function>, mesh.discover, http:<scheme>://<host>, env:<name>, secret:<name>, files.ro:<folder>, files.rw:<folder> or state
    pub permission: String,

    /// For how long, such as 30m or 24h [default: until it is revoked]
    #[arg(long, value_name = "DURATION")]
    pub expires_in: Option<String>,

    /// For a single time
    #[arg(long)]
    pub once: bool,

    /// For the files only that the plugin has now: a version that comes later starts without
    #[arg(long)]
    pub this_version: bool,
}

/// Flags of `deploy logs`.
#[derive(Debug, Args)]
pub struct PluginLogsArgs {
    /// Plugin id.
    pub plugin_id: String,

    /// Only lines as serious; below info there are those that the host's own log shows
    #[arg(long, value_name = "LEVEL", value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub level: Option<String>,

    /// At most so many lines [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub limit: Option<u64>,

    /// Go on with what the plugin logs from here on, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,

    /// Only lines after this number, the first ones first, to go on where the last page ended [default: the last ones]
    #[arg(long, value_name = "NUMBER")]
    pub since: Option<u64>,
}

/// Flags of `deploy invoke`.
#[derive(Debug, Args)]
pub struct InvokeArgs {
    /// Function, bare or as <plugin id>.<function>
    pub function: String,

    /// Parameters as a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub params: String,
}
