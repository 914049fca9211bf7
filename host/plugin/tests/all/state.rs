//! What plugins keep: shared by their generations, saved in the background, gone with an uninstall.

use crate::fake::{Host, Plan, host, package, plugin};
use crate::serving;
use mortise_plugin::Services;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What the disk has of `a`.
fn on_disk(host: &Host) -> Vec<(String, String)> {
    let rows = host.disk.rows.lock().unwrap();
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    // Without the host's own.
    rows.iter()
        .filter(|((owner, key), _)| *owner == plugin("a") && !key.starts_with('\0'))
        .map(|((_, key), value)| (key.clone(), text(value)))
        .collect()
}

fn services(host: &Host, index: usize) -> Arc<Services> {
    Arc::clone(&host.instance(index).services)
}

async fn text(services: &Services, key: &str) -> Option<String> {
    services.state_get(key).await.unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

async fn until_on_disk(host: &Host, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    for _ in 0..1000 {
        if on_disk(host) == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the disk has {:?}, and not {expected:?}", on_disk(host));
}

#[tokio::test]
async fn writes_come_to_disk_together_and_by_themselves() {
    let host = host();
    host.load("a", serving("one", &["ping"])).await;
    let services = services(&host, 0);
    for n in 0..1000 {
        services.state_set("k", n.to_string().as_bytes()).await.unwrap();
        services.state_set("gone", b"").await.unwrap();
    }
    services.state_delete("gone").await.unwrap();
    until_on_disk(&host, &[("k", "999")]).await;
    assert_eq!(host.disk.saves.load(Ordering::Relaxed), 1);
    services.state_set("k", b"flushed").await.unwrap();
    services.state_flush().await.unwrap();
    assert_eq!(on_disk(&host), [("k".to_owned(), "flushed".to_owned())]);
    services.state_flush().await.unwrap();
    assert_eq!(host.disk.saves.load(Ordering::Relaxed), 2, "there was nothing to save");
}

#[tokio::test]
async fn a_disk_that_fails_costs_nothing_but_time() {
    let host = host();
    host.load("a", serving("one", &["ping"])).await;
    let services = services(&host, 0);
    host.disk.fails.store(true, Ordering::Relaxed);
    services.state_set("k", b"1").await.unwrap();
    let failure = services.state_flush().await.unwrap_err();
    assert_eq!((failure.code.as_ref(), failure.retryable), ("state_not_saved", true));
    assert_eq!(host.registry.flush_states().await.unwrap_err().code, "state_not_saved");
    assert_eq!(text(&services, "k").await.as_deref(), Some("1"));
    services.state_set("k", b"2").await.unwrap();
    host.disk.fails.store(false, Ordering::Relaxed);
    services.state_flush().await.unwrap();
    assert_eq!(on_disk(&host), [("k".to_owned(), "2".to_owned())]);
}

#[tokio::test]
async fn a_new_generation_writes_aside_until_it_serves() {
    let host = host();
    host.load("a", Plan { keeps: vec![("k", "one")], ..serving("one", &["ping"]) }).await;
    until_on_disk(&host, &[("k", "one")]).await;
    let one = services(&host, 0);

    host.plan(Plan { fails: true, keeps: vec![("k", "two"), ("new", "two")], ..serving("two", &["ping"]) });
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    operation.prepare(package("a")).await.unwrap_err();
    one.state_flush().await.unwrap();
    assert_eq!((text(&one, "k").await.as_deref(), text(&one, "new").await), (Some("one"), None));

    host.plan(Plan { keeps: vec![("k", "three")], ..serving("three", &["ping"]) });
    let prepared = operation.prepare(package("a")).await.unwrap();
    let three = services(&host, 1);
    assert_eq!(three.state_flush().await.unwrap_err().code, "not_active");
    assert_eq!((text(&one, "k").await.as_deref(), text(&three, "k").await.as_deref()), (Some("one"), Some("three")));
    operation.activate(prepared).await.unwrap();
    assert_eq!(text(&one, "k").await.as_deref(), Some("three"), "both see the same");
    // The old one still has calls to answer.
    one.state_set("late", b"one").await.unwrap();
    assert_eq!(text(&three, "late").await.as_deref(), Some("one"));
    three.state_flush().await.unwrap();
    until_on_disk(&host, &[("k", "three"), ("late", "one")]).await;
}

#[tokio::test]
async fn a_plan_keeps_nothing() {
    let host = host();
    host.plan(Plan { keeps: vec![("k", "planned")], denied: true, ..serving("one", &["ping"]) });
    host.registry.describe(package("a")).await.unwrap();
    host.registry.flush_states().await.unwrap();
    assert_eq!(on_disk(&host), []);
}

#[tokio::test]
async fn what_is_unloaded_is_saved_and_found_again() {
    let host = host();
    host.load("a", serving("one", &["ping"])).await;
    services(&host, 0).state_set("k", b"1").await.unwrap();
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    operation.remove().await.unwrap().unwrap();
    drop(operation);
    until_on_disk(&host, &[("k", "1")]).await;
    assert_eq!(host.registry.stats(&plugin("a")).unwrap().state.size.map(|(entries, _)| entries), Some(1));
    host.runtime.instances.lock().unwrap().clear();
    for _ in 0..1000 {
        if host.registry.stats(&plugin("a")).unwrap().state.size.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(host.registry.stats(&plugin("a")).unwrap().state.size, None, "nobody needs it in memory");
    host.load("a", serving("two", &["ping"])).await;
    assert_eq!(text(&services(&host, 0), "k").await.as_deref(), Some("1"));
}

/// A generation that still answers its last calls writes on: nobody finds that later.
#[tokio::test]
async fn nothing_is_left_of_what_is_uninstalled() {
    let host = host();
    host.load("a", serving("one", &["ping"])).await;
    let one = services(&host, 0);
    one.state_set("k", b"1").await.unwrap();
    one.state_flush().await.unwrap();
    one.state_set("unsaved", b"1").await.unwrap();
    let operation = host.registry.begin(&plugin("a")).await.unwrap();
    operation.remove().await.unwrap().unwrap();
    host.registry.clear_state(&plugin("a")).await.unwrap();
    assert_eq!(on_disk(&host), []);
    drop(operation);
    one.state_set("late", b"1").await.unwrap();
    assert_eq!(one.state_flush().await.unwrap_err().code, "stopped");

    host.load("a", serving("two", &["ping"])).await;
    let two = services(&host, 1);
    assert!(two.state_keys("", None, 9).await.unwrap().is_empty());
    two.state_set("k", b"2").await.unwrap();
    one.state_set("k", b"1").await.unwrap();
    two.state_flush().await.unwrap();
    assert_eq!(on_disk(&host), [("k".to_owned(), "2".to_owned())]);
}

#[tokio::test]
async fn what_cannot_be_forgotten_on_disk_is_forgotten_all_the_same() {
    let host = host();
    host.load("a", serving("one", &["ping"])).await;
    let one = services(&host, 0);
    one.state_set("k", b"1").await.unwrap();
    one.state_flush().await.unwrap();
    host.disk.fails.store(true, Ordering::Relaxed);
    host.registry.clear_state(&plugin("a")).await.unwrap_err();
    host.load("a", serving("two", &["ping"])).await;
    assert_eq!(text(&services(&host, 1), "k").await, None);
    host.disk.fails.store(false, Ordering::Relaxed);
    until_on_disk(&host, &[]).await;
}

#[tokio::test]
async fn reads_writes_and_refusals_are_counted() {
    let host = host();
    host.load("a", serving("one", &["ping"])).await;
    let services = services(&host, 0);
    services.state_set("a", &[0; 35]).await.unwrap();
    services.state_get("a").await.unwrap();
    services.state_keys("", None, 1).await.unwrap();
    assert_eq!(services.state_set("b", &vec![0; 1 << 20]).await.unwrap_err().code, "state_full");
    assert_eq!(services.state_set("", b"").await.unwrap_err().code, "invalid_key");
    let state = host.registry.stats(&plugin("a")).unwrap().state;
    assert_eq!((state.size, state.reads, state.writes, state.refused), (Some((1, 100)), 2, 1, 1));
}
