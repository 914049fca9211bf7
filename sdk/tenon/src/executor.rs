//! A small single-threaded executor, driven by the host's turns.

use crate::context::{self, Context};
use crate::ids::IdMap;
use crate::{Error, host, ops};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Wake, Waker};

/// How often one turn looks for tasks that tasks have woken, before the host gets a say.
const PASSES_PER_TURN_MAX: usize = 32;

/// How a call ends: its result as JSON text, or a failure.
pub type Outcome = Result<String, Error>;

/// A call that is not finished yet.
pub type CallFuture = Pin<Box<dyn Future<Output = Outcome>>>;

thread_local! {
    static EXECUTOR: Executor = Executor::default();
}

#[derive(Default)]
struct Executor {
    next_task: Cell<u64>,
    tasks: RefCell<IdMap<Task>>,
    /// The task that serves a call, for `cancel`.
    calls: RefCell<IdMap<u64>>,
    ready: Arc<Ready>,
    nudged: Cell<bool>,
}

struct Task {
    /// None while it is being polled.
    work: Option<Work>,
    context: Option<Context>,
    waker: Waker,
}

enum Work {
    Call(CallFuture),
    Background(Pin<Box<dyn Future<Output = ()>>>),
}

/// Tasks that want to be polled, in the order they were woken. A waker may travel to another thread in native tests,
/// hence the lock, which nobody contends for.
#[derive(Default)]
struct Ready(Mutex<VecDeque<Arc<TaskWaker>>>);

struct TaskWaker {
    task: u64,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let ready = Arc::clone(&self.ready);
            ready.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(self);
        }
    }
}

impl Ready {
    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn take(&self) -> VecDeque<Arc<TaskWaker>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A task of its own, begun with [`spawn`].
#[derive(Debug)]
pub struct Background {
    task: u64,
}

impl Background {
    /// Ends the task where it waits.
    pub fn cancel(self) {
        EXECUTOR.with(|executor| executor.remove(self.task));
    }
}

/// Runs a future beside the calls, beginning after the current turn. It belongs to no call: it has no deadline and no
/// [`context`](crate::context()), and ends when it is done, when it is cancelled, or with the plugin. Dropping the
/// handle leaves it running.
pub fn spawn(future: impl Future<Output = ()> + 'static) -> Background {
    EXECUTOR.with(|executor| {
        let (task, waker) = executor.new_task();
        waker.wake_by_ref();
        let work = Some(Work::Background(Box::pin(future)));
        executor.tasks.borrow_mut().insert(task, Task { work, context: None, waker });
        Background { task }
    })
}

/// Polls a new call once. None: it goes on, and its outcome will be told with `complete`.
pub(crate) fn begin(context: Context, mut future: CallFuture) -> Option<Outcome> {
    EXECUTOR.with(|executor| {
        let (task, waker) = executor.new_task();
        let mut cx = std::task::Context::from_waker(&waker);
        match context::enter(Some(context.clone()), || future.as_mut().poll(&mut cx)) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => {
                context.settle_deadline();
                executor.calls.borrow_mut().insert(context.call(), task);
                let work = Some(Work::Call(future));
                executor.tasks.borrow_mut().insert(task, Task { work, context: Some(context), waker });
                None
            }
        }
    })
}

/// Polls what has been woken. Whether something is still ready.
pub(crate) fn run() -> bool {
    EXECUTOR.with(|executor| {
        executor.nudged.set(false);
        for _ in 0..PASSES_PER_TURN_MAX {
            let batch = executor.ready.take();
            if batch.is_empty() {
                return false;
            }
            for waker in batch {
                waker.queued.store(false, Ordering::Release);
                executor.poll(waker.task);
            }
        }
        !executor.ready.is_empty()
    })
}

/// Asks for a turn if something is ready: the host does not turn the guest after a call that was answered at once.
pub(crate) fn ask_for_a_turn() {
    EXECUTOR.with(|executor| {
        if !executor.ready.is_empty() && !executor.nudged.replace(true) {
            ops::nudge();
        }
    });
}

/// Drops the call's future and with it whatever it waits for.
pub(crate) fn cancel(call: u64) {
    EXECUTOR.with(|executor| {
        let task = executor.calls.borrow_mut().remove(call);
        if let Some(task) = task {
            executor.remove(task);
        }
    });
}

/// Forgets every task, for tests that share a thread.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn clear() {
    EXECUTOR.with(|executor| {
        let tasks = executor.tasks.take();
        executor.calls.take();
        executor.nudged.set(false);
        drop(tasks);
        executor.ready.take();
    });
}

impl Executor {
    fn new_task(&self) -> (u64, Waker) {
        let task = self.next_task.get();
        self.next_task.set(task + 1);
        let waker = TaskWaker { task, queued: AtomicBool::new(false), ready: Arc::clone(&self.ready) };
        (task, Waker::from(Arc::new(waker)))
    }

    fn poll(&self, id: u64) {
        let Some((mut work, context, waker)) = self.tasks.borrow_mut().get_mut(id).and_then(|task| {
            let work = task.work.take()?;
            Some((work, task.context.clone(), task.waker.clone()))
        }) else {
            return; // finished or cancelled since it was woken
        };
        let call = context.as_ref().map(Context::call);
        let mut cx = std::task::Context::from_waker(&waker);
        let poll = context::enter(context, || match &mut work {
            Work::Call(future) => future.as_mut().poll(&mut cx).map(Some),
            Work::Background(future) => future.as_mut().poll(&mut cx).map(|()| None),
        });
        match poll {
            Poll::Pending => {
                // Gone if the task cancelled itself; then `work` is dropped here, outside the borrow.
                if let Some(task) = self.tasks.borrow_mut().get_mut(id) {
                    task.work = Some(work);
                }
            }
            Poll::Ready(outcome) => {
                self.remove(id);
                if let (Some(outcome), Some(call)) = (outcome, call) {
                    self.calls.borrow_mut().remove(call);
                    host::complete(call, &outcome.map_err(host::Failure::from));
                }
            }
        }
    }

    fn remove(&self, task: u64) {
        // Dropping a future may run code that spawns or cancels: not while the map is borrowed.
        let removed = self.tasks.borrow_mut().remove(task);
        drop(removed);
    }
}
