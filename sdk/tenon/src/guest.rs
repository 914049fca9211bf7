//! The plugin's side of `wit/`: from the host's entries to the plugin's methods.

use crate::bindings::exports::mortise::plugin::guest::Guest;
use crate::bindings::mortise::plugin::types::{CallContext, CallKind, Description, Failure};
use crate::context::{self, Context};
use crate::describe::Describer;
use crate::executor::{self, CallFuture, Outcome};
use crate::host::OpOutcome;
use crate::{Error, Result, logging, ops};
use serde::Serialize;
use std::cell::OnceCell;
use std::fmt::Display;
use std::marker::PhantomData;
use std::thread::LocalKey;

/// What [`#[tenon::plugin]`](macro@crate::plugin) makes of an impl block. Not written by hand.
pub trait Plugin: Sized + 'static {
    /// The plugin as its calls hold it: `Rc<RefCell<Self>>` if none of them can be suspended, `Rc<Self>` otherwise.
    type Shared: Clone + 'static;

    /// Names the type in messages.
    const NAME: &'static str;

    /// Where the one plugin of a component lives.
    fn slot() -> &'static LocalKey<Slot<Self>>;

    /// Makes the plugin, before its first call.
    ///
    /// # Errors
    /// Whatever its constructor refuses.
    fn create() -> Result<Self::Shared>;

    /// Names everything the plugin brings.
    fn describe(describer: &mut Describer);

    /// Migrates what another version kept. The plugin is not made yet.
    ///
    /// # Errors
    /// `unknown_function` where it has nothing for that, or its own failure.
    fn migrate(parameters: &str) -> Outcome;

    /// Enters a method.
    fn enter(this: &Self::Shared, kind: CallKind, name: &str, parameters: &str) -> Step;
}

/// How far an entry came.
pub enum Step {
    /// To its end.
    Done(Outcome),
    /// To a future, not polled yet.
    Later(CallFuture),
}

/// The plugin of a component, once it was made.
pub struct Slot<P: Plugin>(OnceCell<P::Shared>);

impl<P: Plugin> Slot<P> {
    /// An empty slot.
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceCell::new())
    }

    fn get(&self) -> Result<&P::Shared> {
        match self.0.get() {
            Some(plugin) => Ok(plugin),
            // A constructor that fails is tried again by the next entry.
            None => P::create().map(|plugin| self.0.get_or_init(|| plugin)),
        }
    }
}

impl<P: Plugin> Default for Slot<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// The component of a plugin.
pub struct Component<P>(PhantomData<P>);

impl<P: Plugin> Guest for Component<P> {
    fn describe() -> Result<Description, Failure> {
        logging::install();
        Ok(describe::<P>())
    }

    fn call(
        id: u64,
        kind: CallKind,
        name: String,
        parameters: String,
        given: CallContext,
    ) -> Option<Result<String, Failure>> {
        let outcome = P::slot().with(|slot| call::<P>(slot, Context::new(id, given), kind, &name, &parameters));
        outcome.map(|outcome| outcome.map_err(Failure::from))
    }

    fn run() -> Option<u64> {
        executor::run().then_some(0)
    }

    fn deliver(id: u64, outcome: OpOutcome) {
        ops::deliver(id, outcome);
    }

    fn cancel(id: u64) {
        executor::cancel(id);
    }
}

pub(crate) fn describe<P: Plugin>() -> Description {
    let mut describer = Describer::new();
    P::describe(&mut describer);
    describer.finish()
}

pub(crate) fn call<P: Plugin>(
    slot: &Slot<P>,
    context: Context,
    kind: CallKind,
    name: &str,
    parameters: &str,
) -> Option<Outcome> {
    let step = context::enter(Some(context.clone()), || {
        // The plugin may be made of what is migrated here.
        if kind == CallKind::Migrate {
            return Step::Done(P::migrate(parameters));
        }
        match slot.get() {
            Ok(plugin) => P::enter(plugin, kind, name, parameters),
            Err(error) => Step::Done(Err(error)),
        }
    });
    let outcome = match step {
        Step::Done(outcome) => Some(outcome),
        Step::Later(future) => executor::begin(context, future),
    };
    if outcome.is_some() {
        executor::ask_for_a_turn();
    }
    outcome
}

/// The outcome of a method that returns its value.
///
/// # Errors
/// `invalid_result` for a value that JSON cannot tell.
pub fn value<T: Serialize>(value: T) -> Outcome {
    serde_json::to_string(&value)
        .map_err(|error| Error::new("invalid_result", format_args!("the result cannot be told in JSON: {error}")))
}

/// The outcome of a method that returns a `Result`.
///
/// # Errors
/// The method's own failure.
pub fn result<T: Serialize, E: Display + 'static>(result: Result<T, E>) -> Outcome {
    result.map_err(error).and_then(value)
}

/// Any error as a failure.
pub fn error<E: Display + 'static>(error: E) -> Error {
    Error::of(error)
}

/// The outcome of an entry for which the plugin has no method: hooks may be absent, functions may not.
///
/// # Errors
/// `unknown_function`.
pub fn absent<P: Plugin>(kind: CallKind, name: &str) -> Outcome {
    match kind {
        CallKind::Function | CallKind::Routine | CallKind::Event => {
            Err(Error::new("unknown_function", format_args!("{} has no function `{name}`", P::NAME)))
        }
        // To say that it went well would be a lie about state that nobody has looked at.
        CallKind::Migrate => Err(Error::new("unknown_function", format_args!("{} migrates no state", P::NAME))),
        CallKind::Start | CallKind::Stop | CallKind::SelfTest => Ok("null".to_owned()),
    }
}

/// Counts as a use of the plugin, for the compiler's sake.
pub const fn used<P: Plugin>() {}
