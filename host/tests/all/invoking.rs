//! Plugins that call functions: of other plugins, of the host, of other devices.

use crate::bundle::Plugin;
use crate::host::{Host, Site};
use crate::lifecycle::HOST_FUNCTIONS;
use serde_json::{Value, json};

/// Of the host's functions, what a plugin may call.
const LOOKS: [&str; 11] = [
    "get_plugin_artifact_url",
    "get_plugin_authoring_guide",
    "get_plugin_operation",
    "get_plugin_permissions",
    "get_plugin_stats",
    "get_plugin_template",
    "get_status",
    "list_plugin_artifacts",
    "list_plugin_examples",
    "list_plugin_versions",
    "list_plugins",
];

async fn start<'a>(site: &'a Site, permissions: Value) -> Host<'a> {
    site.policy("profile = 'development'");
    site.put(&Plugin::of("caller", "behave").with("permissions", permissions));
    site.put(&Plugin::assembled("hello-world"));
    let host = site.start().await;
    host.wait_for_loaded(&["caller", "hello-world"]).await;
    host
}

fn hello(function: &str) -> Value {
    json!({"function": function, "params": {"name": "neighbour"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_calls_another_where_its_manifest_asks_for_it() {
    let site = Site::on_nats();
    let host = start(&site, json!({"plugins": ["hello-world.*", "hello_world", "fail", "caller.invoke_local"]})).await;
    for name in ["hello_world", "hello-world.hello_world"] {
        assert_eq!(host.call("invoke_local", hello(name)).await, json!({"message": "Hello, neighbour!"}));
    }
    let error = host.fail("invoke_local", json!({"function": "hello-world.nope"})).await;
    assert_eq!(error["data"]["code"], "unknown_method", "{error}");
    let failing = json!({"function": "fail", "params": {"code": "no_paper", "message": "out of paper"}});
    let error = host.fail("invoke_local", failing).await;
    assert_eq!((&error["message"], &error["data"]["code"]), (&json!("out of paper"), &json!("no_paper")));

    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_may_lead_back_to_its_plugin_and_not_to_its_function() {
    let site = Site::on_nats();
    site.policy("profile = 'development'");
    for (id, other) in [("caller", "second.*"), ("second", "caller.*")] {
        site.put(&Plugin::of(id, "behave").with("permissions", json!({"plugins": [other]})));
    }
    let host = site.start().await;
    host.wait_for_loaded(&["caller", "second"]).await;
    let by_way_of = |function: &str, params: Value| {
        let second = json!({"function": function, "params": params});
        json!({"function": "second.invoke_local", "params": second})
    };
    let back = by_way_of("caller.echo", json!({"message": "hello"}));
    assert_eq!(host.call("caller.invoke_local", back).await, "hello");
    let around = by_way_of("caller.invoke_local", hello("hello_world"));
    let error = host.fail("caller.invoke_local", around).await;
    let path = "caller.invoke_local > second.invoke_local > caller.invoke_local";
    assert_eq!(error["message"], format!("the function would wait for itself: {path}"));
    assert_eq!(error["data"]["code"], "call_cycle");
    // Counted where it was called, and no failure of the function that was not.
    let stats = host.succeed("get_plugin_stats", json!({})).await["plugins"].take();
    assert_eq!((&stats["second"]["refused"], &stats["caller"]["refused"]), (&json!({"call_cycle": 1}), &json!({})));
    assert_eq!(crate::ended(&stats["caller"]["calls"]), [3, 1], "{stats}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_without_the_permission_is_refused_with_the_cure() {
    let site = Site::on_nats();
    let host = start(&site, json!({"plugins": ["hello-world.other"]})).await;
    for name in ["hello_world", "hello-world.hello_world", "get_status"] {
        let error = host.fail("invoke_local", hello(name)).await;
        assert_eq!(error["data"]["code"], "permission_denied", "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("`mortise deploy grant caller plugins:{name}`")), "{message}");
    }
    for (function, params) in [("invoke", json!({"device": "other", "function": "f"})), ("discover", json!({}))] {
        assert_eq!(host.fail(function, params).await["data"]["code"], "permission_denied");
    }
    host.stop().await;
}

/// Installing is for those who may: a plugin is none of them, whatever its manifest asks for.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_may_look_at_the_host_and_not_change_it() {
    let site = Site::on_nats();
    let host = start(&site, json!({"plugins": ["*"]})).await;
    let status = host.call("invoke_local", json!({"function": "get_status"})).await;
    assert_eq!(status["loaded_plugins"], json!(["caller", "hello-world"]));
    let params = json!({"function": "unload_plugin", "params": {"plugin_id": "hello-world"}});
    let refusal = host.call("invoke_local", params).await;
    assert_eq!((&refusal["status"], &refusal["code"]), (&json!("error"), &json!("not_allowed")));
    assert_eq!(host.loaded().await, ["caller", "hello-world"]);
    // Closed unless it is known to change and to give away nothing.
    let grants = ["grant_plugin_permission", "revoke_plugin_permission"];
    for name in HOST_FUNCTIONS.into_iter().chain(grants).filter(|name| !LOOKS.contains(name)) {
        let refusal = host.call("invoke_local", json!({"function": name})).await;
        assert_eq!(refusal["code"], "not_allowed", "{name}: {refusal}");
    }
    host.stop().await;
}

/// Two hosts on one mesh: one's plugin finds the other and calls it.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_calls_another_device() {
    for site in [Site::on_nats(), Site::on_zenoh()] {
        let permissions = json!({"mesh": {"invoke": ["*/hello_world"], "discover": true}});
        site.policy("[[plugin]]\nid = 'caller'\ngrant = ['mesh.invoke:*', 'mesh.discover']");
        site.put(&Plugin::of("caller", "behave").with("permissions", permissions));
        let other = site.beside();
        Plugin::assembled("hello-world").put_into(&other.capabilities());
        let callee = other.start().await;
        callee.wait_for_loaded(&["hello-world"]).await;
        let host = site.start().await;
        host.wait_for_loaded(&["caller"]).await;

        crate::until("the other device is discovered", async || {
            let peers = host.call("discover", json!({})).await;
            peers.as_array().unwrap().iter().any(|peer| peer["device_id"] == json!(other.device))
        })
        .await;
        let params = json!({"device": other.device, "function": "hello_world", "params": {"name": "far away"}});
        assert_eq!(host.call("invoke", params).await, json!({"message": "Hello, far away!"}));
        let error = host.fail("invoke", json!({"device": other.device, "function": "get_status"})).await;
        assert_eq!(error["data"]["code"], "permission_denied");
        host.stop().await;
        callee.stop().await;
    }
}
