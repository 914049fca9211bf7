//! The one task that owns which generation of which plugin serves.

use super::awaited::{Awaited, Ending};
use super::drain::{Leave, drain};
use super::publish::Offer;
use super::{ActivateError, Activated, Command, Names, PluginStatus, Removed};
use crate::generation::Generation;
use crate::ownership::{NameClaims, Ownership};
use crate::routines::Routines;
use crate::services::Backend;
use crate::subscriptions::Subscriptions;
use arc_swap::ArcSwap;
use mortise_model::{FunctionName, PluginId, PluginState};
use mortise_rpc::{ADVERTISEMENT_ENVELOPE_BYTES, Routes};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// Generations of one plugin that may drain at once.
pub(super) const DRAINING_MAX: u16 = 2;

/// Where a plugin stands.
pub(super) enum Stand {
    Serving(Serving),
    /// Advertised by what it described when it served last; its calls wait.
    Awaited(Awaited),
    Failed {
        reason: String,
    },
    /// Taken out of service. Its callers are told why.
    Quarantined {
        reason: String,
        functions: Vec<FunctionName>,
    },
}

impl Stand {
    pub(super) fn state(&self) -> PluginState {
        match self {
            Self::Serving(_) => PluginState::Running,
            Self::Awaited(_) => PluginState::Preparing,
            Self::Failed { reason } => PluginState::Failed { reason: reason.clone() },
            Self::Quarantined { reason, .. } => PluginState::Quarantined { reason: reason.clone() },
        }
    }

    pub(super) fn serving(&self) -> Option<&Serving> {
        match self {
            Self::Serving(serving) => Some(serving),
            Self::Awaited(_) | Self::Failed { .. } | Self::Quarantined { .. } => None,
        }
    }

    /// What is advertised of it and may be called.
    pub(super) fn offer(&self) -> Option<Offer<'_>> {
        match self {
            Self::Serving(serving) => Some(Offer::from(&serving.generation)),
            Self::Awaited(awaited) => Some(Offer::from(&awaited.room)),
            Self::Failed { .. } | Self::Quarantined { .. } => None,
        }
    }
}

/// What is left of a plugin's earlier generations; kept until the last of them has ended, loaded or not.
pub(super) struct Trace {
    pub(super) drain_slots: Arc<Semaphore>,
    /// The last ticks of their routines.
    ticks: TaskTracker,
}

impl Default for Trace {
    fn default() -> Self {
        Self { drain_slots: Arc::new(Semaphore::new(DRAINING_MAX.into())), ticks: TaskTracker::new() }
    }
}

pub(super) struct Serving {
    pub(super) generation: Arc<Generation>,
    routines: Routines,
    pub(super) subscriptions: Option<Subscriptions>,
}

pub(super) struct RegistryTask {
    pub(super) routes: Routes,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) message_bytes_max: watch::Receiver<usize>,
    pub(super) snapshot: Arc<ArcSwap<Vec<PluginStatus>>>,
    pub(super) names: Arc<ArcSwap<NameClaims>>,
    pub(super) plugins: BTreeMap<PluginId, Stand>,
    /// Plugins that offer something, in load order; a reload keeps its place.
    pub(super) order: Vec<PluginId>,
    pub(super) ownership: Ownership,
    pub(super) traces: HashMap<PluginId, Trace>,
    pub(super) drains: TaskTracker,
    /// When calls are cut, once the host is stopping.
    pub(super) stopping: watch::Sender<Option<Instant>>,
    pub(super) unload_grace: Duration,
}

/// What the task tells everybody: the plugins, and who claims which name.
type Told = (Arc<ArcSwap<Vec<PluginStatus>>>, Arc<ArcSwap<NameClaims>>);

impl RegistryTask {
    pub(super) fn new(
        routes: Routes,
        backend: Arc<dyn Backend>,
        message_bytes_max: watch::Receiver<usize>,
        (snapshot, names): Told,
        claims: NameClaims,
        unload_grace: Duration,
    ) -> Self {
        Self {
            routes,
            backend,
            message_bytes_max,
            snapshot,
            names,
            plugins: BTreeMap::new(),
            order: Vec::new(),
            ownership: Ownership::new(claims),
            traces: HashMap::new(),
            drains: TaskTracker::new(),
            stopping: watch::Sender::new(None),
            unload_grace,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        // Answers go to callers that may have left; the change stands all the same.
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Announce { plugins, done } => {
                    self.announce(plugins);
                    let _ = done.send(());
                }
                Command::Check { generation, done } => drop(done.send(self.check(&generation))),
                Command::Activate { generation, done } => drop(done.send(self.activate(generation))),
                Command::Vacate { id, done } => drop(done.send(self.vacate(&id))),
                Command::Remove { id, done } => drop(done.send(self.take_out(&id, None))),
                Command::Quarantine { plugin, done } => drop(done.send(self.quarantine(plugin))),
                Command::Fail { id, reason, done } => {
                    self.fail(id, reason);
                    let _ = done.send(());
                }
                Command::Shutdown { grace, done } => {
                    inbox.close();
                    self.shutdown(grace).await;
                    let _ = done.send(());
                    return;
                }
            }
        }
    }

    /// Whether the mesh can carry the advertisement with `generation` in it, and what becomes of bare names.
    fn check(&self, generation: &Arc<Generation>) -> Result<Names, ActivateError> {
        let mut ownership = self.ownership.clone();
        let offer = Offer::from(generation);
        let passed = ownership.claim(offer.id, &offer.function_names());
        let functions = self.functions_of(&offer, &ownership);
        let mut offers: Vec<Offer<'_>> = self.offers().filter(|other| other.id != offer.id).collect();
        offers.push(offer);
        let size = self.routes.advertisement_bytes(&self.build(&offers, &ownership).routes);
        let limit = self.advertisement_bytes_max();
        // The mesh may have come with a smaller limit than what serves already: what does not add to it may pass.
        let now = self.routes.load().capabilities().as_str().len();
        if size > limit.max(now) {
            return Err(ActivateError::AdvertisementFull { size, limit });
        }
        Ok(Names { functions, passed })
    }

    pub(super) fn advertisement_bytes_max(&self) -> usize {
        self.message_bytes_max.borrow().saturating_sub(ADVERTISEMENT_ENVELOPE_BYTES)
    }

    fn activate(&mut self, generation: Arc<Generation>) -> Result<Activated, ActivateError> {
        let id = generation.package.id.clone();
        self.forget_traces();
        let trace = self.traces.entry(id.clone()).or_default();
        let replaces = self.plugins.get(&id).is_some_and(|stand| stand.serving().is_some());
        let slot = match Arc::clone(&trace.drain_slots).try_acquire_owned() {
            Ok(slot) => Some(slot),
            Err(_) if replaces => return Err(ActivateError::Busy(id)),
            Err(_) => None,
        };
        self.check(&generation)?;
        let trace = self.traces.entry(id.clone()).or_default();
        let passed = self.ownership.claim(&id, &Offer::from(&generation).function_names());
        let (mut old, mut awaited, mut subscriptions) = (None, None, None);
        match self.plugins.remove(&id) {
            Some(Stand::Serving(serving)) => (old, subscriptions) = (Some(serving.generation), serving.subscriptions),
            Some(Stand::Awaited(mut stand)) => {
                subscriptions = stand.subscriptions.take();
                awaited = Some(stand);
            }
            Some(Stand::Failed { .. } | Stand::Quarantined { .. }) | None => {}
        }
        let routines = Routines::start(&generation, &trace.ticks);
        trace.ticks = routines.ticks().clone();
        if let Some(awaited) = &awaited {
            // Before the routes lead past it: those who have waited come first.
            awaited.room.hand_over(&generation);
        }
        let replaced = old.is_some() || awaited.as_ref().is_some_and(|awaited| awaited.follows);
        let subscriptions = match subscriptions {
            Some(subscriptions) => subscriptions.pass_to(&generation),
            None => Subscriptions::start(&generation, &*self.backend),
        };
        let serving = Serving { generation: Arc::clone(&generation), routines, subscriptions };
        self.plugins.insert(id.clone(), Stand::Serving(serving));
        if !self.order.contains(&id) {
            self.order.push(id.clone());
        }
        let warnings = self.publish();
        if replaced {
            self.announce_unloaded(&id, &[], None);
        }
        self.announce_loaded(&generation, &passed);
        generation.services.activate();
        if let Some(awaited) = awaited {
            self.dismiss(awaited, Ending::LookAgain);
        }
        if let Some(old) = old {
            // Calls keep their own deadlines, so the drain ends by itself.
            self.drain(old, Leave::InOrder { grace: None }, slot);
        }
        let number = generation.package.generation;
        info!(plugin = %id, generation = number, replaced, "plugin loaded");
        let functions = self.functions_of(&Offer::from(&generation), &self.ownership);
        let warnings = warnings.into_iter().filter(|(owner, _)| *owner == id).map(|(_, text)| text).collect();
        let incarnation = generation.incarnation;
        Ok(Activated { generation: number, incarnation, replaced, functions, passed, warnings })
    }

    /// Has a plugin serve no longer. What is put `instead` is told from then on.
    pub(super) fn take_out(&mut self, id: &PluginId, instead: Option<Stand>) -> Option<Removed> {
        let stand = self.plugins.remove(id);
        let reason = match &instead {
            Some(Stand::Quarantined { reason, .. }) => Some(reason.clone()),
            _ => None,
        };
        self.plugins.extend(instead.map(|instead| (id.clone(), instead)));
        self.order.retain(|other| other != id);
        // One that only failed may still claim names from before.
        let passed = self.ownership.claim(id, &[]);
        self.publish();
        let Serving { generation, routines, subscriptions } = match stand {
            Some(Stand::Serving(serving)) => serving,
            Some(Stand::Awaited(awaited)) => {
                if awaited.follows {
                    self.announce_unloaded(id, &passed, reason.as_deref());
                }
                info!(plugin = %id, "plugin unloaded before it was loaded");
                self.dismiss(awaited, Ending::Unloaded);
                return Some(Removed { passed });
            }
            Some(Stand::Failed { .. } | Stand::Quarantined { .. }) | None => return None,
        };
        drop((routines, subscriptions));
        self.announce_unloaded(id, &passed, reason.as_deref());
        info!(plugin = %id, generation = generation.package.generation, "plugin unloaded");
        self.forget_traces();
        let slots = &self.traces.entry(id.clone()).or_default().drain_slots;
        let slot = Arc::clone(slots).try_acquire_owned().ok();
        let leave = if slot.is_some() { Leave::InOrder { grace: Some(self.unload_grace) } } else { Leave::AtOnce };
        self.drain(generation, leave, slot);
        Some(Removed { passed })
    }

    /// Remembers why a plugin does not run, or forgets it. One that serves goes on serving, and one in quarantine stays
    /// there.
    fn fail(&mut self, id: PluginId, reason: Option<String>) {
        let before = match self.plugins.remove(&id) {
            Some(stays @ (Stand::Serving(_) | Stand::Quarantined { .. })) => {
                return drop(self.plugins.insert(id, stays));
            }
            Some(Stand::Awaited(awaited)) => Some(awaited),
            Some(Stand::Failed { .. }) | None => None,
        };
        if let Some(reason) = &reason {
            warn!(plugin = %id, reason = reason.as_str(), "plugin failed");
            self.plugins.insert(id.clone(), Stand::Failed { reason: reason.clone() });
        }
        match before {
            // Its names stay its own, for when it is mended.
            Some(awaited) => {
                self.order.retain(|other| *other != id);
                self.publish();
                if awaited.follows {
                    self.announce_unloaded(&id, &[], None);
                }
                self.dismiss(awaited, reason.map_or(Ending::LookAgain, |reason| Ending::Failed { reason }));
            }
            None => self.publish_snapshot(),
        }
    }

    async fn shutdown(&mut self, grace: Duration) {
        let cut = Instant::now() + grace;
        self.stopping.send_replace(Some(cut));
        let (mut ending, mut gone) = (Vec::new(), Vec::new());
        for id in &self.order {
            match self.plugins.get_mut(id) {
                Some(Stand::Serving(Serving { generation, routines, subscriptions })) => {
                    drop((std::mem::take(routines), subscriptions.take()));
                    generation.restrict();
                    ending.push((id.clone(), Arc::clone(generation)));
                }
                // Closed, it turns away whoever still comes.
                Some(Stand::Awaited(awaited)) => {
                    awaited.turn_away();
                    if awaited.follows {
                        gone.push(id.clone());
                    }
                }
                Some(Stand::Failed { .. } | Stand::Quarantined { .. }) | None => {}
            }
        }
        self.drains.close();
        let calls = async {
            // Older generations may need the serving ones as well.
            self.drains.wait().await;
            // One that is idle may be called by one that is not yet: all have to be at once.
            while let Some((_, busy)) = ending.iter().find(|(_, generation)| !generation.is_idle()) {
                busy.drained().await;
            }
        };
        // What runs longer is answered by its instance's shutdown.
        let _ = tokio::time::timeout_at(cut, calls).await;
        for id in gone {
            self.announce_unloaded(&id, &[], None);
        }
        for (id, generation) in ending {
            self.announce_unloaded(&id, &[], None);
            self.drain(generation, Leave::InOrder { grace: None }, None);
        }
        self.drains.wait().await;
        // Last, so that stop hooks hear that the host is stopping rather than that there is no such function.
        self.order.clear();
        self.plugins.clear();
        self.publish();
    }

    /// Ends a generation that serves no longer, beside everything else.
    fn drain(&self, generation: Arc<Generation>, leave: Leave, slot: Option<OwnedSemaphorePermit>) {
        let stopping = self.stopping.subscribe();
        self.drains.spawn(async move {
            drain(generation, leave, stopping).await;
            drop(slot);
        });
    }

    /// Forgets plugins that are gone and of which nothing drains or ticks.
    fn forget_traces(&mut self) {
        self.traces.retain(|id, trace| {
            self.plugins.contains_key(id)
                || trace.drain_slots.available_permits() < usize::from(DRAINING_MAX)
                || !trace.ticks.is_empty()
        });
    }

    /// What is advertised and may be called, in load order.
    pub(super) fn offers(&self) -> impl Iterator<Item = Offer<'_>> {
        self.order.iter().filter_map(|id| self.plugins.get(id)?.offer())
    }
}
