//! The task of one instance: it owns the instance, enters it for one event after the other, and replaces it when it is
//! lost. How the guest is entered is [`Guest`]'s business; how instances come and go is in [`boot`].

mod boot;
mod life;
mod post;

pub(crate) use boot::Refusal;
pub(crate) use post::Post;

use crate::bindings::mortise::plugin::types as wit;
use crate::burst::Burst;
use crate::code::Code;
use crate::desk::{Break, Desk, Message, deadline_exceeded};
use crate::engine::Engine;
use crate::guest::{Guest, GuestCall};
use crate::ledger::{Creditor, Left, OpenCall, Standing};
use crate::loss::TurnLimit;
use crate::ops::OpOutcome;
use crate::outcome;
use crate::view::Shared;
use mortise_model::{Failure, Limits, TimeSpan};
use mortise_plugin::{Job, JobKind};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Calls that one plugin may have under way where the plugin sets no `concurrency`.
const CONCURRENCY_MAX: usize = 10_000;

/// Deliveries after which a waiting job is handed over even if more of them are at hand.
const DELIVERIES_PER_JOB_MAX: usize = 16;

/// Entries after which the guest's loop is turned even if more are at hand.
const ENTRIES_PER_RUN_MAX: usize = 64;

/// How long the driver keeps its worker thread while there is always something to do, so that others get their turn.
/// Not less, as tokio's own budget would have it, which is used up after some fifty calls: whoever gives way goes on
/// where another thread finds it, and the caches of that one know nothing of the guest.
const STINT: Duration = Duration::from_millis(1);

/// Everything that makes the driver act.
enum Event {
    /// A call is over without the guest: tell it.
    Cancel(u64),
    /// An op has ended.
    Deliver(u64, OpOutcome),
    /// A call, a tick or an event of the plugin's.
    Job(Job),
    /// The guest's loop has something to do.
    Run,
    /// The handle said so, or the time for it is over.
    Stop,
    /// The last handle is gone.
    Abandoned,
    /// The one call that the instance was for is overdue.
    Overdue,
    /// Something that the instance has was taken back.
    Withdrawn,
    /// It may have been granted a folder that it found closed.
    Granted,
}

/// What the guest is told of a call, apart from what the ledger keeps.
struct Entry<'a> {
    kind: wit::CallKind,
    name: &'a str,
    parameters: &'a str,
    caller: Option<&'a str>,
}

pub(crate) struct Driver {
    desk: Desk,
    code: Arc<Code>,
    shared: Arc<Shared>,
    engine: Arc<Engine>,
    /// Before that no fresh instance begins, after losses.
    not_before: Option<Instant>,
    /// While hooks run, no job is handed over and this bounds every turn.
    hook_limit: Option<TurnLimit>,
    stopping: bool,
    /// The moment of the event being handled.
    now: Instant,
    /// Something was entered since the last `run`.
    run_due: bool,
    entries_since_run: usize,
    deliveries_since_job: usize,
    burst: Burst,
    /// Since when it has had its worker thread; none while it waits.
    stint_began: Option<Instant>,
    /// When the guest wants to be turned.
    wake_at: Option<Instant>,
    /// Whether it has used up its share of the processor.
    waits: bool,
    /// Dropped last: whoever waits for the end sees it after every answer was given.
    post: Post,
}

impl Driver {
    /// A driver that is not yet begun, and the way to give it jobs and to tell it to stop.
    pub(crate) fn new(
        code: Arc<Code>,
        shared: Arc<Shared>,
        engine: Arc<Engine>,
        post: Post,
    ) -> (Self, mpsc::UnboundedSender<Message>) {
        #[expect(clippy::disallowed_methods, reason = "its limit is the backlog, which refuses what is beyond")]
        let (inbox, receiver) = mpsc::unbounded_channel::<Message>();
        let (backlog, processor) = (post.backlog(), post.processor(shared.limits.cpu_per_minute));
        let desk = Desk::new(receiver, backlog, processor, Arc::clone(&engine), Arc::clone(&shared));
        let driver = Self {
            desk,
            code,
            not_before: shared.pause(),
            shared,
            engine,
            hook_limit: None,
            stopping: false,
            now: Instant::now(),
            run_due: false,
            entries_since_run: 0,
            deliveries_since_job: 0,
            burst: Burst::default(),
            stint_began: None,
            wake_at: None,
            waits: false,
            post,
        };
        (driver, inbox)
    }

    async fn serve(&mut self, guest: &mut Guest) -> Break {
        loop {
            if let Err(why) = self.step(guest).await {
                return why;
            }
        }
    }

    /// Handles one event.
    async fn step(&mut self, guest: &mut Guest) -> Result<(), Break> {
        let began = *self.stint_began.get_or_insert(self.now);
        if self.now.saturating_duration_since(began) >= STINT {
            self.stint_began = None;
            self.desk.settle_turn(Instant::now());
            tokio::task::yield_now().await;
        }
        match poll_fn(|cx| self.poll_event(guest, cx)).await {
            Event::Cancel(id) => {
                let limit = self.begin_turn(guest);
                self.desk.turn(limit, guest.cancel(id)).await?;
                self.shared.ledger().forget_expired(id);
                self.entered();
            }
            Event::Deliver(id, outcome) => {
                let limit = self.begin_turn(guest);
                self.desk.turn(limit, guest.deliver(id, outcome)).await?;
                self.entered();
            }
            Event::Job(job) => self.call(guest, job).await?,
            Event::Run => {
                let limit = self.begin_turn(guest);
                let wake = self.desk.turn(limit, guest.run()).await?;
                (self.run_due, self.entries_since_run) = (false, 0);
                // A wake that no clock can tell is none.
                self.wake_at = wake.and_then(|ns| Instant::now().checked_add(Duration::from_nanos(ns)));
            }
            Event::Stop => return Err(Break::Stop),
            Event::Abandoned => return Err(Break::Abandoned),
            Event::Overdue => return Err(Break::Overdue),
            Event::Withdrawn => return Err(Break::Withdrawn),
            Event::Granted => guest.open_folders().await,
        }
        Ok(())
    }

    /// The next event. What was ordered and what is overdue come first, whatever the guest has at hand. Then come
    /// what ends ops and new jobs; the guest's loop is turned once after a burst of them. Ops that end at once keep
    /// neither jobs nor the loop waiting for more than a few deliveries.
    fn poll_event(&mut self, guest: &mut Guest, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            self.now = Instant::now();
            self.desk.settle_turn(self.now);
            self.desk.receive(cx);
            let standing = self.desk.expire(self.now);
            if self.burst.is_full(standing.answers, self.now) {
                self.give_answers();
            }
            if self.desk.is_abandoned() {
                return Poll::Ready(Event::Abandoned);
            }
            // Once it stops, an order to be done with it sooner may still come.
            if self.desk.stop.is_some_and(|stop| !self.stopping || self.now >= stop.end) {
                return Poll::Ready(Event::Stop);
            }
            if self.desk.is_overdue() {
                return Poll::Ready(Event::Overdue);
            }
            // Before each turn. What a hook is for ends with it, and soon.
            if self.hook_limit.is_none() && guest.is_outdated(self.now) {
                return Poll::Ready(Event::Withdrawn);
            }
            if self.hook_limit.is_none() && guest.has_news_of_folders(self.now) {
                return Poll::Ready(Event::Granted);
            }
            if let Some(until) = self.exhausted_until() {
                self.give_answers();
                self.stint_began = None;
                // What it waits for costs it nothing.
                guest.ops().begin_more(cx);
                ready!(self.desk.poll_alarm(cx, standing.next_due.map_or(until, |due| due.min(until))));
                continue;
            }
            if let Some(id) = self.desk.next_cancelled() {
                return Poll::Ready(Event::Cancel(id));
            }
            if self.deliveries_since_job >= DELIVERIES_PER_JOB_MAX
                && let Some(job) = self.next_job(standing)
            {
                return Poll::Ready(Event::Job(job));
            }
            if self.run_due && self.entries_since_run >= ENTRIES_PER_RUN_MAX {
                return Poll::Ready(Event::Run);
            }
            if let Poll::Ready((id, outcome)) = guest.ops().poll_next(self.now, cx) {
                self.deliveries_since_job += 1;
                return Poll::Ready(Event::Deliver(id, outcome));
            }
            if let Some(job) = self.next_job(standing) {
                return Poll::Ready(Event::Job(job));
            }
            if self.run_due || self.wake_at.is_some_and(|at| at <= self.now) {
                return Poll::Ready(Event::Run);
            }
            self.give_answers();
            if let Some(member) = self.post.member()
                && self.hook_limit.is_none()
                && !member.rest(standing.running, self.now, cx.waker())
            {
                continue;
            }
            let stop = self.desk.stop.map(|stop| stop.end);
            let due = [standing.next_due, guest.ops().next_due(), self.wake_at, stop];
            self.stint_began = None;
            match due.into_iter().flatten().min() {
                Some(at) => ready!(self.desk.poll_alarm(cx, at)),
                None => return Poll::Pending,
            }
        }
    }

    /// Until when the guest may not be entered, because it has used up its share of the processor. Hooks have a limit of
    /// their own.
    fn exhausted_until(&mut self) -> Option<Instant> {
        let until = self.desk.exhausted_until(self.now).filter(|_| self.hook_limit.is_none());
        self.note_waiting(until.is_some());
        until
    }

    /// Counts how often it has to wait for its share of the processor, and tells of it.
    fn note_waiting(&mut self, waits: bool) {
        if waits && !self.waits {
            self.shared.usage.waited();
            // Once: from here on the counts tell.
            if !self.shared.told_of_waiting.swap(true, Ordering::Relaxed) {
                let per_minute = TimeSpan(self.shared.limits.cpu_per_minute);
                tracing::warn!(plugin = %self.shared.plugin, "`limits.cpu_per_minute` ({per_minute}) is used up: its calls wait");
            }
        }
        self.waits = waits;
    }

    fn give_answers(&mut self) {
        self.burst.begin();
        self.shared.give_answers();
    }

    /// A job that may be handed over now.
    fn next_job(&mut self, standing: Standing) -> Option<Job> {
        if self.hook_limit.is_some() {
            return None;
        }
        let job = match self.post.member() {
            Some(member) => member.take(standing.running)?,
            None if standing.running >= concurrency(&self.shared.limits) => return None,
            None => self.desk.next_job()?,
        };
        self.deliveries_since_job = 0;
        Some(job)
    }

    async fn call(&mut self, guest: &mut Guest, job: Job) -> Result<(), Break> {
        let Job { kind, name, params, caller, trace, deadline, chain, ticket } = job;
        if ticket.is_abandoned() {
            return Ok(());
        }
        if deadline <= self.now {
            ticket.answer(Err(deadline_exceeded(kind, &name, &self.shared.limits)));
            return Ok(());
        }
        let call =
            OpenCall { creditor: Creditor::Caller { kind, name: Arc::clone(&name), ticket }, deadline, trace, chain };
        let kind = match kind {
            JobKind::Function => wit::CallKind::Function,
            JobKind::Routine => wit::CallKind::Routine,
            JobKind::Event => wit::CallKind::Event,
        };
        let entry = Entry { kind, name: &name, parameters: params.as_str(), caller: caller.as_deref() };
        self.hand_over(guest, call, entry).await
    }

    /// Enters `guest.call` and answers, or notes that the call stays open.
    async fn hand_over(&mut self, guest: &mut Guest, call: OpenCall, entry: Entry<'_>) -> Result<(), Break> {
        let Entry { kind, name, parameters, caller } = entry;
        let trace = call.trace.clone();
        let remaining = call.deadline.saturating_duration_since(self.now);
        let context = wit::CallContext {
            caller,
            trace_parent: trace.as_ref().and_then(|trace| trace.parent.as_deref()),
            trace_state: trace.as_ref().and_then(|trace| trace.state.as_deref()),
            remaining_ns: u64::try_from(remaining.as_nanos()).unwrap_or(u64::MAX),
        };
        let id = self.shared.ledger().enter(call);
        let limit = self.begin_turn(guest);
        let turn = guest.call(GuestCall { id, kind, name, parameters, context });
        let outcome = self.desk.turn(limit, turn).await?;
        let outcome = outcome.map(|outcome| outcome::judge(outcome, &self.shared.limits));
        let left = self.shared.ledger().leave(outcome);
        match left {
            Left::Settled => {}
            Left::Open => self.entered(),
            Left::Expired(id) => self.desk.cancel(id),
        }
        Ok(())
    }

    /// Notes an entry after which the guest's loop has to be turned.
    fn entered(&mut self) {
        self.run_due = true;
        self.entries_since_run += 1;
    }

    fn begin_turn(&mut self, guest: &mut Guest) -> TurnLimit {
        if let Some(member) = self.post.member() {
            member.works();
        }
        let limit = self.turn_limit();
        self.desk.begin_turn(self.now);
        guest.begin_turn(limit);
        limit
    }

    fn turn_limit(&self) -> TurnLimit {
        let span = self.shared.limits.turn;
        let own = TurnLimit { name: "limits.turn", span, end: self.now + span };
        self.hook_limit.filter(|hook| hook.end < own.end).unwrap_or(own)
    }
}

impl Drop for Driver {
    /// Answers what is left, even if the driver's own task panicked: the ledger lives on in the handle.
    fn drop(&mut self) {
        self.desk.shut(never_begun);
        self.shared.ledger().fail_all(|_| Failure::new("stopped", "the plugin was stopped before it answered"));
        self.shared.give_answers();
    }
}

/// How many calls of one plugin may be under way.
pub(crate) fn concurrency(limits: &Limits) -> usize {
    limits.concurrency.unwrap_or(CONCURRENCY_MAX)
}

/// What a call is told that a plugin at its end never saw.
pub(crate) fn never_begun() -> Failure {
    Failure::retryable("stopped", "the plugin was stopped before the call began")
}
