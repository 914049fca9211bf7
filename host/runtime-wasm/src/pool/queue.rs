//! The calls of a plugin with several instances that none of them has taken up yet, and who may take them.
//!
//! An instance takes a call itself, at the moment at which it would enter its guest with it. So no call waits behind another
//! that computes while an instance is free, and none has to be taken back from one that is lost.
//!
//! Whoever adds a call, or enters the guest while calls wait, wakes one that rests and may take one. So one that was woken
//! may do something else first: somebody else is woken in its place.

use crate::backlog::Backlog;
use crate::driver::never_begun;
use crate::view::Shared;
use mortise_plugin::{Job, JobKind};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Which instance: larger is younger.
pub(crate) type MemberId = u64;

pub(crate) struct Queue {
    /// The std mutex is held for a look at a few instances.
    state: Mutex<State>,
    /// Counts what waits.
    backlog: Arc<Backlog>,
    /// The most instances there may be.
    members_max: usize,
    /// The most calls that may be under way in all of them.
    concurrency: usize,
    /// Each instance takes one call and ends.
    per_call: bool,
    /// Tells the keeper that there may be something to do.
    pub(crate) keeper: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// When the keeper looks for overdue calls next. Looking for one that was taken costs less than being told of each.
    look_at: Option<Instant>,
    closed: bool,
    members: BTreeMap<MemberId, Seat>,
    last: MemberId,
}

struct Seat {
    shared: Arc<Shared>,
    /// Calls under way in it when it was last asked.
    running: usize,
    /// Since when it has had no call under way.
    idle_since: Option<Instant>,
    stance: Stance,
}

/// What an instance is about.
enum Stance {
    /// It has no instance that has asked for a call: it begins one, the first or another after a loss.
    Begins,
    /// It is between two turns, and looks for a call before it rests.
    Looks,
    /// It waits for something to do, and is woken by this.
    Rests(Waker),
    /// Its guest is entered: it takes no call for a while.
    Works,
    /// It takes no more calls.
    Leaves,
}

impl Queue {
    /// For so many calls and instances at most. With `per_call` each instance takes one call, whatever its kind.
    pub(crate) fn new(backlog: Arc<Backlog>, members_max: usize, concurrency: usize, per_call: bool) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { state, backlog, members_max, concurrency, per_call, keeper: Notify::new() })
    }

    pub(crate) fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }

    pub(crate) fn is_per_call(&self) -> bool {
        self.per_call
    }

    /// Takes a call in that the backlog has counted, or answers it at the end.
    pub(crate) fn push(&self, job: Job) {
        let mut state = self.state();
        if state.closed {
            drop(state);
            self.backlog.release(&job);
            return job.ticket.answer(Err(never_begun()));
        }
        if state.look_at.is_none_or(|at| job.deadline < at) {
            state.look_at = Some(job.deadline);
            self.keeper.notify_one();
        }
        state.waiting.push_back(job);
        self.call_up(&mut state);
    }

    /// Seats a further instance.
    pub(crate) fn join(self: &Arc<Self>, shared: Arc<Shared>) -> Member {
        let mut state = self.state();
        state.last += 1;
        let id = state.last;
        let seat = Seat { shared, running: 0, idle_since: None, stance: Stance::Begins };
        state.members.insert(id, seat);
        drop(state);
        Member { id, queue: Arc::clone(self) }
    }

    /// Whether a further instance would find a call to take.
    pub(crate) fn wants_another(&self) -> bool {
        let state = self.state();
        let count = |is: fn(&Stance) -> bool| state.members.values().filter(|seat| is(&seat.stance)).count();
        let beginning = count(|stance| matches!(stance, Stance::Begins));
        let looking = count(|stance| matches!(stance, Stance::Looks));
        let resting = count(|stance| matches!(stance, Stance::Rests(_)));
        let for_any = state.waiting.iter().filter(|job| self.per_call || job.kind == JobKind::Function).count();
        // With nobody there the next is the first.
        let takers = if state.members.is_empty() { state.waiting.len() } else { for_any };
        !state.closed
            && state.members.len() < self.members_max
            && takers > beginning + looking + resting
            && state.running() + beginning < self.concurrency
    }

    /// Takes out what is overdue, and says when to look again.
    pub(crate) fn expire(&self, now: Instant) -> (VecDeque<Job>, Option<Instant>) {
        let mut state = self.state();
        if state.look_at.is_none_or(|at| at > now) {
            return (VecDeque::new(), state.look_at);
        }
        let (overdue, waiting): (VecDeque<Job>, VecDeque<Job>) =
            std::mem::take(&mut state.waiting).into_iter().partition(|job| job.deadline <= now);
        state.waiting = waiting;
        overdue.iter().for_each(|job| self.backlog.release(job));
        state.look_at = state.waiting.iter().map(|job| job.deadline).min();
        (overdue, state.look_at)
    }

    /// Which of several instances have been idle for so long that they have to end, the first never; and when the next
    /// one may have been. They take no more calls.
    pub(crate) fn retire_idle(&self, now: Instant, idle: Duration) -> (Vec<MemberId>, Option<Instant>) {
        let mut state = self.state();
        let (mut retired, mut next) = (Vec::new(), None::<Instant>);
        for (id, seat) in state.members.iter_mut().skip(1) {
            if matches!(seat.stance, Stance::Leaves) {
                continue;
            }
            let until = seat.idle_since.unwrap_or(now) + idle;
            if until <= now && matches!(seat.stance, Stance::Rests(_)) {
                seat.stance = Stance::Leaves;
                retired.push(*id);
            } else {
                // One that is about its own business is looked at again.
                let until = if until <= now { now + idle } else { until };
                next = Some(next.map_or(until, |next| next.min(until)));
            }
        }
        (retired, next)
    }

    /// Takes no more calls, and answers those that wait.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        for job in waiting {
            self.backlog.release(&job);
            job.ticket.answer(Err(never_begun()));
        }
    }

    /// Which instances there are.
    pub(crate) fn members(&self) -> Vec<MemberId> {
        self.state().members.keys().copied().collect()
    }

    /// How many instances there are, and how many calls are under way in them.
    pub(crate) fn at_work(&self) -> (usize, usize) {
        let state = self.state();
        // What one that begins has under way are its hooks.
        let serving = state.members.values().filter(|seat| !matches!(seat.stance, Stance::Begins));
        let running = serving.map(|seat| seat.shared.ledger().standing().running).sum();
        (state.members.len(), running)
    }

    /// Wakes one that rests and may take what waits. Where all work, the keeper may begin one.
    fn call_up(&self, state: &mut State) {
        if state.waiting.is_empty() || state.running() >= self.concurrency {
            return;
        }
        let resting = state.members.iter().filter(|(_, seat)| matches!(seat.stance, Stance::Rests(_)));
        let able = resting.filter(|(id, _)| self.next_for(state, **id).is_some());
        let called = able.min_by_key(|(_, seat)| seat.running).map(|(id, _)| *id);
        if let Some(seat) = called.and_then(|id| state.members.get_mut(&id)) {
            if let Stance::Rests(waker) = std::mem::replace(&mut seat.stance, Stance::Looks) {
                waker.wake();
            }
        } else if state.members.len() < self.members_max {
            self.keeper.notify_one();
        }
    }

    /// Which of the waiting calls this instance may take now.
    fn next_for(&self, state: &State, id: MemberId) -> Option<usize> {
        if state.members.get(&id).is_none_or(|seat| matches!(seat.stance, Stance::Leaves))
            || state.running() >= self.concurrency
        {
            return None;
        }
        let first = self.per_call || state.first() == Some(id);
        if !first && state.running() + 1 >= self.concurrency && state.first_is_due() {
            return None;
        }
        state.waiting.iter().position(|job| first || job.kind == JobKind::Function)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The calls under way in all instances, as far as they have said.
    fn running(&self) -> usize {
        self.members.values().map(|seat| seat.running).sum()
    }

    /// Whether what has waited longest is for the first alone, and that one is free to take it. The last free place is left
    /// to it then: another whose calls follow one another would keep it for ever.
    fn first_is_due(&self) -> bool {
        let free = |seat: &Seat| matches!(seat.stance, Stance::Looks | Stance::Rests(_));
        self.waiting.front().is_some_and(|job| job.kind != JobKind::Function)
            && self.first().and_then(|id| self.members.get(&id)).is_some_and(free)
    }

    /// Which instance the ticks enter.
    fn first(&self) -> Option<MemberId> {
        self.members.iter().find(|(_, seat)| !matches!(seat.stance, Stance::Leaves)).map(|(id, _)| *id)
    }
}

/// An instance's seat at the queue. Dropped, it leaves.
pub(crate) struct Member {
    id: MemberId,
    queue: Arc<Queue>,
}

impl Member {
    pub(crate) fn id(&self) -> MemberId {
        self.id
    }

    pub(crate) fn backlog(&self) -> &Arc<Backlog> {
        &self.queue.backlog
    }

    pub(crate) fn is_for_one_call(&self) -> bool {
        self.queue.per_call
    }

    /// A call to enter the guest with now, while so many are under way in it.
    pub(crate) fn take(&self, running: usize) -> Option<Job> {
        let mut state = self.queue.state();
        state.members.get_mut(&self.id)?.looks(running);
        let at = self.queue.next_for(&state, self.id)?;
        let job = state.waiting.remove(at)?;
        let seat = state.members.get_mut(&self.id)?;
        (seat.running, seat.idle_since) = (running + 1, None);
        if self.queue.per_call {
            seat.stance = Stance::Leaves;
        }
        self.queue.backlog.release(&job);
        Some(job)
    }

    /// Waits for a call, with so many under way. False where there is one to take already.
    pub(crate) fn rest(&self, running: usize, now: Instant, waker: &Waker) -> bool {
        let mut state = self.queue.state();
        let Some(seat) = state.members.get_mut(&self.id) else { return true };
        seat.looks(running);
        seat.idle_since = if running == 0 { seat.idle_since.or(Some(now)) } else { None };
        if self.queue.next_for(&state, self.id).is_some() {
            return false;
        }
        if let Some(seat) = state.members.get_mut(&self.id)
            && let Stance::Looks = seat.stance
        {
            seat.stance = Stance::Rests(waker.clone());
        }
        // What has ended here may be what others had to wait for.
        self.queue.call_up(&mut state);
        true
    }

    /// The guest is about to be entered.
    pub(crate) fn works(&self) {
        let mut state = self.queue.state();
        if let Some(seat) = state.members.get_mut(&self.id)
            && let Stance::Looks | Stance::Rests(_) = seat.stance
        {
            seat.stance = Stance::Works;
        }
        self.queue.call_up(&mut state);
    }

    /// Its instance is gone, and every call that was under way in it: it asks again once it has a fresh one.
    pub(crate) fn lost(&self) {
        let mut state = self.queue.state();
        if let Some(seat) = state.members.get_mut(&self.id) {
            (seat.running, seat.idle_since) = (0, None);
            if !matches!(seat.stance, Stance::Leaves) {
                seat.stance = Stance::Begins;
            }
        }
        // Others may take what it leaves.
        self.queue.call_up(&mut state);
        drop(state);
        self.queue.keeper.notify_one();
    }

    /// It takes no more calls.
    pub(crate) fn leaves(&self) {
        if let Some(seat) = self.queue.state().members.get_mut(&self.id) {
            seat.stance = Stance::Leaves;
        }
    }
}

impl Seat {
    /// It looks for a call, unless it leaves.
    fn looks(&mut self, running: usize) {
        self.running = running;
        if !matches!(self.stance, Stance::Leaves) {
            self.stance = Stance::Looks;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.members.remove(&self.id);
        self.queue.call_up(&mut state);
        drop(state);
        self.queue.keeper.notify_one();
    }
}

#[cfg(test)]
mod tests;
