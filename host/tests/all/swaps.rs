//! Changing a plugin while it is used: no call is lost, and a new version that does not work changes nothing.

use crate::bundle::{Plugin, bundle};
use crate::host::{Host, Site, Way};
use crate::until;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Callers at work at once.
const CALLERS: usize = 64;

/// Calls `function` from 64 callers, over the mesh, until `change` is done. Returns how many calls were answered; every
/// answer must be a result that `accept` takes.
pub(crate) async fn under_load(
    host: &Host<'_>,
    function: &str,
    params: Value,
    accept: impl Fn(&Value) -> bool,
    change: impl Future<Output = ()>,
) -> u64 {
    let (done, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let caller = async || {
        while !done.load(Ordering::Relaxed) {
            let reply = host.ask(Way::Mesh, function, params.clone()).await;
            assert!(reply.get("result").is_some_and(&accept), "{reply}");
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let change = async {
        // Once every caller is at work.
        until("every caller has an answer", async || answered.load(Ordering::Relaxed) >= CALLERS as u64).await;
        change.await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(join_all((0..CALLERS).map(|_| caller())), change);
    answered.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_reloads_lose_no_call() {
    let site = Site::on_nats();
    site.put(&Plugin::assembled("demo"));
    let host = site.start().await;
    host.wait_for_loaded(&["demo"]).await;
    let is_echo = |result: &Value| result["message"] == "hello";
    let mut incarnation = 0;
    let reloads = async {
        for _ in 0..200 {
            let reply = host.succeed("reload_plugin", json!({"plugin_id": "demo"})).await;
            let next = reply["incarnation"].as_u64().unwrap();
            assert!(next > incarnation, "{reply}");
            incarnation = next;
        }
    };
    let answered = under_load(&host, "echo", json!({}), is_echo, reloads).await;
    assert!(answered >= 200, "{answered} calls were no load");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_upgrades_lose_no_call_and_every_answer_is_of_one_version() {
    let site = Site::on_nats();
    let host = site.start().await;
    let versions = ["version-1", "version-2"].map(|guest| bundle(&Plugin::of("versioned", guest).tarball()));
    host.succeed("install_plugin_from_bundle", versions[0].clone()).await;
    let is_version = |result: &Value| result == "1.0.0" || result == "2.0.0";
    let upgrades = async {
        for n in 1..=100 {
            host.succeed("install_plugin_from_bundle", versions[n % 2].clone()).await;
            // What was installed serves at once, and brings its own functions only.
            let expected = ["1.0.0", "2.0.0"][n % 2];
            assert_eq!(host.call("version", json!({})).await, expected);
            let added = host.ask(Way::Mesh, "added", json!({})).await;
            assert_eq!(added.get("result").is_some(), n % 2 == 1, "{added}");
        }
    };
    // Some of the calls wait, so that every swap has old calls to drain.
    let waiting = under_load(&host, "version_later", json!({"ms": 5}), is_version, upgrades);
    assert!(waiting.await >= 100);
    host.stop().await;
}

/// Version 2 refuses to start, or never finishes starting: version 1 goes on, with its state.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_fails_leaves_the_old_version_serving() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&Plugin::of("sensor", "version-1")).await;
    assert_eq!(host.call("count", json!({})).await, 1);
    let file = site.capabilities().join("sensor/plugin.wasm");
    let (advertised, code) = (host.advertised().await, std::fs::read(&file).unwrap());
    let mut events = host.events().await;

    let refusal = host.refuse("install_plugin_from_bundle", bundle(&Plugin::of("sensor", "bad-start").tarball())).await;
    assert_eq!(refusal["message"], "Failed to load plugin 'sensor': start failed: the sensor does not answer");
    assert_eq!((&refusal["code"], &refusal["plugin_id"]), (&json!("hook_failed"), &json!("sensor")));
    assert_eq!(host.call("count", json!({})).await, 2);
    assert!(std::fs::read(&file).unwrap() == code, "the refused version was left in the folder");

    // The same by hand: files that were edited in place.
    Plugin::of("sensor", "bad-start").put_into(&site.capabilities());
    let refusal = host.refuse("reload_plugin", json!({"plugin_id": "sensor"})).await;
    assert_eq!(refusal["code"], "hook_failed");
    assert!(refusal["message"].as_str().unwrap().starts_with("Failed to reload plugin 'sensor': "), "{refusal}");
    assert_eq!(host.call("count", json!({})).await, 3);
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    assert_eq!(host.loaded().await, ["sensor"]);
    assert_eq!(host.advertised().await, advertised);
    host.peer.round_trip().await;
    for event in events.arrived() {
        assert_eq!(event["method"], "ticked", "{event}");
        assert_eq!(event["params"]["version"], "1.0.0", "{event}");
    }
    host.stop().await;
}

/// Clients send a request again when its answer is late (wire contract 2.3): it is not done again.
#[tokio::test(flavor = "multi_thread")]
async fn a_lifecycle_call_that_is_repeated_joins_the_first() {
    let site = Site::on_nats();
    site.put(&Plugin::of("versioned", "version-1"));
    let host = site.start().await;
    host.wait_for_loaded(&["versioned"]).await;
    let request = |id: Value, plugin: &str| {
        json!({"jsonrpc": "2.0", "id": id, "method": "reload_plugin", "params": {"plugin_id": plugin}}).to_string()
    };
    let incarnation = async |id: Value| {
        let reply = host.send(Way::Mesh, request(id.clone(), "versioned")).await;
        assert_eq!(reply["id"], id);
        reply["result"]["incarnation"].as_u64().unwrap_or_else(|| panic!("{reply}"))
    };
    // Before the first has answered, and long after.
    let at_once = join_all((0..8).map(|_| incarnation(json!("d2d-1")))).await;
    assert!(at_once.iter().all(|next| *next == at_once[0]), "{at_once:?}");
    assert_eq!(incarnation(json!("d2d-1")).await, at_once[0]);

    let mut others = vec![at_once[0]];
    for id in [json!("d2d-2"), json!(1), json!("1"), json!(null), json!(null)] {
        others.push(incarnation(id).await);
    }
    assert!(others.is_sorted_by(|a, b| a < b), "another id is another call, and null names none: {others:?}");
    let other = host.send(Way::Mesh, request(json!("d2d-1"), "nobody")).await;
    assert_eq!(other["result"]["status"], "error", "other parameters are another call");
    host.stop().await;
}

/// One instance, one plugin: what waits overlaps, and nobody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_overlap_and_hold_nobody_up() {
    let site = Site::on_nats();
    site.put(&Plugin::of("patient", "behave"));
    let host = site.start().await;
    host.wait_for_loaded(&["patient"]).await;

    let running = async || {
        host.result(Way::Control, "list_plugins", json!({})).await["loaded"]["patient"]["health"]["running"].take()
    };
    let long = join_all((0..CALLERS).map(|_| host.ask(Way::Mesh, "sleep_ms", json!({"ms": 50_000}))));
    let meanwhile = async {
        until("all of them are under way at once", async || running().await == CALLERS).await;
        for _ in 0..10 {
            host.succeed("get_status", json!({})).await;
        }
        let short = (0..CALLERS).map(|_| host.call("sleep_ms", json!({"ms": 50})));
        assert_eq!(join_all(short).await, vec![json!(50); CALLERS]);
        assert_eq!(running().await, CALLERS, "others were answered while they waited");
    };
    tokio::select! {
        replies = long => panic!("the long calls ended first: {replies:?}"),
        () = meanwhile => {}
    }
    host.stop().await;
}

/// Limit: `drain_timeout`.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_replaced_has_no_longer_for_its_calls_than_its_manifest_says() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&Plugin::of("slow", "behave").with("limits", json!({"drain_timeout": "100ms"}))).await;
    let long = host.ask(Way::Mesh, "never", json!({}));
    let reload = async {
        // The call is under way before its generation is replaced.
        until("the call has begun", async || {
            let stats = host.succeed("list_plugins", json!({})).await;
            stats["loaded"]["slow"]["health"]["running"] == 1
        })
        .await;
        host.succeed("reload_plugin", json!({"plugin_id": "slow"})).await;
        assert_eq!(host.call("echo", json!({"message": 1})).await, 1);
    };
    let (answer, ()) = tokio::join!(long, reload);
    assert_eq!(answer["error"]["data"]["code"], "stopped", "{answer}");
    host.stop().await;
}
