//! A guest that always has something to do keeps neither its callers nor the host waiting.

use crate::harness::{Folder, LONG, Plugin, RUNTIME, load};
use mortise_runtime_wasm::{WasmConfig, WasmRuntime};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// More loops than there are entries before the guest is turned.
const LOOPS: usize = 80;

async fn loops_without_end(plugin: &Plugin) {
    for _ in 0..LOOPS {
        plugin.ok("background", json!({"times": 1_000_000_000_000_u64, "ms": 0})).await;
    }
}

async fn restless(manifest: Value) -> Plugin {
    let plugin = load("behave", manifest).await;
    loops_without_end(&plugin).await;
    plugin
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_answered_beside_sleeps_that_end_at_once() {
    let plugin = restless(json!({})).await;
    for n in 0..20 {
        assert_eq!(plugin.ok("echo", json!({"message": n})).await, json!(n));
    }
    assert_eq!(plugin.ok("sleep_ms", json!({"ms": 20})).await, json!(20), "a later sleep ends as well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_deadlines_are_kept_beside_sleeps_that_end_at_once() {
    let plugin = restless(json!({"limits": {"concurrency": 1}})).await;
    let open = plugin.begin("never", json!({}));
    plugin.running(1).await;
    let begin = Instant::now();
    let queued = plugin.begin_within("echo", json!({"message": 1}), Duration::from_millis(100));
    assert_eq!(queued.err().await.code, "deadline_exceeded");
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    open.abandon();
}

/// Answers are held for others while jobs follow one another, but not while one of these computes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_does_not_wait_for_the_call_behind_it() {
    let plugin = load("behave", json!({})).await;
    let first = plugin.begin("busy_ms", json!({"ms": 100}));
    plugin.running(1).await;
    // Both wait for the first, and follow one another when it is done.
    let quick = plugin.begin("echo", json!({"message": 1}));
    let slow = plugin.begin("busy_ms", json!({"ms": 2000}));
    first.ok().await;
    quick.ok().await;
    let health = plugin.instance.health();
    assert_eq!(health.running + health.queued, 1, "the last call computes, or is about to");
    slow.ok().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_and_drop_end_a_guest_that_is_never_idle() {
    let plugin = restless(json!({"config": {"stop": "never"}})).await;
    let begin = Instant::now();
    tokio::time::timeout(LONG, plugin.instance.shutdown(Duration::from_millis(100))).await.expect("it ended");
    assert!((Duration::from_millis(100)..Duration::from_secs(3)).contains(&begin.elapsed()), "{:?}", begin.elapsed());

    let runtime = WasmRuntime::new(WasmConfig::default()).unwrap();
    let plugin = Folder::of("behave", json!({})).prepare(&runtime).await.unwrap();
    loops_without_end(&plugin).await;
    drop(plugin);
    tokio::time::timeout(LONG, runtime.ended()).await.expect("the driver ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_goes_before_the_calls_that_wait() {
    let plugin = load("behave", json!({"limits": {"concurrency": 1}})).await;
    let busy = plugin.begin("busy_ms", json!({"ms": 300}));
    plugin.running(1).await;
    let waiting: Vec<_> = (0..100).map(|_| plugin.begin("counters", json!({}))).collect();
    plugin.instance.shutdown(LONG).await;
    busy.ok().await;
    for call in waiting {
        assert_eq!(call.err().await.code, "stopped");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_that_would_fill_the_guest_are_their_callers_failure() {
    let plugin = Folder::of("behave", json!({})).prepare(&RUNTIME).await.unwrap();
    let huge = plugin.err("echo", json!({"message": "x".repeat((8 << 20) + 1)})).await;
    assert_eq!((huge.code.as_ref(), huge.retryable), ("params_too_large", false));
    assert_eq!(plugin.ok("echo", json!({"message": 1})).await, json!(1));
    assert_eq!(plugin.instance.health().traps, 0);
}

/// Limit: `cpu_per_minute`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_used_up_its_processor_time_waits_and_its_neighbour_does_not() {
    let plugin = load("behave", json!({"limits": {"cpu_per_minute": "200ms"}})).await;
    let neighbour = load("behave", json!({})).await;
    plugin.ok("busy_ms", json!({"ms": 600})).await;
    assert!(plugin.cpu().used >= Duration::from_millis(250), "{:?}", plugin.cpu());
    let waiting = plugin.begin_within("echo", json!({"message": 1}), Duration::from_millis(300));
    for n in 0..20 {
        assert_eq!(neighbour.ok("echo", json!({"message": n})).await, json!(n));
    }
    assert_eq!(waiting.err().await.code, "deadline_exceeded");
    let health = plugin.instance.health();
    assert!(plugin.cpu().waits >= 1 && health.traps == 0, "{health:?}");
    tokio::time::timeout(LONG, plugin.instance.shutdown(LONG)).await.expect("nothing keeps it from stopping");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_waited_for_its_processor_time_goes_on() {
    let plugin = load("behave", json!({"limits": {"cpu_per_minute": "6s"}})).await;
    // A tenth of a second for each second: what is used beyond 6 s is back soon.
    for _ in 0..3 {
        plugin.ok("busy_ms", json!({"ms": 2050})).await;
    }
    assert_eq!(plugin.ok("echo", json!({"message": 1})).await, json!(1));
}

/// Neither what it waits for by an op nor what it waits for within a turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_uses_no_processor_time() {
    let (plugin, blocking) = (load("behave", json!({})).await, load("wasi", json!({})).await);
    plugin.ok("sleep_ms", json!({"ms": 1500})).await;
    blocking.ok("block_ms", json!({"ms": 1500})).await;
    for waited in [plugin, blocking] {
        let used = waited.cpu().used;
        assert!(used < Duration::from_millis(1200), "{used:?}");
    }
}
