//! What components that know WASI only reach over HTTP: the same as others, by the same leave.

use crate::bundle::Plugin;
use crate::host::{Host, Site, Way};
use crate::outgoing::{Server, grant, stats};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// A plugin that asks for nothing.
fn sender() -> Plugin {
    Plugin::of("sender", "wasi-http")
}

/// WASI's word for why there was no answer.
async fn word(host: &Host<'_>, function: &str, params: Value) -> String {
    let error = host.fail(function, params).await;
    assert_eq!(error["data"]["code"], "http", "{error}");
    error["message"].as_str().unwrap().to_owned()
}

async fn log(host: &Host<'_>) -> String {
    host.succeed("get_plugin_logs", json!({"plugin_id": "sender"})).await.to_string()
}

/// A host that lets requests go to this machine, and a plugin that may send some to the server.
async fn connected<'a>(site: &'a Site, server: &Server, limits: Value) -> Host<'a> {
    site.policy("profile = 'development'");
    let host = site.start().await;
    let asked = json!({"http": [server.origin()]});
    host.install(&sender().with("permissions", asked).with("limits", limits)).await;
    host
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_sends_what_it_was_granted_and_nothing_else() {
    let (site, server) = (Site::on_nats(), Server::start().await);
    site.policy("[http]\nnetworks = ['127.0.0.1']");
    let host = site.start().await;
    host.install(&sender()).await;
    let url = server.url("/echo?key=hidden");
    assert_eq!(word(&host, "fetch", json!({"url": url})).await, "ErrorCode::HttpRequestDenied");
    let command = format!("mortise deploy grant sender http:{}", server.origin());
    assert!(log(&host).await.contains(&command), "what WASI has no word for");
    let lacking = host.succeed("get_plugin_permissions", json!({"plugin_id": "sender"})).await;
    assert_eq!(lacking["pending"][0]["command"], json!(command), "{lacking}");
    assert_eq!(server.requests(), 0);

    grant(&host, "sender", &format!("http:{}", server.origin())).await;
    let headers = json!({"x-key": "k", "authorization": "Bearer t", "content-length": "4"});
    let answer = host.call("fetch", json!({"url": url, "method": "POST", "headers": headers, "body": "text"})).await;
    assert_eq!((&answer["status"], &answer["type"]), (&json!(200), &json!("application/json")), "{answer}");
    let told: Value = serde_json::from_str(answer["text"].as_str().unwrap()).unwrap();
    for (field, expected) in
        [("method", "POST"), ("query", "key=hidden"), ("key", "k"), ("authorization", "Bearer t"), ("body", "text")]
    {
        assert_eq!(told[field], expected, "{told}");
    }
    assert!(told["agent"].as_str().unwrap().starts_with("mortise/"), "{told}");
    let counted = stats(&host, "sender").await;
    assert_eq!((&counted["http"]["done"], &counted["denied"]), (&json!(2), &json!(1)), "{counted}");
    assert!(counted["http"]["bytes_sent"].as_u64().unwrap() > 4, "{counted}");
    assert!(counted["http"]["bytes_received"].as_u64().unwrap() > 100, "{counted}");

    // A redirect is an answer; where it leads is another request.
    let other = Server::start().await;
    let answer = host.call("fetch", json!({"url": server.url(&format!("/redirect?to={}", other.url("/echo")))})).await;
    assert_eq!((&answer["status"], &answer["location"]), (&json!(307), &json!(other.url("/echo"))));
    assert_eq!(word(&host, "fetch", json!({"url": other.url("/echo")})).await, "ErrorCode::HttpRequestDenied");
    assert_eq!(other.requests(), 0);
    for name in ["host", "te", "expect", "trailer", "connection", "transfer-encoding"] {
        let error = host.fail("fetch", json!({"url": server.url("/echo"), "headers": {name: "x"}})).await;
        assert_eq!((&error["data"]["code"], &error["message"]), (&json!("headers"), &json!("HeaderError::Forbidden")));
    }
    assert!(!host.log().contains("hidden"), "what a URL carries is not logged");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_and_private_networks_stay_closed_to_components() {
    let (site, server) = (Site::on_nats(), Server::start().await);
    site.policy("[[plugin]]\nid = '*'\ngrant = ['http:http://*:*']");
    let host = site.start().await;
    host.install(&sender().with("permissions", json!({"http": ["http://*:*"]}))).await;
    let port = server.address.port();
    let local = format!("http://localhost:{port}/echo");
    for url in [&server.url("/echo"), &local, "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data"] {
        assert_eq!(word(&host, "fetch", json!({"url": url})).await, "ErrorCode::DestinationIpProhibited", "{url}");
    }
    assert!(log(&host).await.contains("networks = [\\\"127.0.0.1\\\"]"), "the cure");
    assert_eq!(word(&host, "fetch", json!({"url": "ftp://10.0.0.1/"})).await, "ErrorCode::HttpProtocolError");
    let message = word(&host, "fetch", json!({"url": "http://user:secret@10.0.0.1/"})).await;
    assert!(message.contains("InternalError") && message.contains("user name or password"), "{message}");
    assert_eq!(server.requests(), 0);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_components_are_bounded_one_by_one_and_together() {
    let (site, server) = (Site::on_nats(), Server::start().await);
    let host = connected(&site, &server, json!({})).await;
    let most = 8 << 20;
    let (at_limit, over) = (server.url(&format!("/bytes/{most}")), server.url(&format!("/bytes/{}", most + 1)));
    assert_eq!(host.call("fetch", json!({"url": at_limit})).await["bytes"], most);
    assert_eq!(word(&host, "fetch", json!({"url": over})).await, "ErrorCode::HttpResponseBodySize(None)");
    let sent = json!({"url": server.url("/echo"), "method": "POST", "zeros": most + 1});
    let refused = word(&host, "fetch", sent).await;
    assert!(refused.starts_with("ErrorCode::HttpRequestBodySize(Some(8"), "{refused}");
    let trailers = json!({"url": server.url("/echo"), "method": "POST", "body": "x", "trailers": true});
    assert_eq!(word(&host, "fetch", trailers).await, "ErrorCode::HttpRequestTrailerSectionSize(None)");
    assert_eq!(server.requests(), 0);
    assert_eq!(stats(&host, "sender").await["refused"]["request_too_large"], 1);

    // Answers that it keeps without reading them lie in the host.
    for kept in [1, 2] {
        assert_eq!(host.call("keep", json!({"url": at_limit})).await, kept);
    }
    let refused = word(&host, "keep", json!({"url": server.url("/bytes/1")})).await;
    assert_eq!(refused, "ErrorCode::HttpResponseBodySize(Some(1))");
    host.call("drop_kept", json!({})).await;
    assert_eq!(host.call("keep", json!({"url": at_limit})).await, 1);

    for (what, size, taken) in [
        ("method", 64, true),
        ("method", 65, false),
        ("path", (8 << 10) - 1, true),
        ("path", 8 << 10, false),
        ("authority", 255, true),
        ("authority", (8 << 10) + 1, false),
        // The host has a time of its own for it.
        ("connect_timeout", 1, false),
    ] {
        assert_eq!(host.call("takes", json!({"what": what, "size": size})).await, taken, "{what} {size}");
    }
    assert_eq!(stats(&host, "sender").await["losses"], json!({}));
    assert_eq!(host.fail("make_fields", json!({"count": 200})).await["data"]["code"], "trap");
    host.stop().await;
}

/// Limit: `http_requests`, `http_requests_per_second`.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_components_are_few_at_once_and_bounded_in_rate() {
    let (site, server) = (Site::on_nats(), Server::start().await);
    let host = connected(&site, &server, json!({"http_requests": 2, "http_requests_per_second": 10})).await;
    let at_once = async |times: usize| {
        let params = json!({"url": server.url("/slow"), "times": times});
        host.ask(Way::Mesh, "fetch_at_once", params).await
    };
    assert_eq!(at_once(10).await["result"], json!(vec![200; 10]));
    assert_eq!(server.seen.most.load(Ordering::Relaxed), 2, "`limits.http_requests`");
    let refused = at_once(40).await;
    assert_eq!(refused["error"]["message"], "ErrorCode::ConnectionLimitReached", "{refused}");
    assert!(log(&host).await.contains("`limits.http_requests_per_second`"));
    assert!(stats(&host, "sender").await["http"]["refused"].as_u64().unwrap() >= 10);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_a_component_ends_within_its_turn() {
    let (site, server) = (Site::on_nats(), Server::start().await);
    let host = connected(&site, &server, json!({"http_requests": 1, "instances": 2})).await;
    let never = server.url("/never");
    let brief = json!({"url": never, "first_byte_timeout_ms": 50});
    assert_eq!(word(&host, "fetch", brief).await, "ErrorCode::HttpResponseTimeout");
    // Nor does it wait for a body that nobody goes on writing.
    let (unanswered, unfinished) = (json!({"url": never}), json!({"url": server.url("/echo")}));
    let words = tokio::join!(word(&host, "fetch", unanswered), word(&host, "never_finish", unfinished));
    assert_eq!(words, ("ErrorCode::HttpResponseTimeout".to_owned(), "ErrorCode::HttpResponseTimeout".to_owned()));
    assert_eq!(host.call("fetch", json!({"url": server.url("/echo")})).await["status"], 200);
    assert_eq!(stats(&host, "sender").await["losses"], json!({}), "it was told in time");
    host.stop().await;
}
