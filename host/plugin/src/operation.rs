//! The turn to change one plugin: prepare beside the old, swap, or take away.

use crate::account::Account;
use crate::authority::Authority;
use crate::generation::Generation;
use crate::registry::{ActivateError, Activated, Command, Names, Quarantined, Removed, Shared, Vacated, stop};
use crate::runtime::{Package, PrepareError, Runtime};
use crate::services::Services;
use mortise_model::{FunctionName, PluginId};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Changes of one plugin that may wait.
const WAITING_MAX: usize = 32;

/// How often a swap that waits for an older generation looks again.
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// Too many changes of one plugin wait already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plugin `{plugin}` is busy: {waiting} changes wait already")]
pub struct Busy {
    /// Which.
    pub plugin: PluginId,
    /// How many.
    pub waiting: usize,
}

/// One lock for each plugin that is being changed.
#[derive(Default)]
pub(crate) struct OperationLocks {
    // A std mutex: held to find or add an entry.
    locks: Mutex<HashMap<PluginId, Weak<Lock>>>,
}

struct Lock {
    turn: Arc<Semaphore>,
    /// One permit for each that waits or has the turn.
    queue: Arc<Semaphore>,
}

pub(crate) struct Held {
    _turn: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
    _lock: Arc<Lock>,
}

impl OperationLocks {
    pub(crate) async fn acquire(&self, id: &PluginId) -> Result<Held, Busy> {
        let lock = self.lock_for(id);
        let busy = |_| Busy { plugin: id.clone(), waiting: WAITING_MAX };
        let place = Arc::clone(&lock.queue).try_acquire_owned().map_err(busy)?;
        // The semaphore is fair, so turns are taken in order; it is never closed.
        let turn = Arc::clone(&lock.turn).acquire_owned().await.map_err(|_| Busy { plugin: id.clone(), waiting: 0 })?;
        Ok(Held { _turn: turn, _place: place, _lock: lock })
    }

    fn lock_for(&self, id: &PluginId) -> Arc<Lock> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(id).and_then(Weak::upgrade) {
            return lock;
        }
        // Any id may be asked for, known or not: those that nobody waits for are forgotten here.
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock =
            Arc::new(Lock { turn: Arc::new(Semaphore::new(1)), queue: Arc::new(Semaphore::new(WAITING_MAX + 1)) });
        locks.insert(id.clone(), Arc::downgrade(&lock));
        lock
    }
}

/// The turn to change one plugin. Dropping it passes the turn on; what was activated or removed stays so.
pub struct Operation {
    shared: Arc<Shared>,
    id: PluginId,
    _held: Held,
}

/// A generation that is ready to serve. Dropped without being activated, it ends and leaves nothing behind.
#[derive(Debug)]
pub struct Prepared {
    generation: Arc<Generation>,
}

impl Prepared {
    /// What the plugin brings.
    #[must_use]
    pub fn description(&self) -> &mortise_model::Description {
        self.generation.description()
    }

    /// Ends it in order, its stop hook included, and returns when it has ended. Cancel safe: dropped, it ends without.
    pub async fn end(self) {
        stop(&self.generation, self.generation.services.limits().stop_timeout).await;
    }
}

impl Operation {
    pub(crate) fn new(shared: Arc<Shared>, id: PluginId, held: Held) -> Self {
        Self { shared, id, _held: held }
    }

    /// The plugin.
    #[must_use]
    pub fn id(&self) -> &PluginId {
        &self.id
    }

    /// Prepares and proves a generation from `package`, beside the serving one, which notices nothing.
    /// Cancel safe: dropping the future ends what was prepared so far.
    ///
    /// # Errors
    /// [`PrepareError`] says what is wrong with the plugin, or that the mesh could not advertise it.
    pub async fn prepare(&self, package: Package) -> Result<Prepared, PrepareError> {
        let runtime = self.shared.runtime_for(&package)?;
        let authority = Arc::clone(&self.shared.authority);
        let account = self.shared.accounts.of(&package.id);
        let prepared = async {
            let state = self.shared.states.open(&package.id).await.map_err(PrepareError::State)?;
            let services = self.shared.services_for(&package, authority, Arc::clone(&account));
            let services = Arc::new(services.with_state(state));
            let instance = runtime.prepare(&package, Arc::clone(&services)).await;
            let instance = instance.map_err(|error| error.after(services.denied_early()))?;
            Ok::<_, PrepareError>((services, instance))
        };
        let (services, instance) = prepared.await.inspect_err(|_| account.count_refusal("not_started"))?;
        let incarnation = self.shared.incarnations.fetch_add(1, Ordering::Relaxed);
        let generation = Arc::new(Generation::new(package, incarnation, services, instance));
        let prepared = Prepared { generation };
        match self.shared.check(&prepared.generation).await {
            Ok(_) => Ok(prepared),
            Err(error) => Err(self.refuse(prepared, error).await.into()),
        }
    }

    /// Has what serves end, its calls first and then its stop hook, and returns when it is gone, it and every generation
    /// before it. For plugins that own what only one can have. Until another generation is activated, or the plugin
    /// removed or failed, it stays advertised and its calls wait (see [`Registry::announce`]). Returns what served, so
    /// that it can be prepared again; none where nothing did.
    ///
    /// Not cancel safe: dropped, the plugin waits for the next change.
    ///
    /// # Errors
    /// [`ActivateError`] as for a swap; what serves goes on then.
    ///
    /// [`Registry::announce`]: crate::Registry::announce
    pub async fn vacate(&self) -> Result<Option<Package>, ActivateError> {
        let vacated: Vacated = self.insist(|done| Command::Vacate { id: self.id.clone(), done }).await?;
        vacated.ended().await;
        Ok(vacated.package)
    }

    /// Swaps `prepared` in: from here on it takes every call, and the old generation finishes those it has.
    ///
    /// # Errors
    /// [`ActivateError`]; the old generation goes on serving then, and `prepared` has ended.
    pub async fn activate(&self, prepared: Prepared) -> Result<Activated, ActivateError> {
        let activate = |done| Command::Activate { generation: Arc::clone(&prepared.generation), done };
        match self.insist(activate).await {
            Ok(activated) => Ok(activated),
            Err(error) => Err(self.refuse(prepared, error).await),
        }
    }

    /// What may not serve ends in order: it may hold what another needs. A host that stops takes it along.
    async fn refuse(&self, prepared: Prepared, error: ActivateError) -> ActivateError {
        if !matches!(error, ActivateError::Stopping) {
            prepared.end().await;
        }
        error
    }

    /// Asks until older generations have drained, for as long as the registry's settings say.
    async fn insist<T>(
        &self,
        command: impl Fn(oneshot::Sender<Result<T, ActivateError>>) -> Command,
    ) -> Result<T, ActivateError> {
        let patience = tokio::time::Instant::now() + self.shared.config.drain_wait;
        loop {
            let answer = self.shared.ask(&command).await;
            match answer.unwrap_or(Err(ActivateError::Stopping)) {
                Err(ActivateError::Busy(_)) if tokio::time::Instant::now() < patience => {
                    tokio::time::sleep(DRAIN_POLL).await;
                }
                other => return other,
            }
        }
    }

    /// Takes the plugin away; none when it was not loaded. Its last calls get [`RegistryConfig::unload_grace`].
    ///
    /// # Errors
    /// [`ActivateError::Stopping`] when the host takes all plugins away just now.
    ///
    /// [`RegistryConfig::unload_grace`]: crate::RegistryConfig::unload_grace
    pub async fn remove(&self) -> Result<Option<Removed>, ActivateError> {
        self.shared.ask(|done| Command::Remove { id: self.id.clone(), done }).await.ok_or(ActivateError::Stopping)
    }

    /// Takes the plugin out of service for `reason`, as [`Operation::remove`] does; its callers are told why until it is
    /// activated or removed.
    ///
    /// # Errors
    /// [`ActivateError::Stopping`] when the host takes all plugins away just now.
    pub async fn quarantine(&self, reason: String, functions: Vec<FunctionName>) -> Result<(), ActivateError> {
        let plugin = Quarantined { id: self.id.clone(), reason, functions };
        let taken = self.shared.ask(|done| Command::Quarantine { plugin, done }).await;
        taken.map(drop).ok_or(ActivateError::Stopping)
    }

    /// Remembers why the plugin could not be loaded, or with `None` forgets it. One that serves goes on serving, and one in
    /// quarantine stays there.
    pub async fn fail(&self, reason: Option<String>) {
        // Nobody is left to remember it once the owner task has ended.
        let _ = self.shared.ask(|done| Command::Fail { id: self.id.clone(), reason, done }).await;
    }
}

impl Shared {
    pub(crate) fn runtime_for(&self, package: &Package) -> Result<&Arc<dyn Runtime>, PrepareError> {
        let kind = package.manifest.runtime;
        self.runtimes.iter().find(|runtime| runtime.kind() == kind).ok_or(PrepareError::NoRuntime(kind))
    }

    pub(crate) fn services_for(
        &self,
        package: &Package,
        authority: Arc<dyn Authority>,
        account: Arc<Account>,
    ) -> Services {
        let (device, tenant) = (self.device.clone(), self.tenant.clone());
        Services::new(package, device, tenant, Arc::clone(&self.backend), authority, account)
    }

    /// Which names `generation` would serve under, or why it may not.
    pub(crate) async fn check(&self, generation: &Arc<Generation>) -> Result<Names, ActivateError> {
        let generation = Arc::clone(generation);
        self.ask(|done| Command::Check { generation, done }).await.unwrap_or(Err(ActivateError::Stopping))
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done)).await.ok()?;
        answer.await.ok()
    }
}
