//! What a host says of its plugins, and does with their calls, before it has loaded them.

use crate::bundle::{Plugin, bundle};
use crate::host::{Host, Site, Way, function_names};
use crate::until;
use serde_json::json;

/// Takes that long to fail, and everything that comes after it waits: plugins are activated in the order of their names.
const OBSTACLE: &str = "2s";

async fn install_all(host: &Host<'_>) {
    host.install(&Plugin::of("versioned", "version-2")).await;
    host.install(&Plugin::assembled("counter")).await;
    host.install(&Plugin::assembled("demo")).await;
    host.succeed("unload_plugin", json!({"plugin_id": "demo"})).await;
    let obstacle = Plugin::of("aaa", "slow-start").with("limits", json!({"start_timeout": OBSTACLE}));
    let mut params = bundle(&obstacle.tarball());
    params["load"] = json!(false);
    host.succeed("install_plugin_from_bundle", params).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_advertises_its_plugins_before_they_are_loaded_and_their_calls_wait() {
    let site = Site::on_nats();
    let host = site.start().await;
    install_all(&host).await;
    let advertised = host.advertised().await;
    host.kill().await;
    // So that nothing is there but what was written down.
    std::fs::remove_dir_all(site.state().join("cache")).unwrap();

    let host = site.spawn(site.command()).await;
    let registration = host.result(Way::Control, "requestRegistration", json!({})).await;
    assert_eq!(function_names(&registration["capabilities"]), advertised, "the very first registration");
    assert_eq!(host.preparing().await, json!(["counter", "versioned"]), "the one that was unloaded is not coming");
    let list = host.result(Way::Control, "list_plugins", json!({})).await;
    assert_eq!(list["loaded"], json!({}));
    let counter = list["available"].as_array().unwrap().iter().find(|entry| entry["id"] == "counter").unwrap();
    assert_eq!((&counter["state"], &counter["loaded"]), (&json!("preparing"), &json!(false)));

    let calls = tokio::join!(
        host.result(Way::Control, "version", json!({})),
        host.result(Way::Control, "versioned.version", json!({})),
        host.result(Way::Control, "increment", json!({"by": 2})),
    );
    assert_eq!(calls, (json!("2.0.0"), json!("2.0.0"), json!(2)));
    host.wait_for_loaded(&["counter", "versioned"]).await;
    assert_eq!(host.preparing().await, json!([]));
    // It is tried once more, when the others are there.
    until("the one that fails is told", async || {
        let status = host.result(Way::Control, "get_status", json!({})).await;
        status["failed_plugins"]["aaa"].as_str().is_some_and(|reason| reason.contains("start failed"))
    })
    .await;
    host.kill().await;

    // One that was advertised and cannot be loaded: its calls are told why.
    std::fs::remove_dir_all(site.state().join("generations/versioned/1")).unwrap();
    std::fs::remove_dir_all(site.state().join("store")).unwrap();
    std::fs::write(site.capabilities().join("versioned/plugin.wasm"), "edited").unwrap();
    let host = site.spawn(site.command()).await;
    let error = host.ask(Way::Control, "version", json!({})).await["error"].take();
    assert_eq!(error["data"]["code"], "plugin_failed", "{error}");
    assert!(error["message"].as_str().unwrap().starts_with("plugin `versioned` could not be loaded: "), "{error}");
    until("it is no longer advertised", async || {
        let registration = host.result(Way::Control, "requestRegistration", json!({})).await;
        !function_names(&registration["capabilities"]).contains(&"version".to_owned())
    })
    .await;
    assert_eq!(host.ask(Way::Control, "version", json!({})).await["error"]["code"], -32601);
    host.kill().await;
}

/// Somebody who changes a plugin before its turn has come at start has the last word.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_can_be_unloaded_before_it_was_loaded() {
    let site = Site::on_nats();
    let host = site.start().await;
    install_all(&host).await;
    host.kill().await;

    // More than are prepared at once: the last has not begun.
    let host = site.start().await;
    until("auto-load is done", async || host.log().contains("auto-load is done")).await;
    for id in ["bbb", "ccc", "ddd"] {
        host.install(&Plugin::of(id, "hello-world")).await;
    }
    host.kill().await;
    let host = site.spawn(site.command()).await;
    assert_eq!(host.preparing().await, json!(["bbb", "ccc", "counter", "ddd", "versioned"]));
    let call = host.ask(Way::Control, "version", json!({}));
    let unload = async {
        let unloaded = host.result(Way::Control, "unload_plugin", json!({"plugin_id": "versioned"})).await;
        assert_eq!(unloaded, json!({"status": "success", "plugin_id": "versioned"}));
    };
    let (answer, ()) = tokio::join!(call, unload);
    // Whichever came first.
    let code = &answer["error"]["data"]["code"];
    assert!(code == "stopped" || code == "unknown_method", "{answer}");
    until("auto-load is done", async || host.log().contains("auto-load is done")).await;
    assert_eq!(host.loaded().await, ["bbb", "ccc", "counter", "ddd"]);
    host.kill().await;
}
