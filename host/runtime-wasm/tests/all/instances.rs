//! Plugins with several instances, and with one for each call.

use crate::harness::{Calling, Folder, LONG, Plugin, until};
use mortise_plugin::{JobKind, PrepareError};
use mortise_runtime_wasm::{WasmConfig, WasmRuntime};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// So short that tests need not wait for it.
const SOON: Duration = Duration::from_millis(50);

fn runtime(instances_max: usize, instance_idle: Duration) -> Arc<WasmRuntime> {
    WasmRuntime::new(WasmConfig { instances_max, instance_idle, ..WasmConfig::default() }).unwrap()
}

async fn serve(runtime: &WasmRuntime, limits: Value, config: Value) -> Plugin {
    let folder = Folder::of("behave", json!({"limits": limits, "config": config}));
    let plugin = folder.prepare(runtime).await.unwrap();
    plugin.services.activate();
    plugin
}

async fn pool(instances: Value) -> Plugin {
    serve(&runtime(1000, LONG), json!({"instances": instances}), json!({})).await
}

impl Plugin {
    fn instances(&self) -> usize {
        self.instance.health().instances
    }

    async fn has_instances(&self, count: usize) {
        until(&format!("there are {count} instances"), || self.instances() == count).await;
    }

    /// Calls that compute until nobody lets them, one in each instance. The keeper begins the instances for them.
    async fn busy(&self, count: usize) -> Vec<Calling> {
        let calls: Vec<Calling> = (0..count).map(|_| self.begin("busy_ms", json!({"ms": 2000}))).collect();
        // One instance has one call of this kind under way at most.
        self.running(count).await;
        calls
    }
}

async fn answered(calls: Vec<Calling>) {
    for call in calls {
        call.ok().await;
    }
}

/// Limit: `instances`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_compute_have_an_instance_each_up_to_the_limit() {
    let plugin = pool(json!(2)).await;
    assert_eq!(plugin.instances(), 1, "the others begin when they are needed");
    let busy = plugin.busy(2).await;
    let behind = plugin.begin("echo", json!({"message": 1}));
    assert_eq!((plugin.instances(), plugin.instance.health().queued), (2, 1));
    answered(busy).await;
    assert_eq!(behind.ok().await, json!(1));
    assert_eq!(plugin.instances(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_computes_keeps_none_waiting_while_an_instance_is_free() {
    let plugin = pool(json!(2)).await;
    let mut busy = plugin.begin("busy_ms", json!({"ms": 4000}));
    plugin.running(1).await;
    for n in 0..200 {
        assert_eq!(plugin.ok("echo", json!({"message": n})).await, json!(n));
    }
    assert!(!busy.is_answered());
    assert_eq!(plugin.instances(), 2);
    busy.abandon();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_overlap_in_one_instance_of_several() {
    let plugin = pool(json!(2)).await;
    let calls: Vec<_> = (0..64).map(|_| plugin.begin("sleep_ms", json!({"ms": 2000}))).collect();
    plugin.running(64).await;
    answered(calls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_share_no_memory() {
    let plugin = pool(json!(2)).await;
    plugin.ok("counters", json!({})).await;
    // One computes and the other counts: either has to be found that has counted nothing.
    let mut counted = Vec::new();
    while !counted.contains(&1) {
        assert!(counted.len() < 20, "{counted:?}");
        let computing = plugin.begin("busy_ms", json!({"ms": 2000}));
        plugin.running(1).await;
        counted.push(plugin.ok("counters", json!({})).await["calls"].as_u64().unwrap());
        computing.ok().await;
    }
    let before = plugin.memory();
    let busy = plugin.begin("busy_ms", json!({"ms": 2000}));
    plugin.running(1).await;
    plugin.ok("allocate", json!({"mib": 10})).await;
    let memory = plugin.memory();
    let more = memory.bytes - before.bytes;
    assert!((10 << 20..12 << 20).contains(&more), "memory is that of all instances: {memory:?}");
    assert!(memory.peak_bytes >= memory.bytes);
    busy.ok().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticks_enter_the_first_instance_alone() {
    let plugin = pool(json!(2)).await;
    let busy = plugin.busy(2).await;
    let ticks: Vec<_> = (0..5).map(|_| plugin.submit(JobKind::Routine, "tick", json!({}), LONG)).collect();
    answered(busy).await;
    answered(ticks).await;
    // Whichever takes the call that computes, the other tells how many ticks it has counted: none, unless it is the first.
    let first_is_busy = loop {
        let computing = plugin.begin("busy_ms", json!({"ms": 2000}));
        plugin.running(1).await;
        match plugin.ok("counters", json!({})).await["ticks"].as_u64().unwrap() {
            0 => break computing,
            counted => assert_eq!(counted, 5, "one has counted all"),
        }
        computing.ok().await;
    };
    let mut tick = plugin.submit(JobKind::Routine, "tick", json!({}), LONG);
    assert_eq!(plugin.ok("counters", json!({})).await["ticks"], json!(0));
    assert!(!tick.is_answered(), "it waits for the first although another is free");
    first_is_busy.ok().await;
    tick.ok().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_are_idle_end_by_their_stop_hook_down_to_the_first() {
    let runtime = runtime(1000, SOON);
    let plugin = serve(&runtime, json!({"instances": 3}), json!({})).await;
    plugin.ok("counters", json!({})).await;
    answered(plugin.busy(3).await).await;
    plugin.has_instances(1).await;
    assert_eq!(plugin.ok("counters", json!({})).await["calls"], json!(2), "it is the first that has stayed");
    let memory = plugin.memory().bytes;
    let single = serve(&runtime, json!({}), json!({})).await.memory().bytes;
    assert!(memory < 2 * single, "their memory is given back: {memory}");
    // Who waits for an answer is not idle.
    let waiting: Vec<_> = (0..2).map(|_| plugin.begin("busy_ms", json!({"ms": 2000}))).collect();
    plugin.has_instances(2).await;
    answered(waiting).await;
    plugin.has_instances(1).await;
    let stuck = serve(&runtime, json!({"instances": 2, "stop_timeout": "200ms"}), json!({"stop": "never"})).await;
    answered(stuck.busy(2).await).await;
    stuck.has_instances(1).await;
    assert_eq!(stuck.account.stats().refused, [("not_stopped", 1)].into(), "the hook ran, and was cut short");
    assert_eq!(stuck.ok("echo", json!({"message": 1})).await, json!(1));
}

/// Nothing but the begin of the second tells the keeper of it: calls that may take longer than the test sound no alarm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_has_just_begun_ends_when_it_is_idle() {
    let plugin = serve(&runtime(1000, SOON), json!({"instances": 2}), json!({})).await;
    let busy = plugin.begin_within("busy_ms", json!({"ms": 2000}), 10 * LONG);
    plugin.running(1).await;
    assert_eq!(plugin.begin_within("echo", json!({"message": 1}), 10 * LONG).ok().await, json!(1));
    plugin.has_instances(1).await;
    busy.ok().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_costs_one_instance_and_the_calls_of_that_one() {
    let plugin = pool(json!(2)).await;
    plugin.ok("counters", json!({})).await;
    let busy = plugin.begin("busy_ms", json!({"ms": 2000}));
    plugin.running(1).await;
    // The first computes, so the second takes these.
    let open = plugin.begin("never", json!({}));
    plugin.running(2).await;
    assert_eq!(plugin.err("panic", json!({})).await.code, "trap");
    assert_eq!(open.err().await.code, "trap");
    assert_eq!(plugin.ok("counters", json!({})).await["calls"], json!(1), "a fresh instance took it");
    busy.ok().await;
    assert_eq!((plugin.instance.health().traps, plugin.instances()), (1, 2));
    let first_counts = async || plugin.ok("counters", json!({})).await["calls"].as_u64().unwrap();
    assert!(first_counts().await >= 2, "nothing has happened to the first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_of_all_instances_are_one_series_and_pauses_follow_one_another() {
    let plugin = pool(json!(2)).await;
    let begin = std::time::Instant::now();
    let calls: Vec<_> = (0..9).map(|_| plugin.begin("panic", json!({}))).collect();
    for call in calls {
        assert_eq!(call.err().await.code, "trap");
    }
    assert_eq!(plugin.instance.health().traps, 9);
    // Two begin with an instance. For the other seven they have to wait, as one would: none, 10, 20, …, 320 ms.
    assert!(begin.elapsed() >= Duration::from_millis(630), "{:?}", begin.elapsed());
    assert_eq!(plugin.account.stats().losses, [("trap", 9)].into());
}

/// Instances come and go all the time: no call is forgotten between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_answered_while_instances_begin_and_end() {
    let runtime = runtime(1000, Duration::from_millis(2));
    for limits in [json!({"instances": 3}), json!({"instances": 3, "concurrency": 2}), json!({"instances": "per-call"})]
    {
        let plugin = serve(&runtime, limits, json!({})).await;
        for round in 0..60_u64 {
            let calls: Vec<_> = (0..10)
                .map(|n| match n % 4 {
                    0 => plugin.begin("busy_ms", json!({"ms": 1})),
                    1 => plugin.begin("sleep_ms", json!({"ms": round % 5})),
                    2 => plugin.submit(JobKind::Routine, "tick", json!({}), LONG),
                    _ => plugin.begin("echo", json!({"message": n})),
                })
                .collect();
            answered(calls).await;
            tokio::time::sleep(Duration::from_millis(round % 7)).await;
        }
        let health = plugin.instance.health();
        assert_eq!((health.traps, health.running, health.queued), (0, 0, 0));
    }
}

/// Limit: `concurrency`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrency_is_for_all_instances_together() {
    let runtime = runtime(1000, LONG);
    let plugin = serve(&runtime, json!({"instances": 3, "concurrency": 2}), json!({})).await;
    let busy = plugin.busy(2).await;
    let mut behind = plugin.begin("echo", json!({"message": 1}));
    let tick = plugin.submit(JobKind::Routine, "tick", json!({}), LONG);
    let short = plugin.begin_within("echo", json!({"message": 2}), SOON);
    assert_eq!(short.err().await.code, "deadline_exceeded", "nobody took it in that time");
    assert_eq!((plugin.instance.health().running, plugin.instances()), (2, 2));
    assert!(!behind.is_answered());
    answered(busy).await;
    assert_eq!(behind.ok().await, json!(1));
    tick.ok().await;
    for n in 0..100 {
        let calls: Vec<_> = (0..5).map(|_| plugin.begin("sleep_ms", json!({"ms": n % 3}))).collect();
        answered(calls).await;
    }
}

/// Limit: `queue`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_is_for_all_instances_and_deadlines_are_kept_in_it() {
    let runtime = runtime(1000, LONG);
    let plugin = serve(&runtime, json!({"instances": 2, "queue": 3}), json!({})).await;
    let busy = plugin.busy(2).await;
    let long = plugin.begin("echo", json!({"message": 1}));
    let short: Vec<_> = (0..2).map(|_| plugin.begin_within("echo", json!({"message": 2}), SOON)).collect();
    assert_eq!(plugin.err("echo", json!({"message": 3})).await.code, "queue_full");
    for call in short {
        assert_eq!(call.err().await.code, "deadline_exceeded");
    }
    assert_eq!(plugin.instance.health().running, 2, "nobody was free in that time");
    answered(busy).await;
    assert_eq!(long.ok().await, json!(1));
    assert_eq!(plugin.instance.health().queued, 0);
}

/// Limit: `cpu_per_minute`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_draw_on_one_minute_of_processor_time() {
    for instances in [json!(2), json!("per-call")] {
        let runtime = runtime(1000, LONG);
        let plugin = serve(&runtime, json!({"instances": instances, "cpu_per_minute": "500ms"}), json!({})).await;
        let busy: Vec<_> = (0..2).map(|_| plugin.begin("busy_ms", json!({"ms": 900}))).collect();
        answered(busy).await;
        let used = plugin.cpu().used;
        assert!(used >= Duration::from_millis(900), "{used:?}");
        let late = plugin.begin_within("echo", json!({"message": 1}), Duration::from_millis(500));
        assert_eq!(late.err().await.code, "deadline_exceeded", "{instances}");
        assert!(plugin.cpu().waits > 0, "{instances}: it is counted");
        tokio::time::timeout(LONG, plugin.instance.shutdown(LONG)).await.expect("nothing keeps it from stopping");
        runtime.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_instance_counts_for_the_hosts_limit_and_it_is_named() {
    let runtime = runtime(2, SOON);
    let plugin = serve(&runtime, json!({"instances": 4}), json!({})).await;
    let busy: Vec<_> = (0..4).map(|_| plugin.begin("busy_ms", json!({"ms": 2000}))).collect();
    plugin.has_instances(2).await;
    match Folder::of("behave", json!({})).prepare(&runtime).await.map(|_: Plugin| ()) {
        Err(PrepareError::Limit { limit: "instances_max", reason }) => assert_eq!(reason, "2 instances are at work"),
        other => panic!("{other:?}"),
    }
    answered(busy).await;
    let told = || plugin.account.stats().refused.get("instances_max").copied().unwrap_or(0);
    let before = told();
    assert!(before >= 1, "it was told, and all were answered");
    // An idle one makes room, and whoever waits for a place has it as soon as it is free.
    plugin.has_instances(1).await;
    let other = Folder::of("behave", json!({})).prepare(&runtime).await.unwrap();
    let busy: Vec<_> = (0..2).map(|_| plugin.begin("busy_ms", json!({"ms": 4000}))).collect();
    plugin.running(1).await;
    until("it was told", || told() > before).await;
    assert_eq!(plugin.instances(), 1);
    other.instance.shutdown(LONG).await;
    plugin.running(2).await;
    assert_eq!(plugin.instances(), 2);
    busy.into_iter().for_each(Calling::abandon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_an_instance_for_each_call_has_a_place_for_one_at_a_time() {
    let runtime = runtime(2, LONG);
    let plugin = serve(&runtime, json!({"instances": "per-call"}), json!({})).await;
    plugin.has_instances(0).await;
    let _other = Folder::of("behave", json!({})).prepare(&runtime).await.unwrap();
    assert!(Folder::of("behave", json!({})).prepare(&runtime).await.is_err(), "its place is kept");
    let calls: Vec<_> = (0..5).map(|_| plugin.begin("sleep_ms", json!({"ms": 20}))).collect();
    plugin.running(1).await;
    assert_eq!(plugin.instances(), 1);
    answered(calls).await;
    assert!(plugin.account.stats().refused["instances_max"] >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_has_a_fresh_instance_that_ends_with_it() {
    let plugin = pool(json!("per-call")).await;
    plugin.has_instances(0).await;
    for _ in 0..20 {
        assert_eq!(plugin.ok("counters", json!({})).await["calls"], json!(1));
        plugin.submit(JobKind::Routine, "tick", json!({}), LONG).ok().await;
    }
    let calls: Vec<_> = (0..20).map(|_| plugin.begin("counters", json!({}))).collect();
    for call in calls {
        assert_eq!(call.ok().await, json!({"calls": 1, "ticks": 0, "background": 0}));
    }
    assert_eq!(plugin.ok("sleep_ms", json!({"ms": 20})).await, json!(20), "one that waits as well");
    plugin.has_instances(0).await;
    let health = plugin.instance.health();
    assert_eq!((health.running, health.queued, health.traps), (0, 0, 0));
    let stats = plugin.account.stats();
    assert!(stats.memory.bytes == 0 && stats.memory.peak_bytes > 0 && stats.cpu.used > Duration::ZERO, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_calls_have_instances_at_once_as_the_limit_says() {
    for most in [1, 3] {
        let limits = json!({"instances": "per-call", "concurrency": most});
        let plugin = serve(&runtime(1000, LONG), limits, json!({})).await;
        plugin.has_instances(0).await;
        let calls: Vec<_> = (0..6).map(|_| plugin.begin("sleep_ms", json!({"ms": 2000}))).collect();
        plugin.running(most).await;
        assert_eq!((plugin.instances(), plugin.instance.health().queued), (most, 6 - most));
        plugin.instance.shutdown(LONG).await;
        drop(calls);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_one_call_is_overdue_is_ended_outright() {
    let plugin = pool(json!("per-call")).await;
    // One that computes, and one that waits.
    for function in ["spin", "never"] {
        let call = plugin.begin_within(function, json!({}), Duration::from_secs(2));
        plugin.running(1).await;
        let error = call.err().await;
        assert_eq!((error.code.as_ref(), error.retryable), ("deadline_exceeded", true), "{function}");
        // Long before the limit of a turn, which is 5 s.
        let ended = tokio::time::timeout(Duration::from_secs(3), plugin.has_instances(0)).await;
        ended.unwrap_or_else(|_| panic!("`{function}` goes on"));
    }
    assert_eq!(plugin.instance.health().traps, 0, "it is no loss");
    assert_eq!(plugin.ok("echo", json!({"message": 1})).await, json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_and_stop_run_in_each_instance_of_a_call() {
    let runtime = runtime(1000, LONG);
    let stuck = json!({"stop": "never"});
    let plugin = serve(&runtime, json!({"instances": "per-call", "stop_timeout": "50ms"}), stuck).await;
    for n in 0..3 {
        assert_eq!(plugin.ok("echo", json!({"message": n})).await, json!(n), "the answer does not wait for the hook");
    }
    plugin.has_instances(0).await;
    assert_eq!(plugin.account.stats().refused, [("not_stopped", 4)].into(), "of the first, and of three calls");
    let kept = json!({"keep": "here"});
    let plugin = Folder::of(
        "behave",
        json!({"limits": {"instances": "per-call"}, "config": kept, "permissions": {"state": true}}),
    );
    let plugin = plugin.prepare(&runtime).await.unwrap();
    plugin.services.activate();
    plugin.ok("state_delete", json!({"key": "kept_at_start"})).await;
    assert_eq!(plugin.ok("state_get", json!({"key": "kept_at_start"})).await, json!("here"), "its start kept it anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_hook_counts_for_the_processor_and_ends_when_it_is_told_to_end_sooner() {
    for instances in [json!(1), json!(2)] {
        let plugin = pool(instances).await;
        plugin.ok("echo", json!({"message": 1})).await;
        until("it has nothing to do", || plugin.instance.health().running == 0).await;
        let before = plugin.cpu().used;
        plugin.instance.shutdown(LONG).await;
        assert!(plugin.cpu().used > before, "the hook is accounted for");
    }
    // The first is in its hook already, or about to be: for 5 s.
    let plugin = serve(&runtime(1000, LONG), json!({"instances": "per-call"}), json!({"stop": "never"})).await;
    let begin = std::time::Instant::now();
    plugin.instance.shutdown(SOON).await;
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert_eq!(plugin.account.stats().refused, [("not_stopped", 1)].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_overdue_while_its_instance_stops_does_not_cut_the_hook() {
    let limits = json!({"instances": "per-call", "stop_timeout": "50ms"});
    let plugin = serve(&runtime(1000, LONG), limits, json!({"stop": "never"})).await;
    plugin.has_instances(0).await;
    let call = plugin.begin_within("never", json!({}), Duration::from_secs(2));
    plugin.running(1).await;
    plugin.instance.shutdown(Duration::from_secs(4)).await;
    assert_eq!(call.err().await.code, "deadline_exceeded");
    assert_eq!(plugin.account.stats().refused, [("not_stopped", 2)].into(), "of the first, and of the call");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_in_the_instance_of_a_call_is_that_calls_own() {
    let plugin = pool(json!("per-call")).await;
    let open = plugin.begin("sleep_ms", json!({"ms": 2000}));
    plugin.running(1).await;
    assert_eq!(plugin.err("panic", json!({})).await.code, "trap");
    assert_eq!(plugin.err("panic_later", json!({"ms": 5})).await.code, "trap");
    assert_eq!(plugin.ok("echo", json!({"message": 1})).await, json!(1));
    assert_eq!(open.ok().await, json!(2000));
    assert_eq!(plugin.instance.health().traps, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_and_drop_end_every_instance_and_answer_every_call() {
    for instances in [json!(2), json!("per-call")] {
        let runtime = runtime(1000, LONG);
        let limits = json!({"instances": instances, "concurrency": 2});
        let plugin = serve(&runtime, limits.clone(), json!({})).await;
        let open: Vec<_> = (0..2).map(|_| plugin.begin("never", json!({}))).collect();
        plugin.running(2).await;
        let behind: Vec<_> = (0..10).map(|_| plugin.begin("echo", json!({"message": 1}))).collect();
        plugin.instance.shutdown(LONG).await;
        let health = plugin.instance.health();
        assert_eq!((health.instances, health.running, health.queued, plugin.memory().bytes), (0, 0, 0, 0));
        for (calls, retryable) in [(open, false), (behind, true), (vec![plugin.begin("echo", json!({}))], true)] {
            for call in calls {
                let error = call.err().await;
                assert_eq!((error.code.as_ref(), error.retryable), ("stopped", retryable), "{instances}");
            }
        }
        plugin.instance.shutdown(LONG).await;
        tokio::time::timeout(LONG, runtime.ended()).await.expect("nothing is left");

        let plugin = serve(&runtime, limits, json!({})).await;
        let open: Vec<_> = (0..2).map(|_| plugin.begin("spin", json!({}))).collect();
        plugin.running(2).await;
        let behind = plugin.begin("echo", json!({"message": 1}));
        drop(plugin);
        for call in open.into_iter().chain([behind]) {
            assert_eq!(call.err().await.code, "stopped");
        }
        tokio::time::timeout(LONG, runtime.ended()).await.expect("nothing is left");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_instance_is_proven_and_one_that_fails_leaves_nothing() {
    for instances in [json!(2), json!("per-call")] {
        let runtime = runtime(1, LONG);
        for hook in ["start", "self_test"] {
            let manifest = json!({"limits": {"instances": instances}, "config": {hook: "fail"}});
            let error = Folder::of("behave", manifest).prepare(&runtime).await.map(|_: Plugin| ()).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{hook} failed")), "{error}");
            runtime.ended().await;
        }
        let plugin = serve(&runtime, json!({"instances": instances}), json!({})).await;
        assert_eq!(plugin.ok("echo", json!({"message": 1})).await, json!(1), "the one place is free");
    }
}
