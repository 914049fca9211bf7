//! Messages as they may arrive, well formed or not (wire contract 3.1 to 3.4).

use crate::bundle::Plugin;
use crate::host::{Host, Site, Way};
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

async fn start(site: &Site) -> Host<'_> {
    site.put(&Plugin::assembled("counter"));
    let host = site.start().await;
    host.wait_for_loaded(&["counter"]).await;
    host
}

/// The id comes back as it was written, of whatever type.
#[tokio::test(flavor = "multi_thread")]
async fn ids_are_echoed() {
    let site = Site::on_nats();
    let host = start(&site).await;
    for way in [Way::Mesh, Way::Control] {
        for id in ["\"d2d-3f9a0c11b2de\"", "7", "-1.5", "18446744073709551615", "null", "\"\"", "\"é\"", "[1]"] {
            let reply = host.send(way, format!(r#"{{"id":{id},"method":"get"}}"#)).await;
            let id: Value = serde_json::from_str(id).unwrap();
            assert_eq!(reply, json!({"jsonrpc": "2.0", "id": id, "result": 0}));
            let reply = host.send(way, format!(r#"{{"id":{id},"method":"nope"}}"#)).await;
            assert_eq!((&reply["id"], &reply["error"]["message"]), (&id, &json!("Unknown method: nope")));
        }
    }
    host.stop().await;
}

/// Without an id a message is neither executed nor answered; with `null` it is both.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_an_id_is_not_executed() {
    let site = Site::on_nats();
    let host = start(&site).await;
    let increment = r#"{"jsonrpc":"2.0","method":"increment"}"#;
    host.tell(increment).await;
    let subject = format!("device-connect.{}.{}.cmd", site.tenant, site.device);
    let answer = host.peer.request(&subject, Bytes::from(increment), Duration::from_millis(300)).await;
    assert_eq!(answer, Err("no answer in time".to_owned()));
    // Messages of one sender to one plugin are taken in order: what came before would have been counted.
    assert_eq!(host.call("get", json!({})).await, 0);

    // With an id it is executed even where nobody waits for the answer.
    host.tell(r#"{"id":null,"method":"increment"}"#).await;
    assert_eq!(host.call("get", json!({})).await, 1);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_answered_and_not_executed() {
    let site = Site::on_nats();
    let host = start(&site).await;
    for way in [Way::Mesh, Way::Control] {
        for (payload, code) in [
            ("nonsense", -32700),
            (r#"{"id":1,"method":"increment""#, -32700),
            ("{\"id\":1,\"method\":\"incr\u{1}ement\"}", -32700),
            (r#"[{"id":1,"method":"increment"}]"#, -32600),
            ("[]", -32600),
            ("\"increment\"", -32600),
            ("null", -32600),
        ] {
            let reply = host.send(way, payload).await;
            assert_eq!((&reply["id"], &reply["error"]["code"]), (&Value::Null, &json!(code)), "{payload}: {reply}");
            assert!(reply.get("result").is_none());
        }
        for (payload, code, message) in [
            (r#"{"id":1}"#, -32601, "Unknown method: None"),
            (r#"{"id":1,"method":null}"#, -32601, "Unknown method: None"),
            (r#"{"id":1,"method":7}"#, -32601, "Unknown method: 7"),
            (r#"{"id":1,"method":"increment","params":[1]}"#, -32602, "params must be a JSON object"),
            (r#"{"id":1,"method":"increment","params":"x"}"#, -32602, "params must be a JSON object"),
        ] {
            let reply = host.send(way, payload).await;
            let error = &reply["error"];
            assert_eq!((&error["code"], &error["message"]), (&json!(code), &json!(message)), "{payload}");
            assert_eq!(reply["id"], 1);
        }
    }
    assert_eq!(host.call("get", json!({})).await, 0);
    assert_eq!(host.send(Way::Mesh, r#"{"id":1,"method":"get","params":null}"#).await["result"], 0);
    let registration = host.send(Way::Mesh, r#"{"id":1,"method":"requestRegistration","params":[1]}"#).await;
    assert_eq!(registration["result"]["device_id"], json!(site.device));
    host.stop().await;
}

/// Parameters that a function does not know, or misses: -32000 in the reference's words (wire contract 3.3).
#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_judged_by_the_real_signature() {
    let site = Site::on_nats();
    site.put(&Plugin::of("behave", "behave"));
    let host = site.start().await;
    host.wait_for_loaded(&["behave"]).await;
    for (method, params, message) in [
        (
            "load_plugin",
            json!({}),
            "Error invoking load_plugin: PluginHostDriver.load_plugin() missing 1 required positional argument: 'plugin_id'",
        ),
        (
            "load_plugin",
            json!({"plugin_id": "x", "foo": 1}),
            "Error invoking load_plugin: PluginHostDriver.load_plugin() got an unexpected keyword argument 'foo'",
        ),
    ] {
        let error = host.fail(method, params).await;
        assert_eq!((&error["code"], &error["message"]), (&json!(-32000), &json!(message)));
    }
    for (params, phrases) in
        [(json!({"a": 1, "bad": 1}), ["unexpected keyword argument", "'bad'"]), (json!({"b": 1}), ["missing", "'a'"])]
    {
        let error = host.fail("add", params).await;
        let message = error["message"].as_str().unwrap();
        assert_eq!(error["code"], -32000);
        assert!(phrases.iter().all(|phrase| message.contains(phrase)), "{message}");
    }
    // What the runtime consumes never reaches a function (wire contract 3.4, 3.5).
    let params = json!({"a": 1, "source_device": "mallory", "_dc_meta": {"source_device": "robot-1"}});
    assert_eq!(host.call("add", params).await, 2);
    let meta =
        json!({"source_device": "robot-1", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"});
    let seen = host.call("surroundings", json!({"_dc_meta": meta})).await;
    assert_eq!((&seen["caller"], &seen["trace_parent"]), (&json!("robot-1"), &meta["traceparent"]));
    assert_eq!((&seen["device"], &seen["tenant"]), (&json!(site.device), &json!(site.tenant)));

    let error = host.fail("fail", json!({"code": "no_paper", "message": "out of paper", "retryable": true})).await;
    assert_eq!((&error["code"], &error["message"]), (&json!(-32000), &json!("out of paper")), "without a prefix");
    assert_eq!((&error["data"]["code"], &error["data"]["retryable"]), (&json!("no_paper"), &json!(true)));
    host.stop().await;
}
