//! The runtimes of type `wasm`, and of those types whose source a runner interprets.

use crate::backlog::{Backlog, QUEUE_BYTES_MAX};
use crate::cache::CodeCache;
use crate::code::{Code, CodeStore};
use crate::code_hashes::{CodeHashError, CodeHashes};
use crate::driver::{Driver, Post, Refusal, concurrency};
use crate::engine::{CompilePool, Engine, EngineConfig};
use crate::instance::WasmInstance;
use crate::pool::{Keeper, Pool, Queue, Supply};
use crate::processor::Processor;
use crate::runner::Runner;
use crate::view::{Shared, Source};
use async_trait::async_trait;
use mortise_model::{Description, Instances, RuntimeKind};
use mortise_plugin::{Instance, Package, PrepareError, Runtime, Services};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// How the runtime is set up.
#[derive(Debug, Clone)]
pub struct WasmConfig {
    /// Where compiled code is kept. None: in memory, while it is in use.
    pub cache: Option<CacheConfig>,
    /// Threads that compile, at least one. They run at low priority and are the only ones that do.
    pub compile_threads: usize,
    /// Instances at once, those of old generations that still drain included. What serves has one of them for sure.
    pub instances_max: usize,
    /// How long an instance of several may have no call before it ends.
    pub instance_idle: Duration,
    /// How often a turn lets others run, and how exactly its limit is kept.
    pub tick: Duration,
}

/// Where compiled code is kept.
#[derive(Debug, Clone)]
pub struct CacheConfig {
    /// The folder; it becomes accessible to this user only (mode 0700).
    pub dir: PathBuf,
    /// What tells which files there are ours.
    pub hashes: Arc<dyn CodeHashes>,
}

impl Default for WasmConfig {
    /// No cache, as many threads as there are processors, 1,000 instances that may be idle for 30 s, ticks of half a millisecond.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cache: None,
            compile_threads: processors,
            instances_max: 1000,
            instance_idle: Duration::from_secs(30),
            tick: Duration::from_micros(500),
        }
    }
}

/// Why the runtime cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum WasmError {
    /// wasmtime refuses this machine.
    #[error("failed to set up the WebAssembly engine")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A thread cannot be started.
    #[error("failed to start thread `{name}`")]
    Thread {
        /// Of the thread.
        name: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The threads that compile cannot be started.
    #[error("failed to start the compile threads")]
    CompilePool(#[source] rayon::ThreadPoolBuildError),
    /// The folder of compiled code cannot be created, closed to others or read.
    #[error("failed to open the code cache `{}`", path.display())]
    CacheDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nobody knows which files of the cache are ours.
    #[error("failed to read the hashes of compiled code")]
    CodeHashes(#[source] CodeHashError),
}

impl WasmError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Engine(_) => "engine",
            Self::Thread { .. } | Self::CompilePool(_) => "threads",
            Self::CacheDir { .. } => "disk",
            Self::CodeHashes(_) => "state_store",
        }
    }

    /// The cure, as one line.
    #[must_use]
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Engine(_) => "run it on a machine that wasmtime supports",
            Self::Thread { .. } | Self::CompilePool(_) => "let the process have more threads, or more memory",
            Self::CacheDir { .. } => "move away what is there: it should be a folder of the host's own user",
            Self::CodeHashes(_) => "see that the state folder can be read and written",
        };
        text.to_owned()
    }
}

/// Runs components of the world `mortise:plugin/plugin@0.1.0`: those that plugins bring, or a runner's.
///
/// Each instance has one task, and a generation one instance, unless its `limits.instances` say otherwise. Its `limits.stack` is
/// that of the engine, 1 MiB for components and 32 MiB for runners: a plugin that asks for another is refused, because one
/// engine has one stack size.
pub struct WasmRuntime {
    /// None: the plugin's entry point is the code.
    runner: Option<Runner>,
    code: Arc<CodeStore>,
    places: Arc<Semaphore>,
    instances_max: usize,
    instance_idle: Duration,
    drivers: TaskTracker,
    engine: Arc<Engine>,
    cache: Option<Arc<CodeCache>>,
    pool: Arc<CompilePool>,
    tick: Duration,
}

impl WasmRuntime {
    /// Sets up the engine, its ticker and the compile threads.
    ///
    /// # Errors
    /// [`WasmError`] when the machine or the cache folder does not allow it.
    pub fn new(config: WasmConfig) -> Result<Arc<Self>, WasmError> {
        let engine = Arc::new(Engine::new(EngineConfig::of_components(config.tick))?);
        let cache = config.cache.map(|cache| CodeCache::open(cache.dir, cache.hashes)).transpose()?.map(Arc::new);
        let pool = Arc::new(CompilePool::new(config.compile_threads)?);
        // More permits than tokio can count are no limit.
        let instances_max = config.instances_max.min(Semaphore::MAX_PERMITS);
        Ok(Arc::new(Self {
            runner: None,
            code: code_store(&engine, cache.as_ref(), &pool)?,
            places: Arc::new(Semaphore::new(instances_max)),
            instances_max,
            instance_idle: config.instance_idle,
            drivers: TaskTracker::new(),
            engine,
            cache,
            pool,
            tick: config.tick,
        }))
    }

    /// A runtime beside this one, for plugins whose source the runner of `kind` in the folder interprets. They share the
    /// cache, the compile threads and `instances_max`. The runner is looked for when the first plugin is prepared.
    ///
    /// # Errors
    /// [`WasmError`] when the machine does not allow it.
    pub fn with_runner(&self, kind: RuntimeKind, runners_dir: PathBuf) -> Result<Arc<Self>, WasmError> {
        let engine = Arc::new(Engine::new(EngineConfig::of_runner(kind, self.tick))?);
        Ok(Arc::new(Self {
            runner: Some(Runner::new(kind, runners_dir)),
            code: code_store(&engine, self.cache.as_ref(), &self.pool)?,
            places: Arc::clone(&self.places),
            instances_max: self.instances_max,
            instance_idle: self.instance_idle,
            drivers: self.drivers.clone(),
            engine,
            cache: self.cache.clone(),
            pool: Arc::clone(&self.pool),
            tick: self.tick,
        }))
    }

    /// What a first instance needs: a place among the host's, its code, and what an instance works on.
    async fn provide(
        &self,
        package: &Package,
        services: Arc<Services>,
    ) -> Result<(OwnedSemaphorePermit, Arc<Code>, Arc<Shared>), PrepareError> {
        let (asked, given) = (package.limits.stack, self.engine.stack());
        if asked != given {
            let kind = self.kind();
            return Err(PrepareError::Unsupported {
                what: format!("`limits.stack` of {asked} (every plugin of type `{kind}` has {given})"),
            });
        }
        if self.kind() == RuntimeKind::Javascript && services.wants_folders() {
            return Err(PrepareError::Unsupported {
                what: "a permission for files of a plugin in JavaScript".to_owned(),
            });
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| PrepareError::Limit {
            limit: "instances_max",
            reason: format!("{} instances are at work", self.instances_max),
        })?;
        let (code, source) = match &self.runner {
            None => (self.code.load(package).await?, Source::None),
            Some(runner) => (runner.code(&self.code).await?, runner.source(package)),
        };
        Ok((place, code, Arc::new(Shared::new(services, source))))
    }

    /// The one instance of a generation in the care of its own task, described, and proven where it is to serve.
    async fn begin(
        &self,
        package: &Package,
        services: Arc<Services>,
        purpose: Purpose,
    ) -> Result<WasmInstance, PrepareError> {
        let (place, code, shared) = self.provide(package, services).await?;
        let backlog = Arc::new(Backlog::new(shared.limits.queue, QUEUE_BYTES_MAX));
        let (ended_sender, ended) = watch::channel(());
        let post = Post::Alone { backlog: Arc::clone(&backlog), _place: place, _ended: ended_sender };
        let (driver, inbox) = Driver::new(code, Arc::clone(&shared), Arc::clone(&self.engine), post);
        let description = self.prove(driver, purpose, package).await?;
        Ok(WasmInstance { description, inbox, backlog, stopping: AtomicBool::new(false), ended, shared })
    }

    /// The first of several instances, proven, and the keeper that begins and ends the others.
    async fn begin_pool(&self, package: &Package, services: Arc<Services>) -> Result<Pool, PrepareError> {
        let (place, code, shared) = self.provide(package, services).await?;
        let limits = &shared.limits;
        let backlog = Arc::new(Backlog::new(limits.queue, QUEUE_BYTES_MAX));
        let per_call = limits.instances == Instances::PerCall;
        let queue = Queue::new(backlog, limits.instances_at_once(), concurrency(limits), per_call);
        let processor = Processor::new(limits.cpu_per_minute, Instant::now());
        let supply = Supply {
            code,
            engine: Arc::clone(&self.engine),
            shared: Arc::clone(&shared),
            queue: Arc::clone(&queue),
            processor: Arc::new(Mutex::new(processor)),
            drivers: self.drivers.clone(),
            place: Arc::new(place),
            places: Arc::clone(&self.places),
            idle: self.instance_idle,
        };
        let (driver, id, inbox) = supply.driver(Arc::clone(&shared));
        let description = Arc::new(self.prove(driver, Purpose::Serve, package).await?);
        let (stop, stopped) = oneshot::channel();
        let (ended_sender, ended) = watch::channel(());
        let keeper = Keeper::new(supply, Arc::clone(&description), (id, inbox), stopped, ended_sender);
        self.drivers.spawn(keeper.keep());
        Ok(Pool { description, queue, shared, stop: Mutex::new(Some(stop)), ended })
    }

    /// Has a driver begin. Should this future be dropped, its inbox goes as well and the driver ends.
    async fn prove(&self, driver: Driver, purpose: Purpose, package: &Package) -> Result<Description, PrepareError> {
        let (proven_sender, proven) = oneshot::channel();
        // The driver gives way by itself.
        match purpose {
            Purpose::Serve => self.drivers.spawn(unconstrained(driver.drive(proven_sender))),
            Purpose::Describe => self.drivers.spawn(unconstrained(driver.describe(proven_sender))),
        };
        match proven.await {
            Ok(Ok(description)) => Ok(description),
            Ok(Err(refusal)) => Err(refused(refusal, package)),
            Err(_) => Err(code_error(package, "the host failed while it prepared the plugin".to_owned())),
        }
    }

    /// Waits until every instance has ended. Ends none: their handles do.
    pub async fn ended(&self) {
        self.drivers.close();
        self.drivers.wait().await;
    }
}

/// What an instance is begun for.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Serve,
    Describe,
}

#[async_trait]
impl Runtime for WasmRuntime {
    fn kind(&self) -> RuntimeKind {
        self.runner.as_ref().map_or(RuntimeKind::Wasm, |runner| runner.kind)
    }

    fn is_available(&self) -> bool {
        self.runner.as_ref().is_none_or(Runner::is_there)
    }

    async fn prepare(&self, package: &Package, services: Arc<Services>) -> Result<Arc<dyn Instance>, PrepareError> {
        match services.limits().instances {
            Instances::UpTo(1) => Ok(Arc::new(self.begin(package, services, Purpose::Serve).await?)),
            _ => Ok(Arc::new(self.begin_pool(package, services).await?)),
        }
    }

    async fn describe(&self, package: &Package, services: Arc<Services>) -> Result<Description, PrepareError> {
        let instance = self.begin(package, services, Purpose::Describe).await?;
        let (description, mut ended) = (instance.description.clone(), instance.ended.clone());
        // It ends with its handle; nothing is ever sent.
        drop(instance);
        let _ = ended.changed().await;
        Ok(description)
    }
}

fn code_store(
    engine: &Arc<Engine>,
    cache: Option<&Arc<CodeCache>>,
    pool: &Arc<CompilePool>,
) -> Result<Arc<CodeStore>, WasmError> {
    let code = CodeStore::new(Arc::clone(engine), cache.cloned(), Arc::clone(pool));
    Ok(Arc::new(code.map_err(|error| WasmError::Engine(error.into()))?))
}

fn refused(refusal: Refusal, package: &Package) -> PrepareError {
    match refusal {
        Refusal::Instantiate(loss) => code_error(package, format!("it cannot be instantiated: {}", loss.reason)),
        Refusal::Description(reason) => PrepareError::Description(reason),
        Refusal::Hook { hook, failure } => PrepareError::Hook { hook, failure },
        Refusal::Interrupted(_) => code_error(package, "its preparation was given up".to_owned()),
    }
}

fn code_error(package: &Package, reason: String) -> PrepareError {
    PrepareError::Code { path: package.manifest.entry_point.clone(), reason, hint: None }
}
