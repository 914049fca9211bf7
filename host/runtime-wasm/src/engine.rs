//! The engine, the thread that advances its epochs and the pool that compiles for it.

use crate::WasmError;
use crate::binary::Form;
use mortise_model::{ByteSize, RuntimeKind};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use wasmtime::{Config, EngineWeak, InstanceAllocationStrategy};

/// What a guest's call may use of its stack on top of its own, for what the host does on its behalf.
const HOST_STACK_BYTES: usize = 1 << 20;

/// How an engine differs from another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EngineConfig {
    /// The stack of every guest. It belongs to the engine, so a manifest cannot choose another.
    pub(crate) stack: ByteSize,
    /// What it runs.
    pub(crate) form: Form,
    /// Compiles for every processor of this architecture, not for this machine's alone, so that what is compiled here runs
    /// elsewhere, and the other way about.
    pub(crate) portable: bool,
    /// How often turns are asked to let others run.
    pub(crate) tick: Duration,
}

impl EngineConfig {
    /// For components that plugins bring.
    pub(crate) fn of_components(tick: Duration) -> Self {
        Self { stack: ByteSize::mib(1), form: Form::Component, portable: false, tick }
    }

    /// For the runner of one kind of source plugins. An interpreter recurses as deep as the source that it reads.
    pub(crate) fn of_runner(kind: RuntimeKind, tick: Duration) -> Self {
        let form = if kind == RuntimeKind::Javascript { Form::Module } else { Form::Component };
        Self { stack: ByteSize::mib(32), form, portable: true, tick }
    }
}

/// Ticks without a turn after which the ticker goes to sleep.
const IDLE_TICKS_MAX: u32 = 64;

/// How much less urgent compiling is than serving calls (`nice`).
const COMPILE_NICE: i32 = 10;

/// One wasmtime engine with its ticker. Fields drop top to bottom: the ticker's thread ends first.
#[derive(Debug)]
pub(crate) struct Engine {
    ticker: Ticker,
    engine: wasmtime::Engine,
    form: Form,
    stack: ByteSize,
}

impl Engine {
    pub(crate) fn new(config: EngineConfig) -> Result<Self, WasmError> {
        let EngineConfig { stack, form, portable, tick } = config;
        let stack_bytes = usize::try_from(stack.0).unwrap_or(usize::MAX);
        let mut config = Config::new();
        if portable {
            // Named, the target has no features but those that all of its processors have.
            let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
            config.target(&target).map_err(|error| WasmError::Engine(error.into()))?;
        }
        config
            .wasm_component_model(true)
            // Component-model async is unfinished, and the support for it alone costs a microsecond a call.
            .concurrency_support(false)
            .epoch_interruption(true)
            // Pooling would save microseconds per instantiation and nothing per warm call, and its fixed slots would
            // cap the number of plugins.
            .allocation_strategy(InstanceAllocationStrategy::OnDemand)
            .memory_init_cow(true)
            .max_wasm_stack(stack_bytes)
            .async_stack_size(stack_bytes.saturating_add(HOST_STACK_BYTES));
        let engine = wasmtime::Engine::new(&config).map_err(|error| WasmError::Engine(error.into()))?;
        let ticker = Ticker::start(engine.weak(), tick)?;
        Ok(Self { ticker, engine, form, stack })
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// What it runs.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// The stack of every guest.
    pub(crate) fn stack(&self) -> ByteSize {
        self.stack
    }

    /// Keeps the ticker awake while a turn runs: every poll of one gives a beat. Costs one relaxed load, except for the
    /// first beat after a tick.
    pub(crate) fn beat(&self) {
        let ticker = &self.ticker.shared;
        if !ticker.busy.load(Ordering::Relaxed) {
            // Sequentially consistent, as is the ticker's side: either it sees this store before it parks, or this
            // load sees that it is about to.
            ticker.busy.store(true, Ordering::SeqCst);
            if ticker.asleep.load(Ordering::SeqCst)
                && let Some(thread) = ticker.thread.get()
            {
                thread.unpark();
            }
        }
    }
}

/// Tells compiled code of one engine from that of others: version, settings and CPU.
pub(crate) fn compatibility(engine: &wasmtime::Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

#[derive(Debug, Default)]
struct TickerShared {
    busy: AtomicBool,
    asleep: AtomicBool,
    stopped: AtomicBool,
    thread: std::sync::OnceLock<std::thread::Thread>,
}

/// Advances the epochs of one engine while turns run, and sleeps otherwise.
#[derive(Debug)]
struct Ticker {
    shared: Arc<TickerShared>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: EngineWeak, tick: Duration) -> Result<Self, WasmError> {
        let shared = Arc::new(TickerShared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("mortise-epoch".to_owned())
            .spawn(move || tick_while_busy(&of_thread, &engine, tick))
            .map_err(|source| WasmError::Thread { name: "mortise-epoch", source })?;
        // Nobody can beat before this function returns, so the cell is empty.
        let _ = shared.thread.set(thread.thread().clone());
        Ok(Self { shared, thread: Some(thread) })
    }
}

fn tick_while_busy(shared: &TickerShared, engine: &EngineWeak, tick: Duration) {
    let mut idle_ticks = 0;
    while !shared.stopped.load(Ordering::SeqCst) {
        std::thread::park_timeout(tick);
        let Some(engine) = engine.upgrade() else {
            return;
        };
        engine.increment_epoch();
        if shared.busy.swap(false, Ordering::SeqCst) {
            idle_ticks = 0;
            continue;
        }
        idle_ticks += 1;
        if idle_ticks >= IDLE_TICKS_MAX {
            shared.asleep.store(true, Ordering::SeqCst);
            while !shared.busy.load(Ordering::SeqCst) && !shared.stopped.load(Ordering::SeqCst) {
                std::thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
            idle_ticks = 0;
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the epoch ticker panicked");
            }
        }
    }
}

/// Compiles on threads of its own, of low priority, so that a compilation never occupies the threads that serve calls.
///
/// wasmtime compiles a component's functions in parallel on the rayon pool it is called from: this one, never the
/// global one.
#[derive(Debug)]
pub(crate) struct CompilePool {
    pool: rayon::ThreadPool,
    /// As many compilations at once as there are threads: each holds the whole of a component's code in memory.
    permits: Arc<Semaphore>,
}

impl CompilePool {
    pub(crate) fn new(threads: usize) -> Result<Self, WasmError> {
        let threads = threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("mortise-compile-{index}"))
            .start_handler(|_| lower_priority())
            // The waiting side sees its channel closed; without a handler rayon would abort the process.
            .panic_handler(|_| tracing::error!("a compilation panicked"))
            .build()
            .map_err(WasmError::CompilePool)?;
        Ok(Self { pool, permits: Arc::new(Semaphore::new(threads)) })
    }

    /// Runs `work` on the pool; none when it panicked. A dropped future does not stop work that has begun: that keeps
    /// its place until it is done. Work that has not begun is skipped.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let (sender, receiver) = oneshot::channel();
        self.pool.spawn(move || {
            // Moved here, and dropped by a panic as well.
            let _permit = permit;
            if sender.is_closed() {
                return;
            }
            // The caller may have given up meanwhile.
            let _ = sender.send(work());
        });
        receiver.await.ok()
    }
}

fn lower_priority() {
    // On Linux this concerns the calling thread alone. Being refused costs smoothness, nothing else.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, COMPILE_NICE) {
        tracing::debug!(%error, "compile threads keep the normal priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < end, "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_ticker_sleeps_when_nothing_runs_and_wakes_at_a_beat() {
        let engine = Engine::new(EngineConfig::of_components(Duration::from_millis(1))).unwrap();
        let asleep = || engine.ticker.shared.asleep.load(Ordering::SeqCst);
        wait_for("the ticker never slept", asleep);
        engine.beat();
        wait_for("the ticker never woke", || !asleep());
    }

    #[tokio::test]
    async fn a_panic_on_the_compile_pool_is_no_result_and_the_pool_goes_on() {
        let pool = CompilePool::new(1).unwrap();
        assert_eq!(pool.run(|| -> u8 { panic!("played") }).await, None);
        assert_eq!(
            pool.run(|| std::thread::current().name().map(str::to_owned)).await.flatten().as_deref(),
            Some("mortise-compile-0")
        );
    }
}
