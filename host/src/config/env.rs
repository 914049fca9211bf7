//! Every environment variable that Mortise reads, and the only place that reads them.
//!
//! `docs/reference/environment.md` is generated from this table (a test compares them).

use std::collections::BTreeMap;

/// One environment variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvVar {
    /// As it is set.
    pub name: &'static str,
    /// What it does, in one or two sentences.
    pub doc: &'static str,
    /// What holds when it is not set.
    pub default: &'static str,
    /// How its value is written.
    pub unit: &'static str,
}

macro_rules! env_table {
    ($($(#[doc = $doc:literal])+ $name:ident: $unit:literal, $default:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: EnvVar = EnvVar {
            name: stringify!($name),
            doc: concat!($($doc),+),
            default: $default,
            unit: $unit,
        };)+

        /// All of them, in the order of the reference page.
        pub const TABLE: &[EnvVar] = &[$($name),+];
    };
}

env_table! {
    /// This host's device id (`--device-id`).
    DEVICE_ID: "1 to 255 of `A-Z a-z 0-9 . _ -`", "the credentials file's id, else `plugin-host-1`";
    /// The same, read when `DEVICE_ID` is not set.
    DC_PLUGIN_DEVICE_ID: "as `DEVICE_ID`", "–";
    /// Tenant of the mesh (`--tenant`); the literal `default` counts as not set.
    TENANT: "1 to 64 of `A-Z a-z 0-9 _ -`", "the credentials file's tenant, else `default`";
    /// The same, read when `TENANT` is not set.
    DC_PLUGIN_TENANT: "as `TENANT`", "–";
    /// Folder with one subfolder for each plugin (`--capabilities-dir`).
    DC_PLUGIN_CAPABILITIES_DIR: "path, `~` allowed", "`capabilities`";
    /// The same, read when `DC_PLUGIN_CAPABILITIES_DIR` is not set.
    CAPABILITIES_DIR: "path, `~` allowed", "–";
    /// Folder of the host's own records, lock and control socket (`--state-dir`).
    MORTISE_STATE_DIR: "path, `~` allowed", "`<capabilities_dir>/.mortise`";
    /// Whether plugins found in the capabilities folder are loaded at start (`--no-auto-load` turns it off).
    DC_PLUGIN_AUTO_LOAD: "boolean", "`true`";

    /// `nats` or `zenoh` (`--messaging-backend`).
    MESSAGING_BACKEND: "`nats`, `zenoh`", "told by the first broker URL, else `zenoh`";
    /// Broker URLs (`--messaging-url`).
    MESSAGING_URLS: "comma list of URLs", "none";
    /// One NATS URL, read when `MESSAGING_URLS` is not set.
    NATS_URL: "URL", "none";
    /// Zenoh endpoints, read when neither of the two above is set; selects the backend `zenoh`.
    ZENOH_CONNECT: "comma list of URLs", "none";
    /// Endpoints that Zenoh listens on. No effect with NATS.
    ZENOH_LISTEN: "comma list of endpoints", "Zenoh's own";
    /// Whether gossip among Zenoh peers crosses more than one hop. No effect with a broker.
    ZENOH_GOSSIP_MULTIHOP: "boolean", "`false`";
    /// The one network interface that Zenoh peers are scouted on, and listened on unless `ZENOH_LISTEN` says where
    /// (`--zenoh-scouting-interface`). No effect with a broker.
    MORTISE_ZENOH_SCOUTING_INTERFACE: "interface name or address", "all of them";
    /// How devices find one another (`--discovery-mode`).
    DEVICE_CONNECT_DISCOVERY_MODE: "`d2d`, `p2p`, `infra`", "`infra` with a broker, else `d2d`";
    /// Skips the start-up checks of NATS authentication and of the device id against the credentials file
    /// (`--allow-insecure`). It turns off neither TLS nor authentication.
    DEVICE_CONNECT_ALLOW_INSECURE: "boolean", "`false`";

    /// Credentials file: portal JSON or NATS `.creds` text.
    NATS_CREDENTIALS_FILE: "path, `~` allowed", "none";
    /// The same, read when `NATS_CREDENTIALS_FILE` is not set.
    PORTAL_CREDENTIALS_FILE: "path, `~` allowed", "none";
    /// The same, read when neither of the two above is set. The `deploy` commands read it first.
    MESSAGING_CREDENTIALS_FILE: "path, `~` allowed", "none";
    /// Portal mode (`--portal`): identity, tenant and broker come from the credentials file.
    DEVICE_CONNECT_PORTAL: "boolean", "`false`";
    /// The same, read when `DEVICE_CONNECT_PORTAL` is not set.
    DC_PLUGIN_PORTAL: "boolean", "–";
    /// Where portal mode, and the `deploy` commands in any mode, look for the newest credentials file
    /// (`--portal-credentials-dir`).
    PORTAL_CREDENTIALS_DIR: "path, `~` allowed", "`~/.config/device-connect`";
    /// Which files portal mode considers (`--portal-credentials-glob`).
    PORTAL_CREDENTIALS_GLOB: "file name with `*` and `?`", "`*.creds.json`";
    /// NATS user JWT, used when the credentials file holds none.
    NATS_JWT: "secret", "none";
    /// NATS NKey seed, used when the credentials file holds none.
    NATS_NKEY_SEED: "secret", "none";
    /// Certificate authority of the broker; wins over the credentials file.
    MESSAGING_TLS_CA_FILE: "path to PEM", "the credentials file's";
    /// Client certificate; wins over the credentials file.
    MESSAGING_TLS_CERT_FILE: "path to PEM", "the credentials file's";
    /// Client key; wins over the credentials file.
    MESSAGING_TLS_KEY_FILE: "path to PEM", "the credentials file's";
    /// Older name of `MESSAGING_TLS_CA_FILE`.
    NATS_TLS_CA_FILE: "path to PEM", "–";
    /// Older name of `MESSAGING_TLS_CERT_FILE`.
    NATS_TLS_CERT_FILE: "path to PEM", "–";
    /// Older name of `MESSAGING_TLS_KEY_FILE`.
    NATS_TLS_KEY_FILE: "path to PEM", "–";

    /// Largest plugin archive that is accepted.
    DC_PLUGIN_MAX_PLUGIN_BYTES: "bytes, or a size such as `16MiB`", "10485760";
    /// Whether an install must name the archive's digest.
    DC_PLUGIN_INSTALL_REQUIRE_DIGEST: "boolean", "`false`";
    /// Folders on this machine from which callers on the mesh may install with `install_plugin` (`--install-source-root`).
    MORTISE_INSTALL_SOURCE_ROOTS: "paths separated by `:`", "none";
    /// Hosts that plugins may be fetched from, each with everything below it; ports play no part.
    DC_PLUGIN_INSTALL_URL_ALLOWLIST: "comma list of host names and addresses", "every host";
    /// Whether plugins may be fetched over plain `http` (`--install-allow-http`). The host's own artifacts always may.
    MORTISE_INSTALL_ALLOW_HTTP: "boolean", "`false`";
    /// Whether plugins may be fetched from addresses of private networks and of this machine
    /// (`--install-allow-private`).
    MORTISE_INSTALL_ALLOW_PRIVATE: "boolean", "`false`";
    /// Certificate authorities that are trusted beside the system's when plugins are fetched (`--install-ca-file`).
    MORTISE_INSTALL_CA_FILES: "paths to PEM separated by `:`", "none";
    /// Folder of plugins that come with the host, one folder each (`--bundled-plugins`).
    MORTISE_BUNDLED_PLUGINS: "path, `~` allowed", "none";
    /// How many earlier versions of each plugin are kept for a rollback (`--keep-versions`).
    MORTISE_KEEP_VERSIONS: "1 to 100", "2";
    /// How long after an upgrade a version that keeps failing is rolled back by the host itself (`--probation`).
    MORTISE_PROBATION: "duration up to `24h`; `0s` for never", "`30s`";
    /// What plugins may do, and who may call what (`--policy`): a policy file, or the word `development`.
    MORTISE_POLICY: "path, `~` allowed; or `development`", "nothing is granted";

    /// Folder with one file for each secret that plugins may be granted (`--secrets-dir`). A variable `MORTISE_SECRET_<name>`
    /// is the secret `<name>` where the folder has none of that name.
    MORTISE_SECRETS_DIR: "path, `~` allowed", "none";

    /// Whether what Python plugins declare in `dependencies.python` is installed, from wheels without native code; so may
    /// the policy say. A caller's `install_dependencies: false` leaves it out.
    DC_PLUGIN_INSTALL_DEPENDENCIES: "boolean", "`false`";
    /// A Python with pip, which installs them; its `PIP_` variables and configuration files say from where.
    MORTISE_PYTHON: "path, `~` allowed", "`python3` on `PATH`";
    /// Folder of the runners that interpret plugins in Python and JavaScript (`--runners-dir`): those of this release.
    MORTISE_RUNNERS_DIR: "path, `~` allowed", "`runners` beside the program";

    /// Whether published plugins are served over HTTP (`--artifact-serve`). There is no authentication.
    DC_PLUGIN_ARTIFACT_SERVE: "boolean", "`false`";
    /// Folder of the published plugins.
    DC_PLUGIN_ARTIFACT_DIR: "path, `~` allowed", "`<capabilities_dir>/.artifacts`";
    /// Where the artifact server listens.
    DC_PLUGIN_ARTIFACT_HOST: "address or name of this machine", "`127.0.0.1`";
    /// Port of the artifact server.
    DC_PLUGIN_ARTIFACT_PORT: "0 to 65535; 0 lets the system choose", "8790";
    /// With what URLs of artifacts begin, where clients do not reach the server at its own host and port.
    DC_PLUGIN_ARTIFACT_PUBLIC_URL: "URL", "`http://<host>:<port>`";

    /// Base of the documentation links in the authoring guide.
    DC_PLUGIN_DOCS_BASE_URL: "URL", "the project's repository";
    /// Availability word of a host that is ready (`--availability`); the portal counts only `available` as online.
    MORTISE_AVAILABILITY: "`idle`, `available`", "`idle`";
    /// How long peers may count on the host after one heartbeat; a beat goes out three times as often
    /// (`--heartbeat-ttl`).
    MORTISE_HEARTBEAT_TTL: "duration such as `15s`", "`15s`";

    /// Log level (`--log-level`).
    DC_PLUGIN_LOG_LEVEL: "`off`, `error`, `warn`, `info`, `debug`, `trace`", "`info`";
    /// The same, read when `DC_PLUGIN_LOG_LEVEL` is not set.
    DEVICE_CONNECT_LOG_LEVEL: "as `DC_PLUGIN_LOG_LEVEL`", "–";
    /// Log directives on top of the level, for instance `mortise_rpc=debug,zenoh=info`.
    MORTISE_LOG: "`tracing` filter directives", "none";
    /// Log format (`--log-format`).
    MORTISE_LOG_FORMAT: "`human`, `json`", "`human`";
    /// No colour in logs and messages when set to anything.
    NO_COLOR: "any text", "colour on a terminal";

    /// How long a `deploy` command waits for the host's answer (`--timeout`).
    DC_PLUGIN_DEPLOY_TIMEOUT: "seconds, or a duration such as `90s`", "60";
    /// Rust compiler that knows the target `wasm32-unknown-unknown`, used instead of the toolchain's own when a plugin
    /// crate is built.
    MORTISE_GUEST_RUSTC: "path", "the toolchain's";
    /// Folder of the crate `tenon` that `mortise new` makes plugins depend on (`--sdk`).
    MORTISE_SDK: "path", "the one in the repository";
    /// Cargo that builds plugin crates; set by cargo itself.
    CARGO: "path", "`cargo`";
    /// Home folder, for `~`.
    HOME: "path", "none";

    /// Refused when true: containers are not built yet (`--enable-sidecars`).
    DC_PLUGIN_ENABLE_SIDECARS: "boolean", "`false`";
}

/// Variables of the reference host that change nothing here, and why. `run` warns when one is set.
pub const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("DC_PLUGIN_SIDECAR_NETWORK", "containers are not built yet"),
    ("DEVICE_CONNECT_REGISTER_TIMEOUT", "registry mode is not built yet"),
    ("DEVICE_CONNECT_REGISTER_JITTER", "registry mode is not built yet"),
    ("DEVICE_CONNECT_LOCAL_ZENOH_ROUTES", "nothing ever used it"),
];

/// A variable whose value is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("environment variable `{0}` is not valid UTF-8")]
pub struct NotUnicode(pub &'static str);

/// Where variables are read from: the process, or a map in tests.
pub trait Environment {
    /// The value, trimmed. A variable set to nothing, or to blanks, counts as not set (wire contract 9.4).
    ///
    /// # Errors
    /// [`NotUnicode`] when the value is not text.
    fn read(&self, name: &'static str) -> Result<Option<String>, NotUnicode>;

    /// All that is text, as it is set.
    fn all(&self) -> BTreeMap<String, String>;
}

/// With what the name of a variable begins that is a secret for plugins.
pub const SECRET_PREFIX: &str = "MORTISE_SECRET_";

/// Whether a variable is the host's own, and nothing that plugins may read.
pub fn is_own(name: &str) -> bool {
    let is_of_ours = ["MORTISE_", "DC_PLUGIN_", "DEVICE_CONNECT_"].iter().any(|prefix| name.starts_with(prefix));
    is_of_ours || TABLE.iter().any(|variable| variable.name == name)
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn read(&self, name: &'static str) -> Result<Option<String>, NotUnicode> {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
        let Some(value) = std::env::var_os(name) else { return Ok(None) };
        let value = value.into_string().map_err(|_| NotUnicode(name))?;
        Ok(set(&value))
    }

    fn all(&self) -> BTreeMap<String, String> {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
        let variables = std::env::vars_os();
        variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
    }
}

impl Environment for BTreeMap<String, String> {
    fn read(&self, name: &'static str) -> Result<Option<String>, NotUnicode> {
        Ok(self.get(name).and_then(|value| set(value)))
    }

    fn all(&self) -> BTreeMap<String, String> {
        self.clone()
    }
}

fn set(value: &str) -> Option<String> {
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}
