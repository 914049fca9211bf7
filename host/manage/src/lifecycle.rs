//! `load_plugin`, `reload_plugin` and `unload_plugin` (wire contract 10.3).

use crate::manager::Manager;
use crate::object::insert;
use crate::refusal::{Refusal, chain};
use crate::signature::Arguments;
use crate::status::{conflicts, summary, warnings};
use mortise_delivery::{FolderError, PluginFolder, StagedPlugin, TreeError, TreeLimits};
use mortise_model::PluginId;
use mortise_plugin::{ActivateError, Activated, Busy, Operation, Package, PrepareError, Prepared};
use serde_json::{Value, json};
use std::sync::Arc;
use tracing::{info, warn};

/// Plugins prepared at once when all are loaded at start.
const AUTO_LOAD_CONCURRENCY: usize = 4;

/// Which words a failure begins with.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Load,
    Reload,
}

impl Verb {
    fn failed(self, id: &str) -> String {
        match self {
            Self::Load => format!("Failed to load plugin '{id}'"),
            Self::Reload => format!("Failed to reload plugin '{id}'"),
        }
    }
}

impl Manager {
    /// Loads every valid folder, in the order of their names; what fails is recorded and the others go on.
    pub async fn auto_load(&self) {
        let capabilities_dir = self.config.capabilities_dir.clone();
        let listed = tokio::task::spawn_blocking(move || mortise_delivery::list_folders(&capabilities_dir)).await;
        let folders = match listed {
            Ok(Ok(folders)) => folders,
            Ok(Err(error)) => return warn!(error = chain(&error), "failed to list the plugins"),
            Err(error) => return warn!(%error, "failed to list the plugins"),
        };
        let ids = folders.into_iter().filter_map(|folder| match PluginId::new(&folder.name) {
            Ok(id) => Some(id),
            Err(error) => {
                warn!(%error, "left out a folder that cannot be a plugin");
                None
            }
        });
        let prepare = |id: PluginId| async move {
            let operation = self.registry.begin(&id).await.ok()?;
            let prepared = self.prepare(&operation, Verb::Load).await;
            Some((operation, prepared))
        };
        // Prepared side by side, activated in order: who owns a bare name must not depend on who is quicker.
        let mut prepared =
            futures_util::StreamExt::buffered(futures_util::stream::iter(ids.map(prepare)), AUTO_LOAD_CONCURRENCY);
        let (mut loaded, mut failed) = (0, 0);
        while let Some(next) = futures_util::StreamExt::next(&mut prepared).await {
            let Some((operation, prepared)) = next else { continue };
            let result = match prepared {
                Ok(prepared) => self.activate(&operation, prepared, Verb::Load).await.map(drop),
                Err(refusal) => Err(refusal),
            };
            match result {
                Ok(()) => loaded += 1,
                Err(_) => failed += 1,
            }
        }
        info!(loaded, failed, "auto-load is done");
    }

    pub(crate) async fn load(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        self.load_from_folder(arguments, Verb::Load).await
    }

    pub(crate) async fn reload(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        self.load_from_folder(arguments, Verb::Reload).await
    }

    pub(crate) async fn unload(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let given = arguments.text("plugin_id")?;
        let not_loaded =
            || Refusal::new("not_loaded", format!("Plugin '{given}' is not loaded")).with("plugin_id", given);
        let id = PluginId::new(given).map_err(|error| not_loaded().detail(error.to_string()))?;
        let operation = self.registry.begin(&id).await.map_err(|error| busy(&error))?;
        let removed = operation.remove().await.ok_or_else(not_loaded)?;
        let mut reply = json!({"status": "success", "plugin_id": id});
        note_passed(&mut reply, &removed.passed);
        Ok(reply)
    }

    async fn load_from_folder(&self, arguments: &Arguments, verb: Verb) -> Result<Value, Refusal> {
        let given = arguments.text("plugin_id")?;
        if arguments.optional_flag("install_dependencies")? == Some(true) {
            return Err(no_dependencies().with("plugin_id", given));
        }
        let id = PluginId::new(given).map_err(|error| {
            Refusal::new("invalid_plugin_id", verb.failed(given)).with("plugin_id", given).detail(error.to_string())
        })?;
        let operation = self.registry.begin(&id).await.map_err(|error| busy(&error))?;
        let prepared = self.prepare(&operation, verb).await?;
        let activated = self.activate(&operation, prepared, verb).await?;
        Ok(self.load_result(&id, &activated))
    }

    /// Opens the plugin's folder and prepares a generation from it. A failure is recorded and told.
    async fn prepare(&self, operation: &Operation, verb: Verb) -> Result<Prepared, Refusal> {
        let id = operation.id().clone();
        let result = match self.open_folder(&id, verb).await {
            Ok(package) => operation.prepare(package).await.map_err(|error| prepare_refusal(&id, &error, verb)),
            Err(refusal) => Err(refusal),
        };
        self.record_failure(operation, result).await
    }

    async fn activate(&self, operation: &Operation, prepared: Prepared, verb: Verb) -> Result<Activated, Refusal> {
        let result = operation.activate(prepared).await;
        let result = result.map_err(|error| activate_refusal(operation.id(), &error, verb));
        self.record_failure(operation, result).await
    }

    /// Remembers why a plugin failed; of one whose folder is not there, nothing is remembered.
    async fn record_failure<T>(&self, operation: &Operation, result: Result<T, Refusal>) -> Result<T, Refusal> {
        if let Err(refusal) = &result {
            let reason = refusal.reason().to_owned();
            operation.fail(self.folder_of(operation.id()).exists().then_some(reason)).await;
        }
        result
    }

    async fn open_folder(&self, id: &PluginId, verb: Verb) -> Result<Package, Refusal> {
        let (dir, plugin) = (self.config.capabilities_dir.clone(), id.clone());
        let opened =
            tokio::task::spawn_blocking(move || PluginFolder::open(&dir, &plugin, &TreeLimits::default())).await;
        match opened {
            Ok(Ok(folder)) => Ok(package(folder)),
            Ok(Err(error)) => Err(folder_refusal(id, &error, verb)),
            Err(error) => Err(Refusal::new("internal", verb.failed(id.as_str())).detail(error.to_string())),
        }
    }

    /// `{"status": "success", "plugin": <summary>}`, and what only this host knows.
    pub(crate) fn load_result(&self, id: &PluginId, activated: &Activated) -> Value {
        let snapshot = self.registry.snapshot();
        let running = snapshot.iter().find(|plugin| plugin.id == *id).and_then(|plugin| plugin.running.as_ref());
        let mut reply = json!({
            "status": "success",
            "plugin": running.map(summary),
            "generation": activated.sequence,
        });
        let mut all = running.map(warnings).unwrap_or_default();
        all.extend(activated.warnings.iter().cloned());
        if !all.is_empty() {
            insert(&mut reply, "warnings", all);
        }
        let conflicts = conflicts(&activated.functions);
        if conflicts.as_array().is_some_and(|conflicts| !conflicts.is_empty()) {
            insert(&mut reply, "name_conflicts", conflicts);
        }
        note_passed(&mut reply, &activated.passed);
        reply
    }
}

fn package(folder: PluginFolder) -> Package {
    Package { id: folder.id, manifest: folder.manifest, root: folder.root, tree: folder.tree }
}

pub(crate) fn package_at(staged: &StagedPlugin) -> Package {
    Package {
        id: staged.id.clone(),
        manifest: Arc::clone(&staged.manifest),
        root: staged.root().to_owned(),
        tree: staged.tree,
    }
}

pub(crate) fn no_dependencies() -> Refusal {
    Refusal::new("dependencies_unsupported", "this host does not install dependencies")
        .hint("build them into the plugin, and leave `install_dependencies` out")
}

fn note_passed(reply: &mut Value, passed: &[mortise_plugin::Succession]) {
    if !passed.is_empty() {
        let passed: Vec<Value> =
            passed.iter().map(|passed| json!({"function": passed.function, "owner": passed.owner})).collect();
        insert(reply, "names_passed", passed);
    }
}

pub(crate) fn busy(error: &Busy) -> Refusal {
    Refusal::new("busy", error.to_string()).with("plugin_id", error.plugin.as_str()).hint("try again in a moment")
}

/// The reference says no more than that it failed when the folder or the manifest is missing; anything else it raises
/// with the reason, and so the reason is in the message.
fn folder_refusal(id: &PluginId, error: &FolderError, verb: Verb) -> Refusal {
    let message = verb.failed(id.as_str());
    let detail = chain(error);
    let missing = matches!(
        error,
        FolderError::NoManifest
            | FolderError::NoEntryPoint { .. }
            | FolderError::Tree(TreeError::NotFound { .. } | TreeError::NotAFolder { .. })
    );
    let message = if missing { message } else { format!("{message}: {detail}") };
    Refusal::new(error.code(), message).with("plugin_id", id.as_str()).detail(detail).hint(error.hint())
}

fn prepare_refusal(id: &PluginId, error: &PrepareError, verb: Verb) -> Refusal {
    explain(error, Refusal::new(prepare_code(error), format!("{}: {}", verb.failed(id.as_str()), chain(error))), id)
}

fn activate_refusal(id: &PluginId, error: &ActivateError, verb: Verb) -> Refusal {
    let message = format!("{}: {error}", verb.failed(id.as_str()));
    Refusal::new(activate_code(error), message).with("plugin_id", id.as_str()).detail(error.to_string())
}

pub(crate) fn explain(error: &PrepareError, refusal: Refusal, id: &PluginId) -> Refusal {
    let refusal = refusal.with("plugin_id", id.as_str()).detail(chain(error));
    match error {
        PrepareError::Code { hint: Some(hint), .. } => refusal.hint(hint.clone()),
        _ => refusal,
    }
}

pub(crate) fn prepare_code(error: &PrepareError) -> &'static str {
    match error {
        PrepareError::NoRuntime(_) => "no_runtime",
        PrepareError::Read { .. } => "disk",
        PrepareError::Code { .. } => "invalid_code",
        PrepareError::Description(_) => "invalid_description",
        PrepareError::Hook { .. } => "hook_failed",
        PrepareError::Unsupported { .. } => "unsupported",
        PrepareError::Refused(error) => activate_code(error),
        PrepareError::Limit { .. } => "limit_reached",
    }
}

pub(crate) fn activate_code(error: &ActivateError) -> &'static str {
    match error {
        ActivateError::AdvertisementFull { .. } => "advertisement_full",
        ActivateError::Busy(_) => "busy",
        ActivateError::Stopping => "stopping",
    }
}
