//! How long to wait before the next attempt.

use super::FetchConfig;
use std::time::Duration;

/// The pauses of one download: each up to twice as long as the one before, and each at random between half and all of
/// that, so that hosts that failed together do not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    attempts_left: u32,
    next: Duration,
    max: Duration,
    retry_after_max: Duration,
}

impl Backoff {
    pub(super) fn new(config: &FetchConfig) -> Self {
        Self {
            attempts_left: config.attempts_max.get() - 1,
            next: config.backoff_min.min(config.backoff_max),
            max: config.backoff_max,
            retry_after_max: config.retry_after_max,
        }
    }

    /// The pause before the next attempt; none when there is to be no further one. A server that says how long to wait
    /// is obeyed: earlier would be rude, and later than the limit nobody waits.
    pub(super) fn pause(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        self.attempts_left = self.attempts_left.checked_sub(1)?;
        let pause = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = self.next.saturating_mul(2).min(self.max);
        match retry_after {
            Some(asked) if asked > self.retry_after_max => None,
            Some(asked) => Some(asked.max(pause)),
            None => Some(pause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(attempts_max: u32) -> Backoff {
        let ms = Duration::from_millis;
        Backoff::new(&FetchConfig {
            attempts_max: attempts_max.try_into().unwrap(),
            backoff_min: ms(100),
            backoff_max: ms(300),
            retry_after_max: ms(5000),
            ..FetchConfig::default()
        })
    }

    #[test]
    fn pauses_grow_to_the_limit_and_end() {
        let mut backoff = backoff(5);
        for longest in [100, 200, 300, 300] {
            let pause = backoff.pause(None).unwrap().as_millis();
            assert!((longest / 2..=longest).contains(&pause), "{pause} of {longest}");
        }
        assert_eq!(backoff.pause(None), None);
    }

    #[test]
    fn a_server_is_obeyed_up_to_the_limit() {
        let mut backoff = backoff(5);
        assert_eq!(backoff.pause(Some(Duration::from_secs(4))), Some(Duration::from_secs(4)));
        assert!(backoff.pause(Some(Duration::ZERO)).unwrap() >= Duration::from_millis(100));
        assert_eq!(backoff.pause(Some(Duration::from_millis(5001))), None);
    }

    #[test]
    fn one_attempt_is_one_attempt() {
        assert_eq!(backoff(1).pause(None), None);
    }
}
