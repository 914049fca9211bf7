//! Plugins of which nothing serves for the moment: known by what they described, their names kept, their calls waiting.

use super::ActivateError;
use super::drain::vacate;
use super::task::{DRAINING_MAX, RegistryTask, Serving, Stand};
use crate::runtime::Package;
use crate::subscriptions::Subscriptions;
use crate::waiting::{Waiting, WaitingRoom};
use mortise_model::{Description, Failure, Limits, PluginId};
use mortise_rpc::{Admission, CallError};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{debug, info, warn};

/// A plugin that is known before anything of it is loaded.
#[derive(Debug, Clone)]
pub struct Announced {
    /// Its folder's name.
    pub id: PluginId,
    /// What it described when it served last.
    pub description: Description,
    /// Of these count `queue` and `call_timeout`.
    pub limits: Limits,
}

/// A plugin that waits for a generation to serve.
pub(super) struct Awaited {
    pub(super) room: Arc<WaitingRoom>,
    /// Whether one served before: its end is told when it is known what follows.
    pub(super) follows: bool,
    /// What it hears until then waits for it.
    pub(super) subscriptions: Option<Subscriptions>,
    /// Ends with this.
    _deadlines: AbortOnDropHandle<()>,
}

/// What was asked to make room, and is on its way out.
pub(crate) struct Vacated {
    /// What served; none where nothing did.
    pub(crate) package: Option<Package>,
    drain_slots: Option<Arc<Semaphore>>,
}

impl Vacated {
    /// Waits until every generation of the plugin has ended. Cancel safe.
    pub(crate) async fn ended(&self) {
        if let Some(slots) = &self.drain_slots {
            // Each holds one until it has ended, and nobody else begins to drain: the caller has the plugin's turn. The
            // semaphore is never closed.
            let _ = slots.acquire_many(DRAINING_MAX.into()).await;
        }
    }
}

/// What becomes of the calls that are left when nothing is waited for any more.
pub(super) enum Ending {
    /// They go to whoever has their function now.
    LookAgain,
    /// The plugin could not be loaded.
    Failed { reason: String },
    /// Somebody took it away.
    Unloaded,
}

impl Awaited {
    fn new(room: Arc<WaitingRoom>, follows: bool, subscriptions: Option<Subscriptions>) -> Self {
        let deadlines = TaskTracker::new().spawn(Arc::clone(&room).keep_deadlines());
        Self { room, follows, subscriptions, _deadlines: AbortOnDropHandle::new(deadlines) }
    }

    /// Answers every call: the host is stopping.
    pub(super) fn turn_away(&self) {
        for Waiting { call, .. } in self.room.close() {
            call.responder.respond(Err(Failure::retryable("stopping", "the host is stopping").into()));
        }
    }
}

impl RegistryTask {
    /// Advertises plugins that are about to be loaded, except those that are there already. Where the mesh could not
    /// carry all of them, none: each is judged when it is loaded.
    pub(super) fn announce(&mut self, plugins: Vec<Announced>) {
        let ownership = self.ownership.clone();
        let mut added = Vec::new();
        for Announced { id, description, limits } in plugins {
            if self.plugins.contains_key(&id) {
                continue;
            }
            let room = WaitingRoom::new(id.clone(), description, &limits, None);
            let stand = Stand::Awaited(Awaited::new(room, false, None));
            if let Some(offer) = stand.offer() {
                // What it claims from before and brings no longer is given up when it serves, and is told then.
                self.ownership.queue(&id, &offer.function_names());
            }
            self.plugins.insert(id.clone(), stand);
            self.order.push(id.clone());
            added.push(id);
        }
        let offers: Vec<_> = self.offers().collect();
        let size = self.routes.advertisement_bytes(&self.build(&offers, &self.ownership).routes);
        let limit = self.advertisement_bytes_max();
        if size > limit {
            warn!(
                size,
                limit, "plugins are advertised only as they are loaded: together they are too many for the mesh"
            );
            for id in &added {
                self.plugins.remove(id);
            }
            self.order.retain(|id| !added.contains(id));
            self.ownership = ownership;
            return;
        }
        self.publish();
        debug!(plugins = added.len(), "plugins are advertised, and are about to be loaded");
    }

    /// Has what serves of a plugin end, and its calls wait for what follows under the same names.
    pub(super) fn vacate(&mut self, id: &PluginId) -> Result<Vacated, ActivateError> {
        let Some(Stand::Serving(Serving { generation, subscriptions, .. })) = self.plugins.get_mut(id) else {
            // What was unloaded a moment ago may still be ending.
            let drain_slots = self.traces.get(id).map(|trace| Arc::clone(&trace.drain_slots));
            return Ok(Vacated { package: None, drain_slots });
        };
        let generation = Arc::clone(generation);
        let slots = &self.traces.entry(id.clone()).or_default().drain_slots;
        let slot = Arc::clone(slots).try_acquire_owned().map_err(|_| ActivateError::Busy(id.clone()))?;
        let subscriptions = subscriptions.take();
        if let Some(subscriptions) = &subscriptions {
            subscriptions.pause();
        }
        let vacated = Vacated { package: Some(generation.package.clone()), drain_slots: Some(Arc::clone(slots)) };
        let description = generation.description().clone();
        let limits = generation.services.limits();
        let room = WaitingRoom::new(id.clone(), description, limits, Some(Arc::clone(&generation)));
        // Its routines end with the stand that is replaced.
        self.plugins.insert(id.clone(), Stand::Awaited(Awaited::new(room, true, subscriptions)));
        self.publish();
        info!(plugin = %id, generation = generation.package.generation, "plugin stops to make room for what follows");
        let (patience, stopping) = (self.unload_grace, self.stopping.subscribe());
        self.drains.spawn(async move {
            vacate(generation, patience, stopping).await;
            drop(slot);
        });
        Ok(vacated)
    }

    /// Waits for a plugin no longer. The routes lead past its room by now.
    pub(super) fn dismiss(&self, awaited: Awaited, ending: Ending) {
        let plugin = awaited.room.plugin();
        for waiting in awaited.room.close() {
            let failure = match &ending {
                Ending::LookAgain => {
                    self.send_on(waiting);
                    continue;
                }
                Ending::Failed { reason } => {
                    Failure::new("plugin_failed", format!("plugin `{plugin}` could not be loaded: {reason}"))
                }
                Ending::Unloaded => {
                    Failure::new("stopped", format!("plugin `{plugin}` was unloaded before the call began"))
                }
            };
            waiting.call.responder.respond(Err(failure.into()));
        }
    }

    /// Gives a call that has waited to whoever has its function now.
    fn send_on(&self, Waiting { method, call, .. }: Waiting) {
        let route = self.routes.load().resolve(&method).cloned();
        let Some(route) = route else {
            return call.responder.respond(Err(CallError::unknown_method(&method)));
        };
        // Only this task closes what routes lead to.
        if let Admission::Closed(call) = route.handler.handle(&route.function, call) {
            let failure = Failure::retryable("stopping", "the function is being taken away");
            call.responder.respond(Err(failure.into()));
        }
    }
}
