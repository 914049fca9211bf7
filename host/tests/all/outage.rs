//! The broker goes away and comes back: the host never stops running, and is called again soon after.

use crate::bundle::{Plugin, bundle};
use crate::host::{Site, Way};
use crate::until;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long after the broker's return calls and presence may still be missing.
const RECOVERY: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_finds_the_host_again() {
    let site = Site::on_nats();
    site.put(&Plugin::assembled("counter"));
    let mut host = site.start().await;
    host.wait_for_loaded(&["counter"]).await;
    assert_eq!(host.call("increment", json!({})).await, 1);
    for round in 2..=3 {
        site.broker().kill();
        until("the host notices", async || {
            host.result(Way::Control, "get_status", json!({})).await["connected"] == false
        })
        .await;
        // The local store is the truth: without a mesh it runs and can be operated.
        assert_eq!(host.result(Way::Control, "increment", json!({})).await, 2 * round - 2);
        let reload = host.result(Way::Control, "load_plugin", json!({"plugin_id": "nobody"})).await;
        assert_eq!(reload["status"], "error");

        site.broker().restart();
        let back = Instant::now();
        // A client of its own, which knows nothing of the outage.
        host.peer = site.peer().await;
        let subject = format!("device-connect.{}.{}", site.tenant, site.device);
        let mut presence = host.peer.subscribe(&format!("{subject}.presence")).await;
        let increment = r#"{"id":1,"method":"increment"}"#;
        until("a call is answered", async || {
            host.peer.request(&format!("{subject}.cmd"), increment.into(), RECOVERY).await.is_ok()
        })
        .await;
        let (_, seen) = presence.next().await;
        assert!(back.elapsed() < RECOVERY, "it took {:?}", back.elapsed());
        assert_eq!(seen["device_id"], json!(site.device));
        assert_eq!(host.call("get", json!({})).await, 2 * round - 1, "it is the same host, and no call ran twice");
    }
    // What was queued meanwhile is not lost.
    let mut events = host.events().await;
    site.broker().kill();
    until("the host notices", async || host.result(Way::Control, "get_status", json!({})).await["connected"] == false)
        .await;
    host.result(Way::Control, "unload_plugin", json!({"plugin_id": "counter"})).await;
    site.broker().restart();
    let event = events.next_where("no event", |event| event["method"] == "plugin_unloaded").await;
    assert_eq!(event["params"]["plugin_id"], "counter");
    assert!(host.is_running());
    host.stop().await;
}

/// The mesh goes while an install is under way: it is finished here, and its caller can ask later what became of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_install_is_finished_without_the_mesh_and_its_outcome_is_told_later() {
    let site = Site::on_nats();
    let mut host = site.start().await;
    let params = bundle(&Plugin::of("large", "wasi").tarball());
    let request = json!({"jsonrpc": "2.0", "id": "lost", "method": "install_plugin_from_bundle", "params": params});
    host.tell(request.to_string()).await;
    until("the install is under way", async || site.state().join("generations/large").exists()).await;
    // Held where it is until the broker is gone.
    host.signal(rustix::process::Signal::STOP);
    site.broker().kill();
    host.signal(rustix::process::Signal::CONT);
    until("the plugin is loaded", async || host.loaded().await == ["large"]).await;
    let folders = host.result(Way::Control, "folders", json!({})).await;
    assert_eq!(folders, 0, "it serves");
    until("the host notices", async || host.result(Way::Control, "get_status", json!({})).await["connected"] == false)
        .await;

    site.broker().restart();
    host.peer = site.peer().await;
    let ask = json!({"id": 1, "method": "get_plugin_operation", "params": {"request_id": "lost"}}).to_string();
    let subject = format!("device-connect.{}.{}.cmd", site.tenant, site.device);
    until("its outcome is told", async || {
        let Ok(reply) = host.peer.request(&subject, ask.clone().into(), RECOVERY).await else { return false };
        let reply: serde_json::Value = serde_json::from_slice(&reply).unwrap();
        let operation = &reply["result"]["operation"];
        operation["status"] == "done"
            && operation["outcome"]["status"] == "success"
            && operation["plugin_id"] == "large"
    })
    .await;
    assert!(host.advertised().await.contains(&"folders".to_owned()));
    host.stop().await;
}

/// A host may start before its broker.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_starts_without_a_broker_and_stops_without_one() {
    let site = Site::on_nats();
    site.put(&Plugin::assembled("counter"));
    site.broker().kill();
    let mut host = site.spawn(site.command()).await;
    until("the plugin is loaded", async || host.loaded().await == ["counter"]).await;
    let status = host.result(Way::Control, "get_status", json!({})).await;
    assert_eq!(status["connected"], false);
    assert_eq!(host.result(Way::Control, "increment", json!({})).await, 1);
    host.signal(rustix::process::Signal::INT);
    assert_eq!(host.ended(Duration::from_secs(5)).await.code(), Some(0), "{}", host.log());
}

/// While nobody takes events, those of one plugin push none of another's out.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_floods_a_mesh_that_is_away_loses_its_own_events_alone() {
    let site = Site::on_nats();
    site.put(&Plugin::of("loud", "behave"));
    site.put(&Plugin::of("quiet", "behave"));
    let host = site.start().await;
    host.wait_for_loaded(&["loud", "quiet"]).await;
    let mut events = host.events().await;
    site.broker().kill();
    until("the host notices", async || host.result(Way::Control, "get_status", json!({})).await["connected"] == false)
        .await;
    host.result(Way::Control, "quiet.emit", json!({"name": "alarm", "payload": {}})).await;
    let large = json!({"name": "noise", "payload": {"text": "x".repeat(200 << 10)}});
    let dropped = async |plugin: &str| {
        let stats = host.result(Way::Control, "get_plugin_stats", json!({"plugin_id": plugin})).await;
        stats["plugins"][plugin]["events"]["dropped"].as_u64().unwrap()
    };
    until("the queue is full", async || {
        // Beyond the rate it is refused.
        host.ask(Way::Control, "loud.emit", large.clone()).await;
        dropped("loud").await > 0
    })
    .await;
    host.result(Way::Control, "quiet.emit", json!({"name": "second-alarm", "payload": {}})).await;
    assert_eq!(dropped("quiet").await, 0);
    let status = host.result(Way::Control, "get_status", json!({})).await;
    assert_eq!(status["events"]["dropped"], dropped("loud").await);

    site.broker().restart();
    let is_told = |event: &serde_json::Value| event["method"] != "noise" && event["method"] != "plugin_loaded";
    let told = events.next_where("the first event of the quiet one", is_told).await;
    assert_eq!(told["method"], "alarm", "the oldest of all was kept");
    events.next_where("what came last", |event| event["method"] == "second-alarm").await;
    host.stop().await;
}
