//! A plugin's log: every line that a guest writes, whichever way, within one allowance.

use mortise_model::PluginId;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::Level;

/// One line in this time on average: 100 a second.
const LINE_INTERVAL: Duration = Duration::from_millis(10);

/// How many lines may come at once.
const LINES_BURST: u32 = 200;

/// The log of one instance.
pub(crate) struct PluginLog {
    plugin: PluginId,
    /// The std mutex is held for a few comparisons.
    allowance: Mutex<Allowance>,
}

/// A bucket of [`LINES_BURST`] tokens that gets one every [`LINE_INTERVAL`].
struct Allowance {
    /// When the bucket is full again.
    full_at: Instant,
    dropped: u64,
}

impl PluginLog {
    pub(crate) fn new(plugin: PluginId) -> Self {
        Self { plugin, allowance: Mutex::new(Allowance { full_at: Instant::now(), dropped: 0 }) }
    }

    /// Logs one line, or drops it where there are too many. `source` is the guest's own name for where it comes from.
    pub(crate) fn line(&self, level: Level, source: &str, line: &str) {
        if !is_wanted(level) {
            return;
        }
        let taken = self.allowance.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        if let Some(dropped) = taken {
            self.tell_dropped(dropped);
            write(&self.plugin, level, source, line);
        }
    }

    fn tell_dropped(&self, dropped: u64) {
        if dropped > 0 {
            tracing::warn!(target: "plugin", plugin = self.plugin.as_str(), "{dropped} lines dropped, more than 100 a second");
        }
    }
}

impl Drop for PluginLog {
    fn drop(&mut self) {
        let dropped = self.allowance.get_mut().unwrap_or_else(PoisonError::into_inner).dropped;
        self.tell_dropped(dropped);
    }
}

impl Allowance {
    /// How many lines were dropped since the last one, if there may be one now.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let full_at = self.full_at.max(now) + LINE_INTERVAL;
        if full_at > now + LINE_INTERVAL * LINES_BURST {
            self.dropped += 1;
            return None;
        }
        self.full_at = full_at;
        Some(std::mem::take(&mut self.dropped))
    }
}

// The level of a tracing event is part of its call site.

/// Lines that nobody reads cost nothing of the allowance.
fn is_wanted(level: Level) -> bool {
    match level {
        Level::ERROR => tracing::enabled!(target: "plugin", Level::ERROR),
        Level::WARN => tracing::enabled!(target: "plugin", Level::WARN),
        Level::INFO => tracing::enabled!(target: "plugin", Level::INFO),
        Level::DEBUG => tracing::enabled!(target: "plugin", Level::DEBUG),
        Level::TRACE => tracing::enabled!(target: "plugin", Level::TRACE),
    }
}

fn write(plugin: &PluginId, level: Level, source: &str, line: &str) {
    match level {
        Level::ERROR => tracing::error!(target: "plugin", plugin = plugin.as_str(), source, "{line}"),
        Level::WARN => tracing::warn!(target: "plugin", plugin = plugin.as_str(), source, "{line}"),
        Level::INFO => tracing::info!(target: "plugin", plugin = plugin.as_str(), source, "{line}"),
        Level::DEBUG => tracing::debug!(target: "plugin", plugin = plugin.as_str(), source, "{line}"),
        Level::TRACE => tracing::trace!(target: "plugin", plugin = plugin.as_str(), source, "{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_to_the_rate_and_counted() {
        let now = Instant::now();
        let mut allowance = Allowance { full_at: now, dropped: 0 };
        let taken = (0..1000).filter(|_| allowance.take(now).is_some()).count();
        assert_eq!((taken, allowance.dropped), (200, 800));
        assert_eq!(allowance.take(now + LINE_INTERVAL), Some(800));
        assert_eq!(allowance.take(now + LINE_INTERVAL), None);
        let later = now + Duration::from_secs(60);
        assert_eq!((0..1000).filter(|_| allowance.take(later).is_some()).count(), 200);
    }
}
