//! What the device tells of itself: the host's events and those of its plugins (wire contract 8.1, 10.4).

use crate::bundle::Plugin;
use crate::host::Site;
use crate::peer::Inbox;
use serde_json::{Value, json};

/// An event, checked: its subject, its envelope, and exactly one of the two trace families.
async fn next(events: &mut Inbox, site: &Site, name: &str) -> Value {
    let (subject, mut event) = events.next().await;
    assert_eq!(subject, format!("device-connect.{}.{}.event.{name}", site.tenant, site.device), "{event}");
    assert_eq!((&event["jsonrpc"], &event["method"]), (&json!("2.0"), &json!(name)));
    assert!(event.get("id").is_none(), "{event}");
    let mut params = event["params"].take();
    let fields = params.as_object_mut().unwrap();
    let mut text = |key: &str| fields.remove(key).map(|value| value.as_str().unwrap().to_owned());
    let is_hex =
        |text: &str, length| text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    assert!(text("event_id").is_some_and(|id| is_hex(&id, 8)));
    let ts = text("ts").unwrap();
    let form: String = ts.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(form, "9999-99-99T99:99:99Z");
    match (text("_trace_id"), text("_traceparent")) {
        (Some(id), None) => assert!(is_hex(&id, 16), "{id}"),
        (None, Some(_)) => {}
        both => panic!("exactly one trace family, got {both:?}"),
    }
    params
}

#[tokio::test(flavor = "multi_thread")]
async fn lifecycle_and_plugin_events_are_published() {
    let site = Site::on_nats();
    let host = site.start().await;
    let mut events = host.events().await;
    let id = json!({"plugin_id": "counter"});
    let loaded = json!({"plugin_id": "counter", "functions": ["increment", "get", "reset"]});
    let sorted = |mut event: Value| {
        let names = event["functions"].as_array_mut().unwrap();
        names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        event
    };

    host.install(&Plugin::assembled("counter")).await;
    assert_eq!(sorted(next(&mut events, &site, "plugin_loaded").await), sorted(loaded.clone()));
    host.succeed("reload_plugin", id.clone()).await;
    assert_eq!(next(&mut events, &site, "plugin_unloaded").await, id);
    assert_eq!(sorted(next(&mut events, &site, "plugin_loaded").await), sorted(loaded));

    host.call("increment", json!({"by": 3})).await;
    host.call("reset", json!({})).await;
    assert_eq!(next(&mut events, &site, "counter_reset").await, json!({"last": 3}));
    host.succeed("unload_plugin", id.clone()).await;
    assert_eq!(next(&mut events, &site, "plugin_unloaded").await, id);

    // What fails, and what only looks, tells nobody.
    host.refuse("unload_plugin", id.clone()).await;
    host.refuse("load_plugin", json!({"plugin_id": "nobody"})).await;
    host.call("list_plugins", json!({})).await;
    host.peer.round_trip().await;
    assert_eq!(events.arrived(), Vec::<Value>::new());

    let names: Vec<Value> =
        host.capabilities().await["events"].as_array().unwrap().iter().map(|event| event["name"].clone()).collect();
    assert_eq!(names, ["plugin_loaded", "plugin_log", "plugin_unloaded"], "the plugin's own went with it");
    host.stop().await;
}

/// A plugin says what it likes, under a name and with a payload that the mesh can carry.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_emits_what_the_mesh_can_carry() {
    let site = Site::on_nats();
    let host = site.start().await;
    let mut events = host.events().await;
    host.install(&Plugin::of("behave", "behave").with("limits", json!({"event": "1KiB"}))).await;
    next(&mut events, &site, "plugin_loaded").await;
    for name in ["motion", "Motion_2", "door-open"] {
        let payload = json!({"zone": "A", "n": 9_007_199_254_740_993_u64});
        host.call("emit", json!({"name": name, "payload": payload})).await;
        assert_eq!(next(&mut events, &site, name).await, payload);
    }
    for (name, payload, code) in [
        ("a.b", json!({}), "invalid_event"),
        ("", json!({}), "invalid_event"),
        ("motion", json!([1]), "invalid_event"),
        ("motion", json!({"x": "x".repeat(2000)}), "event_too_large"),
    ] {
        let error = host.fail("emit", json!({"name": name, "payload": payload})).await;
        assert_eq!(error["data"]["code"], code, "{error}");
    }
    host.call("background", json!({"times": 2, "ms": 1})).await;
    assert_eq!(next(&mut events, &site, "counted").await, json!({"total": 2}));
    host.stop().await;
}

/// Routines start with their plugin, whenever it is loaded, and end with it (wire contract 8.4).
#[tokio::test(flavor = "multi_thread")]
async fn routines_follow_their_generation() {
    let site = Site::on_nats();
    let host = site.start().await;
    let mut events = host.events().await;
    let ticked = |version: &'static str| {
        move |event: &Value| event["method"] == "ticked" && event["params"]["version"] == version
    };
    host.install(&Plugin::of("versioned", "version-1")).await;
    events.next_where("no tick of version 1", ticked("1.0.0")).await;
    host.install(&Plugin::of("versioned", "version-2")).await;
    events.next_where("no tick of version 2", ticked("2.0.0")).await;
    events.next_where("no tick of version 2", ticked("2.0.0")).await;
    host.succeed("unload_plugin", json!({"plugin_id": "versioned"})).await;
    events.next_where("not unloaded", |event| event["method"] == "plugin_unloaded").await;
    // Long enough for ten ticks, of which one may have been on its way.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    host.peer.round_trip().await;
    let late = events.arrived();
    assert!(late.len() <= 1, "{late:?}");
    host.stop().await;
}

/// The last events and the departure leave before the host does (wire contract 10.4).
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stops_unloads_its_plugins_in_public() {
    for site in [Site::on_nats(), Site::on_zenoh()] {
        site.put(&Plugin::assembled("counter"));
        site.put(&Plugin::assembled("hello-world"));
        let host = site.start().await;
        host.wait_for_loaded(&["counter", "hello-world"]).await;
        let (peer, mut events) = (host.peer.clone(), host.events().await);
        host.stop().await;
        peer.round_trip().await;
        let unloaded: Vec<Value> = events
            .arrived()
            .into_iter()
            .filter(|event| event["method"] == "plugin_unloaded")
            .map(|event| event["params"]["plugin_id"].clone())
            .collect();
        assert_eq!(unloaded, ["counter", "hello-world"]);
    }
}
