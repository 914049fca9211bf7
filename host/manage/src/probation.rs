//! The time after an upgrade in which a version that fails is taken back without anybody asking.

use crate::audit::Deed;
use crate::change::busy;
use crate::manager::Manager;
use crate::object::insert;
use mortise_model::PluginId;
use mortise_plugin::{Health, Outcomes, RunningPlugin};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::warn;

/// How often a version on probation is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a rollback that found the plugin busy waits.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// When a version has failed its probation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbationConfig {
    /// How long it lasts after the swap. Zero: there is none.
    pub window: Duration,
    /// Losses of its instance, to a trap or a turn over its limit, that are too many.
    pub traps_max: u64,
    /// Calls that must have ended before their errors count.
    pub calls_min: u64,
}

impl Default for ProbationConfig {
    /// Thirty seconds; three traps; or, of ten calls or more, more than half failed where its predecessor failed less.
    fn default() -> Self {
        Self { window: Duration::from_secs(30), traps_max: 3, calls_min: 10 }
    }
}

/// The versions on probation.
#[derive(Debug, Default)]
pub(crate) struct Probations {
    // A std mutex: held to put in or take out one entry.
    watches: Mutex<HashMap<PluginId, AbortOnDropHandle<()>>>,
    /// Plugins that have failed it and are about to be rolled back. Held for a moment as well.
    taking_back: Mutex<HashSet<PluginId>>,
}

impl Probations {
    fn put(&self, id: PluginId, watch: AbortOnDropHandle<()>) {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).insert(id, watch);
    }

    fn take(&self, id: &PluginId) {
        let watch = self.watches.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        drop(watch);
    }

    /// Whether the plugin has failed its probation and is about to be rolled back.
    pub(crate) fn is_taking_back(&self, id: &PluginId) -> bool {
        self.taking_back().contains(id)
    }

    fn taking_back(&self) -> MutexGuard<'_, HashSet<PluginId>> {
        self.taking_back.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Manager {
    /// Watches the generation that has just replaced `predecessor`.
    pub(crate) fn begin_probation(&self, id: &PluginId, predecessor: &RunningPlugin, generation: u64) {
        let config = self.config.probation;
        let (Some(manager), false) = (self.own(), config.window.is_zero()) else { return };
        let (before, back_to) = (predecessor.outcomes(), predecessor.generation());
        let plugin = id.clone();
        let watch = async move {
            let end = tokio::time::Instant::now() + config.window;
            while tokio::time::Instant::now() < end {
                tokio::time::sleep(LOOK_EVERY).await;
                let running = manager.running(&plugin);
                if running.is_none() && manager.is_preparing(&plugin) {
                    // It made room for another, and comes back if that one fails.
                    continue;
                }
                let Some(running) = running.filter(|now| now.generation() == generation) else { return };
                if let Some(reason) = fault(&running.health(), running.outcomes(), before, config) {
                    let manager_of_task = Arc::clone(&manager);
                    // A task of its own: what it does ends this watch.
                    manager.probations.taking_back().insert(plugin.clone());
                    manager.tasks().spawn(async move {
                        manager_of_task.take_back(plugin.clone(), running, back_to, reason).await;
                        manager_of_task.probations.taking_back().remove(&plugin);
                    });
                    return;
                }
            }
        };
        // The watch lives until the plugin is changed again, or the host ends.
        self.probations.put(id.clone(), AbortOnDropHandle::new(TaskTracker::new().spawn(watch)));
    }

    /// Watches no longer: somebody has changed the plugin.
    pub(crate) fn forget_probation(&self, id: &PluginId) {
        self.probations.take(id);
    }

    async fn take_back(&self, id: PluginId, failed: RunningPlugin, back_to: u64, reason: String) {
        let (generation, incarnation) = (failed.generation(), failed.incarnation());
        // What ends it may wait for nobody to hold it.
        drop(failed);
        warn!(plugin = %id, generation, reason, "a new version failed its probation");
        loop {
            let refusal = match self.registry.begin(&id).await {
                // Somebody else may have had the turn before: what they did stands, were it a reload of the same files.
                Ok(_) if self.running(&id).is_none_or(|running| running.incarnation() != incarnation) => return,
                Ok(operation) => match self.roll_back(&operation, Some(back_to)).await {
                    Ok(mut done) => {
                        insert(&mut done, "detail", reason.as_str());
                        self.note_taken_back(id, generation, reason);
                        return self.audit(Deed::own("rollback_plugin"), &done).await;
                    }
                    Err(refusal) => refusal,
                },
                Err(error) => busy(&error),
            };
            warn!(plugin = %id, reason = refusal.reason(), "failed to roll back");
            if refusal.code != "busy" {
                return;
            }
            // Older generations still answer calls; they end by their deadlines.
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}

/// Why a version has failed, if it has.
fn fault(health: &Health, now: Outcomes, before: Outcomes, config: ProbationConfig) -> Option<String> {
    if health.traps >= config.traps_max {
        let last = health.last_trap.as_deref().unwrap_or("no reason is known");
        return Some(format!("its instance was lost {} times: {last}", health.traps));
    }
    let mostly_fails = |outcomes: Outcomes| outcomes.failed * 2 > outcomes.answered;
    let judged = now.answered >= config.calls_min && mostly_fails(now);
    let always_did = before.answered > 0 && mostly_fails(before);
    (judged && !always_did).then(|| format!("{} of its {} calls failed", now.failed, now.answered))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(answered: u64, failed: u64) -> Outcomes {
        Outcomes { answered, failed }
    }

    #[test]
    fn traps_and_a_majority_of_failures_are_faults_and_old_habits_are_not() {
        let config = ProbationConfig::default();
        let well = Health::default();
        let judge = |now, before| fault(&well, now, before, config);
        let good = outcomes(100, 3);
        assert_eq!(judge(outcomes(10, 5), good), None, "half is not the majority");
        assert_eq!(judge(outcomes(10, 6), good).as_deref(), Some("6 of its 10 calls failed"));
        assert_eq!(judge(outcomes(9, 9), good), None, "too few to judge");
        assert_eq!(judge(outcomes(10, 10), outcomes(10, 9)), None, "its predecessor failed as well");
        assert!(judge(outcomes(10, 10), outcomes(0, 0)).is_some());
        let trapped = Health { traps: 3, last_trap: Some("unreachable".into()), ..Health::default() };
        let reason = fault(&trapped, outcomes(0, 0), good, config).unwrap();
        assert_eq!(reason, "its instance was lost 3 times: unreachable");
        assert_eq!(fault(&Health { traps: 2, ..Health::default() }, outcomes(0, 0), good, config), None);
    }
}
