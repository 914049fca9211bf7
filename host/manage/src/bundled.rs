//! Plugins that come with the host: put in place at start, and kept in step with what it brings.

use crate::depot::{Depot, DepotError};
use crate::install::Placing;
use crate::manager::Manager;
use crate::refusal::chain;
use mortise_delivery::{IfExists, StagedPlugin, TreeLimits, list_folders};
use mortise_model::PluginId;
use mortise_store::{Desired, Source};
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// A bundled plugin that has to be put in place.
struct Due {
    plugin: StagedPlugin,
    load: bool,
    if_exists: IfExists,
}

impl Manager {
    /// Installs every plugin that `folder` holds and the host has not, and upgrades those that came from there before.
    /// One that somebody replaced, edited or rolled back is left as it is, and so is one that was unloaded, apart from
    /// its files. What fails is logged, and the others go on. Cancel safe.
    pub async fn install_bundled(&self, folder: &Path) {
        let bundled = folder.to_owned();
        let listed = self.on_disk(move |_| Ok(list_folders(&bundled).map_err(mortise_delivery::DeliveryError::from)?));
        let listed = match listed.await {
            Ok(listed) => listed,
            Err(error) => return warn!(error = chain(&error), "failed to list the bundled plugins"),
        };
        for plugin in listed {
            let (bundled, path) = (folder.to_owned(), plugin.path.clone());
            let due = self.on_disk(move |depot| due(depot, &bundled, &path)).await;
            let Due { plugin, load, if_exists } = match due {
                Ok(Some(due)) => due,
                Ok(None) => continue,
                Err(error) => {
                    warn!(path = %plugin.path.display(), error = chain(&error), "left out a bundled plugin");
                    continue;
                }
            };
            let id = plugin.id.clone();
            let source = Source::Folder { path: folder.join(id.as_str()).display().to_string() };
            let placing = Placing { load: load && self.config.auto_load, if_exists, plan: None };
            match self.install_in_turn(plugin, source, None, placing).await {
                Ok(_) => info!(plugin = %id, "bundled plugin installed"),
                Err(refusal) => warn!(plugin = %id, error = refusal.reason(), "left out a bundled plugin"),
            }
        }
    }
}

/// What is to be done with one folder of the bundle; none where nothing is. Blocks.
fn due(depot: &Depot, bundled: &Path, path: &Path) -> Result<Option<Due>, DepotError> {
    let plugin = StagedPlugin::from_folder(path, None, &TreeLimits::default(), depot.staging())?;
    let current = |id: &PluginId| -> Result<_, DepotError> {
        let Some((record, generations)) = depot.versions(id)? else { return Ok(None) };
        // One that was here already and is not current was rolled back.
        let known = generations.values().any(|generation| generation.tree == plugin.tree);
        let source = record.current.and_then(|number| generations.get(&number)).map(|current| current.source.clone());
        Ok(Some((record.desired, known, source)))
    };
    Ok(match current(&plugin.id)? {
        // A folder that nobody recorded is somebody's.
        None => Some(Due { plugin, load: true, if_exists: IfExists::Refuse }),
        Some((desired, false, Some(Source::Folder { path }))) if PathBuf::from(&path).starts_with(bundled) => {
            Some(Due { plugin, load: desired == Desired::Loaded, if_exists: IfExists::Replace })
        }
        Some(_) => None,
    })
}
