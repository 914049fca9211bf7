//! Traps and runaway turns: they cost the instance, and nothing else.

use crate::harness::{Folder, LONG, load, until};
use mortise_plugin::MemoryStats;
use mortise_runtime_wasm::{WasmConfig, WasmRuntime};
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_fails_what_the_instance_had_and_the_next_call_works() {
    let (plugin, neighbour) = (load("behave", json!({})).await, load("behave", json!({})).await);
    plugin.ok("counters", json!({})).await;
    neighbour.ok("counters", json!({})).await;
    let open = plugin.begin("never", json!({}));
    plugin.running(1).await;
    let (trapped, queued) = (plugin.begin("panic", json!({})), plugin.begin("counters", json!({})));
    for call in [open, trapped] {
        let error = call.err().await;
        assert_eq!((error.code.as_ref(), error.retryable), ("trap", false));
        assert!(error.message.contains("unreachable"), "{error}");
        assert!(!error.message.contains('\n'), "{error}");
    }
    assert_eq!(queued.ok().await["calls"], json!(1), "a fresh instance took it");
    assert_eq!(neighbour.ok("counters", json!({})).await["calls"], json!(2), "the neighbour was left alone");
    let health = plugin.instance.health();
    assert_eq!((health.traps, health.running, health.queued), (1, 0, 0));
    assert!(health.last_trap.unwrap().contains("unreachable"));
    assert_eq!(neighbour.instance.health().traps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_in_the_guests_own_loop_fails_the_call_that_waited() {
    let plugin = load("behave", json!({})).await;
    assert_eq!(plugin.err("panic_later", json!({"ms": 5})).await.code, "trap");
    plugin.ok("counters", json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_ends_at_the_turn_limit_and_others_answer_meanwhile() {
    let plugin = load("behave", json!({"limits": {"turn": "1s"}})).await;
    let neighbour = load("behave", json!({})).await;
    let begin = Instant::now();
    let mut spinning = plugin.begin("spin", json!({}));
    let mut answered: u32 = 0;
    while !spinning.is_answered() {
        neighbour.ok("echo", json!({"message": 1})).await;
        answered += 1;
        assert!(begin.elapsed() < LONG);
    }
    // The limit and a tenth; the rest is for a machine that has other work to do.
    assert!((1000..2000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    assert!(answered > 100, "{answered}");
    assert_eq!(neighbour.instance.health().traps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_turn_limit_is_named_and_the_next_call_works() {
    let plugin = load("behave", json!({"limits": {"turn": "50ms"}})).await;
    let error = plugin.err("spin", json!({})).await;
    assert_eq!((error.code.as_ref(), error.retryable), ("turn_limit", false));
    assert!(error.message.contains("`limits.turn` (50ms)"), "{error}");
    assert_eq!(plugin.ok("echo", json!({"message": 1})).await, json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_does_not_starve_a_single_thread() {
    // The worker that spins is the only one there is: what else runs, runs because the guest yields.
    let single = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::spawn_blocking(move || {
        single.block_on(async {
            let (plugin, neighbour) =
                (load("behave", json!({"limits": {"turn": "300ms"}})).await, load("behave", json!({})).await);
            let mut spinning = plugin.begin("spin", json!({}));
            plugin.running(1).await;
            for n in 0..10 {
                assert_eq!(neighbour.ok("echo", json!({"message": n})).await, json!(n));
            }
            assert!(!spinning.is_answered());
            assert_eq!(spinning.err().await.code, "turn_limit");
        });
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_limit_is_named_when_it_was_the_cause() {
    let plugin = load("behave", json!({"limits": {"memory": "16MiB"}})).await;
    plugin.ok("allocate", json!({"mib": 4})).await;
    let error = plugin.err("allocate", json!({"mib": 64})).await;
    assert_eq!(error.code, "trap");
    assert!(error.message.contains("memory limit of 16MiB reached"), "{error}");
    assert_eq!(plugin.ok("allocate", json!({"mib": 4})).await, json!(4), "a fresh instance holds nothing");
    let error = plugin.err("panic", json!({})).await;
    assert!(!error.message.contains("memory"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_recursion_ends_the_instance_only() {
    let plugin = load("behave", json!({})).await;
    assert_eq!(plugin.ok("recurse", json!({"depth": 100})).await, json!(100));
    let error = plugin.err("recurse", json!({"depth": 10_000_000})).await;
    assert_eq!(error.code, "trap");
    assert!(error.message.contains("deep recursion"), "{error}");
    plugin.ok("counters", json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_traps_back_off_and_calls_wait_within_their_own_deadline() {
    let plugin = load("behave", json!({})).await;
    for _ in 0..6 {
        assert_eq!(plugin.err("panic", json!({})).await.code, "trap");
    }
    assert_eq!(plugin.instance.health().traps, 6);
    // The seventh in a row costs 320 ms without an instance.
    let begin = Instant::now();
    assert_eq!(plugin.err("panic", json!({})).await.code, "trap");
    let short = plugin.begin_within("echo", json!({"message": 0}), Duration::from_millis(5));
    let long = plugin.begin("echo", json!({"message": 1}));
    assert_eq!(short.err().await.code, "deadline_exceeded");
    assert_eq!(long.ok().await, json!(1));
    assert!(begin.elapsed() >= Duration::from_millis(320), "{:?}", begin.elapsed());
    // An answer ends the series.
    assert_eq!(plugin.err("panic", json!({})).await.code, "trap");
    until("the instance is back", || plugin.instance.health().traps == 8).await;
    assert_eq!(plugin.ok("echo", json!({"message": 2})).await, json!(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_the_host_ends_one_plugin_and_leaves_nobody_waiting() {
    let runtime = WasmRuntime::new(WasmConfig { instances_max: 2, ..WasmConfig::default() }).unwrap();
    let (folder, other) = (Folder::of("behave", json!({})), Folder::of("behave", json!({})));
    let plugin = folder.prepare(&runtime).await.unwrap();
    plugin.services.activate();
    let neighbour = other.prepare(&runtime).await.unwrap();
    neighbour.ok("counters", json!({})).await;
    let open = plugin.begin("never", json!({}));
    plugin.running(1).await;

    plugin.host.panics.store(true, Ordering::Relaxed);
    // The second is behind the first: whether it had begun is a matter of time.
    let breaking = plugin.begin("emit", json!({"name": "e", "payload": {}}));
    let behind = plugin.begin("echo", json!({"message": 1}));
    for call in [open, breaking] {
        let error = call.err().await;
        assert_eq!((error.code.as_ref(), error.retryable), ("stopped", false));
    }
    assert_eq!(behind.err().await.code, "stopped");
    let later = plugin.err("echo", json!({"message": 1})).await;
    assert_eq!((later.code.as_ref(), later.retryable), ("stopped", true), "it never began");
    tokio::time::timeout(LONG, plugin.instance.shutdown(LONG)).await.expect("there is nothing to wait for");
    let health = plugin.instance.health();
    assert_eq!((health.running, health.queued), (0, 0));

    assert_eq!(neighbour.ok("counters", json!({})).await["calls"], json!(2), "the neighbour was left alone");
    // Its place was given back, and its handle is of no consequence.
    let successor = folder.prepare(&runtime).await.unwrap();
    assert_eq!(successor.ok("echo", json!({"message": 2})).await, json!(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_told_as_it_is_now_and_as_it_was_at_most() {
    let plugin = load("behave", json!({})).await;
    let before = plugin.memory().bytes;
    assert!(before > 0 && before < 8 << 20, "{before}");
    plugin.ok("allocate", json!({"mib": 10})).await;
    let full = plugin.memory();
    assert!(full.bytes >= 10 << 20 && full.peak_bytes == full.bytes, "{full:?}");
    plugin.err("panic", json!({})).await;
    plugin.ok("echo", json!({"message": 1})).await;
    assert_eq!(plugin.memory(), MemoryStats { bytes: before, ..full });
}
