//! Plugins that own what only one can have: stopped before the next version starts, and back if that fails.

use crate::bundle::{Plugin, bundle};
use crate::host::{Site, Way};
use crate::swaps::under_load;
use crate::until;
use serde_json::{Value, json};
use std::time::Duration;

/// Of a plugin that shares with nobody.
fn exclusive(guest: &str) -> Plugin {
    Plugin::of("versioned", guest).with("swap", json!("exclusive"))
}

#[tokio::test(flavor = "multi_thread")]
async fn exclusive_upgrades_under_load_lose_no_call() {
    let site = Site::on_nats();
    let host = site.start().await;
    let versions = ["version-1", "version-2"].map(|guest| bundle(&exclusive(guest).tarball()));
    host.succeed("install_plugin_from_bundle", versions[0].clone()).await;
    let mut events = host.events().await;
    let is_version = |result: &Value| result == "1.0.0" || result == "2.0.0";
    let changes = async {
        for n in 1..=20 {
            let reply = host.succeed("install_plugin_from_bundle", versions[n % 2].clone()).await;
            assert_eq!(reply["load_result"]["status"], "success", "{reply}");
            assert_eq!(host.call("version", json!({})).await, ["1.0.0", "2.0.0"][n % 2]);
            assert!(host.advertised().await.contains(&"version".to_owned()));
        }
        let back = host.succeed("rollback_plugin", json!({"plugin_id": "versioned"})).await;
        assert_eq!(back["version"], "1.0.0");
        let count = host.call("count", json!({})).await;
        host.succeed("reload_plugin", json!({"plugin_id": "versioned"})).await;
        assert_eq!((count, host.call("count", json!({})).await), (json!(1), json!(1)), "a reload begins anew");
    };
    let answered = under_load(&host, "version_later", json!({"ms": 5}), is_version, changes).await;
    assert!(answered >= 100, "{answered} calls were no load");
    for n in 0..22 {
        for expected in ["plugin_unloaded", "plugin_loaded"] {
            let event = events.next_where("no event", |event| event["method"] != "ticked").await;
            assert_eq!(event["method"], expected, "back to back, change {n}");
        }
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exclusive_upgrade_that_fails_brings_the_old_version_back() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&exclusive("version-1")).await;
    assert_eq!(host.call("count", json!({})).await, 1);

    // What can be told without starting it costs nothing.
    let broken = Plugin::new("versioned", b"no code".to_vec()).with("swap", json!("exclusive"));
    let refusal = host.refuse("install_plugin_from_bundle", bundle(&broken.tarball())).await;
    assert_eq!((&refusal["code"], refusal.get("restarted")), (&json!("invalid_code"), None), "{refusal}");
    assert_eq!(host.call("count", json!({})).await, 2);

    // The new version need not say that it is exclusive: the old one does.
    let bad = bundle(&Plugin::of("versioned", "bad-start").tarball());
    let refusal = host.refuse("install_plugin_from_bundle", bad.clone()).await;
    assert_eq!(refusal["message"], "Failed to load plugin 'versioned': start failed: the sensor does not answer");
    assert_eq!((&refusal["code"], &refusal["restarted"]), (&json!("hook_failed"), &json!(true)), "{refusal}");
    assert_eq!(host.call("count", json!({})).await, 1, "it was started again");
    assert_eq!(host.loaded().await, ["versioned"]);
    let versions = host.succeed("list_plugin_versions", json!({"plugin_id": "versioned"})).await;
    assert_eq!((&versions["current"], versions["versions"].as_array().unwrap().len()), (&json!(1), 1));

    // Neither starts: the plugin has failed, and both reasons are known.
    std::fs::remove_file(site.state().join("generations/versioned/1/plugin.wasm")).unwrap();
    let refusal = host.refuse("install_plugin_from_bundle", bad).await;
    assert_eq!((&refusal["code"], &refusal["restarted"]), (&json!("hook_failed"), &json!(false)), "{refusal}");
    let failed = host.call("get_status", json!({})).await["failed_plugins"]["versioned"].take();
    let failed = failed.as_str().unwrap();
    assert!(failed.starts_with("start failed: the sensor does not answer; and the version before"), "{failed}");
    assert!(refusal["message"].as_str().unwrap().ends_with(failed), "{refusal}");
    assert_eq!(host.fail("version", json!({})).await["code"], -32601);
    host.succeed("load_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0", "restored from its archive");
    host.stop().await;
}

/// Killed after the old version has ended and before the new one is on record.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_during_an_exclusive_upgrade_comes_back_with_the_old_version() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&exclusive("version-1")).await;
    let upgrade = host.result(Way::Control, "install_plugin_from_bundle", bundle(&exclusive("slow-start").tarball()));
    tokio::select! {
        reply = upgrade => panic!("the upgrade has ended: {reply}"),
        () = until("it has made room", async || host.preparing().await == json!(["versioned"])) => {}
    }
    assert!(host.advertised().await.contains(&"version".to_owned()));
    let waiting = host.ask(Way::Control, "version", json!({}));
    let answered = tokio::time::timeout(Duration::from_millis(100), waiting).await;
    assert!(answered.is_err(), "there was nobody to answer: {answered:?}");
    host.kill().await;

    let host = site.start().await;
    host.wait_for_loaded(&["versioned"]).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    let left = std::fs::read_dir(site.state().join("generations/versioned")).unwrap().count();
    assert_eq!((left, std::fs::read_dir(site.state().join("staging")).unwrap().count()), (1, 0));
    host.stop().await;
}
