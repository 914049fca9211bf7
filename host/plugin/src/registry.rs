//! Which generation of which plugin serves: one task owns that, everybody else reads a snapshot.

mod awaited;
mod drain;
mod publish;
mod quarantine;
mod task;

pub use awaited::Announced;
pub(crate) use awaited::Vacated;
pub(crate) use drain::stop;
pub use quarantine::Quarantined;

use crate::account::{Accounts, Stats};
use crate::authority::{Asker, Authority};
use crate::generation::{Generation, Outcomes};
use crate::log::LogPage;
use crate::operation::{Busy, Operation, OperationLocks};
use crate::outlook::{self, Outlook};
use crate::ownership::{NameClaims, Succession};
use crate::runtime::{Health, Package, PrepareError, Runtime};
use crate::services::Backend;
use crate::state::{StateStore, States};
use arc_swap::ArcSwap;
use mortise_model::{DeviceId, Failure, FunctionName, PluginId, PluginState, RuntimeKind, Tenant};
use mortise_rpc::Routes;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use task::RegistryTask;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Level;

/// How long changes wait for calls.
#[derive(Debug, Clone, Copy)]
pub struct RegistryConfig {
    /// How long calls may go on after an unload before they are answered in the plugin's place; and how long a generation
    /// that makes room takes work from other plugins.
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
    /// Who says what plugins may do.
    pub authority: Arc<dyn Authority>,
    /// Where what plugins keep lies.
    pub states: Arc<dyn StateStore>,
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
    pub(crate) authority: Arc<dyn Authority>,
    pub(crate) runtimes: Vec<Arc<dyn Runtime>>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) config: RegistryConfig,
    pub(crate) incarnations: AtomicU64,
    snapshot: Arc<ArcSwap<Vec<PluginStatus>>>,
    names: Arc<ArcSwap<NameClaims>>,
    locks: Arc<OperationLocks>,
    pub(crate) accounts: Accounts,
    pub(crate) states: Arc<States>,
    /// Saves what plugins keep. Ends with this.
    _saver: AbortOnDropHandle<()>,
}

/// One plugin as it stands.
#[derive(Clone)]
pub struct PluginStatus {
    /// Its folder's name.
    pub id: PluginId,
    /// Where it stands; only `Running` plugins serve.
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

    /// Who it is to those who say what it may do.
    #[must_use]
    pub fn asker(&self) -> Asker<'_> {
        self.package().asker()
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

    /// How its calls and ticks have ended so far. Events are counted for the plugin alone (see [`Stats`]).
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        self.generation.outcomes()
    }

    /// What the plugin brings.
    #[must_use]
    pub fn description(&self) -> &mortise_model::Description {
        self.generation.description()
    }

    /// Whether it has lost an instance within the last ten minutes.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.generation.services.is_degraded()
    }

    /// Why it has to be taken out of service, if that is so: it has lost too many instances.
    #[must_use]
    pub fn too_many_losses(&self) -> Option<String> {
        self.generation.services.too_many_losses()
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
    Announce { plugins: Vec<Announced>, done: oneshot::Sender<()> },
    Check { generation: Arc<Generation>, done: oneshot::Sender<Result<Names, ActivateError>> },
    Activate { generation: Arc<Generation>, done: oneshot::Sender<Result<Activated, ActivateError>> },
    Vacate { id: PluginId, done: oneshot::Sender<Result<Vacated, ActivateError>> },
    Remove { id: PluginId, done: oneshot::Sender<Option<Removed>> },
    Quarantine { plugin: Quarantined, done: oneshot::Sender<Option<Removed>> },
    Fail { id: PluginId, reason: Option<String>, done: oneshot::Sender<()> },
    Shutdown { grace: Duration, done: oneshot::Sender<()> },
}

impl Registry {
    /// Starts the owner task on the current runtime.
    #[must_use]
    pub fn start(parts: RegistryParts) -> Self {
        let RegistryParts {
            device,
            tenant,
            routes,
            runtimes,
            backend,
            authority,
            states,
            message_bytes_max,
            names,
            config,
        } = parts;
        let (commands, inbox) = mpsc::channel(64);
        let snapshot = Arc::new(ArcSwap::from_pointee(Vec::new()));
        let claims = Arc::new(ArcSwap::from_pointee(names.clone()));
        let task = RegistryTask::new(
            routes,
            Arc::clone(&backend),
            message_bytes_max,
            (Arc::clone(&snapshot), Arc::clone(&claims)),
            names,
            config.unload_grace,
        );
        // The task ends when the last handle is gone, or with the shutdown that it is asked for.
        TaskTracker::new().spawn(task.run(inbox));
        let locks = Arc::default();
        let incarnations = AtomicU64::new(1);
        let names = claims;
        let accounts = Accounts::default();
        let states = States::new(states);
        let saver = AbortOnDropHandle::new(TaskTracker::new().spawn(Arc::clone(&states).run()));
        let shared = Shared {
            device,
            tenant,
            backend,
            authority,
            runtimes,
            commands,
            config,
            incarnations,
            snapshot,
            names,
            locks,
            accounts,
            states,
            _saver: saver,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Every plugin that runs, is awaited, has failed or is in quarantine; the latter two last, the others in load order.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Vec<PluginStatus>> {
        self.shared.snapshot.load_full()
    }

    /// Whether this host can run plugins of that kind now.
    #[must_use]
    pub fn runs(&self, kind: RuntimeKind) -> bool {
        self.shared.runtimes.iter().any(|runtime| runtime.kind() == kind && runtime.is_available())
    }

    /// Who claims each bare name now.
    #[must_use]
    pub fn names(&self) -> Arc<NameClaims> {
        self.shared.names.load_full()
    }

    /// Of which plugins [`stats`](Self::stats) and [`log`](Self::log) know something: those that somebody tried to load
    /// since the host started, loaded or not. Of those that are not loaded 64 at most are among them.
    #[must_use]
    pub fn accounts(&self) -> Vec<PluginId> {
        self.shared.accounts.ids()
    }

    /// How a plugin has fared since the host started; none of one that nobody has tried to load.
    #[must_use]
    pub fn stats(&self, id: &PluginId) -> Option<Stats> {
        let mut stats = self.shared.accounts.get(id)?.stats();
        stats.state.size = self.shared.states.get(id).map(|state| state.size());
        Some(stats)
    }

    /// The first `lines_max` lines of a plugin's log after number `after` that are as serious as `level` at least;
    /// without `after` the last ones. Fewer where they are long. A number that was not given yet is from before the host's
    /// start: all lines come after it. None of a plugin that nobody has tried to load.
    #[must_use]
    pub fn log(&self, id: &PluginId, after: Option<u64>, level: Level, lines_max: usize) -> Option<LogPage> {
        self.shared.accounts.get(id).map(|account| account.log.read(after, level, lines_max))
    }

    /// Forgets how a plugin has fared and what it has logged: it is gone.
    pub fn forget(&self, id: &PluginId) {
        self.shared.accounts.forget(id);
    }

    /// Forgets what an uninstalled plugin kept, in memory and on disk: whoever comes under its name later finds nothing.
    /// To be called with the plugin's turn to change. Dropped, it goes on.
    ///
    /// # Errors
    /// `state_not_saved` when the disk refuses; it is tried again.
    pub async fn clear_state(&self, id: &PluginId) -> Result<(), Failure> {
        self.shared.states.clear(id).await
    }

    /// Waits until everything that plugins keep is on disk. Cancel safe.
    ///
    /// # Errors
    /// `state_not_saved` when the disk refuses; it is tried again.
    pub async fn flush_states(&self) -> Result<(), Failure> {
        self.shared.states.flush().await
    }

    /// Advertises plugins that are about to be loaded, in that order: their names are claimed, and their calls wait for
    /// them within `call_timeout`, up to `queue` of each. Such a plugin waits until it is activated, fails or is removed;
    /// so whoever announces one has to see it through. Those that are there already are left out.
    pub async fn announce(&self, plugins: Vec<Announced>) {
        let (done, announced) = oneshot::channel();
        if self.shared.commands.send(Command::Announce { plugins, done }).await.is_ok() {
            // Dropped only if the host is going down.
            let _ = announced.await;
        }
    }

    /// Says of plugins that are not loaded why they are not. To be called before any
    /// plugin is loaded.
    pub async fn keep_in_quarantine(&self, plugins: Vec<Quarantined>) {
        for plugin in plugins {
            let (done, kept) = oneshot::channel();
            if self.shared.commands.send(Command::Quarantine { plugin, done }).await.is_ok() {
                // Dropped only if the host is going down.
                let _ = kept.await;
            }
        }
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

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}
