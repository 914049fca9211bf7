//! How long answers are held so that they leave together.
//!
//! Given one by one, each answer wakes the mesh to a write of its own, and that costs more than the call. So answers
//! are held while jobs follow one another; the driver gives them as soon as nothing is at hand or a turn takes long.

use std::time::Duration;
use tokio::time::Instant;

/// Answers that are given together at most.
const ANSWERS_MAX: usize = 64;

/// How long an answer is held at most while jobs follow one another. The driver looks between turns.
const HELD_MAX: Duration = Duration::from_micros(200);

/// The answers that are held.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    /// When the first of them was noticed.
    since: Option<Instant>,
}

impl Burst {
    /// Whether `answers` have to be given now.
    pub(crate) fn is_full(&mut self, answers: usize, now: Instant) -> bool {
        if answers == 0 {
            return false;
        }
        let since = *self.since.get_or_insert(now);
        answers >= ANSWERS_MAX || now.saturating_duration_since(since) >= HELD_MAX
    }

    /// They have been given.
    pub(crate) fn begin(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_full_when_it_has_many_answers_or_an_old_one() {
        let mut burst = Burst::default();
        let now = Instant::now();
        assert!(!burst.is_full(0, now));
        let noticed = now + HELD_MAX;
        assert!(!burst.is_full(1, noticed), "what was not there did not wait");
        assert!(!burst.is_full(ANSWERS_MAX - 1, noticed) && burst.is_full(ANSWERS_MAX, noticed));
        assert!(!burst.is_full(2, noticed + HELD_MAX - Duration::from_nanos(1)));
        assert!(burst.is_full(2, noticed + HELD_MAX));
        burst.begin();
        assert!(!burst.is_full(1, noticed + HELD_MAX));
    }
}
