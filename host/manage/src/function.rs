//! The host's own functions: what they are called, what they take, and how a call of one is answered.

use crate::manager::Manager;
use crate::refusal::Refusal;
use crate::repeat::{Repeat, RepeatKey};
use crate::signature::{Arguments, DefaultValue, Kind, Parameter, schema};
use mortise_model::{EventDef, EventName, FunctionDef, FunctionName, IdError, Json};
use mortise_rpc::{Admission, Call, CallError, Handler, HostRoute, Origin, Outcome, RpcCode};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::time::Instant;

/// The host's functions, in the order in which the reference advertises them (wire contract 6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    GetPluginAuthoringGuide,
    GetPluginTemplate,
    GetStatus,
    InstallPlugin,
    InstallPluginFromBundle,
    ListPluginExamples,
    ListPlugins,
    LoadPlugin,
    ReloadPlugin,
    UnloadPlugin,
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

const SAME_ID: Parameter = optional("plugin_id", "Must equal the manifest's id where both are given.");

const TEMPLATE: [Parameter; 4] = [
    required("plugin_id", "The new plugin's id, for example garage-door."),
    optional("class_name", "The name of its type; made from the id where it is left out."),
    optional("description", "What it does, in one sentence."),
    optional("language", "rust."),
];

const INSTALL: [Parameter; 2] = [required("source_path", "The plugin's folder."), SAME_ID];

const INSTALL_FROM_BUNDLE: [Parameter; 6] = [
    required("bundle_b64", "A .tar.gz or .zip of the plugin's folder, in base64."),
    SAME_ID,
    optional("digest", "SHA-256 of the archive's bytes, with or without `sha256:`."),
    Parameter {
        name: "format",
        kind: Kind::Text,
        description: "tar.gz, zip or auto.",
        default: Some(DefaultValue::Text("auto")),
    },
    Parameter {
        name: "load",
        kind: Kind::Boolean,
        description: "Whether to load it too.",
        default: Some(DefaultValue::True),
    },
    INSTALL_DEPENDENCIES,
];

const LOAD: [Parameter; 2] = [PLUGIN_ID, INSTALL_DEPENDENCIES];

const ONE_PLUGIN: [Parameter; 1] = [PLUGIN_ID];

impl Function {
    pub(crate) const ALL: [Self; 10] = [
        Self::GetPluginAuthoringGuide,
        Self::GetPluginTemplate,
        Self::GetStatus,
        Self::InstallPlugin,
        Self::InstallPluginFromBundle,
        Self::ListPluginExamples,
        Self::ListPlugins,
        Self::LoadPlugin,
        Self::ReloadPlugin,
        Self::UnloadPlugin,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GetPluginAuthoringGuide => "get_plugin_authoring_guide",
            Self::GetPluginTemplate => "get_plugin_template",
            Self::GetStatus => "get_status",
            Self::InstallPlugin => "install_plugin",
            Self::InstallPluginFromBundle => "install_plugin_from_bundle",
            Self::ListPluginExamples => "list_plugin_examples",
            Self::ListPlugins => "list_plugins",
            Self::LoadPlugin => "load_plugin",
            Self::ReloadPlugin => "reload_plugin",
            Self::UnloadPlugin => "unload_plugin",
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
        }
    }

    pub(crate) fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::GetPluginAuthoringGuide | Self::GetStatus | Self::ListPluginExamples | Self::ListPlugins => &[],
            Self::GetPluginTemplate => &TEMPLATE,
            Self::InstallPlugin => &INSTALL,
            Self::InstallPluginFromBundle => &INSTALL_FROM_BUNDLE,
            Self::LoadPlugin => &LOAD,
            Self::ReloadPlugin | Self::UnloadPlugin => &ONE_PLUGIN,
        }
    }

    /// Whether it changes which plugins there are.
    fn is_lifecycle(self) -> bool {
        matches!(
            self,
            Self::InstallPlugin
                | Self::InstallPluginFromBundle
                | Self::LoadPlugin
                | Self::ReloadPlugin
                | Self::UnloadPlugin
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
            let advertised = function != Function::InstallPlugin || manager.installs_from_folders();
            let handler = Arc::new(HostFunction { function, manager: Arc::clone(manager) });
            Ok(HostRoute { def, handler, advertised })
        })
        .collect()
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
        event("plugin_unloaded", "A plugin's functions are gone.", json!({"plugin_id": text}), json!(["plugin_id"]))?,
    ])
}

struct HostFunction {
    function: Function,
    manager: Arc<Manager>,
}

impl Handler for HostFunction {
    fn handle(&self, _: &Arc<str>, call: Call) -> Admission {
        let (function, manager) = (self.function, Arc::clone(&self.manager));
        // What the host is doing can be asked at any time.
        let place = match function {
            Function::GetStatus => None,
            _ => match Arc::clone(&manager.call_places).try_acquire_owned() {
                Ok(place) => Some(place),
                Err(_) => {
                    let refusal = Refusal::new("busy", "too many calls of host functions are under way")
                        .hint("try again in a moment");
                    call.responder.respond(Ok(Json::of(&refusal.into_value())));
                    return Admission::Taken;
                }
            },
        };
        // A task of its own: a caller that leaves does not leave half an install.
        self.manager.tasks().spawn(async move {
            let Call { params, origin, caller, request_id, responder, .. } = call;
            responder.respond(answer(function, &manager, origin, caller, request_id, params).await);
            drop(place);
        });
        Admission::Taken
    }
}

async fn answer(
    function: Function,
    manager: &Manager,
    origin: Origin,
    caller: Option<String>,
    id: Arc<RawValue>,
    params: Json,
) -> Outcome {
    let name = function.name();
    let judge = move || {
        let key = match function.is_lifecycle() {
            true => RepeatKey::new(origin, caller, id.get(), name, &params),
            false => None,
        };
        Arguments::judge(name, function.parameters(), &params).map(|arguments| (arguments, key))
    };
    // A bundle's megabytes are parsed and hashed on a thread that may take its time.
    let judged = match function {
        Function::InstallPluginFromBundle => {
            tokio::task::spawn_blocking(judge).await.unwrap_or_else(|error| Err(error.to_string()))
        }
        _ => judge(),
    };
    let (arguments, key) = judged.map_err(|text| CallError {
        rpc: RpcCode::Failed,
        message: format!("Error invoking {name}: {text}"),
        code: Cow::Borrowed("invalid_arguments"),
        retryable: false,
    })?;
    if function.is_lifecycle() && origin == Origin::Plugin {
        let refusal = Refusal::new("not_allowed", format!("plugins may not call `{name}`"));
        return Ok(Json::of(&refusal.into_value()));
    }
    let Some(key) = key else {
        return Ok(Json::of(&run(function, manager, origin, arguments).await));
    };
    match manager.repeats().enter(key.clone(), Instant::now()) {
        Repeat::First(sender) => {
            let answer = run(function, manager, origin, arguments).await;
            if matches!(answer.get("code").and_then(Value::as_str), Some("busy" | "stopping")) {
                manager.repeats().forget(&key);
            }
            let answer = Json::of(&answer);
            sender.send_replace(Some(answer.clone()));
            Ok(answer)
        }
        Repeat::Joined(mut answer) => {
            let answer = answer.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
            answer.ok_or_else(|| CallError {
                rpc: RpcCode::Failed,
                message: format!("Error invoking {name}: the call it repeats ended without an answer"),
                code: Cow::Borrowed("dropped"),
                retryable: true,
            })
        }
    }
}

async fn run(function: Function, manager: &Manager, origin: Origin, mut arguments: Arguments) -> Value {
    let result = match function {
        Function::GetPluginAuthoringGuide => Ok(manager.authoring_guide()),
        Function::GetPluginTemplate => manager.template(&arguments),
        Function::GetStatus => Ok(manager.status()),
        Function::InstallPlugin => manager.install_from_folder(origin, &arguments).await,
        Function::InstallPluginFromBundle => manager.install_from_bundle(&mut arguments).await,
        Function::ListPluginExamples => Ok(manager.examples()),
        Function::ListPlugins => manager.list().await,
        Function::LoadPlugin => manager.load(&arguments).await,
        Function::ReloadPlugin => manager.reload(&arguments).await,
        Function::UnloadPlugin => manager.unload(&arguments).await,
    };
    result.unwrap_or_else(Refusal::into_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_legal_and_in_the_reference_s_order() {
        let names: Vec<&str> = Function::ALL.iter().map(|function| function.name()).collect();
        assert!(names.iter().all(|name| FunctionName::new(name).is_ok()));
        assert!(names.is_sorted());
        assert_eq!(events().unwrap().len(), 2);
    }
}
