//! How a call of one of the host's functions is answered: who may make it, with what, and once where it must not be done twice.

use super::Function;
use crate::audit::Deed;
use crate::authoring;
use crate::manager::Manager;
use crate::refusal::Refusal;
use crate::repeat::{Repeat, RepeatKey};
use crate::signature::Arguments;
use mortise_model::Json;
use mortise_policy::Policy;
use mortise_rpc::{Admission, Call, CallError, Handler, Origin, Outcome, RpcCode};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::warn;

pub(super) struct HostFunction {
    pub(super) function: Function,
    pub(super) manager: Arc<Manager>,
}

impl Handler for HostFunction {
    fn handle(&self, _: &Arc<str>, call: Call) -> Admission {
        let (function, manager) = (self.function, Arc::clone(&self.manager));
        // What the host is doing can be asked at any time, and nobody keeps the operator out.
        let places = match call.origin {
            _ if function == Function::GetStatus => None,
            Origin::Control => None,
            Origin::Mesh => Some(&manager.mesh_places),
            Origin::Plugin => Some(&manager.plugin_places),
        };
        let place = match places {
            None => None,
            Some(places) => match Arc::clone(places).try_acquire_owned() {
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
            let Call { params, origin, caller, responder, .. } = call;
            let request = Request { function, origin, caller, id: responder.request_id().get().to_owned() };
            let outcome = tokio::select! {
                // What needs no waiting is answered even then.
                biased;
                outcome = answer(&manager, &request, params) => outcome,
                () = manager.stopping().cancelled() => Ok(Json::of(&given_up(function).into_value())),
            };
            responder.respond(outcome);
            drop(place);
        });
        Admission::Taken
    }
}

/// Who calls which function.
struct Request {
    function: Function,
    origin: Origin,
    /// What it claims to be.
    caller: Option<String>,
    /// As JSON text.
    id: String,
}

impl Request {
    /// What is said to who may not call the function.
    fn barred(&self, policy: &Policy) -> Option<Refusal> {
        let name = self.function.name();
        match self.origin {
            Origin::Control => None,
            Origin::Mesh if policy.admits_call(name, self.caller.as_deref()) => None,
            Origin::Mesh => {
                let message = format!("the host's policy does not let this caller call `{name}`");
                let hint = "the operator opens functions to callers in the policy file, under `mesh`";
                Some(Refusal::new("not_allowed", message).hint(hint))
            }
            Origin::Plugin if !self.function.is_closed_to_plugins() => None,
            Origin::Plugin => Some(Refusal::new("not_allowed", format!("plugins may not call `{name}`"))),
        }
    }
}

/// The answer to a call that the end of the host has overtaken.
fn given_up(function: Function) -> Refusal {
    let message = format!("the host is stopping, and `{}` was given up", function.name());
    let refusal = Refusal::new("stopping", message);
    if function.is_lifecycle() {
        refusal.hint("`list_plugins` tells what became of it once the host is back")
    } else {
        refusal.hint("ask again when the host is back")
    }
}

async fn answer(manager: &Manager, request: &Request, params: Json) -> Outcome {
    let function = request.function;
    let name = function.name();
    if let Some(refusal) = request.barred(&manager.authority.policy()) {
        let answer = refusal.into_value();
        if function.is_audited() {
            manager
                .audit(Deed::call(name, request.origin, request.caller.as_deref(), &request.id, None), &answer)
                .await;
        }
        return Ok(Json::of(&answer));
    }
    let (origin, caller, id) = (request.origin, request.caller.clone(), request.id.clone());
    let judge = move || {
        let key = match function.is_done_once() {
            true => RepeatKey::new(origin, caller, &id, name, &params),
            false => None,
        };
        Arguments::judge(name, function.parameters(), &params).map(|arguments| (arguments, key))
    };
    // A bundle's megabytes are parsed and hashed on a thread that may take its time.
    let judged = match function {
        Function::InstallPluginFromBundle
        | Function::InstallPluginFromManifest
        | Function::AppendPluginUpload
        | Function::PlanPluginInstall
        | Function::PublishPluginArtifact => {
            tokio::task::spawn_blocking(judge).await.unwrap_or_else(|error| Err(error.to_string()))
        }
        _ => judge(),
    };
    let (arguments, key) = match judged {
        Ok(judged) => judged,
        Err(text) => {
            if function.is_audited() {
                let answer = json!({"status": "error", "code": "invalid_arguments", "detail": text});
                manager
                    .audit(Deed::call(name, request.origin, request.caller.as_deref(), &request.id, None), &answer)
                    .await;
            }
            return Err(CallError {
                rpc: RpcCode::Failed,
                message: format!("Error invoking {name}: {text}"),
                code: Cow::Borrowed("invalid_arguments"),
                retryable: false,
            });
        }
    };
    let Some(key) = key else {
        return Ok(Json::of(&run(manager, request, arguments).await));
    };
    loop {
        match manager.repeats().enter(key.clone(), Instant::now()) {
            Repeat::First(sender) => {
                let plugin = arguments.optional_text("plugin_id").ok().flatten();
                let noted =
                    function.is_lifecycle().then(|| manager.note_operation(&request.id, name, plugin)).flatten();
                let answer = run(manager, request, arguments).await;
                if let Some(noted) = noted {
                    manager.note_outcome(noted, &answer);
                }
                if matches!(answer.get("code").and_then(Value::as_str), Some("busy" | "stopping")) {
                    manager.repeats().forget(&key);
                }
                let answer = Json::of(&answer);
                sender.send_replace(Some(answer.clone()));
                return Ok(answer);
            }
            Repeat::Joined(mut answer) => {
                let answer = answer.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
                let answer = answer.ok_or_else(|| CallError {
                    rpc: RpcCode::Failed,
                    message: format!("Error invoking {name}: the call it repeats ended without an answer"),
                    code: Cow::Borrowed("dropped"),
                    retryable: true,
                })?;
                if function != Function::BeginPluginUpload || manager.is_begun(&answer) {
                    return Ok(answer);
                }
                manager.repeats().forget(&key);
            }
        }
    }
}

async fn run(manager: &Manager, request: &Request, mut arguments: Arguments) -> Value {
    let Request { function, origin, caller, id } = request;
    let (function, origin, caller) = (*function, *origin, caller.as_deref());
    let deed = function.is_audited().then(|| Deed::call(function.name(), origin, caller, id, Some(&arguments)));
    let result = match function {
        Function::GetPluginAuthoringGuide => Ok(manager.authoring_guide()),
        Function::GetPluginTemplate => manager.template(&arguments),
        Function::GetStatus => Ok(manager.status(origin)),
        Function::InstallPlugin => manager.install_from_folder(origin, &arguments).await,
        Function::InstallPluginFromBundle => manager.install_from_bundle(&mut arguments).await,
        Function::InstallPluginFromManifest => manager.install_from_manifest(&mut arguments).await,
        Function::InstallPluginFromUrl => manager.install_from_url(&arguments).await,
        Function::GetPluginArtifactUrl => manager.artifact_url(&arguments).await,
        Function::ListPluginArtifacts => manager.list_artifacts().await,
        Function::PublishPluginArtifact => manager.publish_artifact(&mut arguments).await,
        Function::ListPluginExamples => Ok(authoring::examples()),
        Function::ListPlugins => manager.list().await,
        Function::LoadPlugin => manager.load(&arguments).await,
        Function::ReloadPlugin => manager.reload(&arguments).await,
        Function::UnloadPlugin => manager.unload(&arguments).await,
        Function::AppendPluginUpload => manager.append_upload(&mut arguments).await,
        Function::BeginPluginUpload => manager.begin_upload(&arguments).await,
        Function::CommitPluginUpload => manager.commit_upload(&arguments).await,
        Function::GetPluginOperation => manager.operation(&arguments).await,
        Function::GetPluginLogs => manager.logs(&arguments),
        Function::GetPluginPermissions => manager.permissions(&arguments).await,
        Function::GetPluginStats => manager.stats(&arguments).await,
        Function::GrantPluginPermission => manager.grant(&arguments).await,
        Function::ListPluginVersions => manager.list_versions(&arguments).await,
        Function::PlanPluginInstall => manager.plan_install(origin, arguments).await,
        Function::RevokePluginPermission => manager.revoke(&arguments).await,
        Function::RollbackPlugin => manager.rollback(&arguments).await,
        Function::UninstallPlugin => manager.uninstall(&arguments).await,
    };
    let is_refused = result.is_err();
    let mut answer = result.unwrap_or_else(Refusal::into_value);
    if origin != Origin::Control {
        let whole = is_refused.then(|| answer.to_string());
        if manager.folders.shorten(&mut answer)
            && let Some(answer) = whole
        {
            warn!(function = function.name(), answer, "refused a call");
        }
    }
    if let Some(deed) = deed {
        manager.audit(deed, &answer).await;
    }
    answer
}
