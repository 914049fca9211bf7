//! Events of other devices: who hears them, in which order, and what becomes of them when something changes.

use crate::fake::{FakeState, Host, Plan, host, package, plugin, until};
use mortise_plugin::Stats;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn listening(name: &'static str, holds: bool) -> Plan {
    Plan { name, holds, functions: vec!["ping"], subscriptions: vec![("camera-*", "motion")], ..Plan::default() }
}

fn heard(instance: &Arc<FakeState>) -> Vec<String> {
    instance.heard.lock().unwrap().clone()
}

fn stats(host: &Host) -> Stats {
    host.registry.stats(&plugin("a")).unwrap()
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < end, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Number `n` of the events of camera-1, as its handler is told of it.
fn told(n: u32) -> String {
    format!(r#"camera-1 motion {{"n":{n}}}"#)
}

fn send(host: &Host, n: u32) -> usize {
    host.events.hear("camera-1", "motion", &format!(r#"{{"n":{n}}}"#))
}

#[tokio::test]
async fn a_plugin_hears_what_it_subscribed_to_in_order_and_one_at_a_time() {
    let host = host();
    host.load("a", listening("a1", true)).await;
    let instance = host.instance(0);
    assert_eq!(host.events.hear("door-1", "motion", "{}") + host.events.hear("camera-1", "heat", "{}"), 0);
    assert_eq!((0..3).map(|n| send(&host, n)).sum::<usize>(), 3);
    for n in 0..3 {
        until(&instance.submitted, |count| *count == n as usize + 1).await;
        assert_eq!(heard(&instance).len(), n as usize + 1, "the next waits for the last");
        instance.release();
    }
    assert_eq!(heard(&instance), [told(0), told(1), told(2)]);
    eventually("all have ended", || stats(&host).heard.answered == 3).await;
    let prefixed = host.events.hear("camera-1", "event/motion", "{}");
    until(&instance.submitted, |count| *count == 4).await;
    assert_eq!((prefixed, heard(&instance)[3].as_str()), (1, "camera-1 event/motion {}"));
}

#[tokio::test]
async fn what_waits_is_bounded_and_the_oldest_go() {
    let host = host();
    let mut package = package("a");
    package.limits.queue = 3;
    host.plan(listening("a1", true));
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    let prepared = operation.prepare(package).await.unwrap();
    operation.activate(prepared).await.unwrap();
    let instance = host.instance(0);
    send(&host, 0);
    until(&instance.submitted, |count| *count == 1).await;
    for n in 1..=10 {
        send(&host, n);
    }
    assert_eq!(stats(&host).unheard, 7);
    for n in 2..=4 {
        instance.release();
        until(&instance.submitted, |count| *count == n).await;
    }
    assert_eq!(heard(&instance), [told(0), told(8), told(9), told(10)]);
    instance.release();
    eventually("all have ended", || stats(&host).heard.answered == 4).await;
    // Few large ones are as bad as many.
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(5 << 20));
    host.events.hear("camera-1", "motion", "{}");
    until(&instance.submitted, |count| *count == 5).await;
    host.events.hear("camera-1", "motion", &large);
    host.events.hear("camera-1", "motion", &large);
    assert_eq!(stats(&host).unheard, 8);
    // One that is too large alone pushes out nothing.
    host.events.hear("camera-1", "motion", &format!(r#"{{"x":"{}"}}"#, "x".repeat(9 << 20)));
    assert_eq!(stats(&host).unheard, 9);
    instance.release();
    until(&instance.submitted, |count| *count == 6).await;
}

#[tokio::test]
async fn a_swap_loses_no_event_and_repeats_none() {
    let host = host();
    host.load("a", listening("a1", true)).await;
    let first = host.instance(0);
    for n in 0..3 {
        send(&host, n);
    }
    until(&first.submitted, |count| *count == 1).await;
    host.load("a", listening("a2", false)).await;
    let second = host.instance(1);
    send(&host, 3);
    assert!(heard(&second).is_empty(), "the one under way comes first");
    first.release();
    until(&second.submitted, |count| *count == 3).await;
    assert_eq!((heard(&first), heard(&second)), (vec![told(0)], vec![told(1), told(2), told(3)]));
    // One that subscribes to nothing hears nothing, and its successor nothing twice.
    host.load("a", Plan { name: "a3", functions: vec!["ping"], ..Plan::default() }).await;
    assert_eq!(send(&host, 4), 0);
    host.load("a", listening("a4", false)).await;
    assert_eq!(send(&host, 5), 1);
    let last = host.instance(3);
    until(&last.submitted, |count| *count == 1).await;
    assert_eq!(heard(&last), [told(5)]);
}

#[tokio::test]
async fn events_wait_while_an_exclusive_plugin_makes_room() {
    let host = host();
    host.load("a", listening("a1", false)).await;
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    operation.vacate().await.unwrap();
    assert_eq!(send(&host, 1), 1);
    host.plan(listening("a2", false));
    let prepared = operation.prepare(package("a")).await.unwrap();
    operation.activate(prepared).await.unwrap();
    let second = host.instance(1);
    until(&second.submitted, |count| *count == 1).await;
    assert_eq!((heard(&host.instance(0)), heard(&second)), (vec![], vec![told(1)]));
}

#[tokio::test]
async fn an_unload_ends_it() {
    let host = host();
    host.load("a", listening("a1", true)).await;
    send(&host, 0);
    send(&host, 1);
    let instance = host.instance(0);
    until(&instance.submitted, |count| *count == 1).await;
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    operation.remove().await.unwrap();
    instance.release();
    until(&instance.shut_down, |down| *down).await;
    assert_eq!(heard(&instance), [told(0)]);
    eventually("nobody listens any more", || host.events.topics().is_empty()).await;
    assert_eq!(send(&host, 2), 0);
}

#[tokio::test]
async fn a_permission_counts_from_the_moment_it_changes() {
    let host = host();
    host.events.forbid(&["mesh.subscribe:camera-*"]);
    host.load("a", listening("a1", true)).await;
    let wish = "mesh.subscribe:camera-*/motion";
    eventually("it is told once what it lacks", || *host.events.wishes.lock().unwrap() == [wish]).await;
    assert_eq!((send(&host, 0), host.events.topics()), (0, vec![vec![]]));

    host.events.forbid(&[]);
    eventually("it listens", || host.events.topics().concat().len() == 1).await;
    assert_eq!(send(&host, 1), 1);
    let instance = host.instance(0);
    until(&instance.submitted, |count| *count == 1).await;

    // What waits when it is taken back is not heard.
    send(&host, 2);
    host.events.forbid(&["mesh.subscribe:*"]);
    assert_eq!(send(&host, 3), 0);
    instance.release();
    eventually("what waited is counted", || stats(&host).unheard == 1).await;
    assert_eq!(heard(&instance), [told(1)]);
    eventually("it is told again", || *host.events.wishes.lock().unwrap() == [wish, wish]).await;
    assert_eq!(host.events.topics(), [vec![]]);
}

#[tokio::test]
async fn what_hosts_tell_of_logs_is_heard_by_name_and_of_the_own_host_never() {
    let host = host();
    let plan = Plan { subscriptions: vec![("*", "*"), ("host-*", "plugin_*")], ..listening("a1", false) };
    host.load("a", plan).await;
    let heard = |device| host.events.hear(device, "plugin_log", "{}");
    assert_eq!((heard("host-1"), heard("host-2")), (0, 0));
    let plan = Plan { subscriptions: vec![("*", "plugin_log")], ..listening("a1", false) };
    host.load("b", plan).await;
    assert_eq!((heard("host-1"), heard("host-2")), (0, 1));
    assert_eq!(host.events.hear("host-1", "motion", "{}"), 1, "other events of its own device it hears");
}
