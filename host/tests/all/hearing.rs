//! Plugins that hear events of other devices, as far as they are permitted to (wire contract 8.5).

use crate::bundle::Plugin;
use crate::host::{Host, Site, Way};
use crate::neighbour::{self, beside, stats_of};
use crate::until;
use serde_json::{Value, json};
use std::time::Duration;

fn ears() -> Plugin {
    Plugin::of("ears", "ears").with("permissions", json!({"mesh": {"subscribe": ["camera-*"]}}))
}

async fn tell(host: &Host<'_>, site: &Site, device: &str, event: &str, params: Value) {
    let message = json!({"jsonrpc": "2.0", "method": event, "params": params}).to_string();
    host.peer.publish(&format!("device-connect.{}.{device}.event.{event}", site.tenant), message.into()).await;
}

async fn heard(host: &Host<'_>) -> Value {
    host.call("heard", json!({})).await
}

/// Until what `camera-0` tells is heard; forgets that.
async fn listens(host: &Host<'_>, site: &Site) {
    until("the plugin hears", async || {
        tell(host, site, "camera-0", "motion", json!({})).await;
        heard(host).await["count"] != 0
    })
    .await;
    quiet(host).await;
}

/// Until nothing of what was sent before is on its way any more; forgets what was heard.
async fn quiet(host: &Host<'_>) {
    let mut last = Value::Null;
    until("it is quiet", async || {
        host.peer.round_trip().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = heard(host).await["count"].take();
        std::mem::replace(&mut last, now.clone()) == now
    })
    .await;
    host.call("forget", json!({})).await;
}

async fn subscriptions(host: &Host<'_>) -> Value {
    let listed = host.succeed("list_plugins", json!({})).await;
    let each = listed["loaded"]["ears"]["subscriptions"].as_array().unwrap();
    each.iter().map(|subscription| json!([subscription["name"], subscription["permitted"]])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_hears_what_it_is_permitted_to_in_order() {
    for site in [Site::on_nats(), Site::on_zenoh()] {
        site.policy("[[plugin]]\nid = 'ears'\ngrant = ['mesh.subscribe:camera-*']");
        let host = site.start().await;
        let installed = host.install(&ears()).await;
        assert_eq!(installed["load_result"]["denied"], Value::Null, "{installed}");
        let all = json!([["motion", "all"], ["slow", "all"], ["bad", "all"]]);
        assert_eq!(subscriptions(&host).await, all);
        listens(&host, &site).await;
        tell(&host, &site, "camera-1", "slow", json!({"ms": 200, "n": 0})).await;
        for n in 1..20 {
            tell(&host, &site, "camera-1", "motion", json!({"n": n})).await;
        }
        tell(&host, &site, "door-1", "motion", json!({"n": 20})).await;
        tell(&host, &site, "camera-1", "heat", json!({"n": 21})).await;
        tell(&host, &site, "camera-2", "bad", json!({})).await;
        until("all were heard", async || heard(&host).await["count"] == 20).await;
        let heard = heard(&host).await["heard"].take();
        let first = json!({"device": "camera-1", "event": "slow", "payload": {"ms": 200, "n": 0}});
        // What comes by one topic keeps its order; `slow` comes by another.
        let (slow, motions): (Vec<&Value>, Vec<&Value>) =
            heard.as_array().unwrap().iter().partition(|each| each["event"] == "slow");
        assert_eq!(slow, [&first]);
        let order: Vec<&Value> = motions.iter().map(|each| &each["payload"]["n"]).collect();
        assert_eq!(json!(order), json!((1..20).collect::<Vec<_>>()));
        until("what failed is counted", async || stats_of(&host, "ears").await["subscriptions"]["failed"] == 1).await;
        let logs = host.succeed("get_plugin_logs", json!({"plugin_id": "ears", "level": "warn"})).await;
        let line = logs["lines"][0]["text"].as_str().unwrap();
        assert!(line.starts_with("event `bad` of device `camera-2` failed: "), "{logs}");
        host.succeed("unload_plugin", json!({"plugin_id": "ears"})).await;
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_has_a_silent_plugin_hear_at_once_and_a_revocation_ends_it() {
    let site = Site::on_nats();
    site.policy("# nothing but the default");
    let host = site.start().await;
    let installed = host.install(&ears()).await;
    assert_eq!(installed["load_result"]["denied"][0]["permission"], "mesh.subscribe:camera-*", "{installed}");
    let none = json!([["motion", "none"], ["slow", "none"], ["bad", "none"]]);
    assert_eq!(subscriptions(&host).await, none);
    let permissions = host.succeed("get_plugin_permissions", json!({"plugin_id": "ears"})).await;
    let pending: Vec<&Value> = permissions["pending"].as_array().unwrap().iter().map(|each| &each["command"]).collect();
    let command = |permission: &str| format!("mortise deploy grant ears 'mesh.subscribe:{permission}'");
    assert_eq!(
        json!(pending),
        json!(["camera-*", "camera-*/bad", "camera-*/motion", "camera-*/slow"].map(command)),
        "{permissions}"
    );
    tell(&host, &site, "camera-1", "motion", json!({})).await;
    quiet(&host).await;

    let grant = async |permission: &str, once: bool| {
        let params = json!({"plugin_id": "ears", "permission": permission, "once": once});
        host.ask(Way::Control, "grant_plugin_permission", params).await["result"].take()
    };
    assert_eq!(grant("mesh.subscribe:camera-*", true).await["code"], "invalid_argument", "one event says little");
    assert_eq!(grant("mesh.subscribe:camera-0", false).await["status"], "success");
    assert_eq!(subscriptions(&host).await, json!([["motion", "some"], ["slow", "some"], ["bad", "some"]]));
    listens(&host, &site).await;
    tell(&host, &site, "camera-1", "motion", json!({})).await;
    tell(&host, &site, "camera-0", "motion", json!({"n": 1})).await;
    until("it was heard", async || heard(&host).await["count"] == 1).await;
    assert_eq!(heard(&host).await["heard"][0]["device"], "camera-0", "the other is not permitted");

    let revoke = json!({"plugin_id": "ears", "permission": "mesh.subscribe:*"});
    host.result(Way::Control, "revoke_plugin_permission", revoke).await;
    host.call("forget", json!({})).await;
    tell(&host, &site, "camera-0", "motion", json!({})).await;
    quiet(&host).await;
    tell(&host, &site, "camera-0", "motion", json!({})).await;
    quiet(&host).await;
    assert_eq!(subscriptions(&host).await, none);
    assert_eq!(host.call("heard", json!({})).await["count"], 0);

    // One that ends by itself, and one of which the policy leaves nothing later on.
    let params = json!({"plugin_id": "ears", "permission": "mesh.subscribe:camera-0", "expires_in": "2s"});
    let granted = host.ask(Way::Control, "grant_plugin_permission", params).await["result"].take();
    assert_eq!(granted["status"], "success", "{granted}");
    listens(&host, &site).await;
    until("it has ended", async || subscriptions(&host).await == none).await;
    tell(&host, &site, "camera-0", "motion", json!({})).await;
    quiet(&host).await;
    tell(&host, &site, "camera-0", "motion", json!({})).await;
    host.peer.round_trip().await;
    assert_eq!(heard(&host).await["count"], 0);
    assert_eq!(grant("mesh.subscribe:camera-0", false).await["status"], "success");
    listens(&host, &site).await;
    site.policy("[[plugin]]\nid = '*'\nmax = ['mesh.subscribe:camera-1']");
    until("nothing of it is left", async || subscriptions(&host).await == none).await;
    host.stop().await;
}

/// Its subscriptions outlive a link that breaks, and a swap: of what is told meanwhile nothing is lost and nothing heard
/// twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_under_way_loses_no_event_and_repeats_none() {
    let site = Site::on_nats();
    site.policy("profile = 'development'");
    let host = site.start().await;
    host.install(&ears()).await;
    listens(&host, &site).await;
    let mut sent = 0;
    let mut seen = Vec::new();
    for _ in 0..5 {
        // What one instance heard is gone with it, so it is asked before.
        let telling = async {
            for _ in 0..50 {
                tell(&host, &site, "camera-1", "motion", json!({"n": sent})).await;
                sent += 1;
            }
        };
        telling.await;
        until("all were heard", async || heard(&host).await["heard"].as_array().unwrap().len() == 50).await;
        seen.extend(heard(&host).await["heard"].as_array().unwrap().iter().map(|each| each["payload"]["n"].clone()));
        let reload = host.succeed("reload_plugin", json!({"plugin_id": "ears"}));
        let before = stats_of(&host, "ears").await["subscriptions"]["answered"].as_u64().unwrap();
        let telling = async {
            for _ in 0..50 {
                tell(&host, &site, "camera-2", "motion", json!({})).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::join!(reload, telling);
        until("all were heard", async || {
            stats_of(&host, "ears").await["subscriptions"]["answered"].as_u64().unwrap() >= before + 50
        })
        .await;
        quiet(&host).await;
        let answered = stats_of(&host, "ears").await["subscriptions"]["answered"].as_u64().unwrap();
        assert_eq!(answered, before + 50, "each once");
    }
    assert_eq!(json!(seen), json!((0..sent).collect::<Vec<_>>()));
    assert_eq!(stats_of(&host, "ears").await["subscriptions"]["dropped"], 0);
    host.stop().await;
}

/// A flood of events is the plugin's affair that asked for them, and only as many as it can take.
/// Limit: `queue`.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_events_drops_the_oldest_and_troubles_nobody() {
    let site = Site::on_nats();
    site.policy("profile = 'development'");
    neighbour::settle(&site);
    let host = site.start().await;
    host.wait_for_loaded(&["neighbour"]).await;
    host.install(&ears().with("limits", json!({"queue": 10}))).await;
    listens(&host, &site).await;
    let dropped = async || stats_of(&host, "ears").await["subscriptions"]["dropped"].as_u64().unwrap();
    let before = dropped().await;
    let flood = async {
        tell(&host, &site, "camera-1", "slow", json!({"ms": 1500})).await;
        for n in 0..20_000 {
            tell(&host, &site, "camera-1", "motion", json!({"n": n})).await;
        }
        host.peer.round_trip().await;
        until("all were taken or dropped", async || {
            heard(&host).await["count"].as_u64().unwrap() + dropped().await - before == 20_001
        })
        .await;
    };
    beside(&host, flood).await;
    assert!(dropped().await > before, "while one takes its time ten may wait");
    let answered = async || stats_of(&host, "ears").await["subscriptions"]["answered"].as_u64().unwrap();
    let before = answered().await;
    tell(&host, &site, "camera-1", "motion", json!({"n": "last"})).await;
    until("it goes on hearing", async || answered().await > before).await;
    host.stop().await;
}

/// A manifest that lists what it emits is held to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_emits_only_what_its_manifest_binds_it_to() {
    let site = Site::on_nats();
    let host = site.start().await;
    let mut events = host.events().await;
    let plugin = Plugin::of("behave", "behave").with("permissions", json!({"mesh": {"emit": ["alarm-*"]}}));
    let installed = host.install(&plugin).await;
    assert_eq!(installed["load_result"]["denied"], Value::Null, "it asks for nothing");
    let error = host.fail("emit", json!({"name": "motion", "payload": {}})).await;
    assert_eq!(error["data"]["code"], "not_declared");
    assert!(error["message"].as_str().unwrap().contains("`permissions.mesh.emit`"), "{error}");
    for name in ["alarm-1", "event/alarm-2"] {
        host.call("emit", json!({"name": name, "payload": {}})).await;
        events.next_where("not emitted", |event| event["method"] == name).await;
    }
    assert_eq!(stats_of(&host, "behave").await["refused"], json!({"not_declared": 1}));
    host.stop().await;
}
