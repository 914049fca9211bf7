//! Which calls the guest owes an answer, and until when. Each is answered exactly once.

use crate::loss::TurnLimit;
use mortise_model::{Failure, Json};
use mortise_plugin::{JobKind, Ticket};
use mortise_rpc::{CallChain, TraceContext};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::time::Instant;

/// One call that the guest has been given.
#[derive(Debug)]
pub(crate) struct OpenCall {
    pub(crate) creditor: Creditor,
    pub(crate) deadline: Instant,
    /// None where the caller sent no trace context, as most do.
    pub(crate) trace: Option<Arc<TraceContext>>,
    pub(crate) chain: CallChain,
}

impl OpenCall {
    /// What was called, if it is a function.
    pub(crate) fn function(&self) -> Option<Arc<str>> {
        match &self.creditor {
            Creditor::Caller { kind: JobKind::Function, name, .. } => Some(Arc::clone(name)),
            Creditor::Caller { .. } | Creditor::Hook { .. } => None,
        }
    }
}

/// Who waits for the outcome.
#[derive(Debug)]
pub(crate) enum Creditor {
    /// A caller.
    Caller { kind: JobKind, name: Arc<str>, ticket: Ticket },
    /// The driver, for a hook with that limit.
    Hook { limit: TurnLimit },
}

/// The call that is being handed to the guest: its turn has begun and not ended.
#[derive(Debug)]
enum Entering {
    Owed(OpenCall),
    Completed,
    /// Answered in the guest's place.
    Expired,
}

/// An answer that is due; given after the ledger's lock is released.
#[derive(Debug)]
#[must_use]
pub(crate) struct Answer(Ticket, Result<Json, Failure>);

impl Answer {
    pub(crate) fn give(self) {
        self.0.answer(self.1);
    }
}

/// What became of a call whose turn has ended.
#[derive(Debug)]
#[must_use]
pub(crate) enum Left {
    /// Nothing more to do.
    Settled,
    /// The guest answered none: it will complete the call, or has done so, and its loop has something to do.
    Open,
    /// The guest means to complete it, but its caller has been answered: it has to be cancelled.
    Expired(u64),
}

/// How the ledger stands at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Calls that the guest owes an answer.
    pub(crate) running: usize,
    /// Answers that are due and have not been taken.
    pub(crate) answers: usize,
    /// The next moment at which [`Ledger::expire`] has something to do.
    pub(crate) next_due: Option<Instant>,
}

/// What the ledgers of one generation count together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    answered: AtomicBool,
    stray: AtomicU64,
}

impl Tally {
    /// Outcomes that nobody waited for.
    pub(crate) fn stray(&self) -> u64 {
        self.stray.load(Ordering::Relaxed)
    }

    fn count_stray(&self) {
        self.stray.fetch_add(1, Ordering::Relaxed);
    }
}

/// The calls of one driver. Ids are never reused, not even by a fresh instance.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    last_id: u64,
    entering: Option<(u64, Entering)>,
    /// The function whose turn it is, even once its caller has been answered.
    entered: Option<Arc<str>>,
    open: HashMap<u64, OpenCall>,
    /// Functions whose calls were answered in the guest's place, until it has been told so.
    expired: HashMap<u64, Arc<str>>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Due, in the order in which they came to be.
    answers: Vec<Answer>,
    hook: Option<Result<(), Failure>>,
    tally: Arc<Tally>,
}

impl Ledger {
    /// Of a driver that others of the same generation are beside.
    pub(crate) fn counting(tally: Arc<Tally>) -> Self {
        Self { tally, ..Self::default() }
    }

    /// What it counts together with others.
    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Notes that a call is being handed to the guest.
    pub(crate) fn enter(&mut self, call: OpenCall) -> u64 {
        self.last_id += 1;
        self.entered = call.function();
        self.entering = Some((self.last_id, Entering::Owed(call)));
        self.last_id
    }

    /// Notes the end of that turn, with the outcome if the guest gave one at once.
    pub(crate) fn leave(&mut self, outcome: Option<Result<Json, Failure>>) -> Left {
        self.entered = None;
        let Some((id, entering)) = self.entering.take() else {
            return Left::Settled;
        };
        match (entering, outcome) {
            (Entering::Owed(call), Some(outcome)) => self.settle(call, outcome),
            (Entering::Owed(call), None) => {
                self.deadlines.insert((call.deadline, id));
                self.open.insert(id, call);
                return Left::Open;
            }
            (Entering::Completed | Entering::Expired, Some(_)) => {
                self.tally.count_stray();
                self.expired.remove(&id);
            }
            (Entering::Completed, None) => return Left::Open,
            (Entering::Expired, None) => return Left::Expired(id),
        }
        Left::Settled
    }

    /// Takes the outcome of an open call. Unknown and repeated ids are counted and change nothing.
    pub(crate) fn complete(&mut self, id: u64, outcome: Result<Json, Failure>) {
        if let Some((entering, state @ Entering::Owed(_))) = &mut self.entering
            && *entering == id
            && let Entering::Owed(call) = std::mem::replace(state, Entering::Completed)
        {
            return self.settle(call, outcome);
        }
        match self.open.remove(&id) {
            Some(call) => {
                self.deadlines.remove(&(call.deadline, id));
                self.settle(call, outcome);
            }
            None => self.tally.count_stray(),
        }
    }

    fn settle(&mut self, call: OpenCall, outcome: Result<Json, Failure>) {
        match call.creditor {
            Creditor::Caller { ticket, .. } => {
                self.tally.answered.store(true, Ordering::Relaxed);
                self.answers.push(Answer(ticket, outcome));
            }
            Creditor::Hook { .. } => self.hook = Some(outcome.map(drop)),
        }
    }

    /// How things stand.
    pub(crate) fn standing(&self) -> Standing {
        let open = self.deadlines.first().map(|(at, _)| *at);
        let entering = match &self.entering {
            Some((_, Entering::Owed(call))) => Some(call.deadline),
            _ => None,
        };
        Standing {
            running: self.open.len() + usize::from(self.entering.is_some()),
            answers: self.answers.len(),
            next_due: open.into_iter().chain(entering).min(),
        }
    }

    /// Answers what is overdue. Returns the ids that the guest has to be told of.
    pub(crate) fn expire(&mut self, now: Instant, failure: impl Fn(&Creditor) -> Failure) -> Vec<u64> {
        let mut cancelled = Vec::new();
        while let Some(&(at, id)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            if let Some(call) = self.open.remove(&id) {
                cancelled.push(id);
                self.expired.extend(call.function().map(|function| (id, function)));
                self.fail(call, &failure);
            }
        }
        if let Some((id, state)) = &mut self.entering
            && let Entering::Owed(call) = state
            && call.deadline <= now
            && let Entering::Owed(call) = std::mem::replace(state, Entering::Expired)
        {
            self.expired.extend(call.function().map(|function| (*id, function)));
            self.fail(call, &failure);
        }
        cancelled
    }

    /// Answers every call that the guest has been given with a failure: it will not complete them any more.
    pub(crate) fn fail_all(&mut self, failure: impl Fn(&Creditor) -> Failure) {
        let entering = match self.entering.take() {
            Some((_, Entering::Owed(call))) => Some(call),
            _ => None,
        };
        self.deadlines.clear();
        self.expired.clear();
        self.entered = None;
        let open: Vec<OpenCall> = self.open.drain().map(|(_, call)| call).chain(entering).collect();
        for call in open {
            self.fail(call, &failure);
        }
    }

    fn fail(&mut self, call: OpenCall, failure: &impl Fn(&Creditor) -> Failure) {
        let failure = failure(&call.creditor);
        match call.creditor {
            Creditor::Caller { ticket, .. } => self.answers.push(Answer(ticket, Err(failure))),
            Creditor::Hook { .. } => self.hook = Some(Err(failure)),
        }
    }

    /// The answers that are due, to be given once the ledger's lock is released.
    pub(crate) fn take_answers(&mut self) -> Vec<Answer> {
        // As many as there were now will be due next time.
        let next = Vec::with_capacity(self.answers.len());
        std::mem::replace(&mut self.answers, next)
    }

    /// A call that the guest works on now: what is done on its behalf inherits from it.
    pub(crate) fn under_way(&self, id: u64) -> Option<&OpenCall> {
        match &self.entering {
            Some((entering, Entering::Owed(call))) if *entering == id => Some(call),
            _ => self.open.get(&id),
        }
    }

    /// The functions whose calls are under way, and those of which the guest does not know yet that they are over.
    pub(crate) fn functions(&self) -> BTreeSet<Arc<str>> {
        let expired = self.expired.values().cloned();
        self.open.values().filter_map(OpenCall::function).chain(expired).chain(self.entered.clone()).collect()
    }

    /// The guest has been told that this call is over.
    pub(crate) fn forget_expired(&mut self, id: u64) {
        self.expired.remove(&id);
    }

    /// What led to the deepest of the calls under way.
    pub(crate) fn longest_chain(&self) -> CallChain {
        let entering = match &self.entering {
            Some((_, Entering::Owed(call))) => Some(call),
            _ => None,
        };
        let calls = self.open.values().chain(entering);
        calls.map(|call| &call.chain).max_by_key(|chain| chain.depth()).cloned().unwrap_or_default()
    }

    /// The outcome of the hook that was called last, once.
    pub(crate) fn take_hook(&mut self) -> Option<Result<(), Failure>> {
        self.hook.take()
    }

    /// Whether an instance of the generation has answered a caller since this was last asked.
    pub(crate) fn take_answered(&mut self) -> bool {
        self.tally.answered.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::oneshot;

    fn call(deadline: Instant) -> (OpenCall, oneshot::Receiver<mortise_rpc::Outcome>) {
        let (ticket, receiver) = Ticket::uncounted();
        let creditor = Creditor::Caller { kind: JobKind::Function, name: "f".into(), ticket };
        (OpenCall { creditor, deadline, trace: None, chain: CallChain::default() }, receiver)
    }

    fn null() -> Result<Json, Failure> {
        Ok(Json::of(&serde_json::Value::Null))
    }

    fn late(_: &Creditor) -> Failure {
        Failure::new("late", "late")
    }

    #[test]
    fn an_open_call_is_answered_by_its_first_outcome_only() {
        let mut ledger = Ledger::default();
        let (call, mut receiver) = call(Instant::now());
        let id = ledger.enter(call);
        assert!(matches!(ledger.leave(None), Left::Open));
        ledger.complete(id, null());
        ledger.complete(id, null());
        ledger.complete(99, null());
        assert_eq!(ledger.standing(), Standing { running: 0, answers: 1, next_due: None });
        ledger.take_answers().into_iter().for_each(Answer::give);
        assert!(receiver.try_recv().unwrap().is_ok());
        assert_eq!((ledger.tally().stray(), ledger.standing().answers), (2, 0));
    }

    #[test]
    fn a_function_counts_until_the_guest_knows_that_its_call_is_over() {
        let mut ledger = Ledger::default();
        let now = Instant::now();
        let open = ledger.enter(call(now).0);
        assert!(matches!(ledger.leave(None), Left::Open));
        ledger.expire(now, late);
        assert_eq!(ledger.functions(), BTreeSet::from(["f".into()]));
        ledger.forget_expired(open);
        assert!(ledger.functions().is_empty());
        // One that answers too late, within its turn, is over for the guest as well.
        ledger.enter(call(now).0);
        ledger.expire(now, late);
        assert!(matches!(ledger.leave(Some(null())), Left::Settled));
        assert!(ledger.functions().is_empty());
    }

    #[test]
    fn a_guest_that_completes_a_call_within_its_turn_has_its_loop_turned() {
        let mut ledger = Ledger::default();
        let (call, _receiver) = call(Instant::now());
        let id = ledger.enter(call);
        ledger.complete(id, null());
        assert!(matches!(ledger.leave(None), Left::Open));
        assert_eq!((ledger.standing().running, ledger.take_answers().len()), (0, 1));
    }

    #[test]
    fn completed_while_entering_and_answered_at_the_end_counts_once() {
        let mut ledger = Ledger::default();
        let (call, _receiver) = call(Instant::now());
        let id = ledger.enter(call);
        ledger.complete(id, null());
        assert!(matches!(ledger.leave(Some(null())), Left::Settled));
        assert_eq!((ledger.tally().stray(), ledger.take_answers().len()), (1, 1));
    }

    #[test]
    fn a_call_that_expires_during_its_own_turn_is_cancelled_when_the_guest_keeps_it_open() {
        let mut ledger = Ledger::default();
        let now = Instant::now();
        let (call, mut receiver) = call(now);
        let id = ledger.enter(call);
        assert_eq!(ledger.standing().next_due, Some(now));
        let cancelled = ledger.expire(now, late);
        ledger.take_answers().into_iter().for_each(Answer::give);
        assert_eq!((cancelled.len(), receiver.try_recv().unwrap().unwrap_err().code.as_ref()), (0, "late"));
        assert!(matches!(ledger.leave(None), Left::Expired(expired) if expired == id));
        assert_eq!(ledger.standing().running, 0);
    }

    #[test]
    fn expiry_takes_what_is_due_and_leaves_the_rest() {
        let mut ledger = Ledger::default();
        let now = Instant::now();
        let soon = now + Duration::from_secs(1);
        let ids: Vec<u64> = [now, soon]
            .map(|deadline| {
                let id = ledger.enter(call(deadline).0);
                assert!(matches!(ledger.leave(None), Left::Open));
                id
            })
            .into();
        assert_eq!(ledger.expire(now, late), ids[..1]);
        assert_eq!(ledger.standing(), Standing { running: 1, answers: 1, next_due: Some(soon) });
        ledger.fail_all(late);
        assert_eq!(ledger.standing(), Standing { running: 0, answers: 2, next_due: None });
    }
}
