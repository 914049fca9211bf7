//! Calls that go well, and failures in the plugin's own words.

use crate::harness::{LONG, load};
use mortise_plugin::JobKind;
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_answered_with_what_the_function_returns() {
    let plugin = load("behave", json!({})).await;
    for message in [json!({"deep": [1, {"b": null}]}), json!("ü\n\u{1f600}"), json!(1.5)] {
        assert_eq!(plugin.ok("echo", json!({"message": message})).await, message);
    }
    assert_eq!(plugin.ok("add", json!({"a": 2})).await, json!(3));
    assert_eq!(plugin.mishaps(), Default::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_keeps_its_code_text_and_retryability() {
    let plugin = load("behave", json!({})).await;
    let error =
        plugin.err("fail", json!({"code": "no_paper", "message": "the tray is empty", "retryable": true})).await;
    assert_eq!((error.code.as_ref(), error.message.as_str(), error.retryable), ("no_paper", "the tray is empty", true));
    assert_eq!(plugin.instance.health().traps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_is_what_the_plugin_brings() {
    let plugin = load("behave", json!({})).await;
    let description = plugin.instance.description();
    let add = description.functions.iter().find(|function| function.name.as_str() == "add").unwrap();
    assert_eq!(add.parameters.to_value()["required"], json!(["a"]));
    assert!(add.labels.as_ref().unwrap().contains_key("direction"));
    assert_eq!(description.events[0].name.as_str(), "counted");
    assert_eq!(description.routines[0].interval, Duration::from_millis(100));
    assert_eq!(description.warnings, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guest_learns_who_calls_and_where_it_runs() {
    let plugin = load("behave", json!({"config": {"unit": "K"}})).await;
    let seen = plugin.begin_within("surroundings", json!({}), Duration::from_secs(30)).ok().await;
    assert_eq!(
        (&seen["plugin"], &seen["device"], &seen["tenant"]),
        (&json!("under-test"), &json!("test-device"), &json!("default"))
    );
    assert_eq!(
        (&seen["caller"], &seen["trace_parent"], &seen["trace_state"]),
        (&json!("caller-1"), &json!("00-trace"), &json!(null))
    );
    assert_eq!(seen["config"], json!({"unit": "K"}));
    let remaining = seen["remaining_ms"].as_u64().unwrap();
    assert!((1..=30_000).contains(&remaining), "{remaining}");
    assert!(seen["now_s"].as_u64().unwrap() > 1_700_000_000);
    assert_ne!(seen["random"], plugin.ok("surroundings", json!({})).await["random"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routines_are_entered_as_such_and_state_is_kept_between_calls() {
    let plugin = load("behave", json!({})).await;
    plugin.submit(JobKind::Routine, "tick", json!({}), LONG).ok().await;
    plugin.submit(JobKind::Routine, "tick", json!({}), LONG).ok().await;
    plugin.ok("counters", json!({})).await;
    assert_eq!(plugin.ok("counters", json!({})).await, json!({"calls": 2, "ticks": 2, "background": 0}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_waiting_calls_overlap_in_one_instance() {
    let plugin = load("behave", json!({})).await;
    let begin = std::time::Instant::now();
    let calls: Vec<_> = (0..64).map(|_| plugin.begin("sleep_ms", json!({"ms": 50}))).collect();
    plugin.running(64).await;
    for call in calls {
        assert_eq!(call.ok().await, json!(50));
    }
    // One after the other they would take 3.2 s.
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

/// Limit: `concurrency`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serial_plugin_has_one_call_under_way() {
    let plugin = load("behave", json!({"limits": {"concurrency": 1}})).await;
    let begin = std::time::Instant::now();
    let calls: Vec<_> = (0..3).map(|_| plugin.begin("sleep_ms", json!({"ms": 20}))).collect();
    for call in calls {
        assert!(plugin.instance.health().running <= 1);
        call.ok().await;
    }
    assert!(begin.elapsed() >= Duration::from_millis(60), "{:?}", begin.elapsed());

    let _never = plugin.begin("never", json!({}));
    plugin.running(1).await;
    let mut waiting = [plugin.begin("echo", json!({"message": 1})), plugin.begin("echo", json!({"message": 2}))];
    assert_eq!((plugin.instance.health().queued, plugin.instance.health().running), (2, 1));
    assert!(waiting.iter_mut().all(|call| !call.is_answered()));
}

/// Limit: `queue`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_further_calls_and_serves_those_it_has() {
    let plugin = load("behave", json!({"limits": {"concurrency": 1, "queue": 2}})).await;
    let running = plugin.begin("sleep_ms", json!({"ms": 500}));
    plugin.running(1).await;
    let queued: Vec<_> = (0..2).map(|n| plugin.begin("echo", json!({"message": n}))).collect();
    let error = plugin.err("echo", json!({"message": 3})).await;
    assert_eq!((error.code.as_ref(), error.retryable), ("queue_full", true));
    running.ok().await;
    for (n, call) in queued.into_iter().enumerate() {
        assert_eq!(call.ok().await, json!(n));
    }
    assert_eq!(plugin.ok("echo", json!({"message": 4})).await, json!(4));
}

/// 64 MiB of parameters may wait, however few calls they belong to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_full_of_bytes_refuses_further_calls() {
    let plugin = load("behave", json!({"limits": {"concurrency": 1}})).await;
    let never = plugin.begin_within("never", json!({}), Duration::from_secs(3));
    plugin.running(1).await;
    let large = "x".repeat((8 << 20) - 100);
    let waiting: Vec<_> =
        (0..8).map(|_| plugin.begin_within("echo", json!({"message": large}), Duration::from_secs(2))).collect();
    let error = plugin.err("echo", json!({"message": "x".repeat(2000)})).await;
    assert_eq!((error.code.as_ref(), error.retryable), ("queue_full", true));
    assert!(error.message.contains("67108864 bytes"), "{}", error.message);
    // What is over gives its room back.
    for call in waiting {
        assert_eq!(call.err().await.code, "deadline_exceeded");
    }
    let after = plugin.begin("echo", json!({"message": "x".repeat(2000)}));
    assert_eq!(never.err().await.code, "deadline_exceeded");
    after.ok().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_enter_in_order_of_arrival() {
    let plugin = load("behave", json!({})).await;
    let calls: Vec<_> = (1..=200).map(|_| plugin.begin("counters", json!({}))).collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.ok().await["calls"], json!(n + 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_nobody_waits_for_is_not_begun() {
    let plugin = load("behave", json!({"limits": {"concurrency": 1}})).await;
    let running = plugin.begin("sleep_ms", json!({"ms": 500}));
    plugin.running(1).await;
    plugin.begin("counters", json!({})).abandon();
    running.ok().await;
    assert_eq!(plugin.ok("counters", json!({})).await["calls"], json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_over_its_limit_is_a_failure() {
    let plugin = load("behave", json!({"limits": {"result": "64KiB"}})).await;
    assert_eq!(plugin.ok("big_result", json!({"bytes": 60_000})).await.as_str().unwrap().len(), 60_000);
    let error = plugin.err("big_result", json!({"bytes": 70_000})).await;
    assert_eq!(error.code, "result_too_large");
    assert!(error.message.contains("`limits.result` (64KiB)"), "{}", error.message);
    assert_eq!(plugin.instance.health().traps, 0);
}
