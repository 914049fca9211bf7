//! The host's own functions: what they are called and what they take. How a call of one is answered is [`answer`]'s business.

mod answer;

use crate::manager::Manager;
use crate::signature::{DefaultValue, Kind, Parameter, schema};
use answer::HostFunction;
use mortise_model::{EventDef, EventName, FunctionDef, FunctionName, IdError, Json};
use mortise_plugin::PLUGIN_LOG_EVENT;
use mortise_policy::{Policy, SourceKind};
use mortise_rpc::HostRoute;
use serde_json::{Value, json};
use std::sync::Arc;

/// The host's functions, in the order in which the reference advertises them (wire contract 6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    GetPluginArtifactUrl,
    GetPluginAuthoringGuide,
    GetPluginTemplate,
    GetStatus,
    InstallPlugin,
    InstallPluginFromBundle,
    InstallPluginFromManifest,
    InstallPluginFromUrl,
    ListPluginArtifacts,
    ListPluginExamples,
    ListPlugins,
    LoadPlugin,
    PublishPluginArtifact,
    ReloadPlugin,
    UnloadPlugin,
    // Ours, by name.
    AppendPluginUpload,
    BeginPluginUpload,
    CommitPluginUpload,
    GetPluginLogs,
    GetPluginOperation,
    GetPluginPermissions,
    GetPluginStats,
    GrantPluginPermission,
    ListPluginVersions,
    PlanPluginInstall,
    RevokePluginPermission,
    RollbackPlugin,
    UninstallPlugin,
}

const PLUGIN_ID: Parameter = required("plugin_id", "The plugin: the name of its folder.");

const INSTALL_DEPENDENCIES: Parameter = Parameter {
    name: "install_dependencies",
    kind: Kind::Text,
    description: "Whether to install what the plugin declares as dependencies.",
    default: Some(DefaultValue::Null),
};

const fn required(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Text, description, default: None }
}

const fn optional(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Text, description, default: Some(DefaultValue::Null) }
}

const fn optional_number(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Integer, description, default: Some(DefaultValue::Null) }
}

const SAME_ID: Parameter = optional("plugin_id", "Must equal the manifest's id where both are given.");

const TEMPLATE: [Parameter; 4] = [
    required("plugin_id", "The new plugin's id, for example garage-door."),
    optional("class_name", "The name of its type; made from the id where it is left out."),
    optional("description", "What it does, in one sentence."),
    optional("language", "python, javascript or rust; python where it is left out."),
];

const PLAN_DIGEST: Parameter =
    optional("plan_digest", "Of the plan that this install must still match, as `plan_plugin_install` answered it.");

const INSTALL: [Parameter; 3] = [required("source_path", "The plugin's folder."), SAME_ID, PLAN_DIGEST];

const DIGEST: Parameter = optional("digest", "SHA-256 of the archive's bytes, with or without `sha256:`.");

const SIGNATURE: Parameter =
    optional("signature", "The text of the archive's `.minisig`, for hosts whose operator names signers.");

const FORMAT: Parameter = Parameter {
    name: "format",
    kind: Kind::Text,
    description: "tar.gz, zip or auto.",
    default: Some(DefaultValue::Text("auto")),
};

const AND_LOAD: Parameter = Parameter {
    name: "load",
    kind: Kind::Boolean,
    description: "Whether to load it too.",
    default: Some(DefaultValue::True),
};

const INSTALL_FROM_BUNDLE: [Parameter; 8] = [
    required("bundle_b64", "A .tar.gz or .zip of the plugin's folder, in base64."),
    SAME_ID,
    DIGEST,
    FORMAT,
    AND_LOAD,
    INSTALL_DEPENDENCIES,
    PLAN_DIGEST,
    SIGNATURE,
];

const INSTALL_FROM_URL: [Parameter; 8] = [
    required("url", "Where a .tar.gz or .zip of the plugin's folder can be fetched."),
    SAME_ID,
    DIGEST,
    FORMAT,
    AND_LOAD,
    INSTALL_DEPENDENCIES,
    PLAN_DIGEST,
    SIGNATURE,
];

const INSTALL_FROM_MANIFEST: [Parameter; 3] = [
    Parameter {
        name: "manifest",
        kind: Kind::Object,
        description: "`bundle_b64`, `url` or `object`, with `id`, `digest`, `format`, `type` and `signature` where they are known.",
        default: None,
    },
    AND_LOAD,
    PLAN_DIGEST,
];

/// One of the first five says where the plugin is.
const PLAN: [Parameter; 9] = [
    optional("bundle_b64", "A .tar.gz or .zip of the plugin's folder, in base64."),
    optional("url", "Where a .tar.gz or .zip of the plugin's folder can be fetched."),
    optional("source_path", "The plugin's folder on this host's machine."),
    optional("upload_id", "A complete upload, as `begin_plugin_upload` answered it."),
    Parameter {
        name: "manifest",
        kind: Kind::Object,
        description: "A delivery manifest, as `install_plugin_from_manifest` takes it.",
        default: Some(DefaultValue::Null),
    },
    SAME_ID,
    DIGEST,
    FORMAT,
    SIGNATURE,
];

const ARTIFACT_URL: [Parameter; 2] =
    [required("plugin_id", "The plugin."), optional("version", "The last one published where it is left out.")];

const PUBLISH: [Parameter; 3] = [
    optional("plugin_id", "The plugin; its installed files are published where no archive is given."),
    optional("bundle_b64", "A .tar.gz of the plugin's folder, in base64."),
    optional("version", "The manifest's where it is left out."),
];

const UPLOAD_ID: Parameter = required("upload_id", "As `begin_plugin_upload` answered it.");

const BEGIN_UPLOAD: [Parameter; 2] = [
    Parameter {
        name: "total_bytes",
        kind: Kind::Integer,
        description: "The size of the whole archive.",
        default: None,
    },
    required("digest", "SHA-256 of the whole archive, with or without `sha256:`."),
];

const APPEND_UPLOAD: [Parameter; 3] = [
    UPLOAD_ID,
    Parameter {
        name: "offset",
        kind: Kind::Integer,
        description: "Where this part begins. A part that is there already may be sent again.",
        default: None,
    },
    required("chunk_b64", "The part, in base64."),
];

const COMMIT_UPLOAD: [Parameter; 7] =
    [UPLOAD_ID, SAME_ID, FORMAT, AND_LOAD, INSTALL_DEPENDENCIES, PLAN_DIGEST, SIGNATURE];

const OPERATION: [Parameter; 2] = [
    required("request_id", "The id of the JSON-RPC request."),
    optional("method", "The function it called, where one id was used for several."),
];

const LOGS: [Parameter; 5] = [
    PLUGIN_ID,
    optional_number(
        "since",
        "Only lines after this number, the first ones first, to go on from `next`; the last ones where it is left out.",
    ),
    optional(
        "level",
        "Only lines as serious: error, warn, info, debug or trace. Below info there are those that the host's own log shows.",
    ),
    optional_number("limit", "At most so many lines, up to 1,000; 100 where it is left out."),
    optional_number(
        "follow",
        "For so many seconds, up to 300, events `plugin_log` tell of the lines after `next`; ask again to go on.",
    ),
];

const STATS: [Parameter; 1] = [optional("plugin_id", "The plugin; all of them where it is left out.")];

const ROLLBACK: [Parameter; 2] = [
    PLUGIN_ID,
    optional_number(
        "generation",
        "Which, of those that `list_plugin_versions` shows; the one before the current one where it is left out.",
    ),
];

const LOAD: [Parameter; 2] = [PLUGIN_ID, INSTALL_DEPENDENCIES];

const PERMISSION: Parameter = required(
    "permission",
    "`plugins:<function>`, `mesh.invoke:<device>/<function>`, `mesh.discover`, `http:<scheme>://<host>`, `env:<name>`, `secret:<name>`, `files.ro:<folder>`, `files.rw:<folder>` or `state`.",
);

const GRANT: [Parameter; 5] = [
    PLUGIN_ID,
    PERMISSION,
    optional("expires_in", "For how long, such as 30m or 24h; until it is revoked where it is left out."),
    Parameter {
        name: "once",
        kind: Kind::Boolean,
        description: "Whether it ends when it is used.",
        default: Some(DefaultValue::False),
    },
    Parameter {
        name: "this_version",
        kind: Kind::Boolean,
        description: "Whether it holds for the files only that the plugin has now.",
        default: Some(DefaultValue::False),
    },
];

const REVOKE: [Parameter; 2] = [PLUGIN_ID, PERMISSION];

const ONE_PLUGIN: [Parameter; 1] = [PLUGIN_ID];

impl Function {
    pub(crate) const ALL: [Self; 28] = [
        Self::GetPluginArtifactUrl,
        Self::GetPluginAuthoringGuide,
        Self::GetPluginTemplate,
        Self::GetStatus,
        Self::InstallPlugin,
        Self::InstallPluginFromBundle,
        Self::InstallPluginFromManifest,
        Self::InstallPluginFromUrl,
        Self::ListPluginArtifacts,
        Self::ListPluginExamples,
        Self::ListPlugins,
        Self::LoadPlugin,
        Self::PublishPluginArtifact,
        Self::ReloadPlugin,
        Self::UnloadPlugin,
        Self::AppendPluginUpload,
        Self::BeginPluginUpload,
        Self::CommitPluginUpload,
        Self::GetPluginLogs,
        Self::GetPluginOperation,
        Self::GetPluginPermissions,
        Self::GetPluginStats,
        Self::GrantPluginPermission,
        Self::ListPluginVersions,
        Self::PlanPluginInstall,
        Self::RevokePluginPermission,
        Self::RollbackPlugin,
        Self::UninstallPlugin,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GetPluginArtifactUrl => "get_plugin_artifact_url",
            Self::GetPluginAuthoringGuide => "get_plugin_authoring_guide",
            Self::GetPluginTemplate => "get_plugin_template",
            Self::GetStatus => "get_status",
            Self::InstallPlugin => "install_plugin",
            Self::InstallPluginFromBundle => "install_plugin_from_bundle",
            Self::InstallPluginFromManifest => "install_plugin_from_manifest",
            Self::InstallPluginFromUrl => "install_plugin_from_url",
            Self::ListPluginArtifacts => "list_plugin_artifacts",
            Self::ListPluginExamples => "list_plugin_examples",
            Self::ListPlugins => "list_plugins",
            Self::LoadPlugin => "load_plugin",
            Self::PublishPluginArtifact => "publish_plugin_artifact",
            Self::ReloadPlugin => "reload_plugin",
            Self::UnloadPlugin => "unload_plugin",
            Self::AppendPluginUpload => "append_plugin_upload",
            Self::BeginPluginUpload => "begin_plugin_upload",
            Self::CommitPluginUpload => "commit_plugin_upload",
            Self::GetPluginLogs => "get_plugin_logs",
            Self::GetPluginOperation => "get_plugin_operation",
            Self::GetPluginPermissions => "get_plugin_permissions",
            Self::GetPluginStats => "get_plugin_stats",
            Self::GrantPluginPermission => "grant_plugin_permission",
            Self::ListPluginVersions => "list_plugin_versions",
            Self::PlanPluginInstall => "plan_plugin_install",
            Self::RevokePluginPermission => "revoke_plugin_permission",
            Self::RollbackPlugin => "rollback_plugin",
            Self::UninstallPlugin => "uninstall_plugin",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::GetPluginAuthoringGuide => "How to write, package and install a plugin for this host.",
            Self::GetPluginTemplate => "A complete plugin to start from.",
            Self::GetStatus => "What this host is, and what it has loaded.",
            Self::InstallPlugin => "Install a plugin from a folder on this host's machine, and load it.",
            Self::InstallPluginFromBundle => "Install a plugin from an archive in base64, and load it.",
            Self::ListPluginExamples => "Plugins to learn from.",
            Self::ListPlugins => "The plugins that are loaded, and those that could be.",
            Self::LoadPlugin => "Load an installed plugin; one that is loaded already is reloaded.",
            Self::ReloadPlugin => "Load a plugin anew beside the old one, then swap: no call is lost.",
            Self::UnloadPlugin => "Take a plugin's functions away; its files stay.",
            Self::GetPluginArtifactUrl => "Where an archive of this host's artifact store can be fetched.",
            Self::InstallPluginFromManifest => "Install a plugin from a delivery manifest, and load it.",
            Self::InstallPluginFromUrl => "Install a plugin from an archive that this host fetches, and load it.",
            Self::ListPluginArtifacts => "The archives in this host's artifact store.",
            Self::PublishPluginArtifact => "Put a plugin's archive into this host's artifact store.",
            Self::AppendPluginUpload => "The next part of an upload.",
            Self::BeginPluginUpload => "Begin to send an archive in parts, for those larger than one message.",
            Self::CommitPluginUpload => "Install what was uploaded, and load it.",
            Self::GetPluginLogs => "The last lines that a plugin has logged.",
            Self::GetPluginOperation => "What became of a call that changed plugins.",
            Self::GetPluginPermissions => "What a plugin asks to be allowed, what it is granted, and what it lacks.",
            Self::GrantPluginPermission => "Let a plugin do more, at once.",
            Self::RevokePluginPermission => "Take back what a plugin was granted, at once.",
            Self::GetPluginStats => "What plugins have done and used since the host started.",
            Self::ListPluginVersions => "The versions of a plugin that are kept.",
            Self::PlanPluginInstall => "What an install would change, without installing anything.",
            Self::RollbackPlugin => {
                "Make an earlier version of a plugin serve: prepared beside the new one, then swapped."
            }
            Self::UninstallPlugin => "Take a plugin away with its files and all its versions.",
        }
    }

    pub(crate) fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::GetPluginAuthoringGuide | Self::GetStatus | Self::ListPluginExamples | Self::ListPlugins => &[],
            Self::GetPluginTemplate => &TEMPLATE,
            Self::InstallPlugin => &INSTALL,
            Self::InstallPluginFromBundle => &INSTALL_FROM_BUNDLE,
            Self::LoadPlugin => &LOAD,
            Self::ReloadPlugin
            | Self::UnloadPlugin
            | Self::ListPluginVersions
            | Self::UninstallPlugin
            | Self::GetPluginPermissions => &ONE_PLUGIN,
            Self::GrantPluginPermission => &GRANT,
            Self::RevokePluginPermission => &REVOKE,
            Self::ListPluginArtifacts => &[],
            Self::GetPluginArtifactUrl => &ARTIFACT_URL,
            Self::InstallPluginFromManifest => &INSTALL_FROM_MANIFEST,
            Self::InstallPluginFromUrl => &INSTALL_FROM_URL,
            Self::PublishPluginArtifact => &PUBLISH,
            Self::AppendPluginUpload => &APPEND_UPLOAD,
            Self::BeginPluginUpload => &BEGIN_UPLOAD,
            Self::CommitPluginUpload => &COMMIT_UPLOAD,
            Self::GetPluginLogs => &LOGS,
            Self::GetPluginOperation => &OPERATION,
            Self::GetPluginStats => &STATS,
            Self::PlanPluginInstall => &PLAN,
            Self::RollbackPlugin => &ROLLBACK,
        }
    }

    /// Whether it changes which plugins there are.
    fn is_lifecycle(self) -> bool {
        matches!(
            self,
            Self::InstallPlugin
                | Self::InstallPluginFromBundle
                | Self::InstallPluginFromManifest
                | Self::InstallPluginFromUrl
                | Self::CommitPluginUpload
                | Self::RollbackPlugin
                | Self::UninstallPlugin
                | Self::LoadPlugin
                | Self::ReloadPlugin
                | Self::UnloadPlugin
        )
    }

    /// Whether a request for it that comes twice is done once.
    fn is_done_once(self) -> bool {
        self.is_lifecycle() || self == Self::BeginPluginUpload
    }

    /// Whether plugins may not call it, whatever their manifests ask for: it changes what there is, or tells what others
    /// keep to themselves.
    fn is_closed_to_plugins(self) -> bool {
        self.is_lifecycle()
            || self.brings_files()
            || matches!(self, Self::GetPluginLogs | Self::GrantPluginPermission | Self::RevokePluginPermission)
    }

    /// Whether who calls it, and what comes of it, is written into the audit log.
    fn is_audited(self) -> bool {
        let grants = matches!(self, Self::GrantPluginPermission | Self::RevokePluginPermission);
        self.is_lifecycle() || grants || self == Self::PublishPluginArtifact
    }

    /// Whether it makes the host fetch or keep files, and changes no plugin.
    fn brings_files(self) -> bool {
        matches!(
            self,
            Self::PlanPluginInstall | Self::BeginPluginUpload | Self::AppendPluginUpload | Self::PublishPluginArtifact
        )
    }
}

/// The routes of the host's functions.
///
/// # Errors
/// Never: every name is legal, which a test shows.
pub(crate) fn routes(manager: &Arc<Manager>) -> Result<Vec<HostRoute>, IdError> {
    Function::ALL
        .into_iter()
        .map(|function| {
            let def = FunctionDef {
                name: FunctionName::new(function.name())?,
                description: function.description().to_owned(),
                parameters: schema(function.parameters()),
                labels: None,
                tags: Vec::new(),
            };
            let handler = Arc::new(HostFunction { function, manager: Arc::clone(manager) });
            Ok(HostRoute { def, handler })
        })
        .collect()
}

/// What the host's functions are called.
#[must_use]
pub fn function_names() -> Vec<&'static str> {
    Function::ALL.into_iter().map(Function::name).collect()
}

/// Whether a function is advertised: somebody on the mesh may call it, and it would do something.
pub(crate) fn is_offered(name: &str, policy: &Policy, has_source_roots: bool) -> bool {
    let admits = |source| policy.admits_source(source);
    let does_something = match Function::ALL.into_iter().find(|function| function.name() == name) {
        Some(Function::InstallPlugin) => {
            admits(SourceKind::Folder) && (has_source_roots || !policy.source_roots().is_empty())
        }
        Some(Function::InstallPluginFromBundle) => admits(SourceKind::Bundle),
        Some(Function::InstallPluginFromUrl) => admits(SourceKind::Url),
        Some(Function::InstallPluginFromManifest) => {
            [SourceKind::Bundle, SourceKind::Url, SourceKind::Object].into_iter().any(admits)
        }
        Some(Function::BeginPluginUpload | Function::AppendPluginUpload | Function::CommitPluginUpload) => {
            admits(SourceKind::Upload)
        }
        _ => true,
    };
    policy.offers(name) && does_something
}

/// The host's own events (wire contract 6.4).
pub(crate) fn events() -> Result<Vec<EventDef>, IdError> {
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let event = |name, description: &str, properties: Value, required: Value| {
        let schema = json!({"type": "object", "properties": properties, "required": required});
        Ok(EventDef {
            name: EventName::new(name)?,
            description: description.to_owned(),
            payload_schema: Some(Json::of(&schema)),
            labels: None,
            tags: Vec::new(),
        })
    };
    Ok(vec![
        event(
            "plugin_loaded",
            "A plugin serves its functions.",
            json!({"plugin_id": text, "functions": texts}),
            json!(["plugin_id", "functions"]),
        )?,
        event(
            PLUGIN_LOG_EVENT,
            "New lines of a plugin's log, while somebody follows it with `get_plugin_logs`.",
            json!({"plugin_id": text, "lines": {"type": "array", "items": {"type": "object"}}, "dropped": {"type": "integer"}}),
            json!(["plugin_id", "lines", "dropped"]),
        )?,
        event("plugin_unloaded", "A plugin's functions are gone.", json!({"plugin_id": text}), json!(["plugin_id"]))?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use mortise_plugin::HOST_EVENTS;

    #[test]
    fn every_name_is_legal_and_in_the_reference_s_order() {
        let names: Vec<&str> = Function::ALL.iter().map(|function| function.name()).collect();
        assert!(names.iter().all(|name| FunctionName::new(name).is_ok()));
        let (theirs, ours) = names.split_at(15);
        assert!(theirs.is_sorted() && ours.is_sorted(), "the reference's in its order, then ours");
        let events = events().unwrap();
        assert!(events.iter().map(|event| event.name.as_str()).eq(HOST_EVENTS), "no plugin emits them");
    }
}
