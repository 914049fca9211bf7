//! So many a second, with room for a burst.

use std::time::Duration;
use tokio::time::Instant;

/// What may come at once, in time at the full rate.
const BURST: Duration = Duration::from_secs(2);

/// A bucket of tokens that refills steadily.
#[derive(Debug)]
pub(crate) struct Rate {
    /// When the bucket is full again.
    full_at: Instant,
}

impl Rate {
    pub(crate) fn new() -> Self {
        Self { full_at: Instant::now() }
    }

    /// Takes a token, if there is one. The rate may differ from call to call.
    pub(crate) fn take(&mut self, now: Instant, per_second: u32) -> bool {
        let full_at = self.full_at.max(now) + Duration::from_secs(1) / per_second.max(1);
        let is_there = full_at <= now + BURST;
        if is_there {
            self.full_at = full_at;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let mut rate = Rate::new();
        let now = Instant::now();
        let taken = |rate: &mut Rate, now| (0..1000).filter(|_| rate.take(now, 100)).count();
        assert_eq!(taken(&mut rate, now), 200);
        assert_eq!(taken(&mut rate, now + Duration::from_millis(500)), 50);
        assert_eq!(taken(&mut rate, now + Duration::from_secs(60)), 200);
    }
}
