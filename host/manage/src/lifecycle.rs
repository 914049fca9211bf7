//! `load_plugin`, `reload_plugin` and `unload_plugin` (wire contract 10.3).

use crate::change::{ChangeError, Changed, Next, Verb, busy, change_refusal, depot_refusal, stopping};
use crate::dependencies::Dependencies;
use crate::depot::{Depot, DepotError, ToLoad};
use crate::manager::Manager;
use crate::object::insert;
use crate::refusal::{Refusal, chain};
use crate::signature::Arguments;
use crate::status::{conflicts, summary, warnings};
use mortise_delivery::{DeliveryError, StageError, StagedPlugin, TreeLimits};
use mortise_model::PluginId;
use mortise_plugin::Operation;
use mortise_store::Desired;
use serde_json::{Value, json};
use tracing::warn;

impl Manager {
    pub(crate) async fn load(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        self.load_from_folder(arguments, Verb::Load).await
    }

    pub(crate) async fn reload(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        self.load_from_folder(arguments, Verb::Reload).await
    }

    pub(crate) async fn unload(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let given = arguments.text("plugin_id")?;
        let not_loaded = || {
            Refusal::new("not_loaded", format!("Plugin '{given}' is not loaded"))
                .with("plugin_id", given)
                .hint("`list_plugins` names those that are")
        };
        let id = PluginId::new(given).map_err(|error| not_loaded().detail(error.to_string()))?;
        let operation = self.registry.begin(&id).await.map_err(|error| busy(&error))?;
        let removed = operation.remove().await.map_err(|error| stopping(&error))?;
        // One that failed does not serve, and yet the next start would try it again. One in quarantine leaves it.
        if removed.is_none() && !self.is_wanted(&id).await {
            return Err(not_loaded());
        }
        self.forget_probation(&id);
        let mut reply = json!({"status": "success", "plugin_id": id});
        let registry = self.registry.clone();
        let remembered = self
            .on_disk(move |depot| {
                depot.desire(&id, &Desired::Unloaded)?;
                depot.remember_names(|| registry.names().as_ref().clone())
            })
            .await;
        if let Err(error) = remembered {
            warn!(error = chain(&error), "failed to remember an unload");
            let warning = format!("it will be loaded again at the next start: {}", chain(&error));
            insert(&mut reply, "warnings", vec![warning]);
        }
        note_passed(&mut reply, removed.as_ref().map_or(&[], |removed| removed.passed.as_slice()));
        Ok(reply)
    }

    /// Whether the record has the plugin anything but unloaded.
    async fn is_wanted(&self, id: &PluginId) -> bool {
        let wanted = id.clone();
        let installed = self.on_disk(move |depot| depot.installed(&wanted)).await;
        installed.ok().flatten().is_some_and(|installed| installed.desired != Desired::Unloaded)
    }

    async fn load_from_folder(&self, arguments: &Arguments, verb: Verb) -> Result<Value, Refusal> {
        let given = arguments.text("plugin_id")?;
        let dependencies = self.dependencies(arguments.optional_flag("install_dependencies")?);
        let id = PluginId::new(given).map_err(|error| {
            Refusal::new("invalid_plugin_id", verb.failed(given))
                .with("plugin_id", given)
                .detail(error.to_string())
                .hint("`list_plugins` names the plugins there are")
        })?;
        let operation = self.registry.begin(&id).await.map_err(|error| busy(&error))?;
        let _place = match dependencies.are_asked_for() {
            true => Some(self.staging_place().await),
            false => None,
        };
        let wanted = id.clone();
        let result = match self.on_disk(move |depot| next_to_load(depot, &wanted, &dependencies)).await {
            // The caller's wish is at fault, and not the plugin.
            Err(error @ DepotError::Delivery(DeliveryError::Stage(StageError::Dependencies(_)))) => {
                return Err(depot_refusal(&id, &error, verb));
            }
            Ok(next) => self.change(&operation, next).await,
            Err(error) => Err(error.into()),
        };
        let changed = self.remember_failure(&operation, result, verb).await?;
        Ok(self.load_result(&id, &changed))
    }

    /// Remembers why a plugin failed; of one that is neither on record nor in its folder, nothing is remembered.
    pub(crate) async fn remember_failure(
        &self,
        operation: &Operation,
        result: Result<Changed, ChangeError>,
        verb: Verb,
    ) -> Result<Changed, Refusal> {
        let id = operation.id();
        match result {
            Ok(changed) => Ok(changed),
            Err(error) => {
                let refusal = change_refusal(id, &error, verb);
                let reason = refusal.reason().to_owned();
                let wanted = id.clone();
                let is_known = self
                    .on_disk(move |depot| {
                        Ok(depot.working_copy(&wanted).exists() || depot.installed(&wanted)?.is_some())
                    })
                    .await
                    .unwrap_or(true);
                operation.fail(is_known.then_some(reason)).await;
                Err(refusal)
            }
        }
    }

    pub(crate) fn load_result(&self, id: &PluginId, changed: &Changed) -> Value {
        let activated = &changed.activated;
        let snapshot = self.registry.snapshot();
        let running = snapshot.iter().find(|plugin| plugin.id == *id).and_then(|plugin| plugin.running.as_ref());
        let mut reply = json!({
            "status": "success",
            "plugin": running.map(summary),
            "generation": activated.generation,
            "incarnation": activated.incarnation,
        });
        let mut all = running.map(warnings).unwrap_or_default();
        all.extend(activated.warnings.iter().cloned());
        all.extend(changed.warnings.iter().cloned());
        if !all.is_empty() {
            insert(&mut reply, "warnings", all);
        }
        if let Some(edits) = &changed.edits {
            insert(&mut reply, "edits_kept_at", edits.display().to_string());
        }
        let denied = running.map(|running| self.denied(running.asker())).unwrap_or_default();
        if !denied.is_empty() {
            insert(&mut reply, "denied", denied);
        }
        let conflicts = conflicts(&activated.functions);
        if conflicts.as_array().is_some_and(|conflicts| !conflicts.is_empty()) {
            insert(&mut reply, "name_conflicts", conflicts);
        }
        note_passed(&mut reply, &activated.passed);
        reply
    }
}

/// What a load or reload makes serve: the working copy where somebody edited it, else what is recorded.
pub(crate) fn next_to_load(depot: &Depot, id: &PluginId, dependencies: &Dependencies) -> Result<Next, DepotError> {
    let staged = match depot.to_load(id)? {
        ToLoad::Recorded(folder) if dependencies.are_asked_for() && !folder.manifest.python_dependencies.is_empty() => {
            StagedPlugin::from_folder(&folder.path, Some(id), &TreeLimits::default(), depot.staging())?
        }
        ToLoad::Recorded(folder) => return Ok(Next::Kept(folder)),
        ToLoad::WorkingCopy(staged) => staged,
    };
    let staged = dependencies.install(staged)?;
    Ok(Next::New(depot.add(staged)?))
}

pub(crate) fn note_passed(reply: &mut Value, passed: &[mortise_plugin::Succession]) {
    if !passed.is_empty() {
        let passed: Vec<Value> =
            passed.iter().map(|passed| json!({"function": passed.function, "owner": passed.owner})).collect();
        insert(reply, "names_passed", passed);
    }
}
