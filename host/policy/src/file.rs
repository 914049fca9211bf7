//! A policy as it is written: TOML, every key known.

use crate::rule::{About, PluginRule, SourcePattern};
use crate::{
    CallerRule, DependencyPolicy, HttpPolicy, InstallPolicy, MeshPolicy, POLICY_BYTES_MAX, Policy, PolicyError,
    Profile, SourceKind, WhenDenied, opens,
};
use ipnet::IpNet;
use minisign_verify::PublicKey;
use mortise_model::{Digest, Limits, Permission, Permissions, RuntimeKind, check_event_pattern, glob};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    #[serde(default)]
    profile: ProfileName,
    #[serde(default)]
    when_denied: WhenDeniedName,
    #[serde(default)]
    install: InstallTable,
    #[serde(default)]
    mesh: MeshTable,
    #[serde(default)]
    http: HttpTable,
    #[serde(default)]
    dependencies: DependencyTable,
    #[serde(default)]
    runtimes: RuntimesTable,
    #[serde(default)]
    plugin: Vec<PluginTable>,
}

/// Runtimes outside of the sandbox. This version has none: each may be switched off, and none on.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RuntimesTable {
    #[serde(default)]
    native: bool,
    #[serde(default)]
    docker: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum ProfileName {
    #[default]
    Strict,
    Development,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum WhenDeniedName {
    #[default]
    Load,
    Refuse,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct InstallTable {
    sources: Option<Vec<SourceName>>,
    #[serde(default, deserialize_with = "absolute")]
    source_roots: Vec<PathBuf>,
    #[serde(default)]
    require_digest: bool,
    #[serde(default, deserialize_with = "signers")]
    signers: Vec<String>,
    #[serde(default)]
    require_signature: bool,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct SourceName(SourceKind);

impl TryFrom<String> for SourceName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let known = || SourceKind::ALL.map(SourceKind::name).join(", ");
        SourceKind::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no source; there are {}", known()))
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct MeshTable {
    functions: Option<Vec<String>>,
    #[serde(default)]
    caller: Vec<CallerTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallerTable {
    device: String,
    functions: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct HttpTable {
    #[serde(default, deserialize_with = "networks")]
    networks: Option<Vec<IpNet>>,
    #[serde(default, deserialize_with = "absolute")]
    ca_files: Vec<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct DependencyTable {
    #[serde(default)]
    install: bool,
    #[serde(default, deserialize_with = "index")]
    index: Option<String>,
    allow: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginTable {
    id: String,
    #[serde(default, deserialize_with = "digest")]
    tree_digest: Option<Digest>,
    #[serde(default, deserialize_with = "digest")]
    digest: Option<Digest>,
    #[serde(default, deserialize_with = "source")]
    source: Option<SourcePattern>,
    #[serde(default, deserialize_with = "signer")]
    signer: Option<String>,
    #[serde(default = "yes")]
    install: bool,
    #[serde(default, deserialize_with = "permissions")]
    grant: Permissions,
    #[serde(default, deserialize_with = "some_permissions")]
    max: Option<Permissions>,
    #[serde(default, deserialize_with = "events")]
    emit: Option<Vec<String>>,
    #[serde(default)]
    limits: Map<String, Value>,
}

fn yes() -> bool {
    true
}

fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    let paths = Vec::<PathBuf>::deserialize(deserializer)?;
    match paths.iter().find(|path| !path.is_absolute()) {
        Some(path) => Err(D::Error::custom(format!("`{}` is not an absolute path", path.display()))),
        None => Ok(paths),
    }
}

/// Networks like `192.168.1.0/24`, or single addresses.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<IpNet>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let network = |text: &String| {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network
            .ok()
            // One with bits beyond its prefix is a slip in either.
            .filter(|network: &IpNet| network.trunc() == *network)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is no network; write it like `192.168.1.0/24`")))
    };
    texts.iter().map(network).collect::<Result<_, _>>().map(Some)
}

/// The URL of a package index.
fn index<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.split_once("://") {
        Some(("https" | "http", rest)) if !rest.is_empty() => Ok(Some(text)),
        _ => Err(D::Error::custom(format!("`{text}` is no URL of a package index, like `https://host/simple`"))),
    }
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Digest::parse(&text).map(Some).map_err(D::Error::custom)
}

/// Public keys as `minisign` writes them: the second line of a `.pub` file.
fn signers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let keys = Vec::<String>::deserialize(deserializer)?;
    keys.into_iter().map(|key| public_key(key).map_err(D::Error::custom)).collect()
}

fn signer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    public_key(String::deserialize(deserializer)?).map(Some).map_err(D::Error::custom)
}

fn public_key(key: String) -> Result<String, String> {
    match PublicKey::from_base64(&key) {
        Ok(_) => Ok(key),
        Err(_) => Err(format!("`{key}` is no public key; write the second line of minisign's `.pub` file")),
    }
}

/// Where files came from.
fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SourcePattern>, D::Error> {
    let text = String::deserialize(deserializer)?;
    SourcePattern::parse(&text).map(Some).map_err(D::Error::custom)
}

fn permissions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Permissions, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse::<Permission>().map_err(D::Error::custom)).collect()
}

/// Patterns of names of events.
fn events<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let patterns = Vec::<String>::deserialize(deserializer)?;
    for pattern in &patterns {
        check_event_pattern(pattern).map_err(|reason| D::Error::custom(format!("`{pattern}`: {reason}")))?;
    }
    Ok(Some(patterns))
}

fn some_permissions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Permissions>, D::Error> {
    permissions(deserializer).map(Some)
}

pub(crate) fn parse(text: &str, functions: &[&str]) -> Result<Policy, PolicyError> {
    if text.len() > POLICY_BYTES_MAX {
        return Err(PolicyError::TooLarge { bytes: text.len(), max: POLICY_BYTES_MAX });
    }
    if text.trim().is_empty() {
        return Err(PolicyError::Empty);
    }
    let file: PolicyFile = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        PolicyError::Syntax { line, reason: error.message().replace('\n', ", ") }
    })?;
    for (name, is_on) in [("native", file.runtimes.native), ("docker", file.runtimes.docker)] {
        if is_on {
            return Err(PolicyError::NoRuntime { name });
        }
    }
    let mesh = mesh(file.mesh, functions)?;
    let plugins = plugins(file.plugin)?;
    let profile = match file.profile {
        ProfileName::Strict => Profile::Strict,
        ProfileName::Development => Profile::Development,
    };
    let policy = Policy {
        when_denied: match file.when_denied {
            WhenDeniedName::Load => WhenDenied::Load,
            WhenDeniedName::Refuse => WhenDenied::Refuse,
        },
        install: InstallPolicy {
            sources: file.install.sources.map(|sources| sources.into_iter().map(|name| name.0).collect()),
            source_roots: file.install.source_roots,
            require_digest: file.install.require_digest,
            signers: file.install.signers,
            require_signature: file.install.require_signature,
        },
        http: HttpPolicy {
            networks: match (file.http.networks, &profile) {
                (None, Profile::Strict) => HttpPolicy::default().networks,
                (networks, _) => networks,
            },
            ca_files: file.http.ca_files,
        },
        dependencies: DependencyPolicy {
            install: file.dependencies.install,
            index: file.dependencies.index,
            allow: file.dependencies.allow,
        },
        profile,
        mesh,
        plugins,
    };
    if !policy.source_roots().is_empty() && !policy.admits_source(SourceKind::Folder) {
        return Err(PolicyError::RootsWithoutFolders);
    }
    if policy.requires_signature() {
        if policy.signers().is_empty() {
            return Err(PolicyError::NoSigners);
        }
        if !policy.source_roots().is_empty() {
            return Err(PolicyError::RootsUnsigned);
        }
    }
    for (at, rule) in policy.plugins.iter().enumerate() {
        if let Some(signer) = rule.about.signer.as_ref().filter(|signer| !policy.signers().contains(signer)) {
            let (rule, id) = (at + 1, rule.about.id.clone());
            return Err(PolicyError::UnknownSigner { rule, id, signer: signer.clone() });
        }
    }
    Ok(policy)
}

fn mesh(table: MeshTable, known: &[&str]) -> Result<MeshPolicy, PolicyError> {
    let functions = table.functions.unwrap_or_else(|| MeshPolicy::default().functions);
    check_functions("mesh.functions", &functions, known)?;
    let mut callers = Vec::with_capacity(table.caller.len());
    for CallerTable { device, functions } in table.caller {
        check_pattern("mesh.caller.device", &device)?;
        check_functions("mesh.caller.functions", &functions, known)?;
        callers.push(CallerRule { device, functions });
    }
    Ok(MeshPolicy { functions, callers })
}

fn plugins(tables: Vec<PluginTable>) -> Result<Vec<PluginRule>, PolicyError> {
    let mut rules: Vec<PluginRule> = Vec::with_capacity(tables.len());
    for PluginTable { id, tree_digest, digest, source, signer, install, grant, max, emit, limits } in tables {
        check_pattern("plugin.id", &id)?;
        let number = rules.len() + 1;
        let about = About { id: id.clone(), tree_digest, digest, source, signer };
        if let (Some(condition), Some(source)) = (about.contradiction(), &about.source) {
            return Err(PolicyError::NeverMatches { rule: number, id, condition, from: source.to_string() });
        }
        if let Some(earlier) = rules.iter().position(|earlier| earlier.about.covers(&about)) {
            return Err(PolicyError::NeverCounts { rule: number, id, earlier: earlier + 1 });
        }
        if let Some(max) = &max
            && let Some(beyond) = grant.iter().find(|permission| !max.cover(permission))
        {
            return Err(PolicyError::BeyondMax { rule: number, permission: beyond.to_string(), id });
        }
        if limits.contains_key("stack") {
            // One engine has one size of it.
            return Err(PolicyError::FixedLimit { rule: number, id, name: "stack" });
        }
        for kind in RuntimeKind::ALL {
            if let Err(source) = Limits::ceilings_named(kind, &limits) {
                return Err(PolicyError::Limit { rule: number, id, source: Box::new(source) });
            }
        }
        if !install && (max.is_some() || emit.is_some() || !grant.is_empty() || !limits.is_empty()) {
            return Err(PolicyError::NotInstalled { rule: number, id });
        }
        rules.push(PluginRule { about, install, grant, max, emit, limits });
    }
    for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.about.has_conditions()) {
        let id = &rule.about.id;
        let mut later = rules.iter().skip(at + 1);
        if !later.any(|later| !later.about.has_conditions() && glob(&later.about.id, id)) {
            return Err(PolicyError::OthersUnruled { rule: at + 1, id: id.clone() });
        }
        if !rule.about.is_evadable() {
            continue;
        }
        for (later, other) in rules.iter().enumerate().skip(at + 1) {
            if other.about.takes_over_from(&rule.about)
                && let Some(key) = rule.withholds(other)
            {
                return Err(PolicyError::Evadable { rule: at + 1, id: id.clone(), key, later: later + 1 });
            }
        }
    }
    Ok(rules)
}

fn check_functions(key: &'static str, patterns: &[String], known: &[&str]) -> Result<(), PolicyError> {
    for pattern in patterns {
        check_pattern(key, pattern)?;
        if !known.iter().any(|name| opens(std::slice::from_ref(pattern), name)) {
            let known = known.join(", ");
            return Err(PolicyError::UnknownFunction { key, pattern: pattern.clone(), known });
        }
    }
    Ok(())
}

fn check_pattern(key: &'static str, pattern: &str) -> Result<(), PolicyError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '*');
    if pattern.is_empty() || !pattern.chars().all(allowed) {
        return Err(PolicyError::Pattern { key, pattern: pattern.to_owned() });
    }
    Ok(())
}
