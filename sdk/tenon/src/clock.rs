//! Time, from the host's clocks: a plain WebAssembly module has none of its own.

use crate::host::{self, Op};
use crate::ops::OpFuture;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Time since the Unix epoch. `std::time::SystemTime::now()` panics on `wasm32-unknown-unknown`; this does not.
#[must_use]
pub fn now() -> Duration {
    Duration::from_nanos(host::wall_time_ns())
}

/// Time since some moment in the past; never goes back. In place of `std::time::Instant`.
#[must_use]
pub fn monotonic() -> Duration {
    Duration::from_nanos(host::monotonic_time_ns())
}

/// Waits, counted from the first poll. Other calls go on meanwhile. Cancel safe.
pub async fn sleep(duration: Duration) {
    // A sleep that the host refuses is over.
    let _ = OpFuture::new(Op::Sleep(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))).await;
}

/// The time given to [`timeout`] was over first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOut {
    /// The time that was given.
    pub after: Duration,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out after {:?}", self.after)
    }
}

impl std::error::Error for TimedOut {}

impl From<TimedOut> for crate::Error {
    fn from(timed_out: TimedOut) -> Self {
        Self::new("timed_out", timed_out).retryable()
    }
}

/// Waits for a future, but no longer than `duration`; then the future is dropped, which gives up what it waits for.
///
/// # Errors
/// [`TimedOut`] when the time was over first.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, TimedOut> {
    let mut future = pin!(future);
    let mut sleep = pin!(sleep(duration));
    poll_fn(|cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        sleep.as_mut().poll(cx).map(|()| Err(TimedOut { after: duration }))
    })
    .await
}
