//! The registry with a runtime that does what the test says.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod exclusive;
mod fake;
mod quarantine;
mod services;
mod state;
mod subscriptions;
mod waiting;

use fake::{Plan, host, host_with, json, package, plugin, until};
use mortise_model::Limits;
use mortise_plugin::{ActivateError, NameOwner, Package, PrepareError, RegistryConfig};
use mortise_rpc::{CallChain, LocalCall, RpcCode};
use std::task::Poll;
use std::time::Duration;
use tokio_util::task::TaskTracker;

fn serving(name: &'static str, functions: &[&'static str]) -> Plan {
    Plan { name, functions: functions.to_vec(), ..Plan::default() }
}

#[tokio::test]
async fn a_loaded_plugin_is_callable_both_ways_and_gone_after_its_unload() {
    let host = host();
    assert_eq!(host.call("ping").await.unwrap_err().rpc, RpcCode::UnknownMethod);
    let activated = host.load("a", serving("a1", &["ping", "echo"])).await;
    assert!(!activated.replaced && activated.passed.is_empty());
    assert_eq!(host.text("ping").await, "a1 ping");
    assert_eq!(host.text("a.echo").await, "a1 echo");
    assert_eq!(host.advertised(), ["echo", "ping"]);

    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    assert!(operation.remove().await.unwrap().is_some());
    assert!(operation.remove().await.unwrap().is_none(), "it is not loaded any more");
    assert_eq!(host.call("ping").await.unwrap_err().rpc, RpcCode::UnknownMethod);
    assert_eq!(host.call("a.ping").await.unwrap_err().rpc, RpcCode::UnknownMethod);
    assert!(host.advertised().is_empty() && host.registry.snapshot().is_empty());
    until(&host.instance(0).shut_down, |ended| *ended).await;
    assert_eq!(host.events.names(), ["plugin_loaded", "plugin_unloaded"]);
    let payload = host.events.seen.lock().unwrap()[0].1.clone();
    assert_eq!(payload, serde_json::json!({"plugin_id": "a", "functions": ["ping", "echo"]}));
}

#[tokio::test]
async fn a_bare_name_stays_with_its_first_owner_and_passes_on_when_it_goes() {
    let host = host();
    host.load("a", serving("a1", &["ping"])).await;
    let second = host.load("b", serving("b1", &["ping", "own"])).await;
    assert_eq!(second.functions[0].taken_by, Some(NameOwner::Plugin(plugin("a"))));
    assert_eq!(&*second.functions[0].advertised_as, "b.ping");
    assert_eq!(second.functions[1].taken_by, None);
    assert_eq!(host.advertised(), ["b.ping", "own", "ping"]);
    assert_eq!((host.text("ping").await, host.text("b.ping").await), ("a1 ping".into(), "b1 ping".into()));

    host.load("a", serving("a2", &["ping"])).await;
    assert_eq!(host.text("ping").await, "a2 ping", "a reload keeps the name");

    let removed = host.registry.begin(&plugin("a")).await.unwrap().remove().await.unwrap().unwrap();
    assert_eq!((removed.passed[0].function.as_str(), &removed.passed[0].owner), ("ping", &plugin("b")));
    assert_eq!(host.text("ping").await, "b1 ping");
    assert_eq!(host.advertised(), ["own", "ping"]);
}

#[tokio::test]
async fn a_swap_loses_no_call_and_ends_the_old_generation_after_its_last() {
    let host = host();
    host.load("a", Plan { holds: true, ..serving("old", &["ping"]) }).await;
    let before = host.begin_call("ping");
    until(&host.instance(0).submitted, |count| *count == 1).await;

    let activated = host.load("a", serving("new", &["ping"])).await;
    assert!(activated.replaced);
    assert_eq!(host.text("ping").await, "new ping", "calls after the swap go to the new one");
    assert!(!*host.instance(0).shut_down.borrow(), "the old one has a call to answer");

    host.instance(0).release();
    assert_eq!(before.await.unwrap().unwrap().to_value(), "old ping");
    until(&host.instance(0).shut_down, |ended| *ended).await;
    assert_eq!(host.events.names(), ["plugin_loaded", "plugin_unloaded", "plugin_loaded"]);
}

#[tokio::test]
async fn a_generation_that_cannot_be_prepared_changes_nothing() {
    let host = host();
    host.load("a", serving("a1", &["ping"])).await;
    host.plan(Plan { fails: true, ..Plan::default() });
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    let error = operation.prepare(package("a")).await.unwrap_err();
    assert!(matches!(error, PrepareError::Hook { hook: "start", .. }), "{error}");
    operation.fail(Some("it will not start".into())).await;
    drop(operation);
    assert_eq!(host.text("ping").await, "a1 ping");
    assert_eq!(host.registry.snapshot()[0].state.word(), "running");
    assert_eq!(host.events.names(), ["plugin_loaded"]);
}

#[tokio::test]
async fn a_failure_is_remembered_until_it_is_forgotten() {
    let host = host();
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    let changes = *host.routes.follow().borrow();
    operation.fail(Some("it will not start".into())).await;
    let snapshot = host.registry.snapshot();
    assert_eq!((snapshot[0].state.word(), snapshot[0].running.is_none()), ("failed", true));
    operation.fail(None).await;
    assert!(host.registry.snapshot().is_empty());
    assert_eq!(*host.routes.follow().borrow(), changes, "nothing to advertise has changed");
}

#[tokio::test]
async fn ticks_do_not_overlap_across_an_unload_or_a_generation_without_routines() {
    let host = host();
    let routines = vec![("tick", Duration::from_millis(1))];
    host.load("a", Plan { holds: true, routines: routines.clone(), ..serving("a1", &[]) }).await;
    until(&host.instance(0).submitted, |ticks| *ticks == 1).await;
    host.load("a", serving("a2", &[])).await;
    host.load("a", Plan { routines, ..serving("a3", &["ping"]) }).await;
    assert_eq!(host.text("ping").await, "a3 ping");
    assert_eq!(*host.instance(2).submitted.borrow(), 1, "the call, and no tick yet");
    host.instance(0).release();
    until(&host.instance(2).submitted, |count| *count >= 3).await;
}

#[tokio::test]
async fn what_is_prepared_and_not_activated_ends_and_its_events_with_it() {
    let host = host();
    host.plan(Plan { emits: vec!["hello"], ..serving("a1", &["ping"]) });
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    let prepared = operation.prepare(package("a")).await.unwrap();
    drop(prepared);
    until(&host.instance(0).dropped, |dropped| *dropped).await;
    assert!(host.events.names().is_empty());

    host.plan(Plan { emits: vec!["hello"], ..serving("a1", &["ping"]) });
    let prepared = operation.prepare(package("a")).await.unwrap();
    assert!(host.events.names().is_empty(), "held until the swap");
    operation.activate(prepared).await.unwrap();
    assert_eq!(host.events.names(), ["plugin_loaded", "hello"]);
}

#[tokio::test]
async fn a_routine_whose_ticks_are_refused_ticks_less_and_less_often() {
    let host = host();
    let began = tokio::time::Instant::now();
    host.load("a", Plan { refuses: true, routines: vec![("tick", Duration::from_millis(1))], ..serving("a1", &[]) })
        .await;
    until(&host.instance(0).submitted, |ticks| *ticks == 5).await;
    assert!(began.elapsed() >= Duration::from_millis(10 + 20 + 40 + 80), "{:?}", began.elapsed());
}

/// Limit: `routine_timeout`.
#[tokio::test]
async fn a_tick_is_due_within_its_own_limit() {
    let host = host();
    host.plan(Plan { holds: true, routines: vec![("tick", Duration::from_millis(1))], ..serving("a", &[]) });
    let limits = Limits { routine_timeout: Duration::from_secs(7), ..Limits::default() };
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    let prepared = operation.prepare(Package { limits, ..package("a") }).await.unwrap();
    operation.activate(prepared).await.unwrap();
    let instance = host.instance(0);
    until(&instance.submitted, |submitted| *submitted == 1).await;
    let due = instance.held.lock().unwrap()[0].deadline;
    let left = due.saturating_duration_since(tokio::time::Instant::now());
    assert!(left > Duration::from_secs(1) && left <= Duration::from_secs(7), "{left:?}");
    instance.release();
}

#[tokio::test]
async fn routines_of_a_hot_loaded_plugin_run_and_stop_with_it() {
    let host = host();
    let ticking = |name| Plan { routines: vec![("tick", Duration::from_millis(5))], ..serving(name, &[]) };
    host.load("a", ticking("a1")).await;
    until(&host.instance(0).submitted, |ticks| *ticks >= 3).await;

    host.load("a", ticking("a2")).await;
    until(&host.instance(0).shut_down, |ended| *ended).await;
    let ticks = *host.instance(0).submitted.borrow();
    until(&host.instance(1).submitted, |ticks| *ticks >= 3).await;
    assert_eq!(*host.instance(0).submitted.borrow(), ticks, "the old generation ticks no more");

    host.registry.begin(&plugin("a")).await.unwrap().remove().await.unwrap().unwrap();
    until(&host.instance(1).shut_down, |ended| *ended).await;
}

#[tokio::test]
async fn a_tick_waits_for_the_last_tick_of_the_generation_before() {
    let host = host();
    let routines = vec![("tick", Duration::from_millis(1))];
    host.load("a", Plan { holds: true, routines: routines.clone(), ..serving("a1", &[]) }).await;
    until(&host.instance(0).submitted, |ticks| *ticks == 1).await;
    host.load("a", Plan { routines, ..serving("a2", &["ping"]) }).await;
    assert_eq!(host.text("ping").await, "a2 ping");
    assert_eq!(*host.instance(1).submitted.borrow(), 1, "the call, and no tick yet");
    host.instance(0).release();
    until(&host.instance(1).submitted, |count| *count >= 3).await;
    assert_eq!(*host.instance(0).submitted.borrow(), 1);
}

#[tokio::test]
async fn changes_of_one_plugin_take_turns_and_those_of_another_do_not_wait() {
    let host = host();
    let first = host.registry.begin(&plugin("a")).await.unwrap();
    let registry = host.registry.clone();
    let second = TaskTracker::new().spawn(async move { registry.begin(&plugin("a")).await.map(drop) });
    host.load("b", serving("b1", &["ping"])).await;
    assert!(!second.is_finished());
    drop(first);
    second.await.unwrap().unwrap();

    let holder = host.registry.begin(&plugin("a")).await.unwrap();
    let id = plugin("a");
    let mut waiting: Vec<_> = (0..32).map(|_| Box::pin(host.registry.begin(&id))).collect();
    for waiter in &mut waiting {
        let polled = std::future::poll_fn(|context| Poll::Ready(waiter.as_mut().poll(context).is_pending())).await;
        assert!(polled, "it waits");
    }
    let busy = host.registry.begin(&id).await.map(drop).unwrap_err();
    assert_eq!((busy.plugin, busy.waiting), (plugin("a"), 32));
    drop(holder);
    for waiter in waiting {
        drop(waiter.await.unwrap());
    }
}

#[tokio::test]
async fn what_the_mesh_cannot_advertise_is_refused_before_it_serves() {
    let host = host();
    host.load("a", serving("a1", &["ping"])).await;
    let capabilities = host.routes.load().capabilities().as_str().len();
    host.message_bytes_max.send_replace(capabilities + mortise_rpc::ADVERTISEMENT_ENVELOPE_BYTES + 50);
    host.plan(serving("b1", &["echo"]));
    let operation = host.registry.begin(&plugin("b")).await.unwrap();
    let error = operation.prepare(package("b")).await.unwrap_err();
    assert!(matches!(error, PrepareError::Refused(ActivateError::AdvertisementFull { .. })), "{error}");
    until(&host.instance(1).dropped, |dropped| *dropped).await;
    assert_eq!(host.advertised(), ["ping"]);
}

#[tokio::test]
async fn a_third_swap_waits_while_two_generations_drain() {
    let host = host();
    let holding = |name| Plan { holds: true, ..serving(name, &["ping"]) };
    let (mut calls, mut third) = (Vec::new(), 0);
    for (index, name) in ["one", "two", "three"].into_iter().enumerate() {
        third = host.load("a", holding(name)).await.generation;
        calls.push(host.begin_call("ping"));
        until(&host.instance(index).submitted, |count| *count == 1).await;
    }
    host.plan(holding("four"));
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    let prepared = operation.prepare(package("a")).await.unwrap();
    let swap = TaskTracker::new().spawn(async move { operation.activate(prepared).await });
    // Time enough for the swap to be asked for, on this one thread, and for the owner task to answer.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let serving = |host: &fake::Host| host.registry.snapshot()[0].running.as_ref().unwrap().generation();
    assert!(!swap.is_finished() && serving(&host) == third);
    host.instance(0).release();
    assert!(swap.await.unwrap().unwrap().generation > third);
    host.instance(1).release();
    host.instance(2).release();
    for (call, name) in calls.into_iter().zip(["one", "two", "three"]) {
        assert_eq!(call.await.unwrap().unwrap().to_value(), format!("{name} ping"));
    }
}

#[tokio::test]
async fn a_shutdown_ends_every_plugin_and_answers_what_still_runs() {
    let host = host();
    host.load("a", Plan { holds: true, ..serving("a1", &["ping"]) }).await;
    host.load("b", serving("b1", &["echo"])).await;
    let call = host.begin_call("ping");
    host.registry.shutdown(Duration::from_millis(20)).await;
    assert_eq!(call.await.unwrap().unwrap_err().code, "stopped");
    assert!(*host.instance(0).shut_down.borrow() && *host.instance(1).shut_down.borrow());
    assert_eq!(host.events.names().iter().filter(|name| *name == "plugin_unloaded").count(), 2);
    let operation = host.registry.begin(&plugin("c")).await.unwrap();
    host.plan(serving("c1", &[]));
    let error = operation.prepare(package("c")).await.unwrap_err();
    assert!(matches!(error, PrepareError::Refused(ActivateError::Stopping)), "{error}");
    let error = operation.remove().await.map(drop).unwrap_err();
    assert!(matches!(error, ActivateError::Stopping), "{error}");
    assert_eq!(host.call("echo").await.unwrap_err().rpc, RpcCode::UnknownMethod, "no route is left");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_calls_of_an_older_generation() {
    let host = host();
    host.load("a", Plan { holds: true, ..serving("old", &["ping"]) }).await;
    let call = host.begin_call("ping");
    host.load("a", serving("new", &["ping"])).await;
    let ended = host.registry.shutdown(Duration::from_millis(20));
    tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap();
    assert_eq!(call.await.unwrap().unwrap_err().code, "stopped");
    assert!(*host.instance(0).shut_down.borrow() && *host.instance(1).shut_down.borrow());
}

/// Loads three generations that each hold a call: two drain, one serves.
async fn three_busy_generations(host: &fake::Host) -> Vec<tokio::sync::oneshot::Receiver<mortise_rpc::Outcome>> {
    let mut calls = Vec::new();
    for (index, name) in ["one", "two", "three"].into_iter().enumerate() {
        host.load("a", Plan { holds: true, ..serving(name, &["ping"]) }).await;
        calls.push(host.begin_call("ping"));
        until(&host.instance(index).submitted, |count| *count == 1).await;
    }
    calls
}

#[tokio::test]
async fn a_swap_is_refused_when_older_generations_drain_for_too_long() {
    let config = RegistryConfig { drain_wait: Duration::from_millis(120), ..RegistryConfig::default() };
    let host = host_with(config);
    let calls = three_busy_generations(&host).await;
    host.plan(serving("four", &["ping"]));
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    let prepared = operation.prepare(package("a")).await.unwrap();
    let error = operation.activate(prepared).await.unwrap_err();
    assert!(matches!(&error, ActivateError::Busy(id) if *id == plugin("a")), "{error}");
    until(&host.instance(3).dropped, |dropped| *dropped).await;
    for (index, (call, name)) in calls.into_iter().zip(["one", "two", "three"]).enumerate() {
        host.instance(index).release();
        assert_eq!(call.await.unwrap().unwrap().to_value(), format!("{name} ping"), "nothing else has changed");
    }
}

#[tokio::test]
async fn an_unload_gives_calls_under_way_their_grace_and_then_answers_them() {
    let config = RegistryConfig { unload_grace: Duration::from_millis(300), ..RegistryConfig::default() };
    let host = host_with(config);
    host.load("a", Plan { holds: true, ..serving("a1", &["ping"]) }).await;
    let (mut cut, within) = (host.begin_call("ping"), host.begin_call("ping"));
    until(&host.instance(0).submitted, |count| *count == 2).await;
    let removed = tokio::time::Instant::now();
    host.registry.begin(&plugin("a")).await.unwrap().remove().await.unwrap().unwrap();
    assert_eq!(host.call("ping").await.unwrap_err().rpc, RpcCode::UnknownMethod);
    let held = host.instance(0).held.lock().unwrap().pop().unwrap();
    assert!(cut.try_recv().is_err() && !*host.instance(0).shut_down.borrow());
    held.ticket.answer(Ok(json("1")));
    assert_eq!(within.await.unwrap().unwrap().as_str(), "1");
    assert_eq!(cut.await.unwrap().unwrap_err().code, "stopped");
    assert!(removed.elapsed() >= config.unload_grace, "{:?}", removed.elapsed());
}

#[tokio::test]
async fn an_unload_beside_two_draining_generations_answers_at_once() {
    let config = RegistryConfig { unload_grace: Duration::from_secs(3600), ..RegistryConfig::default() };
    let host = host_with(config);
    let mut calls = three_busy_generations(&host).await;
    host.registry.begin(&plugin("a")).await.unwrap().remove().await.unwrap().unwrap();
    let last = tokio::time::timeout(Duration::from_secs(5), calls.pop().unwrap());
    assert_eq!(last.await.expect("no grace").unwrap().unwrap_err().code, "stopped");
    let stop_timeout = |index: usize| *host.instance(index).stop_timeout.lock().unwrap();
    assert_eq!(stop_timeout(2), Some(Duration::ZERO), "there is no time for its stop hook");
    assert_eq!(host.registry.stats(&plugin("a")).unwrap().refused["not_stopped"], 1);
    for (index, (call, name)) in calls.into_iter().zip(["one", "two"]).enumerate() {
        host.instance(index).release();
        assert_eq!(call.await.unwrap().unwrap().to_value(), format!("{name} ping"), "those keep their time");
        host.instance(index).shut_down.subscribe().wait_for(|is_shut| *is_shut).await.unwrap();
        assert_eq!(stop_timeout(index), Some(Limits::default().stop_timeout));
    }
}

#[tokio::test]
async fn a_call_that_ends_at_shutdown_may_need_another_plugin() {
    let host = host();
    host.load("a", Plan { holds: true, ..serving("a1", &["ping"]) }).await;
    host.load("b", serving("b1", &["echo"])).await;
    let call = host.begin_call("ping");
    let registry = host.registry.clone();
    let shutdown = TaskTracker::new().spawn(async move { registry.shutdown(Duration::from_secs(3600)).await });
    let refused = async {
        loop {
            match host.call("echo").await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    };
    let refused = tokio::time::timeout(Duration::from_secs(5), refused).await.expect("no new calls from outside");
    assert_eq!((refused.code.as_ref(), refused.retryable), ("stopping", true));
    // What `a` does on behalf of the call that it still owes.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    let nested = LocalCall {
        method: "echo".into(),
        params: json("{}"),
        trace: None,
        deadline,
        chain: CallChain::default(),
        may_wait: true,
    };
    assert_eq!(host.dispatcher.invoke(nested).await.unwrap().to_value(), "b1 echo");
    assert!(!*host.instance(1).shut_down.borrow() && !shutdown.is_finished());
    host.instance(0).release();
    assert_eq!(call.await.unwrap().unwrap().to_value(), "a1 ping");
    tokio::time::timeout(Duration::from_secs(5), shutdown).await.expect("nothing is left to wait for").unwrap();
    assert_eq!(host.call("echo").await.unwrap_err().rpc, RpcCode::UnknownMethod);
}
