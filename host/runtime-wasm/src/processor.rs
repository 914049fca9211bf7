//! `limits.cpu_per_minute`: how long one plugin's code may run, however many turns that takes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// For how much, in seconds, a plugin that used everything up waits, so that it does not wake for every instruction. Of a
/// smaller minute's worth it is a hundredth.
const SLICE: f64 = 0.005;

/// A minute's worth of processor time, which comes back evenly over a minute.
#[derive(Debug)]
pub(crate) struct Processor {
    /// All of it, in seconds.
    full: f64,
    /// In seconds; less than none after a turn that took more than there was.
    left: f64,
    /// When that was so.
    at: Instant,
}

impl Processor {
    pub(crate) fn new(per_minute: Duration, now: Instant) -> Self {
        let full = per_minute.as_secs_f64();
        Self { full, left: full, at: now }
    }

    /// Takes away what was used until `now`.
    pub(crate) fn spend(&mut self, used: Duration, now: Instant) {
        self.refill(now);
        self.left -= used.as_secs_f64();
    }

    /// Until when the plugin has to wait, if it has used up all of it.
    pub(crate) fn exhausted_until(&mut self, now: Instant) -> Option<Instant> {
        if self.left > 0.0 {
            return None;
        }
        self.refill(now);
        if self.left > 0.0 {
            return None;
        }
        let missing = SLICE.min(self.full / 100.0) - self.left;
        Some(now + Duration::from_secs_f64(missing / self.per_second()))
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + elapsed * self.per_second()).min(self.full);
        self.at = self.at.max(now);
    }

    fn per_second(&self) -> f64 {
        self.full / MINUTE.as_secs_f64()
    }
}

/// Whose it is: one instance's, or that of several, which draw on it together.
#[derive(Debug)]
pub(crate) enum Share {
    Own(Processor),
    /// The std mutex is held for a few additions.
    Common(Arc<Mutex<Processor>>),
}

impl Share {
    pub(crate) fn with<T>(&mut self, of: impl FnOnce(&mut Processor) -> T) -> T {
        match self {
            Self::Own(processor) => of(processor),
            Self::Common(processor) => of(&mut processor.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_comes_back_within_a_minute() {
        let begin = Instant::now();
        let at = |seconds: f64| begin + Duration::from_secs_f64(seconds);
        let mut processor = Processor::new(Duration::from_secs(30), begin);
        processor.spend(Duration::from_secs(20), at(20.0));
        assert_eq!(processor.exhausted_until(at(20.0)), None);
        // 30 + 10 - 20 would be more than a minute's worth before it is taken away.
        processor.spend(Duration::from_secs(30), at(60.0));
        let until = processor.exhausted_until(at(60.0)).unwrap();
        assert!((until - at(60.01)).as_secs_f64() < 0.001, "{:?}", until - begin);
        assert_eq!(processor.exhausted_until(until), None);
        processor.spend(Duration::from_secs(5), until);
        assert!(processor.exhausted_until(at(69.0)).is_some());
        assert_eq!(processor.exhausted_until(at(71.0)), None);
        // Nothing comes back beyond a minute's worth.
        processor.spend(Duration::from_secs(30), at(1_000.0));
        assert!(processor.exhausted_until(at(1_000.0)).is_some());
    }
}
