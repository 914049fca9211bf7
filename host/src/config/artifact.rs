//! Published plugins: where they lie, and whether and where they are served (wire contract 10.8, 10.9).

use super::env::{self, Environment};
use super::error::{ConfigError, ConfigErrors, ConfigWarning};
use super::host::{resolve_capabilities_dir, resolve_log, shown_switch};
use super::setting::{Origin, Resolver, Sourced};
use mortise_artifact::{UrlBase, UrlBaseError};
use mortise_telemetry::LogConfig;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

const ARTIFACT_FOLDER: &str = ".artifacts";
const HOST_DEFAULT: &str = "127.0.0.1";
const PORT_DEFAULT: u16 = 8790;

/// Published plugins: where they lie, and whether and where they are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactConfig {
    /// Whether the server runs.
    pub serve: bool,
    /// Folder of the published archives; absolute; may not exist yet.
    pub dir: PathBuf,
    /// Where the server listens: an address or a name of this machine.
    pub host: String,
    /// 0 lets the system choose.
    pub port: u16,
    /// Under which URL clients reach the server, where that is not its host and port.
    pub public_url: Option<String>,
}

impl ArtifactConfig {
    /// With what URLs of artifacts begin when the server listens on `port`.
    ///
    /// # Errors
    /// None for a configuration that was resolved: the public URL was looked at.
    pub fn url_base(&self, port: u16) -> Result<UrlBase, UrlBaseError> {
        UrlBase::new(self.public_url.as_deref(), &self.host, port)
    }
}

/// What the command line of `artifact` says; nothing is checked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the flag of its name, documented where it is parsed")]
pub struct ArtifactFlags {
    pub capabilities_dir: Option<String>,
    pub host: Option<String>,
    pub port: Option<String>,
    pub log_level: Option<String>,
    pub log_format: Option<String>,
}

/// A resolved configuration of `artifact`.
#[derive(Debug)]
pub struct ArtifactResolution {
    /// The configuration.
    pub config: ArtifactConfig,
    /// How the server logs; none for commands that do not serve.
    pub log: Option<LogConfig>,
    /// To be told before anything is done.
    pub warnings: Vec<ConfigWarning>,
}

/// Resolves the configuration of `artifact`, which is to `serve` or not: flag, then environment, then default.
///
/// # Errors
/// [`ConfigErrors`] holds everything that is wrong, not only the first.
pub fn resolve_artifacts(
    flags: &ArtifactFlags,
    serve: bool,
    env: &dyn Environment,
) -> Result<ArtifactResolution, ConfigErrors> {
    let mut resolver = Resolver::new(env);
    let log =
        if serve { resolve_log(flags.log_level.as_deref(), flags.log_format.as_deref(), &mut resolver) } else { None };
    let capabilities = resolve_capabilities_dir(flags.capabilities_dir.as_deref(), &mut resolver);
    let place = Place { host: flags.host.as_deref(), port: flags.port.as_deref() };
    let config = resolve(place, serve, capabilities.as_ref().map(|folder| folder.value.as_path()), &mut resolver);
    match config {
        Some(config) if resolver.errors.is_empty() => {
            Ok(ArtifactResolution { config, log, warnings: resolver.warnings })
        }
        _ => Err(ConfigErrors::of(resolver.errors)),
    }
}

/// Where flags say that the server listens. `run` has none for it, as the reference host.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place<'a> {
    host: Option<&'a str>,
    port: Option<&'a str>,
}

/// Whether the server is asked for.
pub(super) fn resolve_serve(flag: bool, r: &mut Resolver<'_>) -> bool {
    shown_switch(r, "artifact_serve", "--artifact-serve", flag, &[&env::DC_PLUGIN_ARTIFACT_SERVE], false)
}

pub(super) fn resolve(
    place: Place<'_>,
    serve: bool,
    capabilities_dir: Option<&Path>,
    r: &mut Resolver<'_>,
) -> Option<ArtifactConfig> {
    let dir = match r.env(&[&env::DC_PLUGIN_ARTIFACT_DIR]) {
        Some(text) => r.path(text),
        None => capabilities_dir.map(|folder| Sourced::new(folder.join(ARTIFACT_FOLDER), Origin::Default)),
    };
    let host = r
        .text("--host", place.host, &[&env::DC_PLUGIN_ARTIFACT_HOST])
        .unwrap_or_else(|| Sourced::new(HOST_DEFAULT.to_owned(), Origin::Default));
    let port = match r.text("--port", place.port, &[&env::DC_PLUGIN_ARTIFACT_PORT]) {
        Some(text) => r.count(text, 0..=usize::from(u16::MAX), "a port between `0` and `65535`"),
        None => Some(Sourced::new(usize::from(PORT_DEFAULT), Origin::Default)),
    };
    let public_url = r.env(&[&env::DC_PLUGIN_ARTIFACT_PUBLIC_URL]);
    if let Some(dir) = &dir {
        r.show("artifact_dir", dir.value.display(), &dir.origin);
    }
    r.show("artifact_host", &host.value, &host.origin);
    if let Some(port) = &port {
        r.show("artifact_port", port.value, &port.origin);
    }
    if let Some(url) = &public_url {
        if let Err(source) = UrlBase::new(Some(&url.value), HOST_DEFAULT, PORT_DEFAULT) {
            // Not shown: it may hold a password.
            return r.fail(ConfigError::ArtifactUrl { origin: url.origin.clone(), source });
        }
        r.show("artifact_public_url", &url.value, &url.origin);
    }
    if serve && !is_loopback(&host.value) {
        r.warnings.push(ConfigWarning::ArtifactsOpen { host: host.value.clone() });
    }
    Some(ArtifactConfig {
        serve,
        dir: dir?.value,
        host: host.value,
        port: u16::try_from(port?.value).ok()?,
        public_url: public_url.map(|url| url.value),
    })
}

/// Whether only this machine can reach it. Of a name only `localhost` is known.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
