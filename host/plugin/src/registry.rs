//! Which generation of which plugin serves: one task owns that, everybody else reads a snapshot.

use crate::generation::{Generation, Outcomes};
use crate::operation::{Busy, Operation, OperationLocks};
use crate::outlook::{self, Outlook};
use crate::ownership::{NameClaims, Ownership, Succession};
use crate::routines::Routines;
use crate::runtime::{Health, Package, PrepareError, Runtime};
use crate::services::Backend;
use arc_swap::ArcSwap;
use mortise_model::{DeviceId, EventDef, EventName, FunctionName, Json, PluginId, PluginState, Tenant};
use mortise_rpc::{ADVERTISEMENT_ENVELOPE_BYTES, AdvertisedFunction, Handler, PluginRoutes, Route, Routes};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// Generations of one plugin that may drain at once.
const DRAINING_MAX: usize = 2;

/// How long a stop hook may take once the host is stopping.
const STOPPING_HOOK: Duration = Duration::from_millis(700);

/// How much longer than its stop hook an instance may take to end.
const STOP_MARGIN: Duration = Duration::from_millis(300);

/// How long changes wait for calls.
#[derive(Debug, Clone, Copy)]
pub struct RegistryConfig {
    /// How long calls may go on after an unload before they are answered in the plugin's place.
    pub unload_grace: Duration,
    /// How long a swap waits for an older generation to finish draining before it is refused as busy.
    pub drain_wait: Duration,
}

impl Default for RegistryConfig {
    /// 5 s and 20 s.
    fn default() -> Self {
        Self { unload_grace: Duration::from_secs(5), drain_wait: Duration::from_secs(20) }
    }
}

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
    /// Who claimed which bare name when the host ended last.
    pub names: NameClaims,
    /// How long changes wait.
    pub config: RegistryConfig,
}

/// A handle on the plugins. Cheap to clone. The owner task ends with [`Registry::shutdown`].
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
    pub(crate) config: RegistryConfig,
    pub(crate) incarnations: AtomicU64,
    snapshot: Arc<ArcSwap<Vec<PluginStatus>>>,
    names: Arc<ArcSwap<NameClaims>>,
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

    /// The number under which its files are kept.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.package.generation
    }

    /// Which incarnation this is: larger is newer, never used twice in one process.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.generation.incarnation
    }

    /// How its calls have ended so far.
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        self.generation.outcomes()
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
    /// The generation that serves now: the number under which its files are kept.
    pub generation: u64,
    /// Which incarnation of it: larger is newer, never used twice in one process.
    pub incarnation: u64,
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

/// What becomes of bare names when a generation serves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) functions: Vec<FunctionStatus>,
    pub(crate) passed: Vec<Succession>,
}

pub(crate) enum Command {
    Check { generation: Arc<Generation>, done: oneshot::Sender<Result<Names, ActivateError>> },
    Activate { generation: Arc<Generation>, done: oneshot::Sender<Result<Activated, ActivateError>> },
    Remove { id: PluginId, done: oneshot::Sender<Option<Removed>> },
    Fail { id: PluginId, reason: Option<String>, done: oneshot::Sender<()> },
    Shutdown { grace: Duration, done: oneshot::Sender<()> },
}

impl Registry {
    /// Starts the owner task on the current runtime.
    #[must_use]
    pub fn start(parts: RegistryParts) -> Self {
        let RegistryParts { device, tenant, routes, runtimes, backend, message_bytes_max, names, config } = parts;
        let (commands, inbox) = mpsc::channel(64);
        let snapshot = Arc::new(ArcSwap::from_pointee(Vec::new()));
        let claims = Arc::new(ArcSwap::from_pointee(names.clone()));
        let task = RegistryTask {
            routes,
            backend: Arc::clone(&backend),
            message_bytes_max,
            snapshot: Arc::clone(&snapshot),
            names: Arc::clone(&claims),
            plugins: BTreeMap::new(),
            order: Vec::new(),
            ownership: Ownership::new(names),
            traces: HashMap::new(),
            drains: TaskTracker::new(),
            stopping: watch::Sender::new(None),
            unload_grace: config.unload_grace,
        };
        // The task ends when the last handle is gone, or with the shutdown that it is asked for.
        TaskTracker::new().spawn(task.run(inbox));
        let locks = Arc::default();
        let incarnations = AtomicU64::new(1);
        let names = claims;
        let shared =
            Shared { device, tenant, backend, runtimes, commands, config, incarnations, snapshot, names, locks };
        Self { shared: Arc::new(shared) }
    }

    /// Every plugin that runs or has failed, in load order.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Vec<PluginStatus>> {
        self.shared.snapshot.load_full()
    }

    /// Who claims each bare name now.
    #[must_use]
    pub fn names(&self) -> Arc<NameClaims> {
        self.shared.names.load_full()
    }

    /// Waits for the turn to change plugin `id`. Changes of one plugin happen one after another, in the order in which
    /// their turns were asked for here; those of different plugins side by side. Cancel safe.
    ///
    /// # Errors
    /// [`Busy`] when too many changes of this plugin wait already.
    pub async fn begin(&self, id: &PluginId) -> Result<Operation, Busy> {
        let lock = self.shared.locks.acquire(id).await?;
        Ok(Operation::new(Arc::clone(&self.shared), id.clone(), lock))
    }

    /// What a plugin would bring were it loaded now, and under which names. Its code is compiled and asked; none of its
    /// hooks runs, and nothing is left running. Needs no turn, and promises nothing: what serves may change meanwhile.
    /// Cancel safe.
    ///
    /// # Errors
    /// [`PrepareError`] where a load would fail with it, apart from what only its hooks can tell.
    pub async fn describe(&self, package: Package) -> Result<Outlook, PrepareError> {
        outlook::describe(&self.shared, package).await
    }

    /// Ends every plugin. Work is taken from plugins only while what runs has its `grace`: a call may need others to
    /// end. Then come the stop hooks. Returns when all have ended.
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
}

/// What is left of a plugin's earlier generations; kept until the last of them has ended, loaded or not.
struct Trace {
    drain_slots: Arc<Semaphore>,
    /// The last ticks of their routines.
    ticks: TaskTracker,
}

impl Default for Trace {
    fn default() -> Self {
        Self { drain_slots: Arc::new(Semaphore::new(DRAINING_MAX)), ticks: TaskTracker::new() }
    }
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
    names: Arc<ArcSwap<NameClaims>>,
    plugins: BTreeMap<PluginId, Entry>,
    /// Serving plugins in load order; a reload keeps its place.
    order: Vec<PluginId>,
    ownership: Ownership,
    traces: HashMap<PluginId, Trace>,
    drains: TaskTracker,
    /// When calls are cut, once the host is stopping.
    stopping: watch::Sender<Option<Instant>>,
    unload_grace: Duration,
}

impl RegistryTask {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        // Answers go to callers that may have left; the change stands all the same.
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Check { generation, done } => drop(done.send(self.check(&generation))),
                Command::Activate { generation, done } => drop(done.send(self.activate(generation))),
                Command::Remove { id, done } => drop(done.send(self.remove(&id))),
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
        let passed = ownership.claim(&generation.package.id, &function_names(generation));
        let mut serving: Vec<&Arc<Generation>> =
            self.serving().filter(|serving| serving.package.id != generation.package.id).collect();
        serving.push(generation);
        let size = self.routes.advertisement_bytes(&self.build(&serving, &ownership).routes);
        let limit = self.message_bytes_max.borrow().saturating_sub(ADVERTISEMENT_ENVELOPE_BYTES);
        // The mesh may have come with a smaller limit than what serves already: what does not add to it may pass.
        let now = self.routes.load().capabilities().as_str().len();
        if size > limit.max(now) {
            return Err(ActivateError::AdvertisementFull { size, limit });
        }
        Ok(Names { functions: self.functions_of(generation, &ownership), passed })
    }

    fn activate(&mut self, generation: Arc<Generation>) -> Result<Activated, ActivateError> {
        let id = generation.package.id.clone();
        self.forget_traces();
        let trace = self.traces.entry(id.clone()).or_default();
        let replaces = self.plugins.get(&id).is_some_and(|entry| entry.serving.is_some());
        let slot = match Arc::clone(&trace.drain_slots).try_acquire_owned() {
            Ok(slot) => Some(slot),
            Err(_) if replaces => return Err(ActivateError::Busy(id)),
            Err(_) => None,
        };
        self.check(&generation)?;
        let trace = self.traces.entry(id.clone()).or_default();
        let passed = self.ownership.claim(&id, &function_names(&generation));
        let old = self.plugins.remove(&id).and_then(|entry| entry.serving);
        let replaced = old.is_some();
        let old_generation = old.map(|Serving { generation, routines }| {
            drop(routines);
            generation
        });
        let routines = Routines::start(&generation, &trace.ticks);
        trace.ticks = routines.ticks().clone();
        let serving = Some(Serving { generation: Arc::clone(&generation), routines });
        self.plugins.insert(id.clone(), Entry { state: PluginState::Running, serving });
        if !self.order.contains(&id) {
            self.order.push(id.clone());
        }
        let warnings = self.publish();
        if replaced {
            self.announce_unloaded(&id, &[]);
        }
        self.announce_loaded(&generation, &passed);
        generation.services.activate();
        if let Some(old) = old_generation {
            // Calls keep their own deadlines, so the drain ends by itself.
            self.drain(old, None, slot);
        }
        let number = generation.package.generation;
        info!(plugin = %id, generation = number, replaced, "plugin loaded");
        let functions = self.functions_of(&generation, &self.ownership);
        let warnings = warnings.into_iter().filter(|(owner, _)| *owner == id).map(|(_, text)| text).collect();
        let incarnation = generation.incarnation;
        Ok(Activated { generation: number, incarnation, replaced, functions, passed, warnings })
    }

    fn remove(&mut self, id: &PluginId) -> Option<Removed> {
        let serving = self.plugins.remove(id).and_then(|entry| entry.serving);
        self.order.retain(|other| other != id);
        // One that only failed may still claim names from before.
        let passed = self.ownership.claim(id, &[]);
        self.publish();
        let Serving { generation, routines } = serving?;
        drop(routines);
        self.announce_unloaded(id, &passed);
        info!(plugin = %id, generation = generation.package.generation, "plugin unloaded");
        self.forget_traces();
        let slots = &self.traces.entry(id.clone()).or_default().drain_slots;
        // With two generations draining already, this one's calls are answered at once in its place.
        let slot = Arc::clone(slots).try_acquire_owned().ok();
        let grace = if slot.is_some() { self.unload_grace } else { Duration::ZERO };
        self.drain(generation, Some(grace), slot);
        Some(Removed { passed })
    }

    /// Remembers why a plugin does not run, or forgets it. One that serves goes on serving.
    fn fail(&mut self, id: PluginId, reason: Option<String>) {
        if self.plugins.get(&id).is_some_and(|entry| entry.serving.is_some()) {
            return;
        }
        match reason {
            Some(reason) => {
                warn!(plugin = %id, %reason, "plugin failed");
                self.plugins.insert(id, Entry { state: PluginState::Failed { reason }, serving: None });
            }
            None => drop(self.plugins.remove(&id)),
        }
        self.publish_snapshot();
    }

    async fn shutdown(&mut self, grace: Duration) {
        let cut = Instant::now() + grace;
        self.stopping.send_replace(Some(cut));
        let mut ending = Vec::new();
        for id in &self.order {
            if let Some(Serving { generation, routines }) =
                self.plugins.get_mut(id).and_then(|entry| entry.serving.as_mut())
            {
                drop(std::mem::take(routines));
                generation.restrict();
                ending.push((id.clone(), Arc::clone(generation)));
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
        for (id, generation) in ending {
            self.announce_unloaded(&id, &[]);
            self.drain(generation, None, None);
        }
        self.drains.wait().await;
        // Last, so that stop hooks hear that the host is stopping rather than that there is no such function.
        self.order.clear();
        self.plugins.clear();
        self.publish();
    }

    /// Ends a generation that serves no longer, beside everything else.
    fn drain(&self, generation: Arc<Generation>, grace: Option<Duration>, slot: Option<OwnedSemaphorePermit>) {
        let stopping = self.stopping.subscribe();
        self.drains.spawn(async move {
            drain(generation, grace, stopping).await;
            drop(slot);
        });
    }

    /// Forgets plugins that are gone and of which nothing drains or ticks.
    fn forget_traces(&mut self) {
        self.traces.retain(|id, trace| {
            self.plugins.contains_key(id)
                || trace.drain_slots.available_permits() < DRAINING_MAX
                || !trace.ticks.is_empty()
        });
    }

    fn serving(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.order.iter().filter_map(|id| self.plugins.get(id)?.serving.as_ref()).map(|serving| &serving.generation)
    }

    /// Derives routes and snapshot from the state. Returns what was left out, by plugin.
    fn publish(&self) -> Vec<(PluginId, String)> {
        let serving: Vec<&Arc<Generation>> = self.serving().collect();
        let Built { routes, left_out } = self.build(&serving, &self.ownership);
        self.routes.publish(routes);
        self.names.store(Arc::new(self.ownership.claims().clone()));
        self.publish_snapshot();
        left_out
    }

    fn publish_snapshot(&self) {
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

    fn announce_loaded(&self, generation: &Generation, passed: &[Succession]) {
        let functions: Vec<&str> = generation.description().functions.iter().map(|def| def.name.as_str()).collect();
        let payload = serde_json::json!({"plugin_id": generation.package.id, "functions": functions});
        self.emit("plugin_loaded", payload, passed);
    }

    fn announce_unloaded(&self, id: &PluginId, passed: &[Succession]) {
        self.emit("plugin_unloaded", serde_json::json!({"plugin_id": id}), passed);
    }

    fn emit(&self, event: &str, mut payload: serde_json::Value, passed: &[Succession]) {
        if let (false, Some(payload)) = (passed.is_empty(), payload.as_object_mut()) {
            let passed = passed
                .iter()
                .map(|passed| serde_json::json!({"function": passed.function, "owner": passed.owner}))
                .collect();
            payload.insert("names_passed".to_owned(), passed);
        }
        // Both names are legal.
        if let Ok(event) = EventName::new(event) {
            self.backend.emit(event.into(), Json::of(&payload));
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

/// Ends a generation that serves no longer: its calls first, for at most `grace` and until the host stops, then its
/// stop hook. What still runs then is answered by the instance's shutdown.
async fn drain(generation: Arc<Generation>, grace: Option<Duration>, mut stopping: watch::Receiver<Option<Instant>>) {
    generation.close();
    let patience = async {
        match grace {
            Some(grace) => tokio::time::sleep(grace).await,
            None => std::future::pending().await,
        }
    };
    let cut = async {
        // The sender lives as long as the owner task, which waits for this at its end.
        let cut = stopping.wait_for(Option::is_some).await.ok().and_then(|cut| *cut);
        match cut {
            Some(cut) => tokio::time::sleep_until(cut).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = generation.drained() => {}
        () = patience => {}
        () = cut => {}
    }
    let stop_timeout = generation.services.limits().stop_timeout;
    let stop_timeout = if stopping.borrow().is_some() { stop_timeout.min(STOPPING_HOOK) } else { stop_timeout };
    // A turn under way may keep the instance from looking up: dropped, it ends all the same.
    if tokio::time::timeout(stop_timeout + STOP_MARGIN, generation.instance.shutdown(stop_timeout)).await.is_err() {
        warn!(plugin = %generation.package.id, generation = generation.package.generation, "a plugin was ended without its stop hook");
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}
