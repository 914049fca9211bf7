//! The driver's desk: what arrives, what waits, and what is overdue. It goes on working while a turn is under way.

use crate::backlog::Backlog;
use crate::engine::Engine;
use crate::ledger::{Creditor, Standing};
use crate::loss::{Loss, TurnLimit};
use crate::processor::{Processor, Share};
use crate::view::Shared;
use mortise_model::{Failure, Limits};
use mortise_plugin::{Job, JobKind};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_util::task::TaskTracker;

/// A turn that others notice, if the thread that it keeps is the one that would have taken their messages.
const LONG_TURN: Duration = Duration::from_micros(500);

/// Turns after a long one that are taken for long.
const HEAVY_TURNS: u8 = 64;

/// What an instance's handle sends its driver.
#[derive(Debug)]
pub(crate) enum Message {
    Job(Job),
    /// Run the `stop` hook within this time and end.
    Stop(Duration),
}

/// Why the driver leaves its loop.
#[derive(Debug)]
pub(crate) enum Break {
    /// The instance is lost.
    Lost(Loss),
    /// It was told to stop.
    Stop,
    /// Nobody holds a handle any more.
    Abandoned,
    /// The one call that the instance was for is overdue.
    Overdue,
    /// Something that the instance has was taken back.
    Withdrawn,
}

impl From<Loss> for Break {
    fn from(loss: Loss) -> Self {
        Self::Lost(loss)
    }
}

pub(crate) struct Desk {
    inbox: mpsc::UnboundedReceiver<Message>,
    /// Jobs taken out of the inbox, in their order. Together with the inbox they are `limits.queue` at most.
    waiting: VecDeque<Job>,
    /// The earliest deadline among them.
    waiting_due: Option<Instant>,
    /// Jobs in the inbox and waiting, counted in by those who submit them.
    backlog: Arc<Backlog>,
    /// Calls that the guest has to be told are over.
    cancelled: VecDeque<u64>,
    /// When the `stop` hook has to be over, once told to stop.
    pub(crate) stop: Option<TurnLimit>,
    abandoned: bool,
    /// Since when the guest's code runs; none while it is suspended, and between turns that were accounted for.
    running_since: Option<Instant>,
    processor: Share,
    /// Turns that are still likely to take long, since one did not long ago.
    heavy_turns: u8,
    /// The instance is for one call, and ends when that is overdue.
    pub(crate) for_one_call: bool,
    /// That one is overdue.
    overdue: bool,
    alarm: Pin<Box<Sleep>>,
    alarm_at: Option<Instant>,
    engine: Arc<Engine>,
    shared: Arc<Shared>,
}

impl Desk {
    pub(crate) fn new(
        inbox: mpsc::UnboundedReceiver<Message>,
        backlog: Arc<Backlog>,
        processor: Share,
        engine: Arc<Engine>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            inbox,
            waiting: VecDeque::new(),
            waiting_due: None,
            backlog,
            cancelled: VecDeque::new(),
            stop: None,
            abandoned: false,
            running_since: None,
            processor,
            heavy_turns: 0,
            for_one_call: false,
            overdue: false,
            // Never polled before it is set.
            alarm: Box::pin(tokio::time::sleep(Duration::ZERO)),
            alarm_at: None,
            engine,
            shared,
        }
    }

    /// The guest is about to be entered.
    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.settle_turn(now);
        self.running_since = Some(now);
        if self.heavy_turns > 0 {
            self.heavy_turns -= 1;
            wake_another_worker();
            give_way();
            self.running_since = Some(Instant::now());
        }
    }

    /// Accounts for the turn that has ended, if that was not done yet. Later than its end, so that most turns cost no look
    /// at the clock of their own. Says how long the guest ran.
    pub(crate) fn settle_turn(&mut self, now: Instant) -> Duration {
        let mut used = Duration::ZERO;
        if let Some(since) = self.running_since.take() {
            used = now.saturating_duration_since(since);
            self.processor.with(|processor| processor.spend(used, now));
            if used >= LONG_TURN {
                self.heavy_turns = HEAVY_TURNS;
            }
            self.shared.usage.ran(used, now);
        }
        used
    }

    /// Gives the guest a minute's worth, whatever it has used so far.
    pub(crate) fn renew_processor(&mut self) {
        let now = Instant::now();
        self.settle_turn(now);
        let fresh = Processor::new(self.shared.limits.cpu_per_minute, now);
        self.processor.with(|processor| *processor = fresh);
    }

    /// Until when the guest may not be entered, because it has used up `limits.cpu_per_minute`.
    pub(crate) fn exhausted_until(&mut self, now: Instant) -> Option<Instant> {
        self.processor.with(|processor| processor.exhausted_until(now))
    }

    /// Runs one turn within its limit. Meanwhile jobs are taken in and overdue calls answered.
    ///
    /// Most turns end at their first poll: they cost no timer and no look at the desk.
    pub(crate) async fn turn<T>(
        &mut self,
        limit: TurnLimit,
        turn: impl Future<Output = Result<T, Loss>>,
    ) -> Result<T, Break> {
        let mut turn = pin!(turn);
        let mut ran = Duration::ZERO;
        poll_fn(|cx| {
            self.engine.beat();
            // At a tick, and not where it only waited for something.
            if std::mem::take(&mut ran) >= LONG_TURN / 2 {
                give_way();
            }
            // Resumed, it runs on from here.
            self.running_since.get_or_insert_with(Instant::now);
            if let Poll::Ready(result) = turn.as_mut().poll(cx) {
                return Poll::Ready(result.map_err(Break::Lost));
            }
            self.receive(cx);
            loop {
                if self.abandoned {
                    return Poll::Ready(Err(Break::Abandoned));
                }
                let now = Instant::now();
                ran += self.settle_turn(now);
                if now >= limit.end {
                    return Poll::Ready(Err(Break::Lost(Loss::turn_limit(&limit))));
                }
                if self.stop.is_some_and(|stop| now >= stop.end) {
                    return Poll::Ready(Err(Break::Stop));
                }
                let due = self.expire(now).next_due;
                if self.overdue {
                    return Poll::Ready(Err(Break::Overdue));
                }
                // Nobody waits for a turn that takes long but its own caller.
                self.shared.give_answers();
                let until = limit.end.min(self.stop.map_or(limit.end, |stop| stop.end));
                ready!(self.poll_alarm(cx, due.map_or(until, |due| due.min(until))));
            }
        })
        .await
    }

    /// Waits, and lets overdue calls be answered.
    pub(crate) async fn wait(&mut self, until: Instant) -> Result<(), Break> {
        poll_fn(|cx| {
            self.receive(cx);
            loop {
                if self.abandoned {
                    return Poll::Ready(Err(Break::Abandoned));
                }
                if self.stop.is_some() {
                    return Poll::Ready(Err(Break::Stop));
                }
                let now = Instant::now();
                if now >= until {
                    return Poll::Ready(Ok(()));
                }
                let due = self.expire(now).next_due;
                self.shared.give_answers();
                ready!(self.poll_alarm(cx, due.map_or(until, |due| due.min(until))));
            }
        })
        .await
    }

    /// The next of the jobs that were received, in order of arrival.
    pub(crate) fn next_job(&mut self) -> Option<Job> {
        let job = self.waiting.pop_front()?;
        if self.waiting.is_empty() {
            self.waiting_due = None;
        }
        self.backlog.release(&job);
        Some(job)
    }

    /// Takes in what has arrived, so that deadlines are known and orders followed. Asks for the wake-up.
    pub(crate) fn receive(&mut self, cx: &mut Context<'_>) {
        while !self.abandoned
            && let Poll::Ready(message) = self.inbox.poll_recv(cx)
        {
            match message {
                Some(Message::Job(job)) => {
                    self.waiting_due = Some(self.waiting_due.map_or(job.deadline, |due| due.min(job.deadline)));
                    self.waiting.push_back(job);
                }
                Some(Message::Stop(timeout)) => self.told_to_stop(timeout),
                None => self.abandoned = true,
            }
        }
    }

    /// The `stop` hook has to be over within this time, or sooner if that was said before.
    pub(crate) fn told_to_stop(&mut self, span: Duration) {
        let end = Instant::now() + span;
        if self.stop.is_none_or(|stop| end < stop.end) {
            self.stop = Some(TurnLimit { name: "limits.stop_timeout", span, end });
        }
    }

    /// The instance goes on for something else than the one call that it is for.
    pub(crate) fn outlive_call(&mut self) {
        (self.for_one_call, self.overdue) = (false, false);
    }

    /// Whether the one call that the instance is for is overdue.
    pub(crate) fn is_overdue(&self) -> bool {
        self.overdue
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Decides calls whose deadline has passed, wherever they are. Returns how things stand then: when there is
    /// something to do again, and how many answers are due.
    pub(crate) fn expire(&mut self, now: Instant) -> Standing {
        if self.waiting_due.is_some_and(|due| due <= now) {
            let (overdue, waiting): (VecDeque<Job>, VecDeque<Job>) =
                std::mem::take(&mut self.waiting).into_iter().partition(|job| job.deadline <= now);
            self.waiting_due = waiting.iter().map(|job| job.deadline).min();
            self.waiting = waiting;
            for job in overdue {
                self.backlog.release(&job);
                let failure = deadline_exceeded(job.kind, &job.name, &self.shared.limits);
                job.ticket.answer(Err(failure));
            }
        }
        let mut ledger = self.shared.ledger();
        let mut standing = ledger.standing();
        if standing.next_due.is_some_and(|due| due <= now) {
            self.cancelled.extend(ledger.expire(now, |creditor| overdue(creditor, &self.shared.limits)));
            self.overdue = self.for_one_call;
            standing = ledger.standing();
        }
        standing.next_due = standing.next_due.into_iter().chain(self.waiting_due).min();
        standing
    }

    /// The guest has to be told that this call is over.
    pub(crate) fn cancel(&mut self, id: u64) {
        self.cancelled.push_back(id);
    }

    pub(crate) fn next_cancelled(&mut self) -> Option<u64> {
        self.cancelled.pop_front()
    }

    /// The instance is gone: nobody is left to be told.
    pub(crate) fn forget_cancelled(&mut self) {
        self.cancelled.clear();
    }

    /// Ready when `at` has come.
    pub(crate) fn poll_alarm(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        // An alarm that is set earlier stays: going off once for nothing costs less than moving it with every call.
        if self.alarm_at.is_none_or(|set| set > at) {
            self.alarm.as_mut().reset(at);
            self.alarm_at = Some(at);
        }
        ready!(self.alarm.as_mut().poll(cx));
        self.alarm_at = None;
        Poll::Ready(())
    }

    /// Answers every job that waits; the guest never saw them.
    pub(crate) fn dismiss_waiting(&mut self, failure: impl Fn() -> Failure) {
        self.waiting_due = None;
        for job in self.waiting.drain(..) {
            self.backlog.release(&job);
            job.ticket.answer(Err(failure()));
        }
    }

    /// Takes no more jobs, and answers those that are at hand.
    pub(crate) fn shut(&mut self, failure: impl Fn() -> Failure) {
        self.inbox.close();
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Job(job) = message {
                self.waiting.push_back(job);
            }
        }
        self.dismiss_waiting(failure);
    }

    /// Takes no more jobs, and answers those that are left.
    pub(crate) async fn close(&mut self, failure: impl Fn() -> Failure) {
        self.inbox.close();
        while let Some(message) = self.inbox.recv().await {
            if let Message::Job(job) = message {
                self.waiting.push_back(job);
            }
        }
        self.dismiss_waiting(failure);
    }
}

/// Lets others have this thread's processor, if they wait for it. A thread that goes on and on is otherwise taken off it by the
/// system's clock, which ticks each 4 ms on many systems, and whoever woke meanwhile has to wait for that.
fn give_way() {
    std::thread::yield_now();
}

/// Has another worker thread look after what arrives, if one sleeps: this one is about to be busy. tokio wakes a thread for
/// a task only where another task is next already, and whoever took the last message off the mesh is alone with it.
fn wake_another_worker() {
    let tracker = TaskTracker::new();
    for _ in 0..2 {
        tracker.spawn(async {});
    }
}

/// What the caller of an overdue call is told.
pub(crate) fn deadline_exceeded(kind: JobKind, name: &str, limits: &Limits) -> Failure {
    let (limit, span) = match kind {
        JobKind::Function | JobKind::Event => ("call_timeout", limits.call_timeout),
        JobKind::Routine => ("routine_timeout", limits.routine_timeout),
    };
    let message = format!("`{name}` was not answered before its deadline (`limits.{limit}` is {span:?})");
    Failure::retryable("deadline_exceeded", message)
}

fn overdue(creditor: &Creditor, limits: &Limits) -> Failure {
    match creditor {
        Creditor::Caller { kind, name, .. } => deadline_exceeded(*kind, name, limits),
        Creditor::Hook { limit } => {
            Failure::new("deadline_exceeded", format!("it did not end within `{}` ({:?})", limit.name, limit.span))
        }
    }
}
