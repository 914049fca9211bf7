//! What the host holds in its own memory for one instance, which no limit of the instance's memory sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many bytes at most. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Quota {
    bytes_max: usize,
    taken: Arc<AtomicUsize>,
}

impl Quota {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, taken: Arc::default() }
    }

    pub(super) fn room(&self) -> Room {
        Room { taken: 0, quota: self.clone() }
    }
}

/// A part of it, until it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    taken: usize,
    quota: Quota,
}

impl Room {
    /// Takes as many bytes more. Whether they are within the quota: if not, what asked for them ends.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let before = self.quota.taken.fetch_add(bytes, Ordering::Relaxed);
        self.taken += bytes;
        before.saturating_add(bytes) <= self.quota.bytes_max
    }

    pub(super) fn shrink(&mut self) {
        self.quota.taken.fetch_sub(std::mem::take(&mut self.taken), Ordering::Relaxed);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shrink();
    }
}
