//! Plugins that are known before they are loaded: advertised, and their calls wait.

use crate::fake::{Host, Plan, host, json, package, plugin};
use crate::serving;
use mortise_model::{Limits, PluginState};
use mortise_plugin::NameOwner;
use mortise_rpc::{CallChain, LocalCall, Outcome, RpcCode};
use std::time::Duration;
use tokio::sync::oneshot::Receiver;
use tokio::time::Instant;

async fn answer(call: Receiver<Outcome>) -> Outcome {
    tokio::time::timeout(Duration::from_secs(5), call).await.expect("an answer within five seconds").unwrap()
}

async fn text(call: Receiver<Outcome>) -> String {
    answer(call).await.unwrap().to_value().as_str().unwrap().to_owned()
}

async fn fail(host: &Host, id: &str, reason: &str) {
    host.registry.begin(&plugin(id)).await.unwrap().fail(Some(reason.to_owned())).await;
}

#[tokio::test]
async fn an_announced_plugin_is_advertised_and_its_calls_wait_for_it_in_their_order() {
    let host = host();
    host.announce("a", &["ping", "echo"], Limits::default()).await;
    assert_eq!(host.advertised(), ["echo", "ping"]);
    assert_eq!(host.state("a"), Some(PluginState::Preparing));
    assert!(host.registry.snapshot()[0].running.is_none());

    let mut calls: Vec<_> = ["ping", "a.echo", "a.ping"].iter().map(|method| host.begin_call(method)).collect();
    assert!(calls.iter_mut().all(|call| call.try_recv().is_err()), "nothing serves yet");
    assert!(host.events.names().is_empty());
    let activated = host.load("a", Plan { holds: true, ..serving("a1", &["ping", "echo"]) }).await;
    assert!(!activated.replaced);
    assert_eq!(host.state("a"), Some(PluginState::Running));
    let later = host.begin_call("echo");
    let names: Vec<String> = host.instance(0).held.lock().unwrap().iter().map(|job| job.name.to_string()).collect();
    assert_eq!(names, ["ping", "echo", "ping", "echo"]);
    host.instance(0).release();
    for (call, expected) in calls.into_iter().chain([later]).zip(["a1 ping", "a1 echo", "a1 ping", "a1 echo"]) {
        assert_eq!(text(call).await, expected);
    }
    assert_eq!(host.events.names(), ["plugin_loaded"]);
}

#[tokio::test]
async fn a_call_waits_no_longer_than_its_deadline() {
    let host = host();
    let limits = Limits { call_timeout: Duration::from_millis(200), ..Limits::default() };
    host.announce("a", &["ping"], limits).await;
    let began = Instant::now();
    let patient = host.begin_call("ping");
    // It came later and is due earlier.
    let hasty = LocalCall {
        method: "a.ping".into(),
        params: json("{}"),
        trace: None,
        deadline: began + Duration::from_millis(50),
        chain: CallChain::default(),
        may_wait: true,
    };
    let error = host.dispatcher.invoke(hasty).await.unwrap_err();
    assert_eq!((error.code.as_ref(), error.retryable), ("deadline_exceeded", true));
    assert!(began.elapsed() >= Duration::from_millis(50));
    let error = answer(patient).await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    assert_eq!(error.message, "`ping` was not answered before its deadline (`limits.call_timeout` is 200ms)");
    host.load("a", serving("a1", &["ping"])).await;
    assert_eq!(host.text("ping").await, "a1 ping");
    assert_eq!(*host.instance(0).submitted.borrow(), 1, "what was answered already is not done");
}

#[tokio::test]
async fn no_more_calls_wait_than_the_plugin_s_queue_takes() {
    let host = host();
    host.announce("a", &["ping"], Limits { queue: 2, ..Limits::default() }).await;
    let waiting = [host.begin_call("ping"), host.begin_call("ping")];
    let error = answer(host.begin_call("ping")).await.unwrap_err();
    assert_eq!((error.code.as_ref(), error.retryable), ("queue_full", true));
    assert_eq!(error.message, "`a` has 2 calls waiting, the limit of `limits.queue`");
    host.load("a", serving("a1", &["ping"])).await;
    for call in waiting {
        assert_eq!(text(call).await, "a1 ping");
    }
}

#[tokio::test]
async fn half_of_the_places_are_for_others_than_plugins() {
    let host = host();
    host.announce("a", &["ping"], Limits { queue: 3, ..Limits::default() }).await;
    let of_plugin = || LocalCall {
        method: "ping".into(),
        params: json("{}"),
        trace: None,
        deadline: Instant::now() + Duration::from_secs(5),
        chain: CallChain::default().by_unknown(),
        may_wait: true,
    };
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (dispatcher, call) = (host.dispatcher.clone(), of_plugin());
        waiting.spawn(async move { dispatcher.invoke(call).await });
        tokio::task::yield_now().await;
    }
    let error = host.dispatcher.invoke(of_plugin()).await.unwrap_err();
    assert_eq!((error.code.as_ref(), error.retryable), ("queue_full", true));
    let expected = "`a` has as many calls of other plugins waiting as may be: half of `limits.queue` (3)";
    assert_eq!(error.message, expected);
    let stranger = host.begin_call("ping");
    host.load("a", serving("a1", &["ping"])).await;
    assert_eq!(text(stranger).await, "a1 ping");
    while let Some(outcome) = waiting.join_next().await {
        assert!(outcome.unwrap().is_ok());
    }
}

#[tokio::test]
async fn calls_of_a_plugin_that_fails_are_told_why_and_its_names_stay_its_own() {
    let host = host();
    host.announce("a", &["ping"], Limits::default()).await;
    let waiting = host.begin_call("ping");
    fail(&host, "a", "it will not start").await;
    let error = answer(waiting).await.unwrap_err();
    assert_eq!((error.rpc, error.code.as_ref(), error.retryable), (RpcCode::Failed, "plugin_failed", false));
    assert_eq!(error.message, "plugin `a` could not be loaded: it will not start");
    assert_eq!(host.state("a"), Some(PluginState::Failed { reason: "it will not start".into() }));
    assert_eq!(host.call("ping").await.unwrap_err().rpc, RpcCode::UnknownMethod);
    assert!(host.advertised().is_empty() && host.events.names().is_empty());

    let second = host.load("b", serving("b1", &["ping"])).await;
    assert_eq!(second.functions[0].taken_by, Some(NameOwner::Plugin(plugin("a"))));
    host.load("a", serving("a1", &["ping"])).await;
    assert_eq!(host.text("ping").await, "a1 ping");
}

#[tokio::test]
async fn names_belong_to_who_was_announced_first_whoever_is_loaded_first() {
    let host = host();
    host.announce("a", &["ping"], Limits::default()).await;
    host.announce("b", &["ping", "own"], Limits::default()).await;
    assert_eq!(host.advertised(), ["b.ping", "own", "ping"]);
    let waiting = host.begin_call("ping");
    host.load("b", serving("b1", &["ping", "own"])).await;
    assert_eq!((host.text("b.ping").await, host.text("own").await), ("b1 ping".into(), "b1 own".into()));
    host.load("a", serving("a1", &["ping"])).await;
    assert_eq!(text(waiting).await, "a1 ping");
    let order: Vec<String> = host.registry.snapshot().iter().map(|status| status.id.to_string()).collect();
    assert_eq!(order, ["a", "b"], "the order in which they were announced");
}

/// What a plugin brings when it is loaded counts, whatever it described before.
#[tokio::test]
async fn an_announcement_is_corrected_by_what_is_loaded() {
    let host = host();
    host.announce("a", &["ping", "gone", "lost"], Limits::default()).await;
    host.load("b", serving("b1", &["gone"])).await;
    let [ping, gone, own_gone, lost] = ["ping", "gone", "a.gone", "lost"].map(|method| host.begin_call(method));
    let activated = host.load("a", serving("a1", &["ping", "fresh"])).await;
    assert_eq!(activated.passed.len(), 1, "`gone` passed to `b`, `lost` to nobody: {:?}", activated.passed);
    assert_eq!(host.advertised(), ["fresh", "gone", "ping"]);
    assert_eq!(text(ping).await, "a1 ping");
    assert_eq!(text(gone).await, "b1 gone", "the name is another's now, and so is the call");
    for call in [own_gone, lost] {
        assert_eq!(answer(call).await.unwrap_err().rpc, RpcCode::UnknownMethod);
    }
    let loaded = host.events.seen.lock().unwrap().last().unwrap().1.clone();
    assert_eq!(loaded["names_passed"], serde_json::json!([{"function": "gone", "owner": "b"}]));
}

#[tokio::test]
async fn an_announced_plugin_can_be_taken_away_and_a_host_that_stops_answers_its_calls() {
    let host = host();
    host.announce("a", &["ping"], Limits::default()).await;
    host.announce("b", &["echo"], Limits::default()).await;
    let (first, second) = (host.begin_call("ping"), host.begin_call("echo"));
    assert!(host.registry.begin(&plugin("a")).await.unwrap().remove().await.unwrap().is_some());
    assert_eq!(answer(first).await.unwrap_err().code, "stopped");
    assert_eq!((host.advertised(), host.state("a")), (vec!["echo".to_owned()], None));

    host.registry.shutdown(Duration::from_secs(5)).await;
    let error = answer(second).await.unwrap_err();
    assert_eq!((error.code.as_ref(), error.retryable), ("stopping", true));
    assert!(host.events.names().is_empty(), "neither was ever loaded");
}

#[tokio::test]
async fn what_serves_and_what_the_mesh_cannot_carry_is_not_announced() {
    let host = host();
    host.load("a", serving("a1", &["ping"])).await;
    host.announce("a", &["ping", "other"], Limits::default()).await;
    assert_eq!((host.advertised(), host.state("a")), (vec!["ping".to_owned()], Some(PluginState::Running)));

    let capabilities = host.routes.load().capabilities().as_str().len();
    host.message_bytes_max.send_replace(capabilities + mortise_rpc::ADVERTISEMENT_ENVELOPE_BYTES + 50);
    host.announce("c", &["echo"], Limits::default()).await;
    assert_eq!(host.state("c"), None);
    assert_eq!(host.advertised(), ["ping"]);

    // A name that was claimed for nothing is free again.
    host.message_bytes_max.send_replace(usize::MAX);
    host.plan(serving("d1", &["echo"]));
    let operation = host.registry.begin(&plugin("d")).await.unwrap();
    let prepared = operation.prepare(package("d")).await.unwrap();
    assert_eq!(operation.activate(prepared).await.unwrap().functions[0].taken_by, None);
}
