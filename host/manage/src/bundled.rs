//! Plugins that come with the host: put in place at start, and kept in step with what it brings.

use crate::arrival::brought;
use crate::audit::Deed;
use crate::depot::{Depot, DepotError};
use crate::install::Placing;
use crate::manager::Manager;
use crate::refusal::{Refusal, chain};
use mortise_delivery::{DeliveryError, IfExists, StagedPlugin, TreeLimits, list_folders};
use mortise_model::Source;
use mortise_store::Desired;
use serde_json::Value;
use std::path::Path;
use tracing::{info, warn};

impl Manager {
    /// Installs every plugin that `folder` holds and the host has not, and upgrades those that came from there before.
    /// One that somebody replaced or edited is left as it is, and so is one that was rolled back, until the folder holds
    /// yet another version. One that was unloaded stays so. What fails is logged, and the others go on. Cancel safe.
    pub async fn install_bundled(&self, folder: &Path) {
        let bundled = folder.to_owned();
        let listed = self.on_disk(move |_| {
            // Rules of the policy go by where folders are, whatever link leads there.
            let bundled = bundled.canonicalize().unwrap_or(bundled);
            Ok((list_folders(&bundled).map_err(DeliveryError::from)?, bundled))
        });
        let (listed, folder) = match listed.await {
            Ok(listed) => listed,
            Err(error) => return warn!(error = chain(&error), "failed to list the bundled plugins"),
        };
        for plugin in listed {
            let path = plugin.path;
            let staged = {
                let path = path.clone();
                self.on_disk(move |depot| {
                    let staged = StagedPlugin::from_folder(&path, None, &TreeLimits::default(), depot.staging())?;
                    Ok(brought(staged, Source::Folder { path: path.display().to_string() }, None, None))
                })
            };
            let refused = match staged.await {
                Ok(staged) => self.install_from_bundle_folder(&folder, staged).await.err(),
                Err(error) => Some(chain(&error)),
            };
            if let Some(error) = refused {
                warn!(path = %path.display(), error, "left out a bundled plugin");
            }
        }
    }

    async fn install_from_bundle_folder(&self, bundled: &Path, plugin: StagedPlugin) -> Result<(), String> {
        let id = plugin.id.clone();
        // What is to be done is decided in the plugin's turn: nobody changes it meanwhile.
        let operation = match self.registry.begin(&id).await {
            Ok(operation) => operation,
            Err(error) => {
                self.discard(plugin).await;
                return Err(error.to_string());
            }
        };
        let folder = bundled.to_owned();
        let due = self.on_disk(move |depot| Ok((due(depot, &folder, &plugin)?, plugin))).await;
        let (placing, plugin) = due.map_err(|error| chain(&error))?;
        let Some(Placing { load, if_exists, plan }) = placing else {
            self.discard(plugin).await;
            return Ok(());
        };
        let placing = Placing { load: load && self.config.auto_load, if_exists, plan };
        let installed = self.install_with(&operation, plugin, placing).await;
        let answer = installed.clone().unwrap_or_else(Refusal::into_value);
        self.audit(Deed::own("install_bundled_plugin"), &answer).await;
        let reply = installed.map_err(|refusal: Refusal| refusal.reason().to_owned())?;
        info!(plugin = %id, "bundled plugin installed");
        if let Some(warnings) = reply.get("warnings").and_then(Value::as_array) {
            warn!(plugin = %id, ?warnings, "a bundled plugin was installed with warnings");
        }
        Ok(())
    }
}

/// How one plugin of the bundle is to be put in place; none where it is not. Blocks.
fn due(depot: &Depot, bundled: &Path, plugin: &StagedPlugin) -> Result<Option<Placing>, DepotError> {
    let id = &plugin.id;
    let (Some(installed), Some((_, generations))) = (depot.installed(id)?, depot.versions(id)?) else {
        // A folder that nobody recorded is somebody's.
        return Ok(Some(Placing { load: true, if_exists: IfExists::Refuse, plan: None }));
    };
    let is_ours = match &installed.generation.source {
        Source::Folder { path } => Path::new(path).starts_with(bundled),
        _ => false,
    };
    // A later generation that is not current was rolled back.
    let is_known = generations.range(installed.number..).any(|(_, generation)| generation.tree == plugin.tree);
    if !is_ours || is_known || depot.is_edited(id, &installed)? {
        return Ok(None);
    }
    Ok(Some(Placing { load: installed.desired == Desired::Loaded, if_exists: IfExists::Replace, plan: None }))
}
