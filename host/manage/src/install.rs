//! The way of a plugin from outside to serving: stage, prepare beside the old, commit, swap.
//!
//! Nothing is where plugins lie, and nothing of the running set is touched, before the new one has been proven.

use crate::lifecycle::{activate_code, busy, explain, no_dependencies, package_at, prepare_code};
use crate::manager::Manager;
use crate::object::insert;
use crate::refusal::{Refusal, chain};
use crate::signature::Arguments;
use crate::status::summary;
use mortise_delivery::{
    ArchiveFormat, ArchiveLimits, CommitError, Committed, DeliveryError, IfExists, StagedPlugin, TreeLimits,
    check_digest, decode_base64,
};
use mortise_model::{Digest, PluginId};
use mortise_plugin::{Operation, RunningPlugin};
use mortise_rpc::Origin;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// A staged plugin and what is known of where it came from.
struct Staged {
    plugin: StagedPlugin,
    /// Of the archive; a folder has none.
    archive: Option<Digest>,
}

impl Manager {
    pub(crate) async fn install_from_bundle(&self, arguments: &mut Arguments) -> Result<Value, Refusal> {
        let id = plugin_id(arguments)?;
        if arguments.optional_flag("install_dependencies")? == Some(true) {
            return Err(no_dependencies());
        }
        let load = arguments.optional_flag("load")?.unwrap_or(true);
        let digest = arguments.optional_text("digest")?.map(str::to_owned);
        let format = arguments.optional_text("format")?.unwrap_or("auto").to_owned();
        let bundle = arguments.take_text("bundle_b64")?;
        let (staging, config) = (self.staging.clone(), self.config.clone());
        // Never closed.
        let _place = self.staging_places.acquire().await;
        let staged = blocking(move || {
            let bytes = decode_base64(&bundle, config.bundle_bytes_max)?;
            drop(bundle);
            let archive = check_digest(&bytes, digest.as_deref(), config.digest_required)?;
            let format = ArchiveFormat::detect(&format, None, &bytes);
            let plugin = StagedPlugin::from_archive(&bytes, format, id.as_ref(), &ArchiveLimits::default(), &staging)?;
            Ok(Staged { plugin, archive: Some(archive) })
        })
        .await?;
        self.install_staged(staged, load, IfExists::Replace).await
    }

    pub(crate) async fn install_from_folder(&self, origin: Origin, arguments: &Arguments) -> Result<Value, Refusal> {
        let id = plugin_id(arguments)?;
        let source = PathBuf::from(arguments.text("source_path")?);
        let (staging, roots) = (self.staging.clone(), self.config.source_roots.clone());
        // Never closed.
        let _place = self.staging_places.acquire().await;
        let staged = blocking(move || {
            let source = match origin {
                Origin::Control => source,
                // The path that was judged is the one that is read, whatever becomes of the links in the other.
                _ => match within(&source, &roots) {
                    Some(source) => source,
                    None => return Ok(Err(not_a_root(&source))),
                },
            };
            let plugin = StagedPlugin::from_folder(&source, id.as_ref(), &TreeLimits::default(), &staging)?;
            Ok(Ok(Staged { plugin, archive: None }))
        })
        .await??;
        self.install_staged(staged, true, IfExists::Refuse).await
    }

    async fn install_staged(&self, staged: Staged, load: bool, if_exists: IfExists) -> Result<Value, Refusal> {
        let Staged { plugin, archive } = staged;
        let id = plugin.id.clone();
        let operation = self.registry.begin(&id).await.map_err(|error| busy(&error))?;
        let mut reply = if load {
            self.install_and_load(&operation, plugin, if_exists).await?
        } else {
            let committed = self.commit(plugin, if_exists).await?;
            json!({
                "status": "success",
                "plugin_id": id,
                "installed_to": committed.path(),
                "loaded": false,
            })
        };
        if let Some(archive) = archive {
            insert(&mut reply, "digest", archive.to_string());
        }
        info!(plugin = %id, load, "plugin installed");
        Ok(reply)
    }

    async fn install_and_load(
        &self,
        operation: &Operation,
        plugin: StagedPlugin,
        if_exists: IfExists,
    ) -> Result<Value, Refusal> {
        let id = operation.id();
        if if_exists == IfExists::Refuse && self.folder_of(id).exists() {
            let error = CommitError::Exists { id: id.clone(), path: self.folder_of(id) };
            return Err(delivery_refusal(&error.into()));
        }
        if let Some(running) = self.running(id).filter(|running| running.package().tree == plugin.tree) {
            // The same files serve already: nothing is prepared again (wire contract 11, A8). The folder may have been
            // edited meanwhile, and is put right.
            let committed = self.commit(plugin, if_exists).await?;
            return Ok(json!({
                "status": "success",
                "plugin_id": id,
                "installed_to": committed.path(),
                "load_result": {"status": "success", "plugin": summary(&running)},
                "generation": running.sequence(),
                "unchanged": true,
            }));
        }
        let prepared = operation.prepare(package_at(&plugin)).await.map_err(|error| {
            let message = format!("Failed to load plugin '{id}': {}", chain(&error));
            explain(&error, Refusal::new(prepare_code(&error), message), id)
                .hint_if_none("nothing was installed; correct the plugin and install it again")
        })?;
        let committed = self.commit(plugin, if_exists).await?;
        match operation.activate(prepared).await {
            Ok(activated) => Ok(json!({
                "status": "success",
                "plugin_id": id,
                "installed_to": committed.path(),
                "load_result": self.load_result(id, &activated),
                "generation": activated.sequence,
            })),
            Err(error) => {
                let refusal = Refusal::new(activate_code(&error), format!("Failed to load plugin '{id}': {error}"))
                    .with("plugin_id", id.as_str());
                let undone = tokio::task::spawn_blocking(move || committed.rollback()).await;
                if matches!(undone, Ok(Ok(()))) {
                    return Err(refusal);
                }
                warn!(plugin = %id, ?undone, "failed to take back an install");
                Err(refusal.hint("its files are in place and could not be taken back: load it later, or remove them"))
            }
        }
    }

    /// The serving generation of a plugin.
    fn running(&self, id: &PluginId) -> Option<RunningPlugin> {
        self.registry.snapshot().iter().find(|plugin| plugin.id == *id)?.running.clone()
    }

    async fn commit(&self, plugin: StagedPlugin, if_exists: IfExists) -> Result<Committed, Refusal> {
        let dir = self.config.capabilities_dir.clone();
        blocking(move || Ok(plugin.commit(&dir, if_exists)?)).await
    }

    pub(crate) fn folder_of(&self, id: &PluginId) -> PathBuf {
        self.config.capabilities_dir.join(id.as_str())
    }
}

fn plugin_id(arguments: &Arguments) -> Result<Option<PluginId>, Refusal> {
    let given = arguments.optional_text("plugin_id")?.filter(|given| !given.is_empty());
    given.map(PluginId::new).transpose().map_err(|error| {
        Refusal::new("invalid_plugin_id", "invalid plugin id")
            .detail(error.to_string())
            .hint("use letters, digits, `-` and `_`, beginning with a letter or digit")
    })
}

/// `path` with every link resolved, where that lies in one of `roots`.
fn within(path: &Path, roots: &[PathBuf]) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let mut roots = roots.iter().filter_map(|root| root.canonicalize().ok());
    roots.any(|root| path.starts_with(root)).then_some(path)
}

fn not_a_root(source: &Path) -> Refusal {
    let message = format!("plugins may not be installed from `{}`", source.display());
    Refusal::new("not_allowed", message)
        .hint("the operator allows folders with `--install-source-root`; or send a bundle")
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DeliveryError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| delivery_refusal(&error)),
        Err(error) => {
            Err(Refusal::new("internal", "the host failed while it worked on the disk").detail(error.to_string()))
        }
    }
}

fn delivery_refusal(error: &DeliveryError) -> Refusal {
    Refusal::new(error.code(), chain(error)).hint(error.hint())
}
