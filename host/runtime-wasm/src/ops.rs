//! What a guest waits for: sleeps, invocations, requests, flushes. They overlap; each ends in one delivery.

use mortise_model::{Failure, HttpResponse, Json};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

/// How many ops one instance may have under way.
pub(crate) const OPS_MAX: usize = 20_000;

/// How many refusals may wait for their delivery besides. A guest that goes on starting ops is given up.
pub(crate) const REFUSALS_MAX: usize = 1000;

/// How many bytes the results of invocations may have together while they wait for their delivery, as they do during
/// a long turn. What comes on top is given up: the guest asked for more than it takes.
const RESULTS_BYTES_MAX: usize = 64 << 20;

/// How many bytes of parameters and of other outcomes one instance's ops may hold in the host.
pub(crate) const OPS_BYTES_MAX: usize = 16 << 20;

/// How many invocations are begun at once. The others follow when the rest of the host has had its turn: as so many tasks
/// they would all stand before it.
const BEGUN_AT_ONCE_MAX: usize = 64;

/// How an op ended.
#[derive(Debug)]
pub(crate) enum OpOutcome {
    /// Without a value.
    Done,
    /// With a value.
    Json(Json),
    /// With the answer to a request over HTTP.
    Http(HttpResponse),
    /// Not.
    Failed(Failure),
}

impl OpOutcome {
    /// What it holds on to.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Json(json) => json.as_str().len(),
            Self::Http(response) => response.bytes(),
            Self::Failed(failure) => failure.message.len(),
            Self::Done => 0,
        }
    }
}

impl From<()> for OpOutcome {
    fn from((): ()) -> Self {
        Self::Done
    }
}

impl From<Json> for OpOutcome {
    fn from(json: Json) -> Self {
        Self::Json(json)
    }
}

impl From<HttpResponse> for OpOutcome {
    fn from(response: HttpResponse) -> Self {
        Self::Http(response)
    }
}

enum UnderWay {
    Sleep(Instant),
    /// Not yet begun.
    Waiting(u64),
    Invocation(AbortHandle),
    Ready,
}

/// An invocation that is not yet begun.
struct Unbegun {
    op: u64,
    bytes: usize,
    invocation: Invocation,
}

type Invocation = Pin<Box<dyn Future<Output = OpOutcome> + Send>>;

/// An invocation's task, until it is really gone.
struct Task {
    /// None once the op is cancelled: nothing is delivered, and its id may be in use again.
    op: Option<u64>,
    bytes: usize,
}

/// The ops of one instance. They end with it.
#[derive(Default)]
pub(crate) struct Ops {
    under_way: HashMap<u64, UnderWay>,
    /// One timer of the driver's serves them all.
    sleeps: BTreeSet<(Instant, u64)>,
    /// Invocations are tasks of their own, so that they go on while a turn is under way. Aborted with the set.
    invocations: JoinSet<OpOutcome>,
    /// Those that are not yet begun, by number, in their order.
    unbegun: BTreeMap<u64, Unbegun>,
    last_unbegun: u64,
    /// Invocations begun since the driver looked last.
    begun: usize,
    tasks: HashMap<Id, Task>,
    ready: VecDeque<(u64, OpOutcome)>,
    /// Held by tasks and by what is ready.
    bytes: usize,
    /// Held by the results of tasks that have ended and are not yet joined. The tasks add, joining takes away.
    results_bytes: Arc<AtomicUsize>,
    next_source: Source,
}

/// Where outcomes come from. Each gets its turn, so that none of them keeps the others from being delivered.
#[derive(Debug, Clone, Copy, Default)]
enum Source {
    #[default]
    Ready,
    Sleeps,
    Invocations,
}

impl Source {
    fn next(self) -> Self {
        match self {
            Self::Ready => Self::Sleeps,
            Self::Sleeps => Self::Invocations,
            Self::Invocations => Self::Ready,
        }
    }
}

impl Ops {
    /// Whether an op of that id is under way.
    pub(crate) fn contains(&self, id: u64) -> bool {
        self.under_way.contains_key(&id)
    }

    /// How many there are. A cancelled invocation counts until its task is gone.
    pub(crate) fn count(&self) -> usize {
        self.sleeps.len() + self.ready.len() + self.tasks.len() + self.unbegun.len()
    }

    /// Whether as many bytes more are within the budget.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= OPS_BYTES_MAX
    }

    /// Starts a sleep. Nothing happens at a moment too far away to be told.
    pub(crate) fn sleep(&mut self, id: u64, until: Instant) {
        self.under_way.insert(id, UnderWay::Sleep(until));
        self.sleeps.insert((until, id));
    }

    /// Starts an invocation that holds so many bytes: now, or after many others. One that is refused at once is no task. To be
    /// called within a tokio runtime.
    pub(crate) fn invoke(
        &mut self,
        id: u64,
        bytes: usize,
        invocation: impl Future<Output = OpOutcome> + Send + 'static,
    ) {
        let mut invocation: Invocation = Box::pin(invocation);
        let may_begin = self.begun < BEGUN_AT_ONCE_MAX && self.unbegun.is_empty();
        if may_begin {
            // A task polls it again, and has it ask for the wake-up. As there, a panic costs the op alone.
            let poll = || invocation.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            match catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|_| Poll::Ready(lost())) {
                Poll::Ready(failed @ OpOutcome::Failed(_)) => return self.finished(id, failed),
                Poll::Ready(outcome) => invocation = Box::pin(std::future::ready(outcome)),
                Poll::Pending => {}
            }
        }
        let held = Arc::clone(&self.results_bytes);
        let invocation = async move {
            let mut outcome = invocation.await;
            // From here on the task ends without a pause: what it adds is taken away by joining it.
            let size = outcome.bytes();
            if held.fetch_add(size, Ordering::Relaxed).saturating_add(size) > RESULTS_BYTES_MAX {
                held.fetch_sub(size, Ordering::Relaxed);
                let message = format!("the results that wait for this plugin hold {} MiB", RESULTS_BYTES_MAX >> 20);
                outcome = OpOutcome::Failed(Failure::new("result_too_large", message));
                held.fetch_add(outcome.bytes(), Ordering::Relaxed);
            }
            outcome
        };
        self.bytes += bytes;
        if may_begin {
            return self.begin(id, bytes, invocation);
        }
        self.last_unbegun += 1;
        self.unbegun.insert(self.last_unbegun, Unbegun { op: id, bytes, invocation: Box::pin(invocation) });
        self.under_way.insert(id, UnderWay::Waiting(self.last_unbegun));
    }

    fn begin(&mut self, op: u64, bytes: usize, invocation: impl Future<Output = OpOutcome> + Send + 'static) {
        self.begun += 1;
        let handle = self.invocations.spawn(invocation);
        self.tasks.insert(handle.id(), Task { op: Some(op), bytes });
        self.under_way.insert(op, UnderWay::Invocation(handle));
    }

    /// Begins some of those that wait for it.
    fn begin_waiting(&mut self, most: usize) {
        for _ in 0..most {
            let Some((_, Unbegun { op, bytes, invocation })) = self.unbegun.pop_first() else { return };
            self.begin(op, bytes, invocation);
        }
    }

    /// An op that has its outcome already.
    pub(crate) fn finished(&mut self, id: u64, outcome: OpOutcome) {
        self.bytes += outcome.bytes();
        self.under_way.insert(id, UnderWay::Ready);
        self.ready.push_back((id, outcome));
    }

    /// Gives an op up. Unknown ids are ignored: its delivery may have been on the way.
    pub(crate) fn cancel(&mut self, id: u64) {
        match self.under_way.remove(&id) {
            Some(UnderWay::Sleep(until)) => {
                self.sleeps.remove(&(until, id));
            }
            Some(UnderWay::Waiting(number)) => {
                if let Some(unbegun) = self.unbegun.remove(&number) {
                    self.bytes -= unbegun.bytes;
                }
            }
            Some(UnderWay::Invocation(handle)) => {
                handle.abort();
                if let Some(task) = self.tasks.get_mut(&handle.id()) {
                    task.op = None;
                }
            }
            Some(UnderWay::Ready) => {
                if let Some(at) = self.ready.iter().position(|(ready, _)| *ready == id)
                    && let Some((_, outcome)) = self.ready.remove(at)
                {
                    self.bytes -= outcome.bytes();
                }
            }
            None => {}
        }
    }

    /// When the next sleep ends.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.sleeps.first().map(|(until, _)| *until)
    }

    /// The next outcome to deliver.
    pub(crate) fn poll_next(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<(u64, OpOutcome)> {
        self.begun = 0;
        // Also where there is always something to deliver.
        self.begin_waiting(1);
        for _ in 0..3 {
            let source = self.next_source;
            self.next_source = source.next();
            let found = match source {
                Source::Ready => self.next_ready(),
                Source::Sleeps => self.next_slept(now),
                Source::Invocations => self.next_answered(cx),
            };
            if let Some((id, outcome)) = found {
                self.under_way.remove(&id);
                return Poll::Ready((id, outcome));
            }
        }
        self.begin_more(cx);
        Poll::Pending
    }

    /// Begins some of those that wait for it, and asks for the wake-up where others are left.
    pub(crate) fn begin_more(&mut self, cx: &mut Context<'_>) {
        if !self.unbegun.is_empty() {
            self.begin_waiting(BEGUN_AT_ONCE_MAX);
            // Once others have had their turn.
            cx.waker().wake_by_ref();
        }
    }

    fn next_ready(&mut self) -> Option<(u64, OpOutcome)> {
        let (id, outcome) = self.ready.pop_front()?;
        self.bytes -= outcome.bytes();
        Some((id, outcome))
    }

    fn next_slept(&mut self, now: Instant) -> Option<(u64, OpOutcome)> {
        let (_, id) = self.sleeps.first().filter(|(until, _)| *until <= now).copied()?;
        self.sleeps.pop_first();
        Some((id, OpOutcome::Done))
    }

    /// Asks for the wake-up when there is none.
    fn next_answered(&mut self, cx: &mut Context<'_>) -> Option<(u64, OpOutcome)> {
        while let Poll::Ready(Some(ended)) = self.invocations.poll_join_next_with_id(cx) {
            let (task, outcome) = match ended {
                Ok((task, outcome)) => {
                    self.results_bytes.fetch_sub(outcome.bytes(), Ordering::Relaxed);
                    (task, outcome)
                }
                Err(error) => (error.id(), lost()),
            };
            let Some(Task { op, bytes }) = self.tasks.remove(&task) else { continue };
            self.bytes -= bytes;
            if let Some(id) = op {
                return Some((id, outcome));
            }
        }
        None
    }
}

/// What becomes of an op whose task panicked.
fn lost() -> OpOutcome {
    OpOutcome::Failed(Failure::new("internal", "the invocation failed within the host"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    fn next(ops: &mut Ops, now: Instant) -> Option<u64> {
        match ops.poll_next(now, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready((id, _)) => Some(id),
            Poll::Pending => None,
        }
    }

    fn null() -> Json {
        Json::of(&serde_json::Value::Null)
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

    #[tokio::test]
    async fn nothing_is_delivered_for_a_cancelled_op_whose_id_may_be_used_again() {
        let (mut ops, now) = (Ops::default(), Instant::now());
        // The first has its answer already when it is cancelled.
        ops.invoke(1, 0, std::future::ready(OpOutcome::Json(Json::of(&serde_json::json!("old")))));
        tokio::task::yield_now().await;
        ops.sleep(2, now);
        ops.finished(3, OpOutcome::Done);
        for id in 1..=3 {
            ops.cancel(id);
        }
        ops.invoke(1, 0, std::future::ready(OpOutcome::Json(null())));
        let (id, outcome) = poll_fn(|cx| ops.poll_next(now, cx)).await;
        assert!(matches!((id, &outcome), (1, OpOutcome::Json(json)) if json.as_str() == "null"), "{outcome:?}");
        assert_eq!((next(&mut ops, now), ops.count()), (None, 0));
        ops.cancel(99);
    }

    #[tokio::test]
    async fn a_cancelled_invocation_counts_until_it_is_gone() {
        let (mut ops, now) = (Ops::default(), Instant::now());
        ops.invoke(1, OPS_BYTES_MAX, std::future::pending());
        ops.cancel(1);
        assert_eq!((ops.contains(1), ops.count(), ops.has_room_for(1)), (false, 1, false));
        tokio::task::yield_now().await;
        assert_eq!(next(&mut ops, now), None);
        assert_eq!((ops.count(), ops.has_room_for(OPS_BYTES_MAX)), (0, true));
    }

    #[tokio::test]
    async fn a_crowd_of_invocations_is_begun_little_by_little_and_in_order() {
        let (mut ops, now) = (Ops::default(), Instant::now());
        let begun = Arc::new(AtomicUsize::new(0));
        for id in 0..1000 {
            let begun = Arc::clone(&begun);
            ops.invoke(id, 1, async move {
                assert_eq!(begun.fetch_add(1, Ordering::Relaxed) as u64, id);
                OpOutcome::Json(null())
            });
        }
        assert_eq!((ops.tasks.len(), ops.count()), (BEGUN_AT_ONCE_MAX, 1000));
        // What is given up before it is begun is gone.
        for id in (500..1000).rev() {
            ops.cancel(id);
        }
        assert_eq!((ops.count(), ops.bytes), (500, 500));
        assert!(!ops.contains(999) && ops.contains(499));
        for _ in 0..500 {
            let (_, outcome) = poll_fn(|cx| ops.poll_next(now, cx)).await;
            assert!(matches!(outcome, OpOutcome::Json(_)), "{outcome:?}");
        }
        assert_eq!((begun.load(Ordering::Relaxed), ops.count(), ops.bytes), (500, 0, 0));
    }

    #[tokio::test]
    async fn an_op_that_panics_fails_wherever_it_does() {
        let (mut ops, now) = (Ops::default(), Instant::now());
        for pauses in 0..2 {
            ops.invoke(pauses, 0, async move {
                for _ in 0..pauses {
                    tokio::task::yield_now().await;
                }
                panic!("on purpose");
            });
        }
        for _ in 0..2 {
            let (_, outcome) = poll_fn(|cx| ops.poll_next(now, cx)).await;
            assert!(matches!(&outcome, OpOutcome::Failed(failure) if failure.code == "internal"), "{outcome:?}");
        }
        assert_eq!((ops.count(), ops.bytes), (0, 0));
    }

    #[tokio::test]
    async fn what_is_refused_at_once_is_no_task() {
        let (mut ops, now) = (Ops::default(), Instant::now());
        for id in 0..1000 {
            ops.invoke(id, 1, std::future::ready(OpOutcome::Failed(Failure::new("no", "no"))));
        }
        assert_eq!((ops.tasks.len(), ops.unbegun.len(), ops.count(), ops.bytes), (0, 0, 1000, 2000));
        assert_eq!((0..1000).filter_map(|_| next(&mut ops, now)).count(), 1000);
        assert_eq!((ops.count(), ops.bytes), (0, 0));
    }

    #[tokio::test]
    async fn results_that_nobody_takes_are_given_up_above_their_limit() {
        let text = "x".repeat(RESULTS_BYTES_MAX / 2 - 2);
        let result = || OpOutcome::Json(Json::new(format!("\"{text}\"")).unwrap());
        let failure = || OpOutcome::Failed(Failure::new("own", text.clone()));
        for half in [&result as &dyn Fn() -> OpOutcome, &failure] {
            let mut ops = Ops::default();
            for id in 0..3 {
                let outcome = half();
                ops.invoke(id, 0, async {
                    tokio::task::yield_now().await;
                    outcome
                });
            }
            let mut refused = 0;
            // The tasks run while this one waits.
            tokio::time::sleep(Duration::from_millis(1)).await;
            for _ in 0..3 {
                let (_, outcome) = poll_fn(|cx| ops.poll_next(Instant::now(), cx)).await;
                let is_refusal = |failure: &Failure| failure.code == "result_too_large";
                refused += usize::from(matches!(&outcome, OpOutcome::Failed(failure) if is_refusal(failure)));
            }
            assert_eq!((refused, ops.results_bytes.load(Ordering::Relaxed)), (1, 0));
        }
    }

    #[tokio::test]
    async fn no_source_of_outcomes_keeps_another_waiting() {
        let (mut ops, now) = (Ops::default(), Instant::now());
        for id in 0..10 {
            ops.finished(id, OpOutcome::Done);
            ops.sleep(id + 10, now);
            ops.invoke(id + 20, 0, std::future::ready(OpOutcome::Json(null())));
        }
        // The tasks run while this one waits.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut first: Vec<u64> = (0..3).filter_map(|_| next(&mut ops, now)).map(|id| id / 10).collect();
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2]);
    }

    #[test]
    fn what_is_ready_holds_bytes_until_it_is_delivered_or_given_up() {
        let (mut ops, now) = (Ops::default(), Instant::now());
        for id in 0..2 {
            ops.finished(id, OpOutcome::Json(null()));
        }
        assert!(!ops.has_room_for(OPS_BYTES_MAX - 7));
        assert_eq!(next(&mut ops, now), Some(0));
        assert!(ops.has_room_for(OPS_BYTES_MAX - 4));
        ops.cancel(1);
        assert!(ops.has_room_for(OPS_BYTES_MAX));
    }
}
