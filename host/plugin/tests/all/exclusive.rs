//! Plugins of which only one generation can be: the old one goes first, and comes back if the new one fails.

use crate::fake::{Host, Plan, host, json, package, plugin, until};
use crate::serving;
use mortise_model::PluginState;
use mortise_plugin::{Operation, Package, Prepared};
use mortise_rpc::{CallChain, LocalCall, Outcome, RpcCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot::Receiver;
use tokio_util::task::TaskTracker;

async fn text(call: Receiver<Outcome>) -> String {
    let answer = tokio::time::timeout(Duration::from_secs(5), call).await.expect("an answer within five seconds");
    answer.unwrap().unwrap().to_value().as_str().unwrap().to_owned()
}

async fn turn(host: &Host) -> Operation {
    host.registry.begin(&plugin("a")).await.unwrap()
}

async fn prepare(host: &Host, operation: &Operation, package: Package, plan: Plan) -> Prepared {
    host.plan(plan);
    operation.prepare(package).await.unwrap()
}

/// Time enough for what was asked for on this one thread.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_old_generation_has_ended_before_the_new_one_is_prepared_and_calls_wait_meanwhile() {
    let host = host();
    host.load("a", Plan { holds: true, ..serving("old", &["ping", "gone"]) }).await;
    let before = host.begin_call("ping");
    let operation = turn(&host).await;
    let vacate = TaskTracker::new().spawn(async move {
        let old = operation.vacate().await.unwrap().unwrap();
        (operation, old)
    });
    settle().await;
    assert!(!vacate.is_finished() && !*host.instance(0).shut_down.borrow(), "it has a call to answer");
    let waiting = [host.begin_call("ping"), host.begin_call("a.ping")];
    assert_eq!(
        (host.state("a"), host.advertised()),
        (Some(PluginState::Preparing), vec!["gone".into(), "ping".into()])
    );

    host.instance(0).release();
    assert_eq!(text(before).await, "old ping");
    let (operation, _) = vacate.await.unwrap();
    assert!(*host.instance(0).shut_down.borrow(), "nothing of it is left");
    assert_eq!(*host.instance(0).submitted.borrow(), 1, "calls from outside are kept from it");
    assert_eq!(host.events.names(), ["plugin_loaded"], "its functions are still there for everybody");

    let prepared = prepare(&host, &operation, package("a"), serving("new", &["ping"])).await;
    let activated = operation.activate(prepared).await.unwrap();
    assert!(activated.replaced);
    for call in waiting {
        assert_eq!(text(call).await, "new ping");
    }
    assert_eq!(host.advertised(), ["ping"]);
    assert_eq!(host.events.names(), ["plugin_loaded", "plugin_unloaded", "plugin_loaded"]);
}

#[tokio::test]
async fn the_old_generation_is_started_again_when_the_new_one_fails() {
    let host = host();
    host.load("a", serving("old", &["ping"])).await;
    let operation = turn(&host).await;
    let old = operation.vacate().await.unwrap().unwrap();
    let waiting = host.begin_call("ping");
    host.plan(Plan { fails: true, ..Plan::default() });
    operation.prepare(package("a")).await.unwrap_err();
    assert_eq!(host.state("a"), Some(PluginState::Preparing), "somebody still sees it through");

    let number = old.generation;
    let prepared = prepare(&host, &operation, old, serving("again", &["ping"])).await;
    assert_eq!(operation.activate(prepared).await.unwrap().generation, number);
    assert_eq!(text(waiting).await, "again ping");
    assert_eq!(host.events.names(), ["plugin_loaded", "plugin_unloaded", "plugin_loaded"], "its memory is new");
}

#[tokio::test]
async fn when_neither_starts_the_plugin_has_failed_and_its_calls_are_told_why() {
    let host = host();
    host.load("a", serving("old", &["ping"])).await;
    let operation = turn(&host).await;
    let old = operation.vacate().await.unwrap().unwrap();
    let waiting = host.begin_call("ping");
    for package in [package("a"), old] {
        host.plan(Plan { fails: true, ..Plan::default() });
        operation.prepare(package).await.unwrap_err();
    }
    operation.fail(Some("neither starts".into())).await;
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(
        (error.code.as_ref(), error.message.as_str()),
        ("plugin_failed", "plugin `a` could not be loaded: neither starts")
    );
    assert_eq!(host.state("a"), Some(PluginState::Failed { reason: "neither starts".into() }));
    assert_eq!(host.call("ping").await.unwrap_err().rpc, RpcCode::UnknownMethod);
    assert_eq!(host.events.names(), ["plugin_loaded", "plugin_unloaded"]);
}

/// What may not serve after all holds what the old one needs: it has ended before anybody is told.
#[tokio::test]
async fn a_generation_that_may_not_serve_has_ended_when_its_refusal_is_known() {
    let host = host();
    host.load("a", serving("old", &["ping"])).await;
    let operation = turn(&host).await;
    let old = operation.vacate().await.unwrap().unwrap();
    let prepared = prepare(&host, &operation, package("a"), serving("new", &["ping", "more"])).await;
    let capabilities = host.routes.load().capabilities().as_str().len();
    host.message_bytes_max.send_replace(capabilities + mortise_rpc::ADVERTISEMENT_ENVELOPE_BYTES + 50);
    operation.activate(prepared).await.unwrap_err();
    assert!(*host.instance(1).shut_down.borrow());
    host.plan(serving("new", &["ping", "more"]));
    operation.prepare(package("a")).await.unwrap_err();
    assert!(*host.instance(2).shut_down.borrow());

    let prepared = prepare(&host, &operation, old, serving("again", &["ping"])).await;
    operation.activate(prepared).await.unwrap();
    assert_eq!(host.text("ping").await, "again ping");
}

/// A call that the old generation has to answer may lead back to its own plugin: waiting for the new one, it would wait
/// for itself.
#[tokio::test]
async fn what_the_old_generation_owes_may_need_it_once_more() {
    let host = host();
    host.load("a", Plan { holds: true, ..serving("old", &["ping"]) }).await;
    let owed = host.begin_call("ping");
    let operation = turn(&host).await;
    let vacate = TaskTracker::new().spawn(async move { operation.vacate().await.map(|_| operation) });
    settle().await;
    let stranger = host.begin_call("ping");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    let nested = LocalCall {
        method: "a.ping".into(),
        params: json("{}"),
        trace: None,
        deadline,
        chain: CallChain::default(),
        may_wait: true,
    };
    let nested = async {
        let released = async {
            until(&host.instance(0).submitted, |count| *count == 2).await;
            host.instance(0).release();
        };
        tokio::join!(host.dispatcher.invoke(nested), released).0
    };
    assert_eq!(nested.await.unwrap().to_value(), "old ping");
    assert_eq!(text(owed).await, "old ping");
    let operation = vacate.await.unwrap().unwrap();
    let prepared = prepare(&host, &operation, package("a"), serving("new", &["ping"])).await;
    operation.activate(prepared).await.unwrap();
    assert_eq!(text(stranger).await, "new ping");
}

#[tokio::test]
async fn every_earlier_generation_has_to_be_gone_also_one_that_was_unloaded() {
    let host = host();
    host.load("a", Plan { holds: true, ..serving("one", &["ping"]) }).await;
    let first = host.begin_call("ping");
    host.load("a", Plan { holds: true, ..serving("two", &["ping"]) }).await;
    let second = host.begin_call("ping");
    let operation = turn(&host).await;
    operation.remove().await.unwrap().unwrap();
    let vacate = TaskTracker::new().spawn(async move { operation.vacate().await.unwrap() });
    host.instance(1).release();
    assert_eq!(text(second).await, "two ping");
    until(&host.instance(1).shut_down, |ended| *ended).await;
    settle().await;
    assert!(!vacate.is_finished(), "the first still has a call to answer");
    host.instance(0).release();
    assert_eq!(text(first).await, "one ping");
    assert!(vacate.await.unwrap().is_none(), "nothing served");
}

#[tokio::test]
async fn a_host_that_stops_answers_calls_that_wait_for_a_change() {
    let host = host();
    host.load("a", Plan { holds: true, ..serving("old", &["ping"]) }).await;
    let owed = host.begin_call("ping");
    let operation = turn(&host).await;
    let vacate = TaskTracker::new().spawn(async move { operation.vacate().await.map(|_| operation) });
    settle().await;
    let waiting = host.begin_call("ping");
    let stopped = host.registry.shutdown(Duration::from_millis(20));
    tokio::time::timeout(Duration::from_secs(5), stopped).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().code, "stopping");
    assert_eq!(owed.await.unwrap().unwrap_err().code, "stopped");
    let operation = vacate.await.unwrap().unwrap();
    host.plan(serving("new", &["ping"]));
    assert!(operation.prepare(package("a")).await.is_err());
    assert_eq!(host.events.names(), ["plugin_loaded", "plugin_unloaded"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_under_load_lose_no_call() {
    let host = Arc::new(host());
    host.load("a", serving("v", &["ping"])).await;
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers = TaskTracker::new();
    for _ in 0..16 {
        let (host, done, answered) = (Arc::clone(&host), Arc::clone(&done), Arc::clone(&answered));
        callers.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(host.text("ping").await, "v ping");
                answered.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
    }
    for change in 0..100 {
        let operation = turn(&host).await;
        let old = operation.vacate().await.unwrap().unwrap();
        // Every third fails, and the old one comes back.
        let next = if change % 3 == 0 {
            host.plan(Plan { fails: true, ..Plan::default() });
            operation.prepare(package("a")).await.unwrap_err();
            old
        } else {
            package("a")
        };
        let prepared = prepare(&host, &operation, next, serving("v", &["ping"])).await;
        operation.activate(prepared).await.unwrap();
        assert_eq!(host.text("ping").await, "v ping");
    }
    done.store(true, Ordering::Relaxed);
    callers.close();
    // A caller that was told anything else has panicked, and its count is missing.
    tokio::time::timeout(Duration::from_secs(5), callers.wait()).await.expect("every call is answered");
    let instances = host.runtime.instances.lock().unwrap();
    let submitted: usize = instances.iter().map(|instance| *instance.submitted.borrow()).sum();
    assert_eq!(submitted as u64, answered.load(Ordering::Relaxed) + 100, "each call was done once and answered");
}
