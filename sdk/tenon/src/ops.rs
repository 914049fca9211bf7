//! Ops under way: what a future waits for while the host works on it.

use crate::host::{self, Failure, Op, OpOutcome};
use crate::ids::IdMap;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

thread_local! {
    static OPS: Ops = const { Ops { next: Cell::new(0), slots: RefCell::new(IdMap::new()) } };
}

struct Ops {
    next: Cell<u64>,
    slots: RefCell<IdMap<Slot>>,
}

enum Slot {
    Waiting(Waker),
    Delivered(OpOutcome),
}

/// One op. Started at the first poll; given up when dropped before its outcome came.
pub(crate) struct OpFuture(State);

enum State {
    New(Op),
    Started(u64),
    Taken,
}

impl OpFuture {
    pub(crate) fn new(op: Op) -> Self {
        Self(State::New(op))
    }
}

impl Future for OpFuture {
    type Output = OpOutcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<OpOutcome> {
        OPS.with(|ops| match std::mem::replace(&mut self.0, State::Taken) {
            State::New(op) => {
                let id = ops.next_id();
                ops.slots.borrow_mut().insert(id, Slot::Waiting(cx.waker().clone()));
                self.0 = State::Started(id);
                host::start_op(id, &op);
                Poll::Pending
            }
            State::Started(id) => {
                let mut slots = ops.slots.borrow_mut();
                match slots.remove(id) {
                    Some(Slot::Delivered(outcome)) => Poll::Ready(outcome),
                    Some(Slot::Waiting(_)) | None => {
                        slots.insert(id, Slot::Waiting(cx.waker().clone()));
                        self.0 = State::Started(id);
                        Poll::Pending
                    }
                }
            }
            State::Taken => Poll::Ready(Err(Failure {
                code: "polled_again".into(),
                message: "an operation was polled again after it had ended".into(),
                retryable: false,
            })),
        })
    }
}

impl Drop for OpFuture {
    fn drop(&mut self) {
        let State::Started(id) = self.0 else { return };
        // The thread's storage is gone only when the thread itself ends, in native tests.
        let waiting = OPS.try_with(|ops| matches!(ops.slots.borrow_mut().remove(id), Some(Slot::Waiting(_))));
        if waiting.unwrap_or(false) {
            host::cancel_op(id);
        }
    }
}

impl Ops {
    fn next_id(&self) -> u64 {
        let id = self.next.get();
        self.next.set(id + 1);
        id
    }
}

/// Hands an outcome to the future that waits for it. Unknown ids are those of futures that were dropped.
pub(crate) fn deliver(id: u64, outcome: OpOutcome) {
    let waker = OPS.with(|ops| {
        let mut slots = ops.slots.borrow_mut();
        let slot = slots.get_mut(id)?;
        match std::mem::replace(slot, Slot::Delivered(outcome)) {
            Slot::Waiting(waker) => Some(waker),
            Slot::Delivered(_) => None,
        }
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Starts an op that nothing waits for: its delivery makes the host turn the guest once more.
pub(crate) fn nudge() {
    host::start_op(OPS.with(Ops::next_id), &Op::Sleep(0));
}
