//! What a plugin's instances use of the machine.

use crate::recent::Recent;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// What the instances of one plugin use together, those of a generation that drains or is about to serve included. Runtimes
/// count it as they go.
#[derive(Debug, Default)]
pub struct Usage {
    memory_bytes: AtomicUsize,
    memory_peak_bytes: AtomicUsize,
    cpu_nanos: AtomicU64,
    cpu_recent: Recent,
    cpu_waits: AtomicU64,
}

/// The memories of a plugin's instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// What they have now, in bytes.
    pub bytes: usize,
    /// The most that they ever had together, in bytes.
    pub peak_bytes: usize,
}

/// How long a plugin's code has run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// Since the host started.
    pub used: Duration,
    /// Within the last minute, to within five seconds.
    pub last_minute: Duration,
    /// How often it had to wait because it had used up `limits.cpu_per_minute`.
    pub waits: u64,
}

impl Usage {
    /// The memory of an instance has grown.
    pub fn grew(&self, bytes: usize) {
        let of_all = self.memory_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.memory_peak_bytes.fetch_max(of_all, Ordering::Relaxed);
    }

    /// So much of what it [`grew`](Self::grew) by is gone, and no more than that.
    pub fn shrank(&self, bytes: usize) {
        self.memory_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Its code has run for so long, until `now`.
    pub fn ran(&self, span: Duration, now: Instant) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.cpu_recent.add(nanos, now);
    }

    /// It had to wait for its share of the processor.
    pub fn waited(&self) {
        self.cpu_waits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn memory(&self) -> MemoryStats {
        let [bytes, peak_bytes] =
            [&self.memory_bytes, &self.memory_peak_bytes].map(|bytes| bytes.load(Ordering::Relaxed));
        MemoryStats { bytes, peak_bytes }
    }

    pub(crate) fn cpu(&self, now: Instant) -> CpuStats {
        CpuStats {
            used: Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed)),
            last_minute: Duration::from_nanos(self.cpu_recent.total(now)),
            waits: self.cpu_waits.load(Ordering::Relaxed),
        }
    }
}
