//! Plugins that panic, never answer or break the contract: their callers hear of it in time, and nobody else notices.

use crate::bundle::Plugin;
use crate::host::{Host, Site};
use crate::neighbour::{self, beside};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn start(site: &Site) -> Host<'_> {
    site.put(&Plugin::of("wild", "behave").with("limits", json!({"turn": "300ms", "call_timeout": "300ms"})));
    neighbour::settle(site);
    let host = site.start().await;
    host.wait_for_loaded(&["neighbour", "wild"]).await;
    host
}

async fn works_again(host: &Host<'_>) {
    assert_eq!(host.call("echo", json!({"message": [1, "two"]})).await, json!([1, "two"]));
}

async fn health(host: &Host<'_>, plugin: &str) -> Value {
    host.succeed("list_plugins", json!({})).await["loaded"][plugin]["health"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_and_a_trap_cost_one_call() {
    let site = Site::on_nats();
    let host = start(&site).await;
    let mut neighbour_calls = 0;
    for (function, params) in [("panic", json!({"message": "out of luck"})), ("panic_later", json!({"ms": 20}))] {
        let error = beside(&host, host.fail(function, params)).await;
        assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32000), &json!("trap")), "{function}: {error}");
        assert_eq!(error["data"]["retryable"], false);
        works_again(&host).await;
        neighbour_calls += 1;
        assert_eq!(host.call("count", json!({})).await, neighbour_calls, "the neighbour keeps its state");
    }
    let health = health(&host, "wild").await;
    assert_eq!(health["traps"], 2, "{health}");
    host.stop().await;
}

/// A call's own deadline answers its caller and leaves the instance alone.
/// Limit: `call_timeout`.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_answers_is_answered_for() {
    let site = Site::on_nats();
    let host = start(&site).await;
    assert_eq!(host.call("counters", json!({})).await["calls"], 1);
    let begun = Instant::now();
    let error = beside(&host, host.fail("never", json!({}))).await;
    assert_eq!(error["data"]["code"], "deadline_exceeded", "{error}");
    // Generous to a busy machine, and far from the minute that a call without a limit may take.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(host.call("counters", json!({})).await["calls"], 2, "the instance lives on");
    assert_eq!(health(&host, "wild").await["traps"], 0);
    host.stop().await;
}

/// Answers that are no JSON, doubled or stray are the plugin's fault and nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_breaks_the_contract_is_told_apart_from_one_that_keeps_it() {
    let site = Site::on_nats();
    site.put(&Plugin::of("raw", "raw").with("limits", json!({"call_timeout": "300ms"})));
    let host = site.start().await;
    host.wait_for_loaded(&["raw"]).await;
    for (function, result) in [("fine", json!(true)), ("later", json!(true)), ("twice_later", json!("first"))] {
        assert_eq!(host.call(function, json!({})).await, result, "{function}");
    }
    for function in ["nan", "trailing", "empty", "nan_later"] {
        let error = host.fail(function, json!({})).await;
        assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32000), &json!("invalid_result")), "{function}");
    }
    assert_eq!(host.call("fine", json!({})).await, true);
    host.stop().await;
}
