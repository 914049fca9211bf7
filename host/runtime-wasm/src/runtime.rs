//! The runtimes of type `wasm`, and of those types whose source a runner interprets.

use crate::backlog::{Backlog, QUEUE_BYTES_MAX};
use crate::cache::CodeCache;
use crate::code::CodeStore;
use crate::code_hashes::{CodeHashError, CodeHashes};
use crate::desk::{Desk, Message};
use crate::driver::{Driver, Refusal};
use crate::engine::{CompilePool, Engine, EngineConfig};
use crate::instance::WasmInstance;
use crate::runner::Runner;
use crate::view::Shared;
use async_trait::async_trait;
use mortise_model::{Description, RuntimeKind};
use mortise_plugin::{Instance, Package, PrepareError, Runtime, Services};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::coop::unconstrained;
use tokio_util::task::TaskTracker;

/// How the runtime is set up.
#[derive(Debug, Clone)]
pub struct WasmConfig {
    /// Where compiled code is kept. None: in memory, while it is in use.
    pub cache: Option<CacheConfig>,
    /// Threads that compile, at least one. They run at low priority and are the only ones that do.
    pub compile_threads: usize,
    /// Plugins at work at once, old generations that still drain included.
    pub instances_max: usize,
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
    /// No cache, as many threads as there are processors, 1,000 instances, ticks of a millisecond.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cache: None, compile_threads: processors, instances_max: 1000, tick: Duration::from_millis(1) }
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
/// Each generation has one instance and one task. Its `limits.stack` is that of the engine, 1 MiB for components and 32 MiB
/// for runners: a plugin that asks for another is refused, because one engine has one stack size.
pub struct WasmRuntime {
    /// None: the plugin's entry point is the code.
    runner: Option<Runner>,
    code: Arc<CodeStore>,
    instances: Arc<Semaphore>,
    instances_max: usize,
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
            instances: Arc::new(Semaphore::new(instances_max)),
            instances_max,
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
        let engine = Arc::new(Engine::new(EngineConfig::of_runners(self.tick))?);
        Ok(Arc::new(Self {
            runner: Some(Runner::new(kind, runners_dir)),
            code: code_store(&engine, self.cache.as_ref(), &self.pool)?,
            instances: Arc::clone(&self.instances),
            instances_max: self.instances_max,
            drivers: self.drivers.clone(),
            engine,
            cache: self.cache.clone(),
            pool: Arc::clone(&self.pool),
            tick: self.tick,
        }))
    }

    /// A first instance in the care of its own task, described, and proven where it is to serve.
    async fn begin(
        &self,
        package: &Package,
        services: Arc<Services>,
        purpose: Purpose,
    ) -> Result<WasmInstance, PrepareError> {
        let limits = services.limits();
        let (asked, given) = (limits.stack, self.engine.stack());
        if asked != given {
            let kind = self.kind();
            return Err(PrepareError::Unsupported {
                what: format!("`limits.stack` of {asked} (every plugin of type `{kind}` has {given})"),
            });
        }
        let permit = Arc::clone(&self.instances).try_acquire_owned().map_err(|_| PrepareError::Limit {
            limit: "instances_max",
            reason: format!("{} instances are at work", self.instances_max),
        })?;
        let (code, source) = match &self.runner {
            None => (self.code.load(package).await?, None),
            Some(runner) => (runner.code(&self.code).await?, Some(package.root.clone())),
        };

        let shared = Arc::new(Shared::new(services, source));
        let backlog = Arc::new(Backlog::new(shared.limits.queue, QUEUE_BYTES_MAX));
        #[expect(clippy::disallowed_methods, reason = "its limit is the backlog, which refuses what is beyond")]
        let (inbox, receiver) = mpsc::unbounded_channel::<Message>();
        let (ended_sender, ended) = watch::channel(());
        let (proven_sender, proven) = oneshot::channel();
        let engine = Arc::clone(&self.engine);
        let desk = Desk::new(receiver, Arc::clone(&backlog), Arc::clone(&engine), Arc::clone(&shared));
        let driver = Driver::new(desk, code, Arc::clone(&shared), engine, ended_sender, permit);
        // The driver gives way by itself.
        match purpose {
            Purpose::Serve => self.drivers.spawn(unconstrained(driver.drive(proven_sender))),
            Purpose::Describe => self.drivers.spawn(unconstrained(driver.describe(proven_sender))),
        };

        // Should this future be dropped here, the inbox goes with it and the driver ends.
        match proven.await {
            Ok(Ok(description)) => {
                let stopping = AtomicBool::new(false);
                Ok(WasmInstance { description, inbox, backlog, stopping, ended, shared })
            }
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

    async fn prepare(&self, package: &Package, services: Arc<Services>) -> Result<Arc<dyn Instance>, PrepareError> {
        Ok(Arc::new(self.begin(package, services, Purpose::Serve).await?))
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
