//! Which mesh, where, and as whom (wire contract 2.3, 9.1, 9.3, 9.5).

mod zenoh;

pub use self::zenoh::is_peer_mode;

use self::zenoh::is_peer_url;
use super::credentials::{Credentials, Section, origin_of};
use super::env;
use super::error::{ConfigError, ConfigWarning};
use super::setting::{Origin, Resolver, Sourced};
use mortise_mesh::{NatsAuth, NatsConfig, Pem, Secret, TlsConfig, ZenohConfig, masked_url};
use std::path::PathBuf;

/// Where portal credentials without URLs lead (wire contract 9.5).
const PORTAL_URL: &str = "nats://portal.deviceconnect.dev:4222";

/// What is shown in place of a secret.
const MASK: &str = "***";

/// How the process reaches the mesh.
#[derive(Debug, Clone)]
pub enum MeshConfig {
    /// Through NATS servers.
    Nats(NatsConfig),
    /// Through Zenoh: routers, or peers on the local network.
    Zenoh(ZenohConfig),
}

impl MeshConfig {
    /// Where it leads, fit for messages.
    #[must_use]
    pub fn target(&self) -> String {
        let urls = match self {
            Self::Nats(nats) => &nats.urls,
            Self::Zenoh(zenoh) if is_peer_mode(zenoh) => return "Zenoh peers".to_owned(),
            Self::Zenoh(zenoh) => &zenoh.urls,
        };
        urls.iter().map(|url| format!("`{}`", masked_url(url))).collect::<Vec<_>>().join(", ")
    }

    /// The files by which broker and device prove themselves to each other.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let tls = match self {
            Self::Nats(nats) => &nats.tls,
            Self::Zenoh(zenoh) => &zenoh.tls,
        };
        let parts = tls.iter().flat_map(|tls| [&tls.ca, &tls.cert, &tls.key]).flatten();
        let file = |part: &Pem| match part {
            Pem::File(path) => Some(path.clone()),
            Pem::Inline(_) => None,
        };
        parts.filter_map(file).collect()
    }
}

/// The transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    Nats,
    Zenoh,
}

impl Backend {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Zenoh => "zenoh",
        }
    }
}

/// How devices find one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Discovery {
    DeviceToDevice,
    Infrastructure,
}

/// For whom a broker is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// `run`: needs authentication on NATS, and says how it is discovered.
    Host { portal: bool, insecure: bool },
    /// `deploy`: asks one device by name.
    Client,
}

/// What the command line says about the broker.
#[derive(Debug, Clone, Copy)]
pub(super) struct BrokerFlags<'a> {
    /// The flag's name and its values.
    pub(super) urls: (&'static str, &'a [String]),
    pub(super) backend: Option<&'a str>,
    pub(super) discovery: Option<&'a str>,
    pub(super) scouting_interface: Option<&'a str>,
}

/// Decides on the mesh. None when something was wrong; the errors are in `resolver`.
pub(super) fn resolve(
    resolver: &mut Resolver<'_>,
    role: Role,
    flags: BrokerFlags<'_>,
    credentials: Option<&Credentials>,
) -> Option<MeshConfig> {
    let urls_given = configured_urls(resolver, flags.urls);
    let backend = choose_backend(resolver, role, flags.backend, urls_given.as_ref(), credentials)?;
    let section = section_of(resolver, backend.value, credentials);
    let urls = urls_given
        .or_else(|| urls_of_file(section, credentials))
        .or_else(|| portal_url(role, backend.value, credentials));
    resolver.show("messaging_backend", backend.value.word(), &backend.origin);
    match &urls {
        Some(urls) => {
            let shown: Vec<_> = urls.value.iter().map(|url| masked_url(url)).collect();
            resolver.show("messaging_urls", shown.join(","), &urls.origin);
        }
        None => resolver.show("messaging_urls", "", &Origin::Default),
    }
    if let Role::Host { portal, .. } = role {
        let broker = urls.as_ref().filter(|urls| !urls.value.iter().all(|url| is_peer_url(url)));
        check_discovery(resolver, portal, flags.discovery, broker);
    }
    let tls = resolve_tls(resolver, section, credentials);
    match backend.value {
        Backend::Nats => {
            let reason = "the backend is `nats`";
            zenoh::scouting_without_effect(resolver, flags.scouting_interface, reason);
            resolver.without_effect("", None, &env::ZENOH_LISTEN, reason);
            resolve_nats(resolver, role, urls, section, credentials, tls).map(MeshConfig::Nats)
        }
        Backend::Zenoh => Some(MeshConfig::Zenoh(zenoh::resolve(resolver, urls, flags.scouting_interface, tls))),
    }
}

fn list(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned)
}

fn configured_urls(resolver: &mut Resolver<'_>, flag: (&'static str, &[String])) -> Option<Sourced<Vec<String>>> {
    let from_flag: Vec<_> = flag.1.iter().flat_map(|text| list(text)).collect();
    if !from_flag.is_empty() {
        return Some(Sourced::new(from_flag, Origin::Flag(flag.0)));
    }
    let text = resolver.env(&[&env::MESSAGING_URLS, &env::NATS_URL, &env::ZENOH_CONNECT])?;
    Some(text.map(|text| list(&text).collect::<Vec<_>>())).filter(|urls| !urls.value.is_empty())
}

fn choose_backend(
    resolver: &mut Resolver<'_>,
    role: Role,
    flag: Option<&str>,
    urls: Option<&Sourced<Vec<String>>>,
    credentials: Option<&Credentials>,
) -> Option<Sourced<Backend>> {
    let named = match resolver.text("--messaging-backend", flag, &[&env::MESSAGING_BACKEND]) {
        Some(text) => match resolver.word(text, &["nats", "zenoh", "mqtt"], "`nats` or `zenoh`")? {
            Sourced { value: "nats", origin } => Some(Sourced::new(Backend::Nats, origin)),
            Sourced { value: "zenoh", origin } => Some(Sourced::new(Backend::Zenoh, origin)),
            Sourced { origin, .. } => return refuse_mqtt(resolver, origin),
        },
        None => None,
    };
    let zenoh_forced = urls.is_some_and(|urls| urls.origin == Origin::Env(env::ZENOH_CONNECT.name));
    match (named, urls) {
        (Some(named), Some(urls)) if zenoh_forced && named.value == Backend::Nats => {
            resolver.warnings.push(ConfigWarning::BackendOverruled(named.origin));
            Some(Sourced::new(Backend::Zenoh, urls.origin.clone()))
        }
        (Some(named), _) => Some(named),
        (None, Some(urls)) => {
            let first = urls.value.first().map(|url| url.to_ascii_lowercase()).unwrap_or_default();
            if first.starts_with("mqtt://") || first.starts_with("mqtts://") {
                return refuse_mqtt(resolver, urls.origin.clone());
            }
            let nats = !zenoh_forced && (first.starts_with("nats://") || first.starts_with("tls://"));
            Some(Sourced::new(if nats { Backend::Nats } else { Backend::Zenoh }, urls.origin.clone()))
        }
        (None, None) => Some(backend_of_file(role, credentials)),
    }
}

fn refuse_mqtt<T>(resolver: &mut Resolver<'_>, origin: Origin) -> Option<T> {
    resolver.fail(ConfigError::Unsupported {
        feature: "the backend `mqtt`",
        origin,
        cure: "use a `nats` or `zenoh` broker, or no broker at all",
    })
}

/// The backend for which the file has a section. With both, a portal's file means NATS, any other Zenoh first, as in
/// the reference (wire contract 9.1, 9.5).
fn backend_of_file(role: Role, credentials: Option<&Credentials>) -> Sourced<Backend> {
    let Some(credentials) = credentials else { return Sourced::new(Backend::Zenoh, Origin::Default) };
    let nats_first = matches!(role, Role::Client | Role::Host { portal: true, .. });
    let backend = match (&credentials.nats, &credentials.zenoh) {
        (Some(_), Some(_)) if nats_first => Backend::Nats,
        (Some(_), None) => Backend::Nats,
        (_, Some(_)) => Backend::Zenoh,
        (None, None) => return Sourced::new(Backend::Zenoh, Origin::Default),
    };
    Sourced::new(backend, origin_of(credentials))
}

fn section_of<'a>(
    resolver: &mut Resolver<'_>,
    backend: Backend,
    credentials: Option<&'a Credentials>,
) -> Option<&'a Section> {
    let credentials = credentials?;
    let section = match backend {
        Backend::Nats => credentials.nats.as_ref(),
        Backend::Zenoh => credentials.zenoh.as_ref(),
    };
    if section.is_none() {
        let path = credentials.path.clone();
        resolver.warnings.push(ConfigWarning::SectionMissing { path, backend: backend.word() });
    }
    section
}

fn urls_of_file(section: Option<&Section>, credentials: Option<&Credentials>) -> Option<Sourced<Vec<String>>> {
    let urls = &section?.urls;
    (!urls.is_empty()).then(|| Sourced::new(urls.clone(), credentials.map_or(Origin::Default, origin_of)))
}

fn portal_url(role: Role, backend: Backend, credentials: Option<&Credentials>) -> Option<Sourced<Vec<String>>> {
    let portal = match role {
        Role::Host { portal, .. } => portal,
        Role::Client => credentials.is_some(),
    };
    (portal && backend == Backend::Nats).then(|| Sourced::new(vec![PORTAL_URL.to_owned()], Origin::Default))
}

/// Registry mode is not built yet: it is refused, never taken for device-to-device (wire contract 5.1).
fn check_discovery(resolver: &mut Resolver<'_>, portal: bool, flag: Option<&str>, urls: Option<&Sourced<Vec<String>>>) {
    let named = resolver.text("--discovery-mode", flag, &[&env::DEVICE_CONNECT_DISCOVERY_MODE]);
    let named = match named {
        Some(text) => match resolver.word(text, &["d2d", "p2p", "infra"], "`d2d`, `p2p` or `infra`") {
            Some(Sourced { value: "infra", origin }) => Some(Sourced::new(Discovery::Infrastructure, origin)),
            Some(Sourced { origin, .. }) => Some(Sourced::new(Discovery::DeviceToDevice, origin)),
            None => return,
        },
        None if portal => Some(Sourced::new(Discovery::Infrastructure, Origin::Default)),
        None => None,
    };
    let origin = named.as_ref().map_or(Origin::Default, |named| named.origin.clone());
    match (named.map(|named| named.value), urls) {
        (Some(Discovery::DeviceToDevice), _) | (_, None) => resolver.show("discovery_mode", "d2d", &origin),
        (Some(Discovery::Infrastructure) | None, Some(urls)) => {
            let origin = if origin == Origin::Default { urls.origin.clone() } else { origin };
            resolver.errors.push(ConfigError::Unsupported {
                feature: "discovery through a registry (mode `infra`, the default with a broker)",
                origin,
                cure: "pass `--discovery-mode d2d`: peers then find the host by its presence messages",
            });
        }
    }
}

fn resolve_tls(resolver: &mut Resolver<'_>, section: Option<&Section>, credentials: Option<&Credentials>) -> TlsConfig {
    let file_origin = credentials.map_or(Origin::Default, origin_of);
    let mut part = |name: &'static str, variables: [&env::EnvVar; 2], of_file: Option<&Pem>| {
        let from_env = resolver.env(&variables).and_then(|text| resolver.path(text));
        let pem = from_env
            .map(|path| path.map(Pem::File))
            .or_else(|| of_file.map(|pem| Sourced::new(pem.clone(), file_origin.clone())))?;
        match &pem.value {
            Pem::File(path) => resolver.show(name, path.display(), &pem.origin),
            Pem::Inline(_) => resolver.show(name, MASK, &pem.origin),
        }
        Some(pem.value)
    };
    let tls = TlsConfig {
        ca: part(
            "tls_ca",
            [&env::MESSAGING_TLS_CA_FILE, &env::NATS_TLS_CA_FILE],
            section.and_then(|section| section.ca.as_ref()),
        ),
        cert: part(
            "tls_cert",
            [&env::MESSAGING_TLS_CERT_FILE, &env::NATS_TLS_CERT_FILE],
            section.and_then(|section| section.cert.as_ref()),
        ),
        key: part(
            "tls_key",
            [&env::MESSAGING_TLS_KEY_FILE, &env::NATS_TLS_KEY_FILE],
            section.and_then(|section| section.key.as_ref()),
        ),
        ..TlsConfig::default()
    };
    match (&tls.cert, &tls.key) {
        (Some(_), None) => resolver.errors.push(ConfigError::TlsHalf { missing: "the key" }),
        (None, Some(_)) => resolver.errors.push(ConfigError::TlsHalf { missing: "the certificate" }),
        _ => {}
    }
    tls
}

fn resolve_nats(
    resolver: &mut Resolver<'_>,
    role: Role,
    urls: Option<Sourced<Vec<String>>>,
    section: Option<&Section>,
    credentials: Option<&Credentials>,
    tls: TlsConfig,
) -> Option<NatsConfig> {
    let file_origin = credentials.map_or(Origin::Default, origin_of);
    let mut secret = |name: &'static str, variable: &env::EnvVar, of_file: Option<&Secret>| {
        let secret = match of_file {
            Some(secret) => Some(Sourced::new(secret.clone(), file_origin.clone())),
            None => resolver.env(&[variable]).map(|text| text.map(Secret::new)),
        }?;
        resolver.show(name, MASK, &secret.origin);
        Some(secret.value)
    };
    let jwt = secret("nats_jwt", &env::NATS_JWT, section.and_then(|section| section.jwt.as_ref()));
    let seed = secret("nats_nkey_seed", &env::NATS_NKEY_SEED, section.and_then(|section| section.nkey_seed.as_ref()));
    let Some(urls) = urls else { return resolver.fail(ConfigError::BrokerMissing) };
    for url in &urls.value {
        let lower = url.to_ascii_lowercase();
        let scheme = lower.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("nats" | "tls") | None) || (scheme.is_none() && lower.contains('/')) {
            let (url, origin) = (masked_url(url), urls.origin.clone());
            resolver.errors.push(ConfigError::BrokerUrl { url, origin, backend: "NATS" });
        }
    }
    let checked = !matches!(role, Role::Host { insecure: true, .. });
    let tls_url = urls.value.iter().find(|url| url.to_ascii_lowercase().starts_with("tls://"));
    let user_in_url = urls.value.iter().any(|url| masked_url(url) != *url);
    if checked {
        check_authentication(resolver, role, jwt.is_some(), seed.is_some(), user_in_url, credentials.map(|c| &c.path));
        match tls_url {
            // A client may rely on the system's authorities.
            Some(url) if tls.ca.is_none() && role != Role::Client => {
                resolver.errors.push(ConfigError::TlsAuthorityMissing { url: masked_url(url) });
            }
            Some(_) if jwt.is_none() && !user_in_url => {
                resolver.warnings.push(ConfigWarning::TlsWithoutAuthentication);
            }
            None if tls.ca.is_some() => resolver.warnings.push(ConfigWarning::AuthorityWithoutTls),
            _ => {}
        }
    }
    if !checked && jwt.is_some() != seed.is_some() {
        let missing = if jwt.is_some() { "the seed" } else { "the JWT" };
        resolver.errors.push(ConfigError::AuthenticationHalf { missing });
    }
    let auth = jwt.zip(seed).map(|(jwt, seed)| NatsAuth { jwt, seed });
    Some(NatsConfig { urls: urls.value, auth, tls: used(tls), name: String::new() })
}

fn check_authentication(
    resolver: &mut Resolver<'_>,
    role: Role,
    jwt: bool,
    seed: bool,
    user_in_url: bool,
    file: Option<&PathBuf>,
) {
    let error = match (jwt, seed) {
        (true, true) => return,
        (true, false) => ConfigError::AuthenticationHalf { missing: "the seed" },
        (false, true) => ConfigError::AuthenticationHalf { missing: "the JWT" },
        (false, false) if user_in_url || role == Role::Client => return,
        (false, false) => match file {
            Some(path) => ConfigError::AuthenticationNotInFile { path: path.clone() },
            None => ConfigError::AuthenticationMissing,
        },
    };
    resolver.errors.push(error);
}

/// None when nothing is set, which leaves the transport's defaults.
fn used(tls: TlsConfig) -> Option<TlsConfig> {
    (tls != TlsConfig::default()).then_some(tls)
}
