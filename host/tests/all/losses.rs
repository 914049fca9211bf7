//! Plugins that loop, trap or panic: their callers hear of it in time, and nobody else notices.

use crate::bundle::Plugin;
use crate::host::{Host, Site};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long one turn, or one call, of the misbehaving plugin may take.
const LIMIT: Duration = Duration::from_millis(300);

async fn start(site: &Site) -> Host<'_> {
    site.put(&Plugin::of("wild", "behave").with("limits", json!({"turn": "300ms", "call_timeout": "300ms"})));
    site.put(&Plugin::of("neighbour", "version-1"));
    let host = site.start().await;
    host.wait_for_loaded(&["neighbour", "wild"]).await;
    host
}

/// Makes a call that fails, while the neighbour is called all the time. Returns the error.
async fn beside_a_neighbour(host: &Host<'_>, function: &str, params: Value) -> Value {
    let begun = Instant::now();
    let failing = host.fail(function, params);
    tokio::pin!(failing);
    let mut answers = 0;
    let error = loop {
        tokio::select! {
            error = &mut failing => break error,
            version = host.call("version", json!({})) => {
                assert_eq!(version, "1.0.0");
                answers += 1;
            }
        }
    };
    let took = begun.elapsed();
    // Generous to a busy machine, and far from the minute that a call without limits may take.
    assert!(took < LIMIT + Duration::from_secs(3), "{function} took {took:?}");
    assert!(answers > 0 || took < LIMIT, "the neighbour was held up for {took:?}");
    error
}

async fn works_again(host: &Host<'_>) {
    assert_eq!(host.call("echo", json!({"message": [1, "two"]})).await, json!([1, "two"]));
}

async fn health(host: &Host<'_>, plugin: &str) -> Value {
    host.succeed("list_plugins", json!({})).await["loaded"][plugin]["health"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_ends_at_its_limit() {
    let site = Site::on_nats();
    let host = start(&site).await;
    for lost in 1..=3 {
        assert_eq!(host.call("counters", json!({})).await["calls"], 1, "a fresh instance begins anew");
        let error = beside_a_neighbour(&host, "spin", json!({})).await;
        assert_eq!(error["code"], -32000);
        let code = error["data"]["code"].as_str().unwrap();
        assert!(["turn_limit", "deadline_exceeded"].contains(&code), "{error}");
        works_again(&host).await;
        assert_eq!(health(&host, "wild").await["traps"], lost);
    }
    // Neither was the neighbour replaced nor did it lose anything.
    assert_eq!(health(&host, "neighbour").await["traps"], 0);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_and_a_trap_cost_one_call() {
    let site = Site::on_nats();
    let host = start(&site).await;
    let mut neighbour_calls = 0;
    for (function, params) in [
        ("panic", json!({"message": "out of luck"})),
        ("panic_later", json!({"ms": 20})),
        ("recurse", json!({"depth": 100_000_000})),
        ("allocate", json!({"mib": 1000})),
    ] {
        let error = beside_a_neighbour(&host, function, params).await;
        assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32000), &json!("trap")), "{function}: {error}");
        assert_eq!(error["data"]["retryable"], false);
        works_again(&host).await;
        neighbour_calls += 1;
        assert_eq!(host.call("count", json!({})).await, neighbour_calls, "the neighbour keeps its state");
    }
    let health = health(&host, "wild").await;
    assert_eq!(health["traps"], 4, "{health}");
    host.stop().await;
}

/// A call's own deadline answers its caller and leaves the instance alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_answers_is_answered_for() {
    let site = Site::on_nats();
    let host = start(&site).await;
    assert_eq!(host.call("counters", json!({})).await["calls"], 1);
    let error = beside_a_neighbour(&host, "never", json!({})).await;
    assert_eq!(error["data"]["code"], "deadline_exceeded", "{error}");
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

/// What would spoil the advertisement of the whole device is left out of it, and the plugin's author told.
#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_is_partly_wrong_is_mended_with_a_warning() {
    let site = Site::on_nats();
    let host = site.start().await;
    for (what, warning, is_odd_callable) in [
        ("twice", "second function `fine` dropped", false),
        ("name", "function dropped: ", false),
        ("schema", "schema of function `odd` replaced by an empty one: ", true),
    ] {
        let reply = host.install(&Plugin::of("raw", "raw").with("config", json!({"describe": what}))).await;
        let warnings = reply["load_result"]["warnings"].as_array().unwrap();
        assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().starts_with(warning), "{reply}");
        let listed = host.succeed("list_plugins", json!({})).await;
        assert_eq!(&listed["loaded"]["raw"]["warnings"], &reply["load_result"]["warnings"]);
        assert_eq!(host.advertised().await.iter().any(|name| name == "odd"), is_odd_callable, "{what}");
        let schema = json!({"type": "object", "properties": {}, "required": []});
        let functions = host.capabilities().await["functions"].take();
        let of_plugin = functions.as_array().unwrap().iter().filter(|function| function["name"] == "fine");
        assert_eq!(of_plugin.map(|function| &function["parameters"]).collect::<Vec<_>>(), [&schema]);
        assert_eq!(host.call("fine", json!({})).await, true);
    }
    host.stop().await;
}
