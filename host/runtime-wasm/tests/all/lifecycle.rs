//! Hooks, shutdown and the end.

use crate::harness::{Folder, LONG, Plugin, RUNTIME, load, until};
use futures_util::FutureExt as _;
use mortise_plugin::PrepareError;
use mortise_runtime_wasm::{WasmConfig, WasmRuntime};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn refused(guest: &str, manifest: Value) -> (&'static str, String, String) {
    match Folder::of(guest, manifest).prepare(&RUNTIME).await.map(|_: Plugin| ()) {
        Err(PrepareError::Hook { hook, failure }) => (hook, failure.code.into_owned(), failure.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_fails_refuses_the_generation() {
    let (hook, code, message) = refused("bad-start", json!({})).await;
    assert_eq!((hook, code.as_str(), message.as_str()), ("start", "no_sensor", "the sensor does not answer"));
    for hook in ["start", "self_test"] {
        let (found, code, _) = refused("behave", json!({"config": {hook: "fail"}})).await;
        assert_eq!((found, code.as_str()), (hook, "refused"));
        let (found, code, message) = refused("behave", json!({"config": {hook: "panic"}})).await;
        assert_eq!((found, code.as_str()), (hook, "trap"), "{message}");
    }
    let (hook, code, _) = refused("raw", json!({"config": {"describe": "fail"}})).await;
    assert_eq!((hook, code.as_str()), ("describe", "no_description"));
    let (hook, code, _) = refused("raw", json!({"config": {"describe": "panic"}})).await;
    assert_eq!((hook, code.as_str()), ("describe", "trap"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_test_that_fails_is_named_and_leaves_nothing_running() {
    let runtime = WasmRuntime::new(WasmConfig { instances_max: 1, ..WasmConfig::default() }).unwrap();
    let failing = Folder::of("behave", json!({"config": {"self_test": "fail"}}));
    let error = failing.prepare(&runtime).await.map(|_: Plugin| ()).unwrap_err();
    assert!(error.to_string().starts_with("self_test failed"), "{error}");
    runtime.ended().await;
    let panicking = Folder::of("behave", json!({"config": {"self_test": "panic"}}));
    let error = panicking.prepare(&runtime).await.map(|_: Plugin| ()).unwrap_err();
    assert!(error.to_string().starts_with("self_test failed"), "{error}");
    runtime.ended().await;
    Folder::of("behave", json!({})).prepare(&runtime).await.expect("the one place is free");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn describing_runs_no_hook_and_leaves_nothing_running() {
    let runtime = WasmRuntime::new(WasmConfig { instances_max: 1, ..WasmConfig::default() }).unwrap();
    let (description, _) = Folder::of("bad-start", json!({})).describe(&runtime).await.unwrap();
    let names: Vec<&str> = description.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["ping"]);
    // The one place is free again at once.
    let looping = Folder::of("behave", json!({"config": {"start": "spin", "self_test": "panic"}}));
    looping.describe(&runtime).await.unwrap();
    let failing = Folder::of("raw", json!({"config": {"describe": "fail"}}));
    let error = failing.describe(&runtime).await.map(drop).unwrap_err();
    assert!(error.to_string().starts_with("describe failed"), "{error}");
    runtime.ended().await;
    let serving = Folder::of("behave", json!({})).prepare(&runtime).await.unwrap();
    let error = Folder::of("behave", json!({})).describe(&runtime).await.map(drop).unwrap_err();
    assert!(error.to_string().starts_with("limit `instances_max` reached"), "{error}");
    drop(serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_start_is_refused_at_its_limit() {
    let begin = Instant::now();
    let (hook, code, message) = refused("slow-start", json!({"limits": {"start_timeout": "200ms"}})).await;
    assert_eq!((hook, code.as_str()), ("start", "deadline_exceeded"));
    assert_eq!(message, "it did not end within `limits.start_timeout` (200ms)");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let spinning = json!({"limits": {"start_timeout": "100ms"}, "config": {"start": "spin"}});
    let (hook, code, message) = refused("behave", spinning).await;
    assert_eq!((hook, code.as_str()), ("start", "turn_limit"));
    assert!(message.contains("`limits.start_timeout` (100ms)"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_descriptions_are_mended_with_a_warning() {
    for (odd, functions) in [("schema", 13), ("name", 12), ("twice", 12)] {
        let plugin = load("raw", json!({"config": {"describe": odd}})).await;
        let description = plugin.instance.description();
        assert_eq!((description.functions.len(), description.warnings.len()), (functions, 1), "{odd}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_answers_what_is_left_and_later_calls() {
    let plugin = load("behave", json!({"limits": {"concurrency": 1}})).await;
    let open = plugin.begin("never", json!({}));
    plugin.running(1).await;
    let queued = plugin.begin("echo", json!({"message": 1}));
    plugin.instance.shutdown(LONG).await;
    for (call, retryable) in [(open, false), (queued, true), (plugin.begin("echo", json!({"message": 2})), true)] {
        let error = call.err().await;
        assert_eq!((error.code.as_ref(), error.retryable), ("stopped", retryable));
    }
    plugin.instance.shutdown(LONG).await;
    assert_eq!((plugin.instance.health().queued, plugin.instance.health().running), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_within_its_time_whatever_the_guest_does() {
    for stuck in [json!({"stop": "never"}), json!({"stop": "spin"}), json!({"stop": "panic"})] {
        let plugin = load("behave", json!({"config": stuck})).await;
        let begin = Instant::now();
        plugin.instance.shutdown(Duration::from_millis(100)).await;
        assert!(begin.elapsed() < Duration::from_secs(3), "{stuck}: {:?}", begin.elapsed());
        // A hook that never ends, and did begin, takes all of its time.
        assert!(stuck["stop"] == "panic" || begin.elapsed() >= Duration::from_millis(100), "{stuck}");
    }
    let plugin = load("behave", json!({})).await;
    let busy = plugin.begin("busy_ms", json!({"ms": 4500}));
    plugin.running(1).await;
    let begin = Instant::now();
    plugin.instance.shutdown(Duration::from_millis(100)).await;
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(busy.err().await.code, "stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_may_still_end_while_the_stop_hook_runs() {
    let plugin = load("behave", json!({"config": {"stop": "never"}})).await;
    let call = plugin.begin("sleep_ms", json!({"ms": 50}));
    plugin.running(1).await;
    plugin.instance.shutdown(Duration::from_secs(1)).await;
    assert_eq!(call.ok().await, json!(50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_handle_ends_the_plugin_even_while_it_computes() {
    let runtime = WasmRuntime::new(WasmConfig::default()).unwrap();
    let plugin = Folder::of("behave", json!({})).prepare(&runtime).await.unwrap();
    let spinning = plugin.begin("spin", json!({}));
    plugin.running(1).await;
    let begin = Instant::now();
    drop(plugin);
    assert_eq!(spinning.err().await.code, "stopped");
    runtime.ended().await;
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giving_up_a_preparation_leaves_nothing_running() {
    let runtime = WasmRuntime::new(WasmConfig { instances_max: 1, ..WasmConfig::default() }).unwrap();
    let folder = Folder::of("slow-start", json!({"limits": {"start_timeout": "10s"}}));
    let mut preparing = Box::pin(folder.prepare(&runtime));
    // Until the code is compiled and a driver is at work on its start hook.
    while runtime.ended().now_or_never().is_some() {
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut preparing).await.is_err());
    }
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut preparing).await.is_err());
    assert!(runtime.ended().now_or_never().is_none(), "the driver is at work");
    drop(preparing);
    tokio::time::timeout(Duration::from_secs(5), runtime.ended())
        .await
        .expect("the driver ended long before the start timed out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_instances_is_limited() {
    let runtime = WasmRuntime::new(WasmConfig { instances_max: 1, ..WasmConfig::default() }).unwrap();
    let folder = Folder::of("raw", json!({}));
    let first = folder.prepare(&runtime).await.unwrap();
    match folder.prepare(&runtime).await.map(|_| ()) {
        Err(PrepareError::Limit { limit: "instances_max", reason }) => assert_eq!(reason, "1 instances are at work"),
        other => panic!("{other:?}"),
    }
    first.instance.shutdown(LONG).await;
    drop(first);
    until("the place was given back", || runtime.ended().now_or_never().is_some()).await;
    folder.prepare(&runtime).await.unwrap();
}
