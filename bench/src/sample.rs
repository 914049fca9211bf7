//! What one drive measured, and what several say together.

use std::time::Duration;

/// Latencies and failures of one drive.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sample {
    latencies_ns: Vec<u64>,
    /// Calls that were answered with an error.
    pub(crate) failed: u64,
    /// Calls that were not answered.
    pub(crate) lost: u64,
    /// From the first call to the last answer.
    pub(crate) elapsed: Duration,
}

impl Sample {
    /// One answered call.
    pub(crate) fn add(&mut self, latency: Duration, success: bool) {
        self.latencies_ns.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        self.failed += u64::from(!success);
    }

    /// Answered calls.
    pub(crate) fn calls(&self) -> u64 {
        self.latencies_ns.len() as u64
    }

    /// Answered calls per second.
    pub(crate) fn throughput(&self) -> f64 {
        self.calls() as f64 / self.elapsed.as_secs_f64()
    }

    /// Takes in another drive's calls.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.latencies_ns.extend_from_slice(&other.latencies_ns);
        self.failed += other.failed;
        self.lost += other.lost;
        self.elapsed += other.elapsed;
    }

    /// The latency that this part of the calls stayed within; 0 without any call.
    pub(crate) fn quantile(&self, part: f64) -> Duration {
        let mut sorted = self.latencies_ns.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() as f64 * part).ceil() as usize;
        Duration::from_nanos(sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0))
    }
}

/// The middle value, or the mean of the two in the middle; 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    sorted.get(low).zip(sorted.get(high)).map_or(0.0, |(low, high)| f64::midpoint(*low, *high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_ranks() {
        let mut sample = Sample::default();
        for ms in (1..=100).rev() {
            sample.add(Duration::from_millis(ms), true);
        }
        assert_eq!(sample.quantile(0.5), Duration::from_millis(50));
        assert_eq!(sample.quantile(0.99), Duration::from_millis(99));
        assert_eq!(sample.quantile(1.0), Duration::from_millis(100));
        assert_eq!(Sample::default().quantile(0.5), Duration::ZERO);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }
}
