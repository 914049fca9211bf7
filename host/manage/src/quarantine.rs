//! Plugins that lose one instance after the other are taken out of service (decision 0024).

use crate::audit::Deed;
use crate::manager::Manager;
use crate::refusal::chain;
use mortise_model::{FunctionName, PluginId};
use mortise_plugin::RunningPlugin;
use mortise_store::Desired;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// How long it waits that found the plugin busy, or about to be rolled back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Manager {
    /// Says why plugins on record as in quarantine do not serve. To be called before anybody can call.
    pub async fn recall_quarantine(&self) {
        match self.on_disk(|depot| depot.quarantined()).await {
            Ok(quarantined) => self.registry.keep_in_quarantine(quarantined).await,
            // They are not loaded all the same.
            Err(error) => warn!(error = chain(&error), "failed to read what is in quarantine"),
        }
    }

    /// Takes plugins out of service that lose too many instances, for as long as it is polled. Never returns.
    pub async fn keep_quarantine(self: &Arc<Self>) {
        loop {
            self.registry.too_many_losses().await;
            for plugin in self.registry.snapshot().iter() {
                let Some(running) = &plugin.running else { continue };
                let Some(reason) = running.too_many_losses() else { continue };
                let (manager, id, incarnation) = (Arc::clone(self), plugin.id.clone(), running.incarnation());
                // A task of its own: it may wait for the plugin's turn. Whoever comes second finds nothing to do.
                self.tasks().spawn(async move { manager.quarantine(id, incarnation, reason).await });
            }
        }
    }

    async fn quarantine(&self, id: PluginId, incarnation: u64, reason: String) {
        loop {
            if let Ok(operation) = self.registry.begin(&id).await {
                let running = self.running(&id).filter(|running| running.incarnation() == incarnation);
                // Somebody has changed it meanwhile, or a rollback has.
                let Some(running) = running else { return };
                if !self.probations.is_taking_back(&id) {
                    let (functions, generation) = (functions_of(&running), running.generation());
                    // What ends it may wait for nobody to hold it.
                    drop(running);
                    self.forget_probation(&id);
                    self.desire_quarantine(&id, &reason).await;
                    if operation.quarantine(reason.clone(), functions).await.is_err() {
                        // The host is stopping; the record is written.
                        return;
                    }
                    self.remember_names().await;
                    let done = json!({
                        "status": "success",
                        "plugin_id": id,
                        "generation": generation,
                        "detail": reason,
                    });
                    return self.audit(Deed::own("quarantine_plugin"), &done).await;
                }
            }
            if self.stopping().run_until_cancelled(tokio::time::sleep(RETRY_AFTER)).await.is_none() {
                return;
            }
        }
    }

    /// Before it is taken out: a host that ends in between does not load it again.
    async fn desire_quarantine(&self, id: &PluginId, reason: &str) {
        let (wanted, desired) = (id.clone(), Desired::Quarantined { reason: reason.to_owned() });
        if let Err(error) = self.on_disk(move |depot| depot.desire(&wanted, &desired)).await {
            warn!(plugin = %id, error = chain(&error), "failed to remember a quarantine: the next start loads it again");
        }
    }

    pub(crate) async fn remember_names(&self) {
        let registry = self.registry.clone();
        let remembered = self.on_disk(move |depot| depot.remember_names(|| registry.names().as_ref().clone())).await;
        if let Err(error) = remembered {
            warn!(error = chain(&error), "failed to remember who has which name");
        }
    }
}

fn functions_of(running: &RunningPlugin) -> Vec<FunctionName> {
    running.functions.iter().map(|function| function.name.clone()).collect()
}
