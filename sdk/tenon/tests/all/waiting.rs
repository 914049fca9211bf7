//! Calls that wait: they overlap, they can be cancelled, and what they wait for is given up with them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tenon::testing::Host;
use tenon::{Error, Result, Value, json};

#[derive(Default)]
struct Sleeper {
    woken: Cell<u64>,
    dropped: Rc<Cell<u64>>,
}

/// Counts how often it is dropped.
struct Guard(Rc<Cell<u64>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[tenon::plugin]
impl Sleeper {
    #[function]
    async fn sleep(&self, ms: u64) -> u64 {
        let _guard = Guard(Rc::clone(&self.dropped));
        tenon::sleep(Duration::from_millis(ms)).await;
        self.woken.set(self.woken.get() + 1);
        ms
    }

    #[function]
    async fn at_once(&self) -> &'static str {
        "no wait"
    }

    #[function]
    async fn never(&self) {
        std::future::pending().await
    }

    #[function]
    fn counts(&self) -> (u64, u64) {
        (self.woken.get(), self.dropped.get())
    }

    #[function]
    fn clock(&self) -> u128 {
        tenon::monotonic().as_millis()
    }

    #[function]
    async fn impatient(&self, ms: u64) -> Result<u64> {
        let sleep = self.sleep(ms);
        Ok(tenon::timeout(Duration::from_millis(100), sleep).await?)
    }

    #[function]
    async fn ask(&self, device: Option<String>) -> Result<Value> {
        match device {
            Some(device) => tenon::invoke(&device, "temperature", &json!({"unit": "C"})).await,
            None => tenon::invoke_local("thermo.temperature", &json!({"unit": "C"})).await,
        }
    }

    #[function]
    async fn neighbours(&self) -> Result<usize> {
        Ok(tenon::discover().await?.len())
    }

    #[function]
    fn begin(self: Rc<Self>, times: u64) {
        tenon::spawn(async move {
            assert!(tenon::context().is_none(), "a background task belongs to no call");
            for _ in 0..times {
                self.woken.set(self.woken.get() + 1);
                tenon::sleep(Duration::from_secs(1)).await;
            }
        });
    }

    #[function]
    fn begin_and_cancel(self: Rc<Self>) {
        let guard = Guard(Rc::clone(&self.dropped));
        let task = tenon::spawn(async move {
            let _guard = guard;
            std::future::pending().await
        });
        task.cancel();
    }

    #[function]
    async fn who(&self, ms: u64) -> (Option<String>, u128) {
        tenon::sleep(Duration::from_millis(ms)).await;
        let context = tenon::context().expect("a call is being served");
        (context.caller().map(str::to_owned), context.remaining().as_millis())
    }

    /// Wakes itself over and over, as a task that yields does.
    #[function]
    async fn yield_often(&self, times: u32) {
        for _ in 0..times {
            let mut yielded = false;
            std::future::poll_fn(|cx| {
                if std::mem::replace(&mut yielded, true) {
                    return std::task::Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            })
            .await;
        }
    }
}

fn sleeper() -> Host<Sleeper> {
    tenon::testing::host::<Sleeper>()
}

#[test]
fn calls_overlap_where_they_wait() {
    let mut host = sleeper();
    let calls: Vec<_> = (0..64).map(|_| host.begin("sleep", json!({"ms": 50}))).collect();
    assert_eq!(host.waiting(), 64);
    host.advance(Duration::from_millis(49));
    assert_eq!(host.outcome(calls[0]), None);
    host.advance(Duration::from_millis(1));
    for call in calls {
        assert_eq!(host.outcome(call), Some(Ok(json!(50))));
        assert_eq!(host.outcome(call), None, "one outcome each");
    }
}

#[test]
fn calls_end_in_the_order_of_what_they_wait_for() {
    let mut host = sleeper();
    let (long, short) = (host.begin("sleep", json!({"ms": 30})), host.begin("sleep", json!({"ms": 10})));
    host.advance(Duration::from_millis(10));
    assert_eq!((host.outcome(long), host.outcome(short)), (None, Some(Ok(json!(10)))));
    assert_eq!(host.call("counts", json!({})), Ok(json!([1, 1])), "a plain function gets in between");
}

#[test]
fn an_async_function_that_does_not_wait_answers_at_once() {
    let mut host = sleeper();
    let call = host.begin("at_once", json!({}));
    assert_eq!(host.outcome(call), Some(Ok(json!("no wait"))));
}

#[test]
fn a_cancelled_call_lets_go_of_everything() {
    let mut host = sleeper();
    let (cancelled, kept) = (host.begin("sleep", json!({"ms": 10})), host.begin("sleep", json!({"ms": 10})));
    host.cancel(cancelled);
    assert_eq!(host.waiting(), 1, "its sleep was given up");
    assert_eq!(host.call("counts", json!({})), Ok(json!([0, 1])), "and its future dropped");
    host.advance(Duration::from_secs(1));
    assert_eq!((host.outcome(cancelled), host.outcome(kept)), (None, Some(Ok(json!(10)))));
    host.cancel(kept); // ended long ago: nothing to do
}

#[test]
fn a_call_that_waits_for_nothing_is_told_to_be_late() {
    let mut host = sleeper().time_limit(Duration::from_secs(5));
    let error = host.call("never", json!({})).expect_err("late");
    assert_eq!((error.code(), error.is_retryable()), ("deadline_exceeded", true));
    assert!(host.call("sleep", json!({"ms": 6000})).is_err());
    assert_eq!(host.waiting(), 0);
}

#[test]
fn a_timeout_gives_up_what_it_waited_for() {
    let mut host = sleeper();
    assert_eq!(host.call("impatient", json!({"ms": 99})), Ok(json!(99)));
    assert_eq!(host.waiting(), 0, "the timeout's own sleep is given up");
    let error = host.call("impatient", json!({"ms": 101})).expect_err("timed out");
    assert_eq!((error.code(), error.message()), ("timed_out", "timed out after 100ms"));
    assert_eq!(host.waiting(), 0);
    assert_eq!(host.call("clock", json!({})), Ok(json!(199)));
}

#[test]
fn invocations_reach_their_function_and_bring_its_answer() {
    let mut host = sleeper().on_invoke(|invocation| {
        assert_eq!(invocation.parameters, json!({"unit": "C"}));
        match (invocation.device.as_deref(), invocation.function.as_str()) {
            (Some("thermo-1"), "temperature") => Ok(json!(21.5)),
            (None, "thermo.temperature") => Ok(json!(19)),
            (device, _) => Err(Error::new("unreachable", format!("{device:?} is not there")).retryable()),
        }
    });
    assert_eq!(host.call("ask", json!({"device": "thermo-1"})), Ok(json!(21.5)));
    assert_eq!(host.call("ask", json!({})), Ok(json!(19)));
    let error = host.call("ask", json!({"device": "thermo-2"})).expect_err("not there");
    assert_eq!((error.code(), error.is_retryable()), ("unreachable", true), "the failure passes through whole");
}

#[test]
fn devices_are_discovered() {
    let mut host = sleeper().devices(vec![json!({"device_id": "a"}), json!({"device_id": "b"})]);
    assert_eq!(host.call("neighbours", json!({})), Ok(json!(2)));
}

#[test]
fn a_background_task_begins_after_the_turn_that_spawned_it() {
    let mut host = sleeper();
    let call = host.begin("begin", json!({"times": 3}));
    assert_eq!(host.outcome(call), Some(Ok(Value::Null)));
    assert_eq!(host.waiting(), 1, "a turn was asked for, since this call was answered at once");
    assert_eq!(host.call("counts", json!({})), Ok(json!([0, 0])));
    host.advance(Duration::ZERO);
    assert_eq!(host.call("counts", json!({})), Ok(json!([1, 0])));
    host.advance(Duration::from_secs(10));
    assert_eq!(host.call("counts", json!({})), Ok(json!([3, 0])));
    assert_eq!(host.waiting(), 0);
}

#[test]
fn a_background_task_can_be_cancelled_before_it_began() {
    let mut host = sleeper();
    host.call("begin_and_cancel", json!({})).expect("answered");
    assert_eq!(host.call("counts", json!({})), Ok(json!([0, 1])));
}

#[test]
fn a_call_knows_its_caller_and_its_time_across_waits() {
    let mut host = sleeper().caller("agent-1").time_limit(Duration::from_secs(10));
    let (slow, fast) = (host.begin("who", json!({"ms": 3000})), host.begin("who", json!({"ms": 0})));
    host.advance(Duration::from_secs(3));
    assert_eq!(host.outcome(slow), Some(Ok(json!(["agent-1", 7000]))));
    assert_eq!(host.outcome(fast), Some(Ok(json!(["agent-1", 10_000]))));
}

#[test]
fn a_task_that_yields_for_ever_so_long_comes_to_its_end() {
    let mut host = sleeper();
    let call = host.begin("yield_often", json!({"times": 1000}));
    assert_eq!(host.outcome(call), Some(Ok(Value::Null)));
}
