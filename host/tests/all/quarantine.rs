//! Plugins that lose one instance after the other: they are taken out of service, and somebody has to put them back.

use crate::bundle::{Plugin, version};
use crate::host::{Host, Site, Way};
use crate::neighbour::{self, beside};
use crate::until;
use serde_json::{Value, json};

/// Losses that are too many, where more than one function is to blame.
const LOSSES_MAX: usize = 10;

fn wild() -> Plugin {
    Plugin::of("wild", "hostile")
}

async fn start(site: &Site) -> Host<'_> {
    let host = site.start().await;
    host.wait_for_loaded(&["neighbour"]).await;
    host
}

/// Traps until the plugin is taken out of service. Returns its entry in the list.
async fn provoke(host: &Host<'_>) -> Value {
    for function in ["trap_one", "trap_two"].iter().cycle().take(LOSSES_MAX) {
        assert_eq!(host.fail(function, json!({})).await["data"]["code"], "trap");
    }
    until("the plugin is in quarantine", async || entry(host).await["state"] == "quarantined").await;
    entry(host).await
}

async fn entry(host: &Host<'_>) -> Value {
    let mut list = host.result(Way::Control, "list_plugins", json!({})).await;
    list["available"].as_array_mut().unwrap().iter_mut().find(|plugin| plugin["id"] == "wild").unwrap().take()
}

async fn desired(host: &Host<'_>) -> Value {
    host.succeed("list_plugin_versions", json!({"plugin_id": "wild"})).await["desired"].take()
}

/// What its callers are told.
async fn assert_refused(host: &Host<'_>) {
    for method in ["fine", "wild.fine"] {
        let error = host.fail(method, json!({})).await;
        assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32000), &json!("quarantined")), "{error}");
        assert_eq!(error["data"]["retryable"], false);
        let message = error["message"].as_str().unwrap();
        for part in ["plugin `wild` is in quarantine", "lost 10 times", "`load_plugin`"] {
            assert!(message.contains(part), "{message}");
        }
    }
    assert!(!host.advertised().await.contains(&"fine".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_keeps_trapping_is_taken_out_until_somebody_loads_it() {
    let site = Site::on_nats();
    neighbour::settle(&site);
    let mut host = start(&site).await;
    host.install(&wild()).await;
    let state = async || host.succeed("list_plugins", json!({})).await["loaded"]["wild"]["state"].take();
    assert_eq!(state().await, "running");
    host.fail("trap_one", json!({})).await;
    assert_eq!(state().await, "degraded");
    // An answer ends the series, and the plugin stays degraded for a while.
    assert_eq!(host.call("fine", json!({"message": 1})).await, 1);
    assert_eq!(state().await, "degraded");

    let mut events = host.events().await;
    let entry = beside(&host, provoke(&host)).await;
    let reason = entry["quarantine_reason"].as_str().unwrap();
    assert!(reason.starts_with("its instance was lost 10 times within ") && reason.contains("unreachable"), "{reason}");
    assert_eq!(entry["loaded"], false);
    let unloaded = events.next_where("it is told as an unload", |event| event["method"] == "plugin_unloaded").await;
    assert_eq!((&unloaded["params"]["plugin_id"], &unloaded["params"]["reason"]), (&json!("wild"), &json!(reason)));
    let status = host.succeed("get_status", json!({})).await;
    assert_eq!(status["quarantined_plugins"], json!({"wild": reason}));
    assert_refused(&host).await;
    assert_eq!(desired(&host).await, "quarantined");
    until("it is in the audit log", async || {
        let trail = std::fs::read_to_string(site.state().join("audit.jsonl")).unwrap();
        let mut lines = trail.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.any(|line| {
            line["what"] == "quarantine_plugin"
                && (&line["origin"], &line["plugin_id"], &line["generation"])
                    == (&json!("host"), &json!("wild"), &json!(1))
        })
    })
    .await;

    // It outlasts the host.
    host.kill().await;
    host = start(&site).await;
    assert_eq!(entry_state(&host).await, "quarantined");
    assert_refused(&host).await;

    for cure in ["load_plugin", "reload_plugin"] {
        host.succeed(cure, json!({"plugin_id": "wild"})).await;
        assert_eq!(host.call("fine", json!({"message": 2})).await, 2);
        let list = host.succeed("list_plugins", json!({})).await;
        assert_eq!(list["loaded"]["wild"]["state"], "running", "it begins anew");
        assert_eq!(desired(&host).await, "loaded");
        beside(&host, provoke(&host)).await;
    }
    // Whoever wants it off for good unloads it.
    host.succeed("unload_plugin", json!({"plugin_id": "wild"})).await;
    assert_eq!(desired(&host).await, "unloaded");
    assert_eq!(host.fail("fine", json!({})).await["code"], -32601);
    host.stop().await;
}

async fn entry_state(host: &Host<'_>) -> Value {
    entry(host).await["state"].take()
}

/// Whoever finds the one function that traps can hold a plugin up, and not take it away from the others.
#[tokio::test(flavor = "multi_thread")]
async fn the_callers_of_one_function_do_not_take_a_plugin_out() {
    let site = Site::on_nats();
    neighbour::settle(&site);
    let host = start(&site).await;
    host.install(&wild()).await;
    beside(&host, async {
        for _ in 0..=LOSSES_MAX {
            assert_eq!(host.fail("trap_one", json!({})).await["data"]["code"], "trap");
        }
        assert_eq!(host.call("fine", json!({"message": 1})).await, 1, "it waits for the next instance");
    })
    .await;
    assert_eq!(desired(&host).await, "loaded");
    host.stop().await;
}

/// Where there is a version to go back to, the host goes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_comes_before_a_quarantine() {
    let site = Site::on_nats();
    neighbour::settle(&site);
    let host = start(&site).await;
    let mut sound = version(2);
    sound.manifest["id"] = json!("wild");
    host.install(&sound).await;
    host.install(&wild().with("version", json!("9.0.0"))).await;
    let generation = async || host.succeed("list_plugins", json!({})).await["loaded"]["wild"]["generation"].take();
    assert_eq!(generation().await, 2);
    beside(&host, async {
        for function in ["trap_one", "trap_two", "trap_one"] {
            host.fail(function, json!({})).await;
        }
        until("the version before is back", async || generation().await == 1).await;
    })
    .await;
    let status = host.succeed("get_status", json!({})).await;
    assert_eq!((&status["quarantined_plugins"], desired(&host).await), (&json!({}), json!("loaded")));
    host.stop().await;
}
