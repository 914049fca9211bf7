//! What the operator allows: which plugins may be installed and from where, what they may do, and who on the mesh may
//! call the host's functions.
//!
//! Decisions only: no I/O, no clock, and no memory of what was decided.
#![forbid(unsafe_code)]

mod error;
mod file;
mod rating;
mod rule;

pub use error::PolicyError;
pub use rating::{Rating, Risk, rate};

use ipnet::IpNet;
use mortise_model::{Digest, Limits, Permission, Permissions, PluginId, Provenance, RuntimeKind, glob};
use rule::PluginRule;
use serde_json::Value;
use std::path::PathBuf;

/// The longest policy file, in bytes.
pub const POLICY_BYTES_MAX: usize = 1 << 20;

/// Functions that hand out rights themselves: `*` never means them, they have to be named.
const NAMED_ONLY: [&str; 2] = ["grant_plugin_permission", "revoke_plugin_permission"];

/// The operator's policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    profile: Profile,
    when_denied: WhenDenied,
    install: InstallPolicy,
    mesh: MeshPolicy,
    http: HttpPolicy,
    dependencies: DependencyPolicy,
    /// The first that matches a plugin is the one that counts for it.
    plugins: Vec<PluginRule>,
}

/// What counts where no rule says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Profile {
    /// Nothing is granted.
    #[default]
    Strict,
    /// Plugins get what their manifests ask for.
    Development,
}

/// What becomes of a plugin that asks for more than it is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenDenied {
    /// It is loaded and does without, until somebody grants it.
    #[default]
    Load,
    /// It is not installed.
    Refuse,
}

/// Where plugins may come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct InstallPolicy {
    /// None: from everywhere.
    sources: Option<Vec<SourceKind>>,
    source_roots: Vec<PathBuf>,
    require_digest: bool,
    /// Public keys, as `minisign` writes them.
    signers: Vec<String>,
    require_signature: bool,
}

/// A way for a plugin to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// An archive inside the request.
    Bundle,
    /// An archive sent in parts.
    Upload,
    /// An archive that the host fetches.
    Url,
    /// An object that the mesh keeps.
    Object,
    /// A folder of this machine.
    Folder,
}

/// Where requests of plugins may go, whatever a plugin is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpPolicy {
    /// Networks that are within reach beside public addresses; none where every private one is.
    pub networks: Option<Vec<IpNet>>,
    /// PEM files of authorities that are trusted beside the system's; absolute.
    pub ca_files: Vec<PathBuf>,
}

impl Default for HttpPolicy {
    fn default() -> Self {
        Self { networks: Some(Vec::new()), ca_files: Vec::new() }
    }
}

/// What is installed of other people's for Python plugins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DependencyPolicy {
    /// Whether anything is.
    pub install: bool,
    /// The URL of the package index; none for the one that this machine's pip is configured for.
    pub index: Option<String>,
    /// The packages that may be; none where all may.
    pub allow: Option<Vec<String>>,
}

/// Who on the mesh may call which of the host's functions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MeshPolicy {
    /// Open to everybody; patterns.
    functions: Vec<String>,
    /// Open besides to devices that claim to be called so.
    callers: Vec<CallerRule>,
}

impl Default for MeshPolicy {
    fn default() -> Self {
        Self { functions: vec!["*".to_owned()], callers: Vec::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct CallerRule {
    device: String,
    functions: Vec<String>,
}

/// The plugin that is judged.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its id.
    pub id: &'a PluginId,
    /// Over path, mode and content of all of its files.
    pub tree: &'a Digest,
    /// Where they came from.
    pub provenance: &'a Provenance,
}

impl Policy {
    /// Reads a policy file. `functions` are the names of the host's functions: a rule about another would mean nothing.
    ///
    /// # Errors
    /// [`PolicyError`] says what is wrong and where.
    pub fn parse(text: &str, functions: &[&str]) -> Result<Self, PolicyError> {
        file::parse(text, functions)
    }

    /// Everything is allowed to everybody, and plugins get what they ask for. For machines that nobody else reaches.
    #[must_use]
    pub fn development() -> Self {
        let http = HttpPolicy { networks: None, ..HttpPolicy::default() };
        Self { profile: Profile::Development, http, ..Self::default() }
    }

    /// Whether plugins get what they ask for where no rule says otherwise.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.profile == Profile::Development
    }

    /// What becomes of a plugin that asks for more than it is granted.
    #[must_use]
    pub fn when_denied(&self) -> WhenDenied {
        self.when_denied
    }

    /// Whether plugins may arrive that way at all.
    #[must_use]
    pub fn admits_source(&self, source: SourceKind) -> bool {
        self.install.sources.as_ref().is_none_or(|sources| sources.contains(&source))
    }

    /// Folders of this machine from which callers on the mesh may install.
    #[must_use]
    pub fn source_roots(&self) -> &[PathBuf] {
        &self.install.source_roots
    }

    /// Whether an archive has to come with its digest.
    #[must_use]
    pub fn requires_digest(&self) -> bool {
        self.install.require_digest
    }

    /// The public keys whose signatures of archives count, as `minisign` writes them.
    #[must_use]
    pub fn signers(&self) -> &[String] {
        &self.install.signers
    }

    /// Whether what arrives has to be an archive with a signature of one of [`Policy::signers`].
    #[must_use]
    pub fn requires_signature(&self) -> bool {
        self.install.require_signature
    }

    /// Where requests of plugins may go.
    #[must_use]
    pub fn http(&self) -> &HttpPolicy {
        &self.http
    }

    /// What is installed of other people's for Python plugins.
    #[must_use]
    pub fn dependencies(&self) -> &DependencyPolicy {
        &self.dependencies
    }

    /// Whether plugins of that kind may run here: never those that no sandbox holds, which this version cannot run.
    #[must_use]
    pub fn admits_kind(&self, kind: RuntimeKind) -> bool {
        is_sandboxed(kind)
    }

    /// Whether the plugin may be installed.
    #[must_use]
    pub fn admits(&self, plugin: Subject<'_>) -> bool {
        self.rule_for(plugin).is_none_or(|rule| rule.install)
    }

    /// Whether the plugin has `access` without anybody granting it, where its manifest asks for it.
    #[must_use]
    pub fn grants(&self, plugin: Subject<'_>, access: &Permission) -> bool {
        match self.rule_for(plugin) {
            Some(rule) => rule.grant.cover(access),
            None => self.is_development(),
        }
    }

    /// Whether the plugin has anything of `access` without anybody granting it, where its manifest asks for it.
    #[must_use]
    pub fn grants_something(&self, plugin: Subject<'_>, access: &Permission) -> bool {
        match self.rule_for(plugin) {
            Some(rule) => rule.grant.iter().any(|granted| granted.meets(access)),
            None => self.is_development(),
        }
    }

    /// Whether the plugin may be granted `access` at all.
    #[must_use]
    pub fn bears(&self, plugin: Subject<'_>, access: &Permission) -> bool {
        self.rule_for(plugin).is_none_or(|rule| rule.bears(access))
    }

    /// Whether the plugin may be granted anything of `access`.
    #[must_use]
    pub fn bears_something(&self, plugin: Subject<'_>, access: &Permission) -> bool {
        let meets = |max: &Permissions| max.iter().any(|bound| bound.meets(access));
        self.rule_for(plugin).is_none_or(|rule| rule.install && rule.max.as_ref().is_none_or(meets))
    }

    /// What of the plugin's bound covers `access`, if it has one and that does.
    #[must_use]
    pub fn bound_of(&self, plugin: Subject<'_>, access: &Permission) -> Option<Permission> {
        let max = self.rule_for(plugin)?.max.as_ref()?;
        max.iter().find(|bound| bound.covers(access)).cloned()
    }

    /// Whether the plugin may emit events of that name.
    #[must_use]
    pub fn lets_emit(&self, plugin: Subject<'_>, event: &str) -> bool {
        self.rule_for(plugin).is_none_or(|rule| rule.emits(event))
    }

    /// How high the limits of a plugin of that kind may be.
    #[must_use]
    pub fn ceilings(&self, plugin: Subject<'_>, kind: RuntimeKind) -> Limits {
        self.rule_for(plugin).map_or_else(|| Limits::ceilings(kind), |rule| rule.ceilings(kind))
    }

    /// Whom the rule that counts for the plugin is about, as the policy file writes it; none where no rule does.
    #[must_use]
    pub fn rule(&self, plugin: Subject<'_>) -> Option<Value> {
        self.rule_for(plugin).map(|rule| rule.about.to_json())
    }

    /// Whether the same files are the same plugin wherever of two places they came from: one rule counts for both.
    #[must_use]
    pub fn judges_alike(&self, id: &PluginId, tree: &Digest, one: &Provenance, other: &Provenance) -> bool {
        let rule = |provenance| {
            let plugin = Subject { id, tree, provenance };
            self.plugins.iter().position(|rule| rule.about.is(plugin))
        };
        rule(one) == rule(other)
    }

    /// Whether a caller on the mesh may call the host's `function`. `caller` is what it claims to be: nothing proves it.
    #[must_use]
    pub fn admits_call(&self, function: &str, caller: Option<&str>) -> bool {
        let claims = |rule: &&CallerRule| caller.is_some_and(|caller| glob(&rule.device, caller));
        opens(&self.mesh.functions, function)
            || self.mesh.callers.iter().filter(claims).any(|rule| opens(&rule.functions, function))
    }

    /// Whether anybody on the mesh may call the host's `function`.
    #[must_use]
    pub fn offers(&self, function: &str) -> bool {
        opens(&self.mesh.functions, function) || self.mesh.callers.iter().any(|rule| opens(&rule.functions, function))
    }

    fn rule_for(&self, plugin: Subject<'_>) -> Option<&PluginRule> {
        self.plugins.iter().find(|rule| rule.about.is(plugin))
    }
}

impl SourceKind {
    const ALL: [Self; 5] = [Self::Bundle, Self::Upload, Self::Url, Self::Object, Self::Folder];

    /// As policy files write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Upload => "upload",
            Self::Url => "url",
            Self::Object => "object",
            Self::Folder => "folder",
        }
    }
}

fn is_sandboxed(kind: RuntimeKind) -> bool {
    !matches!(kind, RuntimeKind::Native | RuntimeKind::Docker)
}

/// Whether one of `patterns` opens `function`.
fn opens(patterns: &[String], function: &str) -> bool {
    patterns.iter().any(|pattern| pattern == function || (!NAMED_ONLY.contains(&function) && glob(pattern, function)))
}

#[cfg(test)]
mod tests;
