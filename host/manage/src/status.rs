//! `get_status` and `list_plugins` (wire contract 10.3).

use crate::manager::Manager;
use crate::object::insert;
use crate::permissions::security;
use crate::refusal::{Refusal, chain};
use mortise_delivery::{ListedFolder, list_folders};
use mortise_model::{PluginId, PluginState, SubscriptionDef};
use mortise_plugin::{Authority as _, FunctionStatus, PluginStatus, RunningPlugin};
use mortise_rpc::Origin;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

impl Manager {
    pub(crate) fn status(&self, origin: Origin) -> Value {
        let snapshot = self.registry.snapshot();
        let loaded: Vec<&PluginId> =
            snapshot.iter().filter(|plugin| plugin.running.is_some()).map(|plugin| &plugin.id).collect();
        let preparing = snapshot.iter().filter(|plugin| plugin.state == PluginState::Preparing);
        let preparing: Vec<&PluginId> = preparing.map(|plugin| &plugin.id).collect();
        let failed: Map<String, Value> = snapshot
            .iter()
            .filter_map(|plugin| match &plugin.state {
                PluginState::Failed { reason } => Some((plugin.id.to_string(), reason.as_str().into())),
                _ => None,
            })
            .collect();
        let quarantined: Map<String, Value> = snapshot
            .iter()
            .filter_map(|plugin| match &plugin.state {
                PluginState::Quarantined { reason } => Some((plugin.id.to_string(), reason.as_str().into())),
                _ => None,
            })
            .collect();
        json!({
            "status": "success",
            "connected": self.client.is_connected(),
            "device_type": "plugin_host",
            "capabilities_dir": self.config.capabilities_dir.display().to_string(),
            "auto_load": self.config.auto_load,
            "enable_sidecars": false,
            "loaded_count": loaded.len(),
            "sidecar_count": 0,
            "loaded_plugins": loaded,
            "authoring": {
                "guide_rpc": "get_plugin_authoring_guide",
                "template_rpc": "get_plugin_template",
                "examples_rpc": "list_plugin_examples",
                "agents_doc": "AGENTS.md",
            },
            "host": {"name": "mortise", "version": env!("CARGO_PKG_VERSION")},
            "preparing_plugins": preparing,
            "failed_plugins": failed,
            "quarantined_plugins": quarantined,
            "policy": {
                "profile": if self.authority.policy().is_development() { "development" } else { "strict" },
                // Where the file lies and what it says is the operator's business.
                "error": self.policy_fault().map(|fault| match origin {
                    Origin::Control => fault,
                    Origin::Mesh | Origin::Plugin => "the policy file cannot be used".to_owned(),
                }),
            },
            "events": {"queued": self.outbox.len(), "dropped": self.outbox.dropped()},
        })
    }

    pub(crate) async fn list(&self) -> Result<Value, Refusal> {
        let capabilities_dir = self.config.capabilities_dir.clone();
        let folders = tokio::task::spawn_blocking(move || list_folders(&capabilities_dir))
            .await
            .map_err(|error| Refusal::new("internal", error.to_string()))?
            .map_err(|error| {
                let dir = self.config.capabilities_dir.display();
                Refusal::new("disk", format!("failed to list `{dir}`")).detail(chain(&error))
            })?;
        let snapshot = self.registry.snapshot();
        let by_id: HashMap<&str, &PluginStatus> = snapshot.iter().map(|plugin| (plugin.id.as_str(), plugin)).collect();
        let loaded: Map<String, Value> = snapshot
            .iter()
            .filter_map(|plugin| {
                let running = plugin.running.as_ref()?;
                let mut value = details(plugin, running);
                insert(&mut value, "subscriptions", self.subscriptions(running));
                insert(&mut value, "denied", self.denied(running.asker()));
                if let Some(why) = self.outdated_limits(running) {
                    insert(&mut value, "outdated_limits", why);
                }
                if let Some((generation, reason)) = self.taken_back(&plugin.id) {
                    insert(&mut value, "rolled_back", json!({"from_generation": generation, "reason": reason}));
                }
                Some((plugin.id.to_string(), value))
            })
            .collect();
        let available: Vec<Value> =
            folders.iter().map(|folder| available(folder, by_id.get(folder.name.as_str()).copied())).collect();
        Ok(json!({
            "status": "success",
            "loaded": loaded,
            "available": available,
            "sidecars": {},
            "capabilities_dir": self.config.capabilities_dir.display().to_string(),
        }))
    }
}

impl Manager {
    /// What it subscribes to, and how much of that it may hear.
    fn subscriptions(&self, running: &RunningPlugin) -> Vec<Value> {
        let subscriptions = running.description().subscriptions.iter();
        let value = |subscription: &SubscriptionDef| {
            let permission = subscription.permission();
            let permitted = match self.authority.holds(running.asker(), &permission) {
                Some(_) => "all",
                None if self.authority.leaves_something(running.asker(), &permission) => "some",
                None => "none",
            };
            let SubscriptionDef { name, device, event } = subscription;
            json!({"name": name, "device": device, "event": event, "permitted": permitted})
        };
        subscriptions.map(value).collect()
    }
}

fn available(folder: &ListedFolder, plugin: Option<&PluginStatus>) -> Value {
    let loaded = plugin.is_some_and(|plugin| plugin.running.is_some());
    let mut entry = json!({"id": folder.name, "path": folder.path.display().to_string(), "loaded": loaded});
    match &folder.manifest {
        Ok(manifest) => {
            insert(&mut entry, "manifest", Value::Object(manifest.raw.clone()));
            insert(&mut entry, "security", security(&manifest.permissions));
        }
        Err(error) => insert(&mut entry, "manifest_error", chain(error)),
    }
    match plugin.map(|plugin| &plugin.state) {
        Some(PluginState::Failed { reason }) => insert(&mut entry, "error", reason.as_str()),
        Some(state @ PluginState::Preparing) => insert(&mut entry, "state", state.word()),
        Some(state @ PluginState::Quarantined { reason }) => {
            insert(&mut entry, "state", state.word());
            insert(&mut entry, "quarantine_reason", reason.as_str());
        }
        Some(PluginState::Running) | None => {}
    }
    entry
}

/// The summary of the wire contract (10.1): the keys that clients know, in their order.
pub(crate) fn summary(running: &RunningPlugin) -> Value {
    let package = running.package();
    let manifest = &package.manifest;
    let mut functions: Vec<&str> = running.functions.iter().map(|function| function.name.as_str()).collect();
    functions.sort_unstable();
    let routines: Vec<&str> = running.description().routines.iter().map(|routine| routine.name.as_str()).collect();
    json!({
        "id": package.id,
        "functions": functions,
        "routines": routines,
        "manifest": {
            "id": package.id,
            "description": manifest.description,
            "version": manifest.version,
            "entry_point": manifest.entry_point,
            "class_name": manifest.class_name,
        },
    })
}

/// The summary, and what only this host knows.
fn details(plugin: &PluginStatus, running: &RunningPlugin) -> Value {
    let mut value = summary(running);
    let health = running.health();
    let events: Vec<&str> = running.description().events.iter().map(|event| event.name.as_str()).collect();
    insert(&mut value, "type", running.package().manifest.runtime.name());
    insert(&mut value, "state", if running.is_degraded() { "degraded" } else { plugin.state.word() });
    insert(&mut value, "generation", running.generation());
    insert(&mut value, "incarnation", running.incarnation());
    insert(&mut value, "tree_digest", running.package().tree.to_string());
    insert(&mut value, "events", events);
    insert(&mut value, "name_conflicts", conflicts(&running.functions));
    insert(&mut value, "warnings", warnings(running));
    insert(&mut value, "security", security(running.asker().wanted));
    insert(
        &mut value,
        "health",
        json!({
            "traps": health.traps,
            "last_trap": health.last_trap,
            "queued": health.queued,
            "running": health.running,
            "stray_outcomes": health.stray_outcomes,
        }),
    );
    value
}

/// What a plugin's author should know of its manifest and its description.
pub(crate) fn warnings(running: &RunningPlugin) -> Vec<String> {
    let manifest = running.package().manifest.warnings.iter().map(ToString::to_string);
    manifest.chain(running.description().warnings.iter().cloned()).collect()
}

/// Functions whose bare names belong to others, both owners named.
pub(crate) fn conflicts(functions: &[FunctionStatus]) -> Value {
    functions
        .iter()
        .filter_map(|function| {
            let owner = function.taken_by.as_ref()?;
            Some(json!({
                "function": function.name,
                "owner": owner.to_string(),
                "advertised_as": &*function.advertised_as,
            }))
        })
        .collect()
}
