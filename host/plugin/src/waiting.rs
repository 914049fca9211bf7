//! Where calls wait while nothing of their plugin serves and something soon will.

use crate::generation::Generation;
use mortise_model::{Description, Failure, Limits, PluginId};
use mortise_rpc::{Admission, Call, Handler, Origin};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What the parameters of all waiting calls of one plugin may have together.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Takes the calls of a plugin that is known by what it described when it served last.
///
/// Its routes name functions as callers do, bare or namespaced: who has a bare name may change while a call waits.
pub(crate) struct WaitingRoom {
    plugin: PluginId,
    description: Description,
    calls_max: usize,
    call_timeout: Duration,
    /// The generation that is being stopped to make room.
    predecessor: Option<Arc<Generation>>,
    /// A std mutex: held to take calls in or out.
    state: Mutex<State>,
    /// A call came that is due before all others.
    earlier: Notify,
}

#[derive(Default)]
struct State {
    /// In order of arrival.
    calls: VecDeque<Waiting>,
    all: Room,
    /// Of those, what plugins of this host have begun.
    of_plugins: Room,
    /// The earliest deadline among them.
    due: Option<Instant>,
    /// Takes the calls of functions that it has.
    successor: Option<Arc<Generation>>,
    closed: bool,
}

/// How many calls wait, and the bytes of their parameters.
#[derive(Default)]
struct Room {
    calls: usize,
    bytes: usize,
}

impl Room {
    fn add(&mut self, bytes: usize) {
        self.calls += 1;
        self.bytes += bytes;
    }
}

/// One call, whose deadline is set.
pub(crate) struct Waiting {
    /// As the caller named it.
    pub(crate) method: Arc<str>,
    pub(crate) call: Call,
    due: Instant,
}

impl WaitingRoom {
    /// `predecessor` is the generation that still has calls to answer, if any.
    pub(crate) fn new(
        plugin: PluginId,
        description: Description,
        limits: &Limits,
        predecessor: Option<Arc<Generation>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            plugin,
            description,
            calls_max: limits.queue,
            call_timeout: limits.call_timeout,
            predecessor,
            state: Mutex::default(),
            earlier: Notify::new(),
        })
    }

    pub(crate) fn plugin(&self) -> &PluginId {
        &self.plugin
    }

    /// What the plugin is known by.
    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    /// Answers calls whose deadline has passed, until it is dropped.
    pub(crate) async fn keep_deadlines(self: Arc<Self>) {
        loop {
            let due = self.expire(Instant::now());
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                // One that came in between has left its permit.
                () = self.earlier.notified() => {}
            }
        }
    }

    /// Gives `successor` the calls of functions that it has, in their order, and from now on those that still come here.
    /// The others go on waiting.
    pub(crate) fn hand_over(&self, successor: &Arc<Generation>) {
        let mut state = self.state();
        // Under the lock, so that nobody who comes now overtakes those who have waited.
        for waiting in state.take() {
            let Waiting { method, call, due } = waiting;
            if let Err(call) = self.pass_on(successor, &method, call) {
                state.push(Waiting { method, call: *call, due });
            }
        }
        state.successor = Some(Arc::clone(successor));
    }

    /// Takes no more calls, and returns those that are left. The routes must lead elsewhere by now.
    pub(crate) fn close(&self) -> Vec<Waiting> {
        let mut state = self.state();
        state.closed = true;
        state.take().into()
    }

    fn expire(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        if state.due.is_none_or(|due| due > now) {
            return state.due;
        }
        let mut overdue = Vec::new();
        for waiting in state.take() {
            if waiting.due <= now {
                overdue.push(waiting);
            } else {
                state.push(waiting);
            }
        }
        let due = state.due;
        drop(state);
        for Waiting { method, call, .. } in overdue {
            let message = format!(
                "`{}` was not answered before its deadline (`limits.call_timeout` is {:?})",
                self.function(&method),
                self.call_timeout
            );
            call.responder.respond(Err(Failure::retryable("deadline_exceeded", message).into()));
        }
        due
    }

    /// Why there is no room for a call, if there is none. Plugins of this host have half of it at most, as where it serves:
    /// there they would be too many when they are handed over.
    fn full(&self, state: &State, call: &Call) -> Option<String> {
        let Self { plugin, calls_max, .. } = self;
        let bytes = call.params.as_str().len();
        if state.all.calls >= *calls_max {
            return Some(format!("`{plugin}` has {calls_max} calls waiting, the limit of `limits.queue`"));
        }
        if state.all.bytes + bytes > WAITING_BYTES_MAX {
            return Some(format!("the calls that wait for `{plugin}` would have more than {WAITING_BYTES_MAX} bytes"));
        }
        if call.origin != Origin::Plugin {
            return None;
        }
        if state.of_plugins.calls >= calls_max.div_ceil(2) {
            return Some(format!(
                "`{plugin}` has as many calls of other plugins waiting as may be: half of `limits.queue` ({calls_max})"
            ));
        }
        let half = WAITING_BYTES_MAX / 2;
        (state.of_plugins.bytes + bytes > half)
            .then(|| format!("the calls of other plugins that wait for `{plugin}` would have more than {half} bytes"))
    }

    fn pass_on(&self, generation: &Generation, method: &str, call: Call) -> Result<(), Box<Call>> {
        let function = self.function(method);
        let known = generation.description().functions.iter().find(|def| def.name.as_str() == function);
        let Some(def) = known else { return Err(Box::new(call)) };
        match generation.handle(&def.name.shared(), call) {
            Admission::Taken => Ok(()),
            Admission::Closed(call) => Err(call),
        }
    }

    /// The function as the plugin names it.
    fn function<'a>(&self, method: &'a str) -> &'a str {
        let namespaced = method.strip_prefix(self.plugin.as_str()).and_then(|rest| rest.strip_prefix('.'));
        namespaced.unwrap_or(method)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, waiting: Waiting) {
        let bytes = waiting.call.params.as_str().len();
        self.all.add(bytes);
        if waiting.call.origin == Origin::Plugin {
            self.of_plugins.add(bytes);
        }
        self.due = Some(self.due.map_or(waiting.due, |due| due.min(waiting.due)));
        self.calls.push_back(waiting);
    }

    fn take(&mut self) -> VecDeque<Waiting> {
        (self.all, self.of_plugins) = Default::default();
        self.due = None;
        std::mem::take(&mut self.calls)
    }
}

impl Handler for WaitingRoom {
    fn handle(&self, method: &Arc<str>, mut call: Call) -> Admission {
        // What the predecessor still has to answer may need it: made to wait for its end, both would wait.
        if call.origin == Origin::Plugin
            && let Some(predecessor) = &self.predecessor
        {
            match self.pass_on(predecessor, method, call) {
                Ok(()) => return Admission::Taken,
                Err(back) => call = *back,
            }
        }
        let mut state = self.state();
        if state.closed {
            return Admission::Closed(Box::new(call));
        }
        if let Some(successor) = state.successor.clone() {
            match self.pass_on(&successor, method, call) {
                Ok(()) => return Admission::Taken,
                Err(back) => call = *back,
            }
        }
        if !call.may_wait {
            drop(state);
            let message = format!("`{}` is not loaded yet, and who calls it is not either", self.plugin);
            call.responder.respond(Err(Failure::retryable("not_loaded", message).into()));
            return Admission::Taken;
        }
        if let Some(message) = self.full(&state, &call) {
            drop(state);
            call.responder.respond(Err(Failure::retryable("queue_full", message).into()));
            return Admission::Taken;
        }
        let own = Instant::now() + self.call_timeout;
        let due = call.deadline.map_or(own, |deadline| deadline.min(own));
        call.deadline = Some(due);
        let is_earlier = state.due.is_none_or(|earliest| due < earliest);
        state.push(Waiting { method: Arc::clone(method), call, due });
        drop(state);
        if is_earlier {
            self.earlier.notify_one();
        }
        Admission::Taken
    }
}
