//! Which generation of which plugin serves: one task owns that, everybody else reads a snapshot.

use crate::generation::Generation;
use crate::operation::{Busy, Operation, OperationLocks};
use crate::ownership::{Ownership, Succession};
use crate::routines::Routines;
use crate::runtime::{Health, Package, Runtime};
use crate::services::Backend;
use arc_swap::ArcSwap;
use mortise_model::{DeviceId, EventDef, EventName, FunctionName, Json, PluginId, PluginState, Tenant};
use mortise_rpc::{ADVERTISEMENT_ENVELOPE_BYTES, AdvertisedFunction, Handler, PluginRoutes, Route, Routes};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// Generations of one plugin that may drain at once.
const DRAINING_MAX: usize = 2;

/// How long calls may go on after an unload before they are answered in the plugin's place.
const UNLOAD_GRACE: Duration = Duration::from_secs(5);

/// What a registry needs of its surroundings.
pub struct RegistryParts {
    /// This device.
    pub device: DeviceId,
    /// Its tenant.
    pub tenant: Tenant,
    /// Where functions become callable.
    pub routes: Routes,
    /// One for each kind that this host runs.
    pub runtimes: Vec<Arc<dyn Runtime>>,
    /// What plugins may ask of the host.
    pub backend: Arc<dyn Backend>,
    /// The most bytes that the mesh carries in one message; may change with the mesh.
    pub message_bytes_max: watch::Receiver<usize>,
}

/// A handle on the plugins. Cheap to clone; the owner task ends with the last one.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) device: DeviceId,
    pub(crate) tenant: Tenant,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) runtimes: Vec<Arc<dyn Runtime>>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) sequence: AtomicU64,
    snapshot: Arc<ArcSwap<Vec<PluginStatus>>>,
    locks: Arc<OperationLocks>,
}

/// One plugin as it stands.
#[derive(Clone)]
pub struct PluginStatus {
    /// Its folder's name.
    pub id: PluginId,
    /// Where it stands; `Failed` plugins serve nothing.
    pub state: PluginState,
    /// The serving generation, if any.
    pub running: Option<RunningPlugin>,
}

/// A serving generation as others see it.
#[derive(Clone)]
pub struct RunningPlugin {
    generation: Arc<Generation>,
    /// Its functions and the names they are advertised by.
    pub functions: Vec<FunctionStatus>,
}

/// One function of a serving plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionStatus {
    /// As the plugin names it.
    pub name: FunctionName,
    /// The bare name, or `<plugin>.<function>` where the bare one belongs to another.
    pub advertised_as: Arc<str>,
    /// Who has the bare name instead; none where this plugin has it.
    pub taken_by: Option<NameOwner>,
}

/// Who has a bare name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameOwner {
    /// The host itself.
    Host,
    /// Another plugin.
    Plugin(PluginId),
}

impl fmt::Display for NameOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host"),
            Self::Plugin(id) => write!(f, "plugin `{id}`"),
        }
    }
}

impl RunningPlugin {
    /// The package it was prepared from.
    #[must_use]
    pub fn package(&self) -> &Package {
        &self.generation.package
    }

    /// The generation's number: larger is newer, never used twice in one process.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.generation.sequence
    }

    /// What the plugin brings.
    #[must_use]
    pub fn description(&self) -> &mortise_model::Description {
        self.generation.description()
    }

    /// How it fares.
    #[must_use]
    pub fn health(&self) -> Health {
        self.generation.instance.health()
    }
}

/// A swap that happened.
#[derive(Debug, Clone)]
pub struct Activated {
    /// The generation that serves now.
    pub sequence: u64,
    /// Whether it replaced another.
    pub replaced: bool,
    /// Its functions and the names they are advertised by.
    pub functions: Vec<FunctionStatus>,
    /// Bare names that passed to other plugins because the new generation brings them no longer.
    pub passed: Vec<Succession>,
    /// What was left out of the advertisement and why, one sentence each.
    pub warnings: Vec<String>,
}

/// Why a prepared generation may not serve. The old one goes on.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// The mesh could not carry the list of functions.
    #[error("advertising it would take {size} bytes, more than the mesh's {limit} in one message")]
    AdvertisementFull {
        /// With the new generation.
        size: usize,
        /// Of the mesh.
        limit: usize,
    },
    /// Two older generations are still draining.
    #[error("two older generations of plugin `{0}` are still answering calls")]
    Busy(PluginId),
    /// The host is going down.
    #[error("the host is stopping")]
    Stopping,
}

/// An unload that happened.
#[derive(Debug, Clone)]
pub struct Removed {
    /// Bare names that passed to other plugins.
    pub passed: Vec<Succession>,
}

pub(crate) enum Command {
    Check { generation: Arc<Generation>, done: oneshot::Sender<Result<(), ActivateError>> },
    Activate { generation: Arc<Generation>, done: oneshot::Sender<Result<Activated, ActivateError>> },
    Remove { id: PluginId, done: oneshot::Sender<Option<Removed>> },
    Fail { id: PluginId, reason: String },
    Shutdown { grace: Duration, done: oneshot::Sender<()> },
}

impl Registry {
    /// Starts the owner task on the current runtime.
    #[must_use]
    pub fn start(parts: RegistryParts) -> Self {
        let RegistryParts { device, tenant, routes, runtimes, backend, message_bytes_max } = parts;
        let (commands, inbox) = mpsc::channel(64);
        let snapshot = Arc::new(ArcSwap::from_pointee(Vec::new()));
        let task = RegistryTask {
            routes,
            backend: Arc::clone(&backend),
            message_bytes_max,
            snapshot: Arc::clone(&snapshot),
            plugins: BTreeMap::new(),
            order: Vec::new(),
            ownership: Ownership::default(),
            drains: TaskTracker::new(),
        };
        // The task ends when the last handle is gone, or with the shutdown that it is asked for.
        TaskTracker::new().spawn(task.run(inbox));
        let locks = Arc::default();
        let sequence = AtomicU64::new(1);
        let shared = Shared { device, tenant, backend, runtimes, commands, sequence, snapshot, locks };
        Self { shared: Arc::new(shared) }
    }

    /// Every plugin that runs or has failed, in load order.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Vec<PluginStatus>> {
        self.shared.snapshot.load_full()
    }

    /// Waits for the turn to change plugin `id`. Changes of one plugin happen one after another, in the order they
    /// were asked for; those of different plugins side by side. Cancel safe.
    ///
    /// # Errors
    /// [`Busy`] when too many changes of this plugin wait already.
    pub async fn begin(&self, id: &PluginId) -> Result<Operation, Busy> {
        let lock = self.shared.locks.acquire(id).await?;
        Ok(Operation::new(Arc::clone(&self.shared), id.clone(), lock))
    }

    /// Ends every plugin: no new work, `grace` for what runs, then the stop hooks. Returns when all have ended.
    pub async fn shutdown(&self, grace: Duration) {
        let (done, ended) = oneshot::channel();
        if self.shared.commands.send(Command::Shutdown { grace, done }).await.is_ok() {
            // Dropped only if the task died; then everything has ended too.
            let _ = ended.await;
        }
    }
}

struct Entry {
    state: PluginState,
    serving: Option<Serving>,
    drain_slots: Arc<Semaphore>,
}

struct Serving {
    generation: Arc<Generation>,
    routines: Routines,
}

struct RegistryTask {
    routes: Routes,
    backend: Arc<dyn Backend>,
    message_bytes_max: watch::Receiver<usize>,
    snapshot: Arc<ArcSwap<Vec<PluginStatus>>>,
    plugins: BTreeMap<PluginId, Entry>,
    /// Serving plugins in load order; a reload keeps its place.
    order: Vec<PluginId>,
    ownership: Ownership,
    drains: TaskTracker,
}

impl RegistryTask {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        // Answers go to callers that may have left; the change stands all the same.
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Check { generation, done } => drop(done.send(self.check(&generation))),
                Command::Activate { generation, done } => drop(done.send(self.activate(generation))),
                Command::Remove { id, done } => drop(done.send(self.remove(&id))),
                Command::Fail { id, reason } => self.fail(id, reason),
                Command::Shutdown { grace, done } => {
                    inbox.close();
                    self.shutdown(grace).await;
                    let _ = done.send(());
                    return;
                }
            }
        }
    }

    /// Whether the mesh can carry the advertisement with `generation` in it.
    fn check(&self, generation: &Arc<Generation>) -> Result<(), ActivateError> {
        let mut ownership = self.ownership.clone();
        ownership.claim(&generation.package.id, &function_names(generation));
        let mut serving: Vec<&Arc<Generation>> =
            self.serving().filter(|serving| serving.package.id != generation.package.id).collect();
        serving.push(generation);
        let size = self.routes.advertisement_bytes(&self.build(&serving, &ownership).routes);
        let limit = self.message_bytes_max.borrow().saturating_sub(ADVERTISEMENT_ENVELOPE_BYTES);
        if size > limit { Err(ActivateError::AdvertisementFull { size, limit }) } else { Ok(()) }
    }

    fn activate(&mut self, generation: Arc<Generation>) -> Result<Activated, ActivateError> {
        let id = generation.package.id.clone();
        self.check(&generation)?;
        let entry = self.plugins.entry(id.clone()).or_insert_with(|| Entry {
            state: PluginState::Preparing,
            serving: None,
            drain_slots: Arc::new(Semaphore::new(DRAINING_MAX)),
        });
        let slot = match &entry.serving {
            None => None,
            Some(_) => match Arc::clone(&entry.drain_slots).try_acquire_owned() {
                Ok(slot) => Some(slot),
                Err(_) => return Err(ActivateError::Busy(id)),
            },
        };
        let passed = self.ownership.claim(&id, &function_names(&generation));
        let old = entry.serving.take();
        let replaced = old.is_some();
        let (old_generation, old_routines) = old.map(|old| (old.generation, old.routines)).unzip();
        entry.state = PluginState::Running;
        entry.serving =
            Some(Serving { generation: Arc::clone(&generation), routines: Routines::start(&generation, old_routines) });
        if !self.order.contains(&id) {
            self.order.push(id.clone());
        }
        let warnings = self.publish();
        if replaced {
            self.announce_unloaded(&id);
        }
        self.announce_loaded(&generation);
        generation.services.activate();
        if let (Some(old), Some(slot)) = (old_generation, slot) {
            let stop_timeout = old.services.limits().stop_timeout;
            // Calls keep their own deadlines, so the drain ends by itself.
            self.drains.spawn(async move {
                drain(old, None, stop_timeout).await;
                drop(slot);
            });
        }
        let sequence = generation.sequence;
        info!(plugin = %id, generation = sequence, replaced, "plugin loaded");
        let functions = self.functions_of(&generation, &self.ownership);
        let warnings = warnings.into_iter().filter(|(owner, _)| *owner == id).map(|(_, text)| text).collect();
        Ok(Activated { sequence, replaced, functions, passed, warnings })
    }

    fn remove(&mut self, id: &PluginId) -> Option<Removed> {
        let entry = self.plugins.remove(id)?;
        self.order.retain(|other| other != id);
        let passed = self.ownership.claim(id, &[]);
        self.publish();
        let Serving { generation, routines } = entry.serving?;
        drop(routines);
        self.announce_unloaded(id);
        info!(plugin = %id, generation = generation.sequence, "plugin unloaded");
        let stop_timeout = generation.services.limits().stop_timeout;
        self.drains.spawn(drain(generation, Some(UNLOAD_GRACE), stop_timeout));
        Some(Removed { passed })
    }

    /// Remembers why a plugin does not run. One that serves goes on serving.
    fn fail(&mut self, id: PluginId, reason: String) {
        warn!(plugin = %id, %reason, "plugin failed");
        let entry = self.plugins.entry(id).or_insert_with(|| Entry {
            state: PluginState::Preparing,
            serving: None,
            drain_slots: Arc::new(Semaphore::new(DRAINING_MAX)),
        });
        if entry.serving.is_none() {
            entry.state = PluginState::Failed { reason };
        }
        self.publish();
    }

    async fn shutdown(&mut self, grace: Duration) {
        for id in std::mem::take(&mut self.order) {
            let Some(Serving { generation, routines }) =
                self.plugins.remove(&id).and_then(|entry| entry.serving)
            else {
                continue;
            };
            drop(routines);
            self.announce_unloaded(&id);
            let stop_timeout = generation.services.limits().stop_timeout.min(grace);
            self.drains.spawn(drain(generation, Some(grace), stop_timeout));
        }
        self.plugins.clear();
        self.drains.close();
        self.drains.wait().await;
    }

    fn serving(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.order
            .iter()
            .filter_map(|id| self.plugins.get(id)?.serving.as_ref())
            .map(|serving| &serving.generation)
    }

    /// Derives routes and snapshot from the state. Returns what was left out, by plugin.
    fn publish(&self) -> Vec<(PluginId, String)> {
        let serving: Vec<&Arc<Generation>> = self.serving().collect();
        let Built { routes, left_out } = self.build(&serving, &self.ownership);
        self.routes.publish(routes);
        let running = self.order.iter().filter_map(|id| Some((id, self.plugins.get(id)?)));
        let failed = self.plugins.iter().filter(|(_, entry)| entry.serving.is_none());
        let snapshot = running
            .chain(failed)
            .map(|(id, entry)| PluginStatus {
                id: id.clone(),
                state: entry.state.clone(),
                running: entry.serving.as_ref().map(|serving| RunningPlugin {
                    generation: Arc::clone(&serving.generation),
                    functions: self.functions_of(&serving.generation, &self.ownership),
                }),
            })
            .collect();
        self.snapshot.store(Arc::new(snapshot));
        left_out
    }

    fn build(&self, serving: &[&Arc<Generation>], ownership: &Ownership) -> Built {
        let mut built = Built { routes: PluginRoutes::default(), left_out: Vec::new() };
        let mut events: HashSet<EventName> = HashSet::new();
        for generation in serving {
            let id = &generation.package.id;
            let handler: Arc<dyn Handler> = Arc::<Generation>::clone(generation);
            let described = generation.description();
            for (def, status) in described.functions.iter().zip(self.functions_of(generation, ownership)) {
                let route = Route { function: def.name.shared(), handler: Arc::clone(&handler) };
                let namespaced: Arc<str> = format!("{id}.{}", def.name).into();
                if status.taken_by.is_none() {
                    built.routes.routes.insert(def.name.shared(), route.clone());
                }
                built.routes.routes.insert(namespaced, route);
                built.routes.functions.push(AdvertisedFunction { name: status.advertised_as, def: def.clone() });
            }
            for event in &described.events {
                if self.routes.is_reserved_event(event.name.as_str()) || !events.insert(event.name.clone()) {
                    let text = format!("event `{}` is advertised by another already", event.name);
                    built.left_out.push((id.clone(), text));
                } else {
                    built.routes.events.push(EventDef::clone(event));
                }
            }
        }
        built
    }

    fn functions_of(&self, generation: &Generation, ownership: &Ownership) -> Vec<FunctionStatus> {
        let id = &generation.package.id;
        let status = |name: &FunctionName| {
            let taken_by = if self.routes.is_reserved(name.as_str()) {
                Some(NameOwner::Host)
            } else {
                ownership.owner(name).filter(|owner| *owner != id).cloned().map(NameOwner::Plugin)
            };
            let advertised_as = match taken_by {
                None => name.shared(),
                Some(_) => format!("{id}.{name}").into(),
            };
            FunctionStatus { name: name.clone(), advertised_as, taken_by }
        };
        generation.description().functions.iter().map(|def| status(&def.name)).collect()
    }

    fn announce_loaded(&self, generation: &Generation) {
        let functions: Vec<&str> = generation.description().functions.iter().map(|def| def.name.as_str()).collect();
        self.emit("plugin_loaded", serde_json::json!({"plugin_id": generation.package.id, "functions": functions}));
    }

    fn announce_unloaded(&self, id: &PluginId) {
        self.emit("plugin_unloaded", serde_json::json!({"plugin_id": id}));
    }

    fn emit(&self, event: &str, payload: serde_json::Value) {
        // Both names are legal.
        if let Ok(event) = EventName::new(event) {
            self.backend.emit(event, Json::of(&payload));
        }
    }
}

struct Built {
    routes: PluginRoutes,
    left_out: Vec<(PluginId, String)>,
}

fn function_names(generation: &Generation) -> Vec<FunctionName> {
    generation.description().functions.iter().map(|def| def.name.clone()).collect()
}

/// Ends a generation that serves no longer: its calls first, for at most `grace`, then its stop hook.
async fn drain(generation: Arc<Generation>, grace: Option<Duration>, stop_timeout: Duration) {
    generation.close();
    match grace {
        None => generation.drained().await,
        // What still runs then is answered by the instance's shutdown.
        Some(grace) => drop(tokio::time::timeout(grace, generation.drained()).await),
    }
    generation.instance.shutdown(stop_timeout).await;
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}
