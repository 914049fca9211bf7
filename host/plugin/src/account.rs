//! What is kept of one plugin as long as the host runs, whichever generation serves: its log, its rates and its counts.

use crate::disk::{DiskStats, DiskUse};
use crate::generation::Outcomes;
use crate::log::PluginLog;
use crate::rate::Rate;
use crate::recent::Recent;
use crate::redaction::Redaction;
use crate::usage::{CpuStats, MemoryStats, Usage};
use histogram::{AtomicHistogram, Config};
use mortise_model::{Failure, PluginId};
use mortise_rpc::Emitter;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Latencies in microseconds, told to within 3 % (2^5 steps from one power of two to the next) and up to 19 hours.
const LATENCIES: Config = match Config::new(5, 36) {
    Ok(config) => config,
    Err(_) => panic!("36 bits in 2^5 steps"),
};

/// The account of one plugin.
#[derive(Debug)]
pub struct Account {
    pub(crate) log: PluginLog,
    pub(crate) calls: Calls,
    pub(crate) ticks: Ended,
    pub(crate) heard: Ended,
    /// Events that it was not given: there were too many, or it was no longer allowed to hear them.
    pub(crate) unheard: AtomicU64,
    pub(crate) events: Metered,
    /// Its share of the events that wait for the mesh.
    pub(crate) emitter: Arc<Emitter>,
    pub(crate) plugin_calls: Metered,
    pub(crate) mesh_calls: Metered,
    pub(crate) http: Metered,
    pub(crate) redaction: Redaction,
    pub(crate) state: StateUse,
    pub(crate) disk: DiskUse,
    /// What it tried and was not allowed to.
    pub(crate) denied: AtomicU64,
    pub(crate) usage: Arc<Usage>,
    /// Instances lost, by the stable word of the reason. The std mutex is held for a look-up.
    losses: Mutex<BTreeMap<&'static str, u64>>,
    /// What the host refused it, or answered in its place, by the stable word of the reason. As above.
    refused: Mutex<BTreeMap<&'static str, u64>>,
    /// Told when a generation has lost too many instances.
    pub(crate) too_many_losses: Arc<Notify>,
}

/// The calls of a plugin's functions.
pub(crate) struct Calls {
    ended: Ended,
    recent: Recent,
    pub(crate) bytes: Bytes,
    latencies: AtomicHistogram,
    /// In microseconds.
    longest: AtomicU64,
}

/// What was begun and has ended, and how.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    answered: AtomicU64,
    failed: AtomicU64,
}

/// What a plugin does at a limited rate.
#[derive(Debug)]
pub(crate) struct Metered {
    /// The std mutex is held for a comparison.
    rate: Mutex<Rate>,
    done: AtomicU64,
    recent: Recent,
    refused: AtomicU64,
    pub(crate) bytes: Bytes,
}

/// What went each way.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    sent: AtomicU64,
    received: AtomicU64,
}

/// How often a plugin used its durable key-value.
#[derive(Debug, Default)]
pub(crate) struct StateUse {
    pub(crate) reads: AtomicU64,
    pub(crate) writes: AtomicU64,
    /// Writes that were refused for want of room.
    pub(crate) refused: AtomicU64,
}

/// How a plugin fares, over all its generations since the host started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// How calls of its functions have ended.
    pub calls: Outcomes,
    /// Those that ended within the last minute, to within five seconds.
    pub calls_last_minute: u64,
    /// Their parameters and results.
    pub calls_bytes: Traffic,
    /// How long they took, from the moment a generation took them to the answer, if there were any.
    pub latency: Option<Latency>,
    /// How ticks of its routines have ended.
    pub ticks: Outcomes,
    /// How events that it subscribed to have ended in it.
    pub heard: Outcomes,
    /// Such events that it was not given: there were too many, or it was no longer allowed to hear them.
    pub unheard: u64,
    /// Instances lost, by the stable word of the reason.
    pub losses: BTreeMap<&'static str, u64>,
    /// What the host refused it, or answered in its place, by the stable word of the reason; without what is counted
    /// elsewhere here. `not_started` and `not_stopped`: a generation that could not be prepared, a stop hook that failed.
    pub refused: BTreeMap<&'static str, u64>,
    /// Events emitted, and those refused since there were too many.
    pub events: Metering,
    /// Of those emitted, the ones that were dropped while they waited for the mesh.
    pub events_dropped: u64,
    /// Calls of functions of this host; nothing limits their rate. In bytes their parameters and results.
    pub plugin_calls: Metering,
    /// Invocations of other devices and looks at who is there, and those refused since there were too many. In bytes their
    /// parameters and results.
    pub mesh_calls: Metering,
    /// Requests over HTTP, and those refused since there were too many. In bytes headers and bodies.
    pub http_requests: Metering,
    /// Its durable key-value.
    pub state: StateStats,
    /// The folders that it may change.
    pub disk: DiskStats,
    /// What it tried and was not allowed to.
    pub denied: u64,
    /// The memories of its instances.
    pub memory: MemoryStats,
    /// How long its code has run.
    pub cpu: CpuStats,
    /// Lines of log, and those dropped since there were too many.
    pub log_lines: Metering,
}

/// How long calls took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// Half of them took no longer, to within 3 %.
    pub p50: Duration,
    /// 99 of 100 took no longer, to within 3 %.
    pub p99: Duration,
    /// None took longer.
    pub max: Duration,
}

/// A plugin's durable key-value, and how often it was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateStats {
    /// How many entries it has, and their bytes as `limits.state` counts them; none while it is not in memory.
    pub size: Option<(usize, usize)>,
    /// Values and pages of keys that were read.
    pub reads: u64,
    /// Values written and keys deleted.
    pub writes: u64,
    /// Writes that were refused for want of room.
    pub refused: u64,
}

/// What was done and refused at a limited rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metering {
    /// Done.
    pub done: u64,
    /// Done within the last minute, to within five seconds.
    pub last_minute: u64,
    /// Beyond the limit.
    pub refused: u64,
    /// What that held.
    pub bytes: Traffic,
}

/// How much went each way, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the plugin.
    pub sent: u64,
    /// To it.
    pub received: u64,
}

impl Account {
    /// Of a plugin that has done nothing yet.
    #[must_use]
    pub fn new(plugin: PluginId) -> Self {
        Self::telling(plugin, Arc::default())
    }

    fn telling(plugin: PluginId, too_many_losses: Arc<Notify>) -> Self {
        Self {
            emitter: Arc::new(Emitter::new(plugin.clone())),
            log: PluginLog::new(plugin),
            calls: Calls {
                ended: Ended::default(),
                recent: Recent::default(),
                bytes: Bytes::default(),
                latencies: AtomicHistogram::with_config(&LATENCIES),
                longest: AtomicU64::new(0),
            },
            ticks: Ended::default(),
            heard: Ended::default(),
            unheard: AtomicU64::new(0),
            events: Metered::new(),
            plugin_calls: Metered::new(),
            mesh_calls: Metered::new(),
            http: Metered::new(),
            redaction: Redaction::default(),
            state: StateUse::default(),
            disk: DiskUse::default(),
            denied: AtomicU64::new(0),
            usage: Arc::default(),
            losses: Mutex::default(),
            refused: Mutex::default(),
            too_many_losses,
        }
    }

    pub(crate) fn count_loss(&self, code: &'static str) {
        *self.losses.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    pub(crate) fn count_refusal(&self, code: &'static str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    /// Counts a failure in the host's words that is counted nowhere else.
    pub(crate) fn count_failure(&self, failure: &Failure) {
        match failure.code {
            // The plugin's own words, and what an instance that was lost leaves behind.
            Cow::Owned(_) | Cow::Borrowed("error" | "trap" | "turn_limit" | "withdrawn") => {}
            Cow::Borrowed(code) => self.count_refusal(code),
        }
    }

    /// What it has counted, without the size of the plugin's state.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let now = Instant::now();
        Stats {
            calls: self.calls.ended.outcomes(),
            calls_last_minute: self.calls.recent.total(now),
            calls_bytes: self.calls.bytes.traffic(),
            latency: self.calls.latency(),
            ticks: self.ticks.outcomes(),
            heard: self.heard.outcomes(),
            unheard: self.unheard.load(Ordering::Relaxed),
            losses: self.losses.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            refused: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            events: self.events.metering(now),
            events_dropped: self.emitter.dropped(),
            plugin_calls: self.plugin_calls.metering(now),
            mesh_calls: self.mesh_calls.metering(now),
            http_requests: self.http.metering(now),
            state: self.state.stats(),
            disk: self.disk.stats(),
            denied: self.denied.load(Ordering::Relaxed),
            memory: self.usage.memory(),
            cpu: self.usage.cpu(now),
            log_lines: self.log.metering(now),
        }
    }
}

/// The accounts of all plugins that somebody tried to load, until they are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    accounts: Mutex<BTreeMap<PluginId, Arc<Account>>>,
    /// Told when a generation has lost too many instances.
    pub(crate) too_many_losses: Arc<Notify>,
}

/// Accounts of plugins of which nothing is loaded; beyond it one of them goes.
const IDLE_ACCOUNTS_MAX: usize = 64;

impl Accounts {
    /// The account of a plugin, begun if there is none.
    pub(crate) fn of(&self, id: &PluginId) -> Arc<Account> {
        let mut accounts = self.lock();
        if let Some(account) = accounts.get(id) {
            return Arc::clone(account);
        }
        // Whoever sends plugins of ever new names that never start must not fill the memory.
        let idle = accounts.iter().filter(|(_, account)| Arc::strong_count(account) == 1);
        let idle: Vec<&PluginId> = idle.map(|(id, _)| id).collect();
        if let (IDLE_ACCOUNTS_MAX.., Some(first)) = (idle.len(), idle.first().map(|id| PluginId::clone(id))) {
            accounts.remove(&first);
        }
        let account = Arc::new(Account::telling(id.clone(), Arc::clone(&self.too_many_losses)));
        accounts.insert(id.clone(), Arc::clone(&account));
        account
    }

    pub(crate) fn get(&self, id: &PluginId) -> Option<Arc<Account>> {
        self.lock().get(id).cloned()
    }

    /// Whose there are.
    pub(crate) fn ids(&self) -> Vec<PluginId> {
        self.lock().keys().cloned().collect()
    }

    pub(crate) fn forget(&self, id: &PluginId) {
        self.lock().remove(id);
    }

    /// The std mutex is held for a look-up.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PluginId, Arc<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ended {
    pub(crate) fn count(&self, well: bool) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        if !well {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn outcomes(&self) -> Outcomes {
        Outcomes { answered: self.answered.load(Ordering::Relaxed), failed: self.failed.load(Ordering::Relaxed) }
    }
}

impl Calls {
    pub(crate) fn count(&self, well: bool, latency: Duration, now: Instant) {
        self.ended.count(well);
        self.recent.add(1, now);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.longest.fetch_max(micros, Ordering::Relaxed);
        // One that took days is not counted among the others.
        let _ = self.latencies.increment(micros);
    }

    fn latency(&self) -> Option<Latency> {
        let max = Duration::from_micros(self.longest.load(Ordering::Relaxed));
        let mut buckets = [const { None }; 2];
        self.latencies.load().quantile_buckets_into(&[0.5, 0.99], &mut buckets).ok()?;
        let [Some(p50), Some(p99)] = buckets.map(|bucket| Some(Duration::from_micros(bucket?.end()).min(max))) else {
            return None;
        };
        Some(Latency { p50, p99, max })
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calls({:?})", self.ended)
    }
}

impl StateUse {
    fn stats(&self) -> StateStats {
        let [reads, writes, refused] = [&self.reads, &self.writes, &self.refused].map(|n| n.load(Ordering::Relaxed));
        StateStats { size: None, reads, writes, refused }
    }
}

impl Metered {
    fn new() -> Self {
        Self {
            rate: Mutex::new(Rate::new()),
            done: AtomicU64::new(0),
            recent: Recent::default(),
            refused: AtomicU64::new(0),
            bytes: Bytes::default(),
        }
    }

    /// Whether it may be done once more now; counts it either way.
    pub(crate) fn admit(&self, per_second: u32) -> bool {
        let now = Instant::now();
        let admitted = self.rate.lock().unwrap_or_else(PoisonError::into_inner).take(now, per_second);
        if admitted {
            self.done.fetch_add(1, Ordering::Relaxed);
            self.recent.add(1, now);
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Counts what needs no leave.
    pub(crate) fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.recent.add(1, Instant::now());
    }

    fn metering(&self, now: Instant) -> Metering {
        Metering {
            done: self.done.load(Ordering::Relaxed),
            last_minute: self.recent.total(now),
            refused: self.refused.load(Ordering::Relaxed),
            bytes: self.bytes.traffic(),
        }
    }
}

impl Bytes {
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn traffic(&self) -> Traffic {
        Traffic { sent: self.sent.load(Ordering::Relaxed), received: self.received.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(name: &str) -> PluginId {
        PluginId::new(name).unwrap()
    }

    #[test]
    fn calls_are_counted_with_their_latencies() {
        let account = Account::new(plugin("p"));
        assert_eq!(account.stats().latency, None);
        for n in 1..=100 {
            account.calls.count(n % 10 != 0, Duration::from_millis(n), Instant::now());
        }
        account.ticks.count(false);
        let stats = account.stats();
        assert_eq!(stats.calls, Outcomes { answered: 100, failed: 10 });
        assert_eq!(stats.ticks, Outcomes { answered: 1, failed: 1 });
        let near = |found: Duration, millis: u64| {
            let expected = Duration::from_millis(millis);
            (expected..expected.mul_f64(1.04)).contains(&found)
        };
        let Latency { p50, p99, max } = stats.latency.unwrap();
        assert!(near(p50, 50) && near(p99, 99), "{p50:?} {p99:?}");
        assert_eq!(max, Duration::from_millis(100));
        account.calls.count(true, Duration::MAX, Instant::now());
        assert_eq!(account.stats().calls.answered, 101);
    }

    #[test]
    fn accounts_of_what_is_not_loaded_are_few_and_others_stay() {
        let accounts = Accounts::default();
        let loaded: Vec<_> = (0..100).map(|n| accounts.of(&plugin(&format!("a{n}")))).collect();
        for n in 0..1000 {
            accounts.of(&plugin(&format!("b{n}")));
        }
        let ids = accounts.ids();
        assert_eq!(ids.len(), loaded.len() + IDLE_ACCOUNTS_MAX);
        assert!((0..100).all(|n| ids.contains(&plugin(&format!("a{n}")))));
        accounts.of(&plugin("a7")).ticks.count(true);
        assert_eq!(loaded[7].stats().ticks.answered, 1, "it is the same");
    }

    #[test]
    fn what_the_host_refuses_is_counted_by_its_reason_and_once() {
        let account = Account::new(plugin("p"));
        for code in ["queue_full", "trap", "queue_full", "turn_limit", "deadline_exceeded"] {
            account.count_failure(&Failure::new(code, "in the host's words"));
        }
        account.count_failure(&Failure { code: "own".to_owned().into(), ..Failure::new("x", "in the plugin's") });
        assert_eq!(account.stats().refused, BTreeMap::from([("deadline_exceeded", 1), ("queue_full", 2)]));
    }

    #[test]
    fn losses_are_counted_by_their_reason() {
        let account = Account::new(plugin("p"));
        for code in ["trap", "turn_limit", "trap"] {
            account.count_loss(code);
        }
        assert_eq!(account.stats().losses, BTreeMap::from([("trap", 2), ("turn_limit", 1)]));
    }
}
