//! How many instances a generation may lose before it is taken out of service (decision 0024).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Losses in a row that are too many.
const LOSSES_MAX: usize = 10;

/// The same where calls of one function can have brought about all of them.
const LOSSES_OF_ONE_FUNCTION_MAX: usize = 20;

/// What is longer ago counts no more.
const WINDOW: Duration = Duration::from_secs(600);

/// An instance that was lost.
#[derive(Debug, Clone)]
pub struct InstanceLoss {
    /// Why, as a stable word.
    pub code: &'static str,
    /// Why, as one line.
    pub reason: String,
    /// The functions whose calls it had.
    pub functions: BTreeSet<Arc<str>>,
    /// Whether any instance has answered a call or tick since the loss before.
    pub answered: bool,
}

/// The losses of one generation with no answer in between.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// When they were, the latest last.
    at: VecDeque<Instant>,
    /// The functions that were called at every one of them.
    suspects: BTreeSet<Arc<str>>,
}

impl Series {
    /// Takes one more in, of so many instances that there may be at once. Returns why the generation has to be taken out of
    /// service, if that is so.
    ///
    /// The pauses before the next instance follow one another however many wait for one. So each instance besides the first
    /// may be lost once more, and those who make them trap need as long as with one.
    pub(crate) fn note(&mut self, loss: InstanceLoss, instances: usize, now: Instant) -> Option<String> {
        let InstanceLoss { reason, functions, answered, .. } = loss;
        if answered {
            self.at.clear();
        }
        while self.at.front().is_some_and(|at| now.saturating_duration_since(*at) > WINDOW) {
            self.at.pop_front();
        }
        match self.at.is_empty() {
            true => self.suspects = functions,
            false => self.suspects.retain(|suspect| functions.contains(suspect)),
        }
        let further = instances.saturating_sub(1);
        if self.at.len() == LOSSES_OF_ONE_FUNCTION_MAX + further {
            self.at.pop_front();
        }
        self.at.push_back(now);
        let losses_max = further + if self.suspects.is_empty() { LOSSES_MAX } else { LOSSES_OF_ONE_FUNCTION_MAX };
        let (losses, began) = (self.at.len(), self.at.front()?);
        let took_s = now.saturating_duration_since(*began).as_secs_f64();
        (losses >= losses_max).then(|| {
            format!(
                "its instance was lost {losses} times within {took_s:.1} s and answered nothing in between; the last \
                 time: {reason}"
            )
        })
    }

    /// Whether there was a loss not long ago.
    pub(crate) fn is_recent(&self, now: Instant) -> bool {
        self.at.back().is_some_and(|at| now.saturating_duration_since(*at) <= WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(functions: &[&str], answered: bool) -> InstanceLoss {
        let functions = functions.iter().map(|name| Arc::from(*name)).collect();
        InstanceLoss { code: "trap", reason: "unreachable".into(), functions, answered }
    }

    /// After how many losses, one each `pause`, it is too much; none where it never is.
    fn too_many(pause: Duration, mut next: impl FnMut(usize) -> InstanceLoss) -> Option<usize> {
        let (mut series, begin) = (Series::default(), Instant::now());
        (1..=100_u32).map(|n| n as usize).find(|n| {
            let now = begin + pause * u32::try_from(*n).unwrap();
            series.note(next(*n), 1, now).is_some()
        })
    }

    const SOON: Duration = Duration::from_secs(1);

    #[test]
    fn ten_losses_without_an_answer_are_too_many() {
        assert_eq!(too_many(SOON, |_| loss(&[], false)), Some(10));
        let mut series = Series::default();
        let now = Instant::now();
        let reasons: Vec<Option<String>> = (0..10).map(|_| series.note(loss(&[], false), 1, now)).collect();
        assert_eq!(reasons.iter().filter(|reason| reason.is_none()).count(), 9);
        let reason = reasons[9].as_deref().unwrap();
        assert_eq!(
            reason,
            "its instance was lost 10 times within 0.0 s and answered nothing in between; the last time: unreachable"
        );
    }

    #[test]
    fn an_answer_ends_the_series() {
        assert_eq!(too_many(SOON, |n| loss(&[], n % 9 == 0)), None);
        assert_eq!(too_many(SOON, |n| loss(&[], n == 10)), Some(19));
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        assert_eq!(too_many(Duration::from_secs(66), |_| loss(&[], false)), Some(10));
        assert_eq!(too_many(Duration::from_secs(67), |_| loss(&[], false)), None);
    }

    #[test]
    fn the_callers_of_one_function_need_twice_as_many() {
        assert_eq!(too_many(SOON, |_| loss(&["f"], false)), Some(20));
        assert_eq!(too_many(SOON, |_| loss(&["f", "bystander"], false)), Some(20));
        let two = |n| if n % 2 == 0 { loss(&["f"], false) } else { loss(&["g"], false) };
        assert_eq!(too_many(SOON, two), Some(10));
        assert_eq!(too_many(SOON, |n| if n < 15 { loss(&["f"], false) } else { loss(&[], false) }), Some(15));
        assert_eq!(too_many(Duration::from_secs(31), |_| loss(&["f"], false)), Some(20));
        assert_eq!(too_many(Duration::from_secs(32), |_| loss(&["f"], false)), None);
    }

    #[test]
    fn each_further_instance_may_be_lost_once_more() {
        for (functions, most) in [(&[][..], 13), (&["f"], 23)] {
            let (mut series, now) = (Series::default(), Instant::now());
            assert!((1..most).all(|_| series.note(loss(functions, false), 4, now).is_none()));
            assert!(series.note(loss(functions, false), 4, now).is_some());
        }
    }

    #[test]
    fn a_loss_is_recent_for_ten_minutes_whatever_was_answered_since() {
        let (mut series, now) = (Series::default(), Instant::now());
        assert!(!series.is_recent(now));
        assert_eq!(series.note(loss(&[], true), 1, now), None);
        assert!(series.is_recent(now + WINDOW) && !series.is_recent(now + WINDOW + SOON));
    }
}
