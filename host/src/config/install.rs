//! What an install may bring, from where, and what is kept of it.

use super::env;
use super::error::{ConfigError, ConfigWarning};
use super::host::{HostFlags, shown_switch};
use super::setting::{Origin, Resolver, Sourced};
use mortise_delivery::{DependencyConfig, FetchConfig, Fetcher, HostPattern};
use mortise_manage::{ProbationConfig, RETENTION};
use mortise_model::{ByteSize, TimeSpan};
use std::path::PathBuf;
use std::time::Duration;

/// How long pip may take for one plugin (wire contract 10.7).
const PIP_TIME_MAX: Duration = Duration::from_secs(120);

/// What runs pip.
const PYTHON_DEFAULT: &str = "python3";

/// Variables that pip is given, beside its own: where it runs, and how it reaches an index. What else the host's environment
/// has is none of its business.
const PIP_VARIABLES: [&str; 12] = [
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
];

const PLUGIN_BYTES_MAX_DEFAULT: u64 = 10 << 20;
/// No larger archive is sent or accepted, in bytes: in base64 it has to fit into one request of the control socket.
pub const ARCHIVE_BYTES_MAX: u64 = 40 << 20;
const KEEP_VERSIONS_MAX: usize = 100;
const PROBATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// What an install may bring, from where, and what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallConfig {
    /// Of an archive as sent or fetched, before it is unpacked.
    pub plugin_bytes_max: ByteSize,
    /// Whether an install without a digest is refused.
    pub require_digest: bool,
    /// Folders from which callers on the mesh may install; absolute. The operator may from anywhere.
    pub source_roots: Vec<PathBuf>,
    /// Hosts that archives may be fetched from (wire contract 10.6). Empty admits every host.
    pub url_allowlist: Vec<HostPattern>,
    /// Whether archives may be fetched over plain `http`.
    pub allow_http: bool,
    /// Whether archives may be fetched from addresses that only a private network has.
    pub allow_private: bool,
    /// PEM files of authorities that are trusted beside the system's when archives are fetched; absolute.
    pub ca_files: Vec<PathBuf>,
    /// Whether dependencies of Python plugins are installed; the policy may say so as well.
    pub dependencies: bool,
    /// How they are.
    pub pip: DependencyConfig,
    /// Earlier versions of each plugin that are kept for a rollback; 1 to 100.
    pub keep_versions: usize,
    /// How long a new version can be taken back for its failures. Zero: it never is.
    pub probation: Duration,
}

pub(super) fn resolve(flags: &HostFlags, r: &mut Resolver<'_>) -> Option<InstallConfig> {
    let bytes = match r.env(&[&env::DC_PLUGIN_MAX_PLUGIN_BYTES]) {
        Some(text) => r.bytes(text, 1..=ARCHIVE_BYTES_MAX, "a size between `1` and `40MiB`"),
        None => Some(Sourced::new(PLUGIN_BYTES_MAX_DEFAULT, Origin::Default)),
    };
    if let Some(bytes) = &bytes {
        r.show("install_plugin_bytes_max", bytes.value, &bytes.origin);
    }
    let require_digest =
        shown_switch(r, "install_require_digest", "", false, &[&env::DC_PLUGIN_INSTALL_REQUIRE_DIGEST], false);
    let source_roots = resolve_paths(
        r,
        "install_source_roots",
        "--install-source-root",
        &flags.install_source_roots,
        &env::MORTISE_INSTALL_SOURCE_ROOTS,
    )
    .value;
    let url_allowlist = resolve_allowlist(r);
    let allow_http = shown_switch(
        r,
        "install_allow_http",
        "--install-allow-http",
        flags.install_allow_http,
        &[&env::MORTISE_INSTALL_ALLOW_HTTP],
        false,
    );
    let allow_private = shown_switch(
        r,
        "install_allow_private",
        "--install-allow-private",
        flags.install_allow_private,
        &[&env::MORTISE_INSTALL_ALLOW_PRIVATE],
        false,
    );
    let ca_files = resolve_paths(
        r,
        "install_ca_files",
        "--install-ca-file",
        &flags.install_ca_files,
        &env::MORTISE_INSTALL_CA_FILES,
    );
    check_authorities(&ca_files, r);
    let dependencies =
        shown_switch(r, "install_dependencies", "", false, &[&env::DC_PLUGIN_INSTALL_DEPENDENCIES], false);
    let pip = resolve_pip(r);
    let keep_versions = resolve_keep_versions(flags, r);
    let probation = resolve_probation(flags, r);
    Some(InstallConfig {
        plugin_bytes_max: ByteSize(bytes?.value),
        require_digest,
        source_roots,
        url_allowlist: url_allowlist?,
        allow_http,
        allow_private,
        ca_files: ca_files.value,
        dependencies,
        pip: pip?,
        keep_versions: keep_versions?,
        probation: probation?,
    })
}

/// Paths from a flag that may be repeated, else from a variable that separates them by `:`.
fn resolve_paths(
    r: &mut Resolver<'_>,
    name: &'static str,
    flag: &'static str,
    given: &[String],
    variable: &env::EnvVar,
) -> Sourced<Vec<PathBuf>> {
    let named = if given.is_empty() {
        r.env(&[variable]).map(|text| text.map(|text| text.split(':').map(str::to_owned).collect::<Vec<_>>()))
    } else {
        Some(Sourced::new(given.to_vec(), Origin::Flag(flag)))
    };
    let Some(Sourced { value, origin }) = named else { return Sourced::new(Vec::new(), Origin::Default) };
    let given = value.into_iter().filter(|path| !path.trim().is_empty());
    let paths: Vec<_> =
        given.filter_map(|path| r.path(Sourced::new(path, origin.clone()))).map(|path| path.value).collect();
    let shown = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    r.show(name, shown.join(":"), &origin);
    Sourced::new(paths, origin)
}

/// What installs dependencies.
fn resolve_pip(r: &mut Resolver<'_>) -> Option<DependencyConfig> {
    let python = match r.env(&[&env::MORTISE_PYTHON]) {
        // A name is looked for on `PATH`, as the shell does.
        Some(named) if !named.value.contains('/') => named.map(PathBuf::from),
        Some(named) => r.path(named)?,
        None => Sourced::new(PathBuf::from(PYTHON_DEFAULT), Origin::Default),
    };
    r.show("python", python.value.display(), &python.origin);
    let own = |name: &str| PIP_VARIABLES.contains(&name) || name.starts_with("PIP_");
    let environment = r.environment().all().into_iter().filter(|(name, _)| own(name)).collect();
    Some(DependencyConfig { python: python.value, environment, index: None, allow: None, time_max: PIP_TIME_MAX })
}

/// Has each file read as a download would read it: a host that starts with one of no use would refuse its first install.
fn check_authorities(files: &Sourced<Vec<PathBuf>>, r: &mut Resolver<'_>) {
    for path in &files.value {
        let config = FetchConfig { ca_files: vec![path.clone()], ..FetchConfig::default() };
        if let Err(source) = Fetcher::new(config) {
            r.errors.push(ConfigError::Authorities { origin: files.origin.clone(), source: Box::new(source) });
        }
    }
}

fn resolve_allowlist(r: &mut Resolver<'_>) -> Option<Vec<HostPattern>> {
    let Some(text) = r.env(&[&env::DC_PLUGIN_INSTALL_URL_ALLOWLIST]) else { return Some(Vec::new()) };
    match HostPattern::parse_list(&text.value) {
        Ok(list) => {
            // Somebody who wrote `,` may have meant to admit nobody, and admits everybody.
            if list.is_empty() {
                r.warnings.push(ConfigWarning::WithoutEffect {
                    name: env::DC_PLUGIN_INSTALL_URL_ALLOWLIST.name,
                    reason: "it names no host, and so every host is allowed",
                });
            }
            r.show("install_url_allowlist", &text.value, &text.origin);
            Some(list)
        }
        Err(source) => r.fail(ConfigError::Allowlist { origin: text.origin, source }),
    }
}

fn resolve_keep_versions(flags: &HostFlags, r: &mut Resolver<'_>) -> Option<usize> {
    let count = match r.text("--keep-versions", flags.keep_versions.as_deref(), &[&env::MORTISE_KEEP_VERSIONS]) {
        Some(text) => r.count(text, 1..=KEEP_VERSIONS_MAX, "a number between `1` and `100`")?,
        None => Sourced::new(RETENTION, Origin::Default),
    };
    r.show("keep_versions", count.value, &count.origin);
    Some(count.value)
}

fn resolve_probation(flags: &HostFlags, r: &mut Resolver<'_>) -> Option<Duration> {
    let window = match r.text("--probation", flags.probation.as_deref(), &[&env::MORTISE_PROBATION]) {
        Some(text) => r.duration(
            text,
            false,
            Duration::ZERO..=PROBATION_MAX,
            "a duration up to `24h`, such as `30s`, or `0s` for none",
        )?,
        None => Sourced::new(ProbationConfig::default().window, Origin::Default),
    };
    r.show("probation", TimeSpan(window.value), &window.origin);
    Some(window.value)
}
