//! A host of a few lines, for native unit tests of plugins.
//!
//! Methods of a plugin can be tested as any Rust method. To test what a caller sees, or what waits, begins, emits or
//! invokes, put the plugin into a [`Host`]: it calls the plugin as the real host does and plays the other side. Its
//! clock moves only while a call waits, so a test that sleeps for an hour takes no time.
//!
//! ```
//! # mod plugin {
//! #[derive(Default)]
//! pub struct Greeter;
//!
//! #[tenon::plugin]
//! impl Greeter {
//!     #[function]
//!     fn hello(&self, #[default = "world"] name: String) -> String {
//!         format!("Hello, {name}!")
//!     }
//! }
//! # }
//! # use plugin::Greeter;
//! let mut host = tenon::testing::host::<Greeter>();
//! assert_eq!(host.call("hello", tenon::json!({})), Ok(tenon::json!("Hello, world!")));
//! ```

pub(crate) mod fake;

use crate::bindings::mortise::plugin::types::{CallContext, CallKind};
use crate::context::Context;
use crate::guest::{self, Plugin, Slot};
use crate::http::Response;
use crate::{Error, Result, executor};
use fake::Fake;
use serde_json::{Value, json};
use std::time::Duration;

pub use crate::bindings::mortise::plugin::host::HttpRequest;
pub use crate::bindings::mortise::plugin::types::{Description, Event, Function, Routine, Subscription};
pub use fake::{Invocation, LogLine};

/// How long a call may take unless [`Host::time_limit`] says otherwise, on the host's clock.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A fake host with one plugin. Everything it knows belongs to the current thread: one at a time.
pub struct Host<P: Plugin> {
    slot: Slot<P>,
    next_call: u64,
    caller: Option<String>,
    time_limit: Duration,
}

/// A call that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct CallId(u64);

/// A host with a plugin that has not been entered yet.
#[must_use]
pub fn host<P: Plugin>() -> Host<P> {
    // What an earlier test of this thread left behind goes first.
    executor::clear();
    Fake::reset();
    crate::logging::install_log();
    Host { slot: Slot::new(), next_call: 0, caller: None, time_limit: TIME_LIMIT }
}

impl<P: Plugin> Host<P> {
    /// What `tenon::config` gives. Before the first call, since that makes the plugin.
    #[must_use]
    pub fn config(self, config: Value) -> Self {
        Fake::with(|fake| fake.config = config);
        self
    }

    /// The devices that `tenon::discover` finds.
    #[must_use]
    pub fn devices(self, devices: Vec<Value>) -> Self {
        Fake::with(|fake| fake.devices = devices);
        self
    }

    /// One of the variables that `tenon::env` reads.
    #[must_use]
    pub fn env(self, name: &str, value: &str) -> Self {
        Fake::with(|fake| fake.env.insert(name.to_owned(), value.to_owned()));
        self
    }

    /// One of the secrets that `tenon::secret` reads.
    #[must_use]
    pub fn secret(self, name: &str, value: &str) -> Self {
        Fake::with(|fake| fake.secrets.insert(name.to_owned(), value.to_owned()));
        self
    }

    /// Answers the plugin's requests over HTTP. Without it they fail with `connection_failed`.
    #[must_use]
    pub fn web(self, answer: impl FnMut(&HttpRequest) -> Result<Response> + 'static) -> Self {
        Fake::with(|fake| fake.web = Box::new(answer));
        self
    }

    /// Answers the plugin's invocations. Without it they fail with `unreachable`.
    #[must_use]
    pub fn on_invoke(self, answer: impl FnMut(&Invocation) -> Result<Value> + 'static) -> Self {
        Fake::with(|fake| fake.answer = Box::new(answer));
        self
    }

    /// What [`state`](crate::state) has under a key, as JSON. Before the first call, since that makes the plugin.
    #[must_use]
    pub fn state(self, key: &str, value: &Value) -> Self {
        Fake::with(|fake| drop(fake.state.insert(key.to_owned(), value.to_string().into_bytes())));
        self
    }

    /// Who claims to be calling.
    #[must_use]
    pub fn caller(self, device: &str) -> Self {
        Self { caller: Some(device.to_owned()), ..self }
    }

    /// How long a call may take on the host's clock before it is cancelled and fails; a minute if not said.
    #[must_use]
    pub fn time_limit(self, limit: Duration) -> Self {
        Self { time_limit: limit, ..self }
    }

    /// What the plugin brings.
    #[must_use]
    pub fn describe(&self) -> Description {
        guest::describe::<P>()
    }

    /// Makes the plugin and runs its `#[start]`.
    ///
    /// # Errors
    /// What refuses the plugin.
    pub fn start(&mut self) -> Result<()> {
        self.enter(CallKind::Start, "", &json!({})).map(drop)
    }

    /// Runs `#[stop]`.
    ///
    /// # Errors
    /// The hook's failure.
    pub fn stop(&mut self) -> Result<()> {
        self.enter(CallKind::Stop, "", &json!({})).map(drop)
    }

    /// Runs `#[self_test]`.
    ///
    /// # Errors
    /// The hook's failure.
    pub fn self_test(&mut self) -> Result<()> {
        self.enter(CallKind::SelfTest, "", &json!({})).map(drop)
    }

    /// Makes the plugin anew at its next entry, as after a restart of the host: its fields are new, what waited is gone, and
    /// [`state`](crate::state) is as it was.
    pub fn restart(&mut self) {
        executor::clear();
        Fake::with(|fake| fake.ops.clear());
        self.slot = Slot::new();
    }

    /// Runs `#[migrate]`, as when version `to` takes over what version `from` kept. Before the first call, which makes the
    /// plugin.
    ///
    /// # Errors
    /// What refuses the plugin; `unknown_function` where it migrates nothing, which refuses none.
    pub fn migrate(&mut self, from: &str, to: &str) -> Result<()> {
        self.enter(CallKind::Migrate, "", &json!({"from": from, "to": to})).map(drop)
    }

    /// Calls a function and waits for its outcome; the clock moves to whatever it waits for.
    ///
    /// # Errors
    /// The function's failure, or `deadline_exceeded` when it waits for longer than the time limit, or for nothing
    /// that will ever come.
    pub fn call(&mut self, function: &str, parameters: Value) -> Result<Value> {
        self.enter(CallKind::Function, function, &parameters)
    }

    /// Runs one tick of a routine.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn tick(&mut self, routine: &str) -> Result<()> {
        self.enter(CallKind::Routine, routine, &json!({})).map(drop)
    }

    /// Has the plugin hear an event of `device`, whether or not it subscribed to it.
    ///
    /// # Errors
    /// As [`call`](Self::call); `unknown_function` where none of its handlers asked for it.
    pub fn hear(&mut self, device: &str, event: &str, payload: Value) -> Result<()> {
        let caller = self.caller.replace(device.to_owned());
        let outcome = self.enter(CallKind::Event, event, &payload);
        self.caller = caller;
        outcome.map(drop)
    }

    /// Begins a call and leaves it at the point where it waits, if it does. The clock stands still.
    pub fn begin(&mut self, function: &str, parameters: Value) -> CallId {
        self.begin_kind(CallKind::Function, function, &parameters)
    }

    /// The outcome of a call that was begun, once; none while it waits.
    pub fn outcome(&mut self, call: CallId) -> Option<Result<Value>> {
        let outcome = Fake::with(|fake| fake.outcomes.remove(&call.0))?;
        Some(outcome.and_then(|text| Ok(serde_json::from_str(&text)?)))
    }

    /// Moves the clock and lets everything happen that was due by then, in order.
    pub fn advance(&mut self, duration: Duration) {
        let until = Fake::with(|fake| fake.now.saturating_add(duration));
        while Fake::deliver_next(until) {
            settle();
        }
        Fake::with(|fake| fake.now = until);
    }

    /// Gives up a call, as the host does when its time is over.
    pub fn cancel(&mut self, call: CallId) {
        executor::cancel(call.0);
        settle();
    }

    /// Events emitted since this was last asked, in order.
    pub fn events(&mut self) -> Vec<(String, Value)> {
        Fake::with(|fake| std::mem::take(&mut fake.events))
    }

    /// Lines logged since this was last asked, in order.
    pub fn logs(&mut self) -> Vec<LogLine> {
        Fake::with(|fake| std::mem::take(&mut fake.logs))
    }

    /// How many sleeps, invocations, discoveries and flushes are under way.
    #[must_use]
    pub fn waiting(&self) -> usize {
        Fake::with(|fake| fake.ops.len())
    }

    fn enter(&mut self, kind: CallKind, name: &str, parameters: &Value) -> Result<Value> {
        let call = self.begin_kind(kind, name, parameters);
        let until = Fake::with(|fake| fake.now.saturating_add(self.time_limit));
        loop {
            if let Some(outcome) = self.outcome(call) {
                return outcome;
            }
            if !Fake::deliver_next(until) {
                self.cancel(call);
                return Err(
                    Error::new("deadline_exceeded", format_args!("`{name}` did not answer in time")).retryable()
                );
            }
            settle();
        }
    }

    fn begin_kind(&mut self, kind: CallKind, name: &str, parameters: &Value) -> CallId {
        let id = self.next_call;
        self.next_call += 1;
        let given = CallContext {
            caller: self.caller.clone(),
            trace_parent: None,
            trace_state: None,
            remaining_ns: u64::try_from(self.time_limit.as_nanos()).unwrap_or(u64::MAX),
        };
        match guest::call::<P>(&self.slot, Context::new(id, given), kind, name, &parameters.to_string()) {
            Some(outcome) => Fake::with(|fake| drop(fake.outcomes.insert(id, outcome))),
            None => settle(),
        }
        CallId(id)
    }
}

/// Turns the plugin until nothing in it is ready.
fn settle() {
    while executor::run() {}
}
