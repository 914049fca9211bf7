//! How long a plugin that loses its instances again and again waits for the next one.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
const MAX: Duration = Duration::from_secs(30);

/// Counts losses without an answer in between.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    losses: u32,
}

impl Backoff {
    /// The instance gave an answer: the next loss counts as the first.
    pub(crate) fn reset(&mut self) {
        self.losses = 0;
    }

    /// The wait after one more loss: none after the first, then doubling from 10 ms to 30 s.
    pub(crate) fn next(&mut self) -> Duration {
        let doublings = self.losses.checked_sub(1);
        self.losses = self.losses.saturating_add(1);
        doublings.map_or(Duration::ZERO, |n| FIRST.saturating_mul(1 << n.min(20)).min(MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_loss_costs_nothing_and_the_wait_is_bounded() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..5).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80]);
        assert_eq!((0..100).map(|_| backoff.next()).max(), Some(MAX));
        backoff.reset();
        assert_eq!(backoff.next(), Duration::ZERO);
    }
}
