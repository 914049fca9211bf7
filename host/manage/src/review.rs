//! What a policy that is read again changes for the plugins there are.

use crate::audit::Deed;
use crate::authority::{NotAdmitted, limits_by};
use crate::change::{ChangeError, Verb, change_refusal};
use crate::manager::Manager;
use crate::refusal::chain;
use futures_util::{StreamExt as _, stream};
use mortise_model::{Limits, PluginId, PluginState, Swap};
use mortise_plugin::{ActivateError, Operation, Package, RunningPlugin};
use mortise_policy::Policy;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// Plugins that are looked at side by side: one that somebody is changing keeps its place until that is done.
const REVIEWED_AT_ONCE: usize = 16;

/// How long it waits that found too many others waiting for a plugin.
const RETRY_AFTER: Duration = Duration::from_millis(100);

impl Manager {
    /// Puts another policy in force: what is asked from now on is judged by it, and the plugins there are follow where
    /// [`keep_to_policy`](Self::keep_to_policy) is polled. Cancel safe, but for the line in the audit log.
    pub async fn set_policy(&self, policy: Policy) {
        self.authority.set_policy(policy);
        self.policy_changed.send_replace(());
        self.note_policy_fault(None);
        self.refresh_routes();
        self.audit(Deed::own("read_policy"), &json!({"status": "success"})).await;
    }

    /// Says why the policy stays as it was, until another is in force.
    pub async fn keep_policy(&self, why: String) {
        let answer = json!({"status": "error", "detail": why});
        self.note_policy_fault(Some(why));
        self.audit(Deed::own("read_policy"), &answer).await;
    }

    /// Has plugins follow each policy that is put in force, for as long as it is polled. Never returns.
    pub async fn keep_to_policy(self: &Arc<Self>) {
        tokio::join!(self.keep_out(), self.keep_within());
    }

    /// Unloads what is not admitted, whatever else the policy has others do.
    async fn keep_out(self: &Arc<Self>) {
        let mut changes = self.policy_changed.subscribe();
        // The sender is this host's own.
        while changes.changed().await.is_ok() {
            for id in self.known() {
                // One that does not serve may be about to, by the word of the policy before.
                if self.running(&id).is_some_and(|running| self.authority.admits(running.asker())) {
                    continue;
                }
                let manager = Arc::clone(self);
                // A task of its own: it may wait for the plugin's turn. Whoever comes second finds nothing to do.
                self.tasks().spawn(async move {
                    let reviewed = async {
                        let operation = manager.turn(&id).await;
                        manager.put_out(&operation).await;
                    };
                    manager.stopping().run_until_cancelled(reviewed).await;
                });
            }
        }
    }

    /// Has the others serve within the policy's limits, and tries again what it may have been that failed.
    async fn keep_within(&self) {
        let mut changes = self.policy_changed.subscribe();
        let mut before = self.authority.policy();
        if self.config.auto_load {
            // What it has judged by then is judged again. The sender is this host's own.
            let _ = self.auto_loaded.subscribe().wait_for(|done| *done).await;
        }
        while changes.changed().await.is_ok() {
            let policy = self.authority.policy();
            self.review(&before).await;
            before = policy;
        }
    }

    async fn review(&self, before: &Policy) {
        let plugins = stream::iter(self.known());
        plugins.for_each_concurrent(REVIEWED_AT_ONCE, |id| self.review_plugin(id, before)).await;
        // The policy before may be why: it did not admit them, or they were denied what they start with.
        if self.config.auto_load {
            self.load_failed(self.failed()).await;
        }
    }

    /// All that serve or failed, and those that somebody is loading for the first time: they have an account.
    fn known(&self) -> BTreeSet<PluginId> {
        let mut known: BTreeSet<PluginId> = self.registry.accounts().into_iter().collect();
        known.extend(self.registry.snapshot().iter().map(|plugin| plugin.id.clone()));
        known
    }

    fn failed(&self) -> Vec<PluginId> {
        let snapshot = self.registry.snapshot();
        let failed = snapshot.iter().filter(|plugin| matches!(plugin.state, PluginState::Failed { .. }));
        failed.map(|plugin| plugin.id.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    async fn review_plugin(&self, id: PluginId, before: &Policy) {
        let operation = self.turn(&id).await;
        if !self.put_out(&operation).await
            && let Some(followed) = self.follow_limits(&operation, before).await
        {
            self.audit(Deed::own("apply_policy"), &followed).await;
        }
    }

    /// The turn to change a plugin, however many wait for it.
    async fn turn(&self, id: &PluginId) -> Operation {
        loop {
            match self.registry.begin(id).await {
                Ok(operation) => return operation,
                Err(_) => tokio::time::sleep(RETRY_AFTER).await,
            }
        }
    }

    /// Takes a plugin out of service that the policy does not admit any more, as an unload does, and remembers why; says whether
    /// it did. It stays wanted.
    async fn put_out(&self, operation: &Operation) -> bool {
        let id = operation.id();
        let generation = match self.running(id) {
            Some(running) if !self.authority.admits(running.asker()) => running.generation(),
            _ => return false,
        };
        let reason = NotAdmitted::Plugin(id.clone()).to_string();
        self.forget_probation(id);
        if operation.remove().await.is_err() {
            // A host that stops takes it out anyhow.
            return true;
        }
        warn!(plugin = %id, generation, reason, "unloaded a plugin");
        operation.fail(Some(reason.clone())).await;
        self.remember_names().await;
        let done = json!({"status": "success", "plugin_id": id, "generation": generation, "detail": reason});
        self.audit(Deed::own("apply_policy"), &done).await;
        true
    }

    /// Has the same version serve within other limits, where the policy's are others by now. One that asks for too much is told of
    /// once, and one that would have to be stopped for it is tried once, and not with each policy that says the same.
    async fn follow_limits(&self, operation: &Operation, before: &Policy) -> Option<Value> {
        let id = operation.id();
        // What ends it may wait for nobody to hold it.
        let package = self.running(id)?.package().clone();
        let (asker, manifest) = (package.asker(), &package.manifest);
        let limits = self.authority.limits(asker, manifest);
        let is_news = limits != limits_by(before, asker, manifest);
        let is_tried_once = limits.is_err() || manifest.swap == Swap::Exclusive;
        if limits.as_ref() == Ok(&package.limits) || (!is_news && is_tried_once) {
            return None;
        }
        let renewed = match limits {
            Ok(limits) => self.renew(operation, &package, limits).await,
            Err(error) => Err(ChangeError::Policy(error)),
        };
        match renewed {
            Ok(None) => None,
            Ok(Some(generation)) => {
                info!(plugin = %id, generation, "started a plugin anew within other limits");
                Some(json!({"status": "success", "plugin_id": id, "generation": generation, "detail": "other limits"}))
            }
            Err(ChangeError::Activate(ActivateError::Stopping)) => None,
            Err(error) => {
                let refusal = change_refusal(id, &error, Verb::Reload);
                let reason = refusal.reason();
                warn!(plugin = %id, reason, "could not start a plugin anew within other limits");
                Some(refusal.into_value())
            }
        }
    }

    /// Nothing changes on disk: the record and the files are the same. None where somebody else is about to end the version.
    async fn renew(
        &self,
        operation: &Operation,
        package: &Package,
        limits: Limits,
    ) -> Result<Option<u64>, ChangeError> {
        let renewed = Package { limits, ..package.clone() };
        if self.is_doomed(operation.id()) {
            return Ok(None);
        }
        if package.manifest.swap == Swap::Exclusive {
            let old = self.make_room(operation, &renewed).await?;
            let activated = async {
                let prepared = operation.prepare(renewed).await.map_err(ChangeError::Prepare)?;
                operation.activate(prepared).await.map_err(ChangeError::Activate)
            };
            return match (activated.await, old) {
                (Ok(activated), _) => Ok(Some(activated.generation)),
                (Err(error), Some(old)) => Err(self.restart(operation, old, error).await),
                (Err(error), None) => Err(error),
            };
        }
        let prepared = operation.prepare(renewed).await.map_err(ChangeError::Prepare)?;
        // It may have failed meanwhile, and whoever judged that looks for the very instance.
        if self.is_doomed(operation.id()) {
            prepared.end().await;
            return Ok(None);
        }
        let activated = operation.activate(prepared).await.map_err(ChangeError::Activate)?;
        Ok(Some(activated.generation))
    }

    /// Whether it has lost too many instances, or failed its probation.
    fn is_doomed(&self, id: &PluginId) -> bool {
        self.probations.is_taking_back(id)
            || self.running(id).is_some_and(|running| running.too_many_losses().is_some())
    }

    /// Whether a plugin serves within other limits than the policy says, and why, if it does.
    pub(crate) fn outdated_limits(&self, running: &RunningPlugin) -> Option<String> {
        match self.authority.limits(running.asker(), &running.package().manifest) {
            Ok(limits) if limits == running.package().limits => None,
            Ok(_) => Some("it serves within the limits of an earlier policy until it is reloaded".to_owned()),
            Err(error) => Some(format!("it serves within the limits of an earlier policy: {}", chain(&error))),
        }
    }
}
