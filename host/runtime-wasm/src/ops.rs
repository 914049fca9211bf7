//! What a guest waits for: sleeps, invocations and discoveries. They overlap; each ends in one delivery.

use futures_util::future::{AbortHandle, Abortable, Aborted};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use mortise_model::{Failure, Json};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// How many ops one instance may have under way.
pub(crate) const OPS_MAX: usize = 20_000;

/// How an op ended.
#[derive(Debug)]
pub(crate) enum OpOutcome {
    /// Without a value.
    Done,
    /// With one.
    Json(Json),
    /// Not.
    Failed(Failure),
}

impl From<Result<Json, Failure>> for OpOutcome {
    fn from(result: Result<Json, Failure>) -> Self {
        result.map_or_else(Self::Failed, Self::Json)
    }
}

type Invocation = Pin<Box<dyn Future<Output = Result<Json, Failure>> + Send>>;

struct Tagged {
    id: u64,
    invocation: Abortable<Invocation>,
}

impl Future for Tagged {
    type Output = (u64, Result<Result<Json, Failure>, Aborted>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.invocation).poll(cx).map(|outcome| (self.id, outcome))
    }
}

enum UnderWay {
    Sleep(Instant),
    Invocation(AbortHandle),
    Ready,
}

/// The ops of one instance. They end with it.
#[derive(Default)]
pub(crate) struct Ops {
    under_way: HashMap<u64, UnderWay>,
    /// One timer of the driver's serves them all.
    sleeps: BTreeSet<(Instant, u64)>,
    invocations: FuturesUnordered<Tagged>,
    ready: VecDeque<(u64, OpOutcome)>,
}

impl Ops {
    /// Whether an op of that id is under way.
    pub(crate) fn contains(&self, id: u64) -> bool {
        self.under_way.contains_key(&id)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.under_way.len() >= OPS_MAX
    }

    /// Starts a sleep. Nothing happens at a moment too far away to be told.
    pub(crate) fn sleep(&mut self, id: u64, until: Instant) {
        self.under_way.insert(id, UnderWay::Sleep(until));
        self.sleeps.insert((until, id));
    }

    pub(crate) fn invoke(&mut self, id: u64, invocation: Invocation) {
        let (handle, registration) = AbortHandle::new_pair();
        self.under_way.insert(id, UnderWay::Invocation(handle));
        self.invocations.push(Tagged { id, invocation: Abortable::new(invocation, registration) });
    }

    /// An op that has its outcome already.
    pub(crate) fn finished(&mut self, id: u64, outcome: OpOutcome) {
        self.under_way.insert(id, UnderWay::Ready);
        self.ready.push_back((id, outcome));
    }

    /// Gives an op up. Unknown ids are ignored: its delivery may have been on the way.
    pub(crate) fn cancel(&mut self, id: u64) {
        match self.under_way.remove(&id) {
            Some(UnderWay::Sleep(until)) => {
                self.sleeps.remove(&(until, id));
            }
            Some(UnderWay::Invocation(handle)) => handle.abort(),
            Some(UnderWay::Ready) => self.ready.retain(|(ready, _)| *ready != id),
            None => {}
        }
    }

    /// When the next sleep ends.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.sleeps.first().map(|(until, _)| *until)
    }

    /// The next outcome to deliver.
    pub(crate) fn poll_next(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<(u64, OpOutcome)> {
        if let Some((id, outcome)) = self.ready.pop_front() {
            self.under_way.remove(&id);
            return Poll::Ready((id, outcome));
        }
        if let Some(&(until, id)) = self.sleeps.first()
            && until <= now
        {
            self.sleeps.pop_first();
            self.under_way.remove(&id);
            return Poll::Ready((id, OpOutcome::Done));
        }
        while let Poll::Ready(Some((id, outcome))) = self.invocations.poll_next_unpin(cx) {
            // A cancelled op delivers nothing, and its id may be in use again.
            if let Ok(outcome) = outcome {
                self.under_way.remove(&id);
                return Poll::Ready((id, outcome.into()));
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use std::time::Duration;

    fn next(ops: &mut Ops, now: Instant) -> Option<u64> {
        match ops.poll_next(now, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready((id, _)) => Some(id),
            Poll::Pending => None,
        }
    }

    #[test]
    fn sleeps_end_in_order_of_time_and_not_before() {
        let (mut ops, now) = (Ops::default(), Instant::now());
        ops.sleep(1, now + Duration::from_secs(2));
        ops.sleep(2, now + Duration::from_secs(1));
        assert_eq!(next(&mut ops, now), None);
        assert_eq!(ops.next_due(), Some(now + Duration::from_secs(1)));
        let later = now + Duration::from_secs(2);
        assert_eq!([next(&mut ops, later), next(&mut ops, later), next(&mut ops, later)], [Some(2), Some(1), None]);
        assert!(!ops.contains(1));
    }

    #[test]
    fn nothing_is_delivered_for_a_cancelled_op_whose_id_may_be_used_again() {
        let (mut ops, now) = (Ops::default(), Instant::now());
        ops.invoke(1, Box::pin(std::future::pending()));
        ops.sleep(2, now);
        ops.finished(3, OpOutcome::Done);
        for id in 1..=3 {
            ops.cancel(id);
        }
        assert_eq!(next(&mut ops, now), None);
        ops.invoke(1, Box::pin(std::future::ready(Ok(Json::of(&serde_json::Value::Null)))));
        assert_eq!(next(&mut ops, now), Some(1));
        ops.cancel(99);
    }
}
