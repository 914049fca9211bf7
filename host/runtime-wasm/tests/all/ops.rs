//! What a guest waits for: other functions, devices, time.

use crate::harness::{load, until};
use mortise_plugin::Services;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn permitted() -> serde_json::Value {
    json!({"permissions": {"plugins": ["other.*"], "mesh": {"invoke": ["camera-*"], "discover": true}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invocation_carries_trace_and_deadline_of_its_call() {
    let plugin = load("behave", permitted()).await;
    let before = Instant::now();
    let call = plugin.begin_within(
        "invoke",
        json!({"device": "camera-1", "function": "zoom", "params": {"x": 2}}),
        Duration::from_secs(20),
    );
    assert_eq!(call.ok().await, json!({"x": 2}));
    let invocations = plugin.host.invocations.lock().unwrap();
    let invocation = &invocations[0];
    assert_eq!((invocation.device.as_deref(), invocation.function.as_str()), (Some("camera-1"), "zoom"));
    assert_eq!(invocation.trace.as_ref().and_then(|trace| trace.parent.as_deref()), Some("00-trace"));
    assert!(invocation.deadline <= before + Duration::from_secs(21), "the call's own deadline");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_invocations_reach_the_guest_as_they_are() {
    let plugin = load("behave", permitted()).await;
    let error = plugin.err("invoke_local", json!({"function": "other.fail"})).await;
    assert_eq!((error.code.as_ref(), error.message.as_str(), error.retryable), ("out_of_paper", "no paper left", true));
    assert_eq!(plugin.err("invoke_local", json!({"function": "third.f"})).await.code, "permission_denied");
    assert_eq!(plugin.ok("discover", json!({})).await, json!([{"device_id": "camera-1"}]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_another_function_blocks_nobody() {
    let plugin = load("behave", permitted()).await;
    let hanging = plugin.begin_within("invoke_local", json!({"function": "other.hang"}), Duration::from_millis(200));
    plugin.running(1).await;
    assert_eq!(plugin.ok("echo", json!({"message": 1})).await, json!(1));
    assert_eq!(hanging.err().await.code, "deadline_exceeded");
    assert_eq!(plugin.instance.health().traps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_background_task_runs_without_a_call_and_emits() {
    let plugin = load("behave", json!({})).await;
    plugin.ok("background", json!({"times": 3, "ms": 5})).await;
    until("the event was emitted", || !plugin.host.events.lock().unwrap().is_empty()).await;
    assert_eq!(*plugin.host.events.lock().unwrap(), [("counted".to_owned(), json!({"total": 3}))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_event_is_the_guests_failure() {
    let plugin = load("behave", json!({"limits": {"event": "1KiB"}})).await;
    for (name, payload, code) in [
        ("a.b", json!({}), "invalid_event"),
        ("fine", json!([1]), "invalid_event"),
        ("fine", json!({"x": "x".repeat(2000)}), "event_too_large"),
    ] {
        assert_eq!(plugin.err("emit", json!({"name": name, "payload": payload})).await.code, code);
    }
    plugin.ok("emit", json!({"name": "fine", "payload": {"a": 1}})).await;
    assert_eq!(plugin.host.events.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_handle_keeps_nothing_of_the_services_alive_after_its_end() {
    let plugin = load("behave", json!({})).await;
    plugin.begin("never", json!({})).abandon();
    let services: Arc<Services> = Arc::clone(&plugin.services);
    drop(plugin);
    until("the driver let go of the services", || Arc::strong_count(&services) == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_keeps_it_finds_again_as_far_as_it_may() {
    let plugin = load("behave", json!({"permissions": {"state": true}, "limits": {"state": "4KiB"}})).await;
    for (key, value) in [("b", json!([1, "é"])), ("a/1", json!(null)), ("a/2", json!(2))] {
        plugin.ok("state_set", json!({"key": key, "value": value})).await;
    }
    assert_eq!(plugin.ok("state_get", json!({"key": "b"})).await, json!([1, "é"]));
    assert_eq!(plugin.ok("state_keys", json!({"prefix": "a/"})).await, json!(["a/1", "a/2"]));
    plugin.ok("state_delete", json!({"key": "a/1"})).await;
    assert_eq!(plugin.ok("state_keys", json!({})).await, json!(["a/2", "b"]));
    assert_eq!(plugin.err("state_set", json!({"key": "c", "value": "x".repeat(4096)})).await.code, "state_full");
    assert_eq!(plugin.err("state_get", json!({"key": ""})).await.code, "invalid_key");
    let plugin = load("behave", json!({})).await;
    for function in ["state_get", "state_delete"] {
        assert_eq!(plugin.err(function, json!({"key": "b"})).await.code, "permission_denied");
    }
    assert_eq!(plugin.err("state_flush", json!({})).await.code, "permission_denied");
}

/// A value that would fill the guest's memory would be the end of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_too_large_for_the_guest_is_refused() {
    let plugin = load("behave", json!({"permissions": {"state": true}, "limits": {"memory": "3MiB"}})).await;
    let filled = plugin.ok("state_fill", json!({"count": 1, "bytes": 900_000})).await;
    assert_eq!(filled, json!({"kept": 0, "code": "value_too_large"}));
    assert_eq!(plugin.instance.health().traps, 0);
}
