//! `list_plugin_versions`, `rollback_plugin` and `uninstall_plugin`.

use crate::change::{Next, Verb, busy, change_refusal};
use crate::depot::Uninstalled;
use crate::install::disk_refusal;
use crate::lifecycle::note_passed;
use crate::manager::Manager;
use crate::object::insert;
use crate::refusal::{Refusal, chain};
use crate::signature::Arguments;
use mortise_delivery::GenerationFolder;
use mortise_model::{PluginId, Source};
use mortise_plugin::Operation;
use mortise_store::{Desired, GenerationRecord};
use serde_json::{Value, json};
use tracing::{info, warn};

impl Manager {
    pub(crate) async fn list_versions(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let id = installed_id(arguments)?;
        let wanted = id.clone();
        let versions =
            self.on_disk(move |depot| depot.versions(&wanted)).await.map_err(|error| disk_refusal(&error))?;
        let (record, generations) = versions.ok_or_else(|| not_installed(id.as_str()))?;
        let serving = self.running(&id).map(|running| running.generation());
        let versions: Vec<Value> = generations
            .iter()
            .rev()
            .map(|(number, generation)| {
                let mut version = describe(*number, generation);
                insert(&mut version, "current", record.current == Some(*number));
                insert(&mut version, "serving", serving == Some(*number));
                version
            })
            .collect();
        let (desired, reason) = match &record.desired {
            Desired::Loaded => ("loaded", None),
            Desired::Unloaded => ("unloaded", None),
            Desired::Quarantined { reason } => ("quarantined", Some(reason.as_str())),
        };
        Ok(json!({
            "status": "success",
            "plugin_id": id,
            "current": record.current,
            "desired": desired,
            "quarantine_reason": reason,
            "versions": versions,
        }))
    }

    pub(crate) async fn rollback(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let id = installed_id(arguments)?;
        let wanted = arguments.optional_number("generation")?;
        let operation = self.registry.begin(&id).await.map_err(|error| busy(&error))?;
        self.roll_back(&operation, wanted).await
    }

    /// Makes another generation serve: the one that is asked for, else the newest that was installed before the current
    /// one.
    pub(crate) async fn roll_back(&self, operation: &Operation, wanted: Option<u64>) -> Result<Value, Refusal> {
        let id = operation.id().clone();
        let (folder, from) = self.rollback_target(&id, wanted).await?;
        let generation = folder.sequence;
        let version = folder.manifest.version.clone();
        let changed = self.change(operation, Next::Kept(folder)).await;
        let changed = changed.map_err(|error| change_refusal(&id, &error, Verb::RollBack))?;
        self.forget_probation(&id);
        info!(plugin = %id, from, to = generation, "plugin rolled back");
        let mut reply = self.load_result(&id, &changed);
        insert(&mut reply, "plugin_id", id.as_str());
        insert(&mut reply, "version", version);
        insert(&mut reply, "rolled_back_from", from);
        Ok(reply)
    }

    async fn rollback_target(
        &self,
        id: &PluginId,
        wanted: Option<u64>,
    ) -> Result<(GenerationFolder, Option<u64>), Refusal> {
        let plugin = id.clone();
        let found = self
            .on_disk(move |depot| {
                let Some((record, mut generations)) = depot.versions(&plugin)? else { return Ok(None) };
                // What was installed later was rolled back itself; whoever wants it again names it.
                let before = |number: &&u64| record.current.is_none_or(|current| **number < current);
                let target = wanted.or(record.previous.iter().find(before).copied());
                let Some(target) = target.filter(|target| record.current != Some(*target)) else {
                    return Ok(Some((None, record.current)));
                };
                let folder = generations
                    .remove(&target)
                    .map(|generation| depot.open_generation(&plugin, target, &generation))
                    .transpose()?;
                Ok(Some((folder, record.current)))
            })
            .await;
        match found.map_err(|error| crate::change::depot_refusal(id, &error, Verb::RollBack))? {
            None => Err(not_installed(id.as_str())),
            Some((Some(folder), current)) => Ok((folder, current)),
            Some((None, _)) => {
                let message = match wanted {
                    Some(wanted) => format!("plugin '{id}' has no other generation {wanted}"),
                    None => format!("plugin '{id}' has no earlier version"),
                };
                Err(Refusal::new("no_such_version", message)
                    .with("plugin_id", id.as_str())
                    .hint("`list_plugin_versions` shows what is kept; a later version has to be named"))
            }
        }
    }

    pub(crate) async fn uninstall(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let id = installed_id(arguments)?;
        let operation = self.registry.begin(&id).await.map_err(|error| busy(&error))?;
        let wanted = id.clone();
        let gone = self
            .on_disk(move |depot| depot.uninstall(&wanted))
            .await
            .map_err(|error| disk_refusal(&error).with("plugin_id", id.as_str()))?;
        // Only now: what could not be taken off the record goes on serving. A host that ends takes it away by itself.
        self.forget_probation(&id);
        self.forget_taken_back(&id);
        let removed = operation.remove().await.ok().flatten();
        self.registry.forget(&id);
        let cleared_state = self.registry.clear_state(&id).await;
        // Granted while it went: whoever comes under that name later starts with nothing.
        let forgotten = self.authority.forget(&id).await;
        let Some(Uninstalled { generations, edits }) = gone else { return Err(not_installed(id.as_str())) };
        let count = generations.len();
        let (wanted, registry) = (id.clone(), self.registry.clone());
        let cleared =
            self.on_disk(move |depot| depot.clear(&wanted, &generations, || registry.names().as_ref().clone())).await;
        info!(plugin = %id, generations = count, "plugin uninstalled");
        let mut reply = json!({
            "status": "success",
            "plugin_id": id,
            "was_loaded": removed.is_some(),
            "generations_removed": count,
        });
        if let Err(error) = forgotten {
            warn!(plugin = %id, error = chain(&error), "failed to forget what an uninstalled plugin was granted");
        }
        if let Err(failure) = cleared_state {
            warn!(plugin = %id, error = failure.message, "failed to forget what an uninstalled plugin kept");
        }
        if let Err(error) = cleared {
            warn!(plugin = %id, error = chain(&error), "failed to remove what an uninstalled plugin ran from");
            let warning = format!("its files are removed at the next start: {}", chain(&error));
            insert(&mut reply, "warnings", vec![warning]);
        }
        if let Some(edits) = edits {
            insert(&mut reply, "edits_kept_at", edits.display().to_string());
        }
        note_passed(&mut reply, removed.as_ref().map_or(&[], |removed| removed.passed.as_slice()));
        Ok(reply)
    }
}

fn describe(number: u64, generation: &GenerationRecord) -> Value {
    json!({
        "generation": number,
        "version": generation.version,
        "tree_digest": generation.tree.to_string(),
        "digest": generation.archive.as_ref().map(ToString::to_string),
        "source": source_value(&generation.source),
        "signer": generation.signer,
        "installed_at": generation.installed_at.to_string(),
    })
}

/// Where a generation came from, as replies tell it.
pub(crate) fn source_value(source: &Source) -> Value {
    match source {
        Source::Folder { path } => json!({"type": "folder", "path": path}),
        Source::Bundle => json!({"type": "bundle"}),
        Source::Url { url } => json!({"type": "url", "url": url}),
        Source::Upload => json!({"type": "upload"}),
        Source::Object { bucket, name } => json!({"type": "object", "bucket": bucket, "name": name}),
        Source::WorkingCopy => json!({"type": "working_copy"}),
    }
}

pub(crate) fn installed_id(arguments: &Arguments) -> Result<PluginId, Refusal> {
    let given = arguments.text("plugin_id")?;
    PluginId::new(given).map_err(|error| not_installed(given).detail(error.to_string()))
}

pub(crate) fn not_installed(given: &str) -> Refusal {
    Refusal::new("not_installed", format!("Plugin '{given}' is not installed"))
        .with("plugin_id", given)
        .hint("`list_plugins` names the plugins there are")
}
