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
use std::future::ready;
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
        self.policy_changed.notify_one();
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
    pub async fn keep_to_policy(&self) {
        let mut before = self.authority.policy();
        loop {
            self.policy_changed.notified().await;
            let policy = self.authority.policy();
            self.review(&before).await;
            before = policy;
        }
    }

    async fn review(&self, before: &Policy) {
        // Those that somebody is loading for the first time were judged by the policy before, and have an account.
        let reviewed = stream::iter(self.registry.accounts()).map(|id| self.review_plugin(id, before));
        let put_out: BTreeSet<PluginId> = reviewed.buffer_unordered(REVIEWED_AT_ONCE).filter_map(ready).collect().await;
        let mut failed = self.failed();
        failed.retain(|id| !put_out.contains(id));
        // The policy before may be why: it did not admit them, or they were denied what they start with.
        if self.config.auto_load && !failed.is_empty() {
            self.load_failed(failed).await;
        }
    }

    fn failed(&self) -> Vec<PluginId> {
        let snapshot = self.registry.snapshot();
        let failed = snapshot.iter().filter(|plugin| matches!(plugin.state, PluginState::Failed { .. }));
        failed.map(|plugin| plugin.id.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Returns it where it is put out.
    async fn review_plugin(&self, id: PluginId, before: &Policy) -> Option<PluginId> {
        let operation = loop {
            match self.registry.begin(&id).await {
                Ok(operation) => break operation,
                Err(_) => tokio::time::sleep(RETRY_AFTER).await,
            }
        };
        let running = self.running(&id)?;
        if self.authority.admits(running.asker()) {
            let followed = self.follow_limits(&operation, running, before).await?;
            self.audit(Deed::own("apply_policy"), &followed).await;
            return None;
        }
        let put_out = self.put_out(&operation, running).await?;
        self.audit(Deed::own("apply_policy"), &put_out).await;
        Some(id)
    }

    /// Takes a plugin out of service that the policy does not admit any more, as an unload does, and remembers why. It stays
    /// wanted.
    async fn put_out(&self, operation: &Operation, running: RunningPlugin) -> Option<Value> {
        let (id, generation) = (operation.id(), running.generation());
        // What ends it may wait for nobody to hold it.
        drop(running);
        let reason = NotAdmitted::Plugin(id.clone()).to_string();
        self.forget_probation(id);
        // A host that stops takes it out anyhow.
        operation.remove().await.ok()?;
        warn!(plugin = %id, generation, reason, "unloaded a plugin");
        operation.fail(Some(reason.clone())).await;
        self.remember_names().await;
        Some(json!({"status": "success", "plugin_id": id, "generation": generation, "detail": reason}))
    }

    /// Has the same version serve within other limits, where the policy's are others than before.
    async fn follow_limits(&self, operation: &Operation, running: RunningPlugin, before: &Policy) -> Option<Value> {
        let (id, package) = (operation.id(), running.package().clone());
        let (asker, manifest) = (package.asker(), &package.manifest);
        let limits = self.authority.limits(asker, manifest);
        if limits == limits_by(before, asker, manifest) || limits.as_ref() == Ok(&package.limits) {
            return None;
        }
        // What ends it may wait for nobody to hold it.
        drop(running);
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
