//! How much of something came within the last minute.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How exactly the minute is kept.
const INTERVAL: Duration = Duration::from_secs(5);

/// Intervals in a minute; the first and the last of them are not whole.
const INTERVALS: usize = 13;

/// How many bits of a slot are its amount. The others are the number of its interval, which comes again after years.
const AMOUNT_BITS: u32 = 40;
const AMOUNT_MAX: u64 = (1 << AMOUNT_BITS) - 1;

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What came within the last minute, to within five seconds.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// Each with the number of its interval, so that nobody has to clear what is old.
    slots: [AtomicU64; INTERVALS],
}

impl Recent {
    /// Adds what came now: at most 2^40 within five seconds is told.
    pub(crate) fn add(&self, amount: u64, now: Instant) {
        let interval = interval_of(now);
        let Some(slot) = self.slots.get(interval as usize % INTERVALS) else { return };
        let added = |before: u64| {
            let amount_before = if before >> AMOUNT_BITS == interval { before & AMOUNT_MAX } else { 0 };
            Some(interval << AMOUNT_BITS | amount_before.saturating_add(amount).min(AMOUNT_MAX))
        };
        // It always has a next value.
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }

    pub(crate) fn total(&self, now: Instant) -> u64 {
        let current = interval_of(now);
        let slots = self.slots.iter().map(|slot| slot.load(Ordering::Relaxed));
        let recent = slots.filter(|slot| current.wrapping_sub(slot >> AMOUNT_BITS) < INTERVALS as u64);
        recent.map(|slot| slot & AMOUNT_MAX).sum()
    }
}

/// The first is so large that a slot that was never used is too old to be told.
fn interval_of(now: Instant) -> u64 {
    let since = now.saturating_duration_since(*ORIGIN).as_secs() / INTERVAL.as_secs();
    (since + INTERVALS as u64) & (u64::MAX >> AMOUNT_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_within_the_last_minute_is_told_and_what_is_older_is_not() {
        let recent = Recent::default();
        let begin = *ORIGIN;
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        assert_eq!(recent.total(begin), 0);
        recent.add(3, at(0));
        recent.add(4, at(1));
        assert_eq!(recent.total(at(29)), 7);
        recent.add(10, at(30));
        assert_eq!([30, 59, 66, 89, 96].map(|second| recent.total(at(second))), [17, 17, 10, 10, 0]);
        // The slots are used again.
        for second in 100..700 {
            recent.add(1, at(second));
        }
        assert!((55..=65).contains(&recent.total(at(699))), "{}", recent.total(at(699)));
        recent.add(u64::MAX, at(699));
        assert!(recent.total(at(699)) >= AMOUNT_MAX);
        recent.add(1, at(2_000));
        assert_eq!(recent.total(at(2_000)), 1);
    }
}
