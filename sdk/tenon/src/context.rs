//! What is known of the call that is being served.

use crate::bindings::mortise::plugin::types::CallContext;
use crate::host;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

thread_local! {
    static CURRENT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// The call on whose behalf the code runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    call: u64,
    given: CallContext,
    /// On the monotonic clock. Asking for the time costs a step into the host, so it is asked for only when somebody
    /// wants to know, or when the call outlasts its first turn.
    deadline_ns: Cell<Option<u64>>,
}

/// The call on whose behalf the code runs; none in background tasks and outside calls.
#[must_use]
pub fn context() -> Option<Context> {
    CURRENT.with_borrow(Clone::clone)
}

impl Context {
    pub(crate) fn new(call: u64, given: CallContext) -> Self {
        Self(Rc::new(Inner { call, given, deadline_ns: Cell::new(None) }))
    }

    /// The device that says it is calling. A claim: nothing vouches for it.
    #[must_use]
    pub fn caller(&self) -> Option<&str> {
        self.0.given.caller.as_deref()
    }

    /// The caller's W3C `traceparent`.
    #[must_use]
    pub fn trace_parent(&self) -> Option<&str> {
        self.0.given.trace_parent.as_deref()
    }

    /// The caller's W3C `tracestate`.
    #[must_use]
    pub fn trace_state(&self) -> Option<&str> {
        self.0.given.trace_state.as_deref()
    }

    /// Time left until the host answers the caller in the plugin's place.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        let now = host::monotonic_time_ns();
        Duration::from_nanos(self.deadline_ns(now).saturating_sub(now))
    }

    /// Settles the deadline while it can still be told from the time left at the beginning.
    pub(crate) fn settle_deadline(&self) {
        self.deadline_ns(host::monotonic_time_ns());
    }

    pub(crate) fn call(&self) -> u64 {
        self.0.call
    }

    fn deadline_ns(&self, now: u64) -> u64 {
        self.0.deadline_ns.get().unwrap_or_else(|| {
            let deadline = now.saturating_add(self.0.given.remaining_ns);
            self.0.deadline_ns.set(Some(deadline));
            deadline
        })
    }
}

/// Runs `f` on behalf of `context`.
pub(crate) fn enter<T>(context: Option<Context>, f: impl FnOnce() -> T) -> T {
    /// Puts the former context back even when `f` panics, which matters in native tests.
    struct Restore(Option<Context>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _restore = Restore(CURRENT.replace(context));
    f()
}
