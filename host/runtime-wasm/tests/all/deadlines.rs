//! A call's own deadline: its caller is answered, the instance lives on.

use crate::harness::{load, until};
use mortise_plugin::JobKind;
use serde_json::json;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_never_ends_is_answered_at_its_deadline_and_cancelled() {
    let plugin = load("behave", json!({"limits": {"call_timeout": "7s"}})).await;
    let error = plugin.begin_within("never", json!({}), SOON).err().await;
    assert_eq!((error.code.as_ref(), error.retryable), ("deadline_exceeded", true));
    assert_eq!(error.message, "`never` was not answered before its deadline (`limits.call_timeout` is 7s)");
    plugin.ok("counters", json!({})).await;
    assert_eq!(plugin.ok("counters", json!({})).await["calls"], json!(2), "the instance was kept");
    assert_eq!(plugin.mishaps(), Default::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_routines_deadline_names_its_own_limit() {
    let plugin = load("raw", json!({"limits": {"routine_timeout": "9s"}})).await;
    let job = plugin.submit(JobKind::Routine, "tick", json!({}), Duration::ZERO);
    assert!(job.err().await.message.contains("`limits.routine_timeout` is 9s"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_hold_while_another_call_computes() {
    let plugin = load("behave", json!({})).await;
    // Begun and waiting, begun and computing, and not begun.
    let open = plugin.begin_within("never", json!({}), Duration::from_millis(800));
    plugin.running(1).await;
    let mut busy = plugin.begin("busy_ms", json!({"ms": 3000}));
    plugin.running(2).await;
    let queued = plugin.begin_within("counters", json!({}), SOON);
    assert_eq!(queued.err().await.code, "deadline_exceeded");
    assert_eq!(open.err().await.code, "deadline_exceeded");
    assert!(!busy.is_answered(), "the other call still computes");
    busy.ok().await;
    assert_eq!(plugin.ok("counters", json!({})).await["calls"], json!(1), "the queued call never began");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_computes_past_its_deadline_is_answered_in_time_and_its_result_dropped() {
    let plugin = load("behave", json!({})).await;
    let begin = Instant::now();
    let error = plugin.begin_within("busy_ms", json!({"ms": 1000}), SOON).err().await;
    assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
    assert_eq!(error.code, "deadline_exceeded");
    until("the late outcome was counted", || plugin.instance.health().stray_outcomes == 1).await;
    plugin.ok("counters", json!({})).await;
    assert_eq!(plugin.instance.health().traps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serial_plugin_goes_on_after_a_deadline() {
    let plugin = load("behave", json!({"limits": {"concurrency": 1}})).await;
    let never = plugin.begin_within("never", json!({}), SOON);
    let next = plugin.begin("echo", json!({"message": "next"}));
    assert_eq!(never.err().await.code, "deadline_exceeded");
    assert_eq!(next.ok().await, json!("next"));
}
