//! What is loaded at start.

use crate::change::{ChangeError, Next, Proven, Verb, change_refusal};
use crate::dependencies::Dependencies;
use crate::lifecycle::next_to_load;
use crate::manager::Manager;
use crate::refusal::chain;
use mortise_model::{PluginId, PluginState};
use mortise_plugin::{Operation, PrepareError};
use mortise_store::Desired;
use std::collections::BTreeSet;
use std::time::Duration;
use tracing::{info, warn};

/// Plugins prepared at once when all are loaded at start.
const AUTO_LOAD_CONCURRENCY: usize = 4;

/// How long somebody who found a plugin busy waits before the next attempt.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// What became of the plugins.
#[derive(Default)]
struct Tally {
    loaded: usize,
    failed: usize,
}

/// At loading a plugin.
#[derive(Clone, Copy)]
enum Attempt {
    /// A plugin whose own code fails is tried once more when others have been loaded.
    OfSeveral,
    Last,
}

impl Attempt {
    fn is_followed(self, error: &ChangeError) -> bool {
        matches!((self, error), (Self::OfSeveral, ChangeError::Prepare(error)) if is_own(error))
    }
}

impl Manager {
    /// Advertises what [`Manager::auto_load`] will load, as far as it is on record and described itself before. Its calls
    /// wait for it. To be called before anybody can call.
    pub async fn announce(&self) {
        match self.on_disk(|depot| depot.announced()).await {
            Ok(announced) => self.registry.announce(announced).await,
            // They are loaded all the same.
            Err(error) => warn!(error = chain(&error), "failed to read what is to be advertised"),
        }
    }

    /// Loads every plugin that was not unloaded or put in quarantine: those on record first, then new folders, each in
    /// the order of their names. What fails is remembered with its reason, and the others go on.
    ///
    /// Those on record are advertised meanwhile, if [`Manager::announce`] did so. Cancel safe: what is not loaded by then
    /// is loaded at the next start.
    pub async fn auto_load(&self) {
        let (mut tally, failed) = self.load_all().await;
        self.load_again(failed, &mut tally).await;
        self.give_up_announced().await;
        self.auto_loaded.send_replace(true);
        info!(loaded = tally.loaded, failed = tally.failed, "auto-load is done");
    }

    /// Tries those again that failed, in their order, as at a start; without those that somebody is editing.
    pub(crate) async fn load_failed(&self, failed: Vec<PluginId>) {
        let unedited = self
            .on_disk(move |depot| {
                let is_edited = |id: &PluginId| match depot.installed(id)? {
                    Some(installed) => depot.is_edited(id, &installed),
                    None => Ok(false),
                };
                let is_left = |id: &PluginId| {
                    is_edited(id).unwrap_or_else(|error| {
                        warn!(plugin = %id, error = chain(&error), "failed to look at what had failed");
                        true
                    })
                };
                Ok(failed.into_iter().filter(|id| !is_left(id)).collect::<Vec<_>>())
            })
            .await;
        let Ok(failed) = unedited else { return };
        if failed.is_empty() {
            return;
        }
        let mut tally = Tally::default();
        self.load_again(failed, &mut tally).await;
        info!(loaded = tally.loaded, failed = tally.failed, "tried again what had failed");
    }

    /// Tries those again whose own code failed, as long as that helps: what they call may not have been there yet. Until then
    /// their calls wait for them.
    async fn load_again(&self, mut failed: Vec<PluginId>, tally: &mut Tally) {
        let mut attempt = if failed.len() > 1 { Attempt::OfSeveral } else { Attempt::Last };
        while !failed.is_empty() {
            let before = failed.len();
            failed = self.load_each(failed, attempt, tally).await;
            if failed.len() == before {
                attempt = Attempt::Last;
            }
        }
    }

    /// None where somebody has loaded or unloaded it meanwhile, or is about to.
    async fn prove_to_load(&self, id: PluginId, attempt: Attempt) -> Option<(Operation, Result<Proven, ChangeError>)> {
        let operation = self.registry.begin(&id).await.ok()?;
        if self.running(&id).is_some() {
            return None;
        }
        let proven = match self.next_at_start(&id).await {
            Ok(next) => self.prove_at_start(&operation, next?, attempt).await,
            Err(error) => Err(error),
        };
        Some((operation, proven))
    }

    /// Returns the plugin where it is to be tried once more; its failure is nobody's business until then.
    async fn adopt_at_start(
        &self,
        operation: Operation,
        proven: Result<Proven, ChangeError>,
        attempt: Attempt,
        tally: &mut Tally,
    ) -> Option<PluginId> {
        let result = match proven {
            Ok(proven) => self.adopt(&operation, proven).await,
            Err(error) => Err(error),
        };
        if result.as_ref().is_err_and(|error| attempt.is_followed(error)) {
            return Some(operation.id().clone());
        }
        match self.remember_failure(&operation, result, Verb::Load).await {
            Ok(_) => tally.loaded += 1,
            Err(_) => tally.failed += 1,
        }
        None
    }

    /// Returns those whose own code failed, which is not told yet.
    async fn load_all(&self) -> (Tally, Vec<PluginId>) {
        let mut tally = Tally::default();
        let capabilities_dir = self.config.capabilities_dir.clone();
        let listed = self
            .on_disk(move |depot| {
                let desired = depot.desired()?;
                let folders =
                    mortise_delivery::list_folders(&capabilities_dir).map_err(mortise_delivery::DeliveryError::from)?;
                Ok((desired, folders))
            })
            .await;
        let (desired, folders) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                warn!(error = chain(&error), "failed to list the plugins");
                return (tally, Vec::new());
            }
        };
        let mut seen: BTreeSet<PluginId> = desired.keys().cloned().collect();
        let recorded = desired.into_iter().filter_map(|(id, desired)| match desired {
            Desired::Loaded => Some(id),
            Desired::Unloaded | Desired::Quarantined { .. } => None,
        });
        let recorded: Vec<PluginId> = recorded.collect();
        let new = folders.into_iter().filter_map(|folder| match PluginId::new(&folder.name) {
            Ok(id) => seen.insert(id.clone()).then_some(id),
            Err(error) => {
                warn!(%error, "left out a folder that cannot be a plugin");
                None
            }
        });
        let ids: Vec<PluginId> = recorded.into_iter().chain(new).collect();
        let failed = self.load_each(ids, Attempt::OfSeveral, &mut tally).await;
        (tally, failed)
    }

    /// Prepares them side by side and activates them in order: who owns a bare name must not depend on who is quicker.
    /// Returns those that are to be tried once more.
    async fn load_each(&self, ids: Vec<PluginId>, attempt: Attempt, tally: &mut Tally) -> Vec<PluginId> {
        let mut failed = Vec::new();
        let ids = futures_util::stream::iter(ids.into_iter().map(|id| self.prove_to_load(id, attempt)));
        let mut proven = futures_util::StreamExt::buffered(ids, AUTO_LOAD_CONCURRENCY);
        while let Some(next) = futures_util::StreamExt::next(&mut proven).await {
            if let Some((operation, proven)) = next {
                failed.extend(self.adopt_at_start(operation, proven, attempt, tally).await);
            }
        }
        failed
    }

    /// A version that was put in place and never served does not keep down the one that did.
    async fn prove_at_start(&self, operation: &Operation, next: Next, attempt: Attempt) -> Result<Proven, ChangeError> {
        let error = match self.prove_admitted(operation, next).await {
            Err(error) if !attempt.is_followed(&error) => error,
            outcome => return outcome,
        };
        let id = operation.id().clone();
        let Some(folder) = self.on_disk(move |depot| depot.served_before(&id)).await? else { return Err(error) };
        let refusal = change_refusal(operation.id(), &error, Verb::Load);
        let reason = refusal.reason();
        warn!(plugin = %operation.id(), reason, "a version that never served cannot be loaded: trying the one before");
        self.prove_admitted(operation, Next::Kept(folder)).await.map_err(|_| error)
    }

    /// At the start the record is the truth, and the working copy is put right before anything is loaded from it.
    async fn next_at_start(&self, id: &PluginId) -> Result<Option<Next>, ChangeError> {
        let id = id.clone();
        let next = self
            .on_disk(move |depot| match depot.installed(&id)? {
                Some(installed) if installed.desired != Desired::Loaded => Ok(None),
                Some(installed) => {
                    let folder = depot.open_generation(&id, installed.number, &installed.generation)?;
                    match depot.show(&folder) {
                        Ok(None) => {}
                        Ok(Some(edits)) => {
                            warn!(plugin = %id, edits = %edits.display(), "set aside what was edited meanwhile");
                        }
                        // Nothing runs from it.
                        Err(error) => {
                            warn!(plugin = %id, error = chain(&error), "failed to put a working copy right");
                        }
                    }
                    Ok(Some(Next::Kept(folder)))
                }
                None => next_to_load(depot, &id, &Dependencies::NONE).map(Some),
            })
            .await?;
        Ok(next)
    }

    /// Sees to it that no plugin is waited for that nobody will load any more.
    async fn give_up_announced(&self) {
        let preparing = self.registry.snapshot();
        for plugin in preparing.iter().filter(|plugin| plugin.state == PluginState::Preparing) {
            let operation = loop {
                match self.registry.begin(&plugin.id).await {
                    Ok(operation) => break operation,
                    Err(_) => tokio::time::sleep(BUSY_PAUSE).await,
                }
            };
            if self.is_preparing(&plugin.id) {
                operation.fail(Some("it was not loaded at start; the log says why".to_owned())).await;
            }
        }
    }
}

/// Whether the plugin's own code failed, where it may have called somebody.
fn is_own(error: &PrepareError) -> bool {
    match error {
        PrepareError::Hook { hook, failure } => {
            matches!(*hook, "migrate" | "start" | "self_test") && failure.code != "turn_limit"
        }
        PrepareError::Denied { error, .. } => is_own(error),
        _ => false,
    }
}
