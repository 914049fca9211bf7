//! Zenoh through a router, which may restart.

use crate::authority::{Authority, inline};
use crate::contract;
use crate::probe::{LIMIT, echo, eventually, inbox, link_is, linked, next, subject, tenant};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mortise_mesh::{Link, Mesh, MeshError, Message, Pem, TlsConfig, ZenohConfig, ZenohMesh};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn router(port: u16) -> zenoh::Session {
    router_with(&json!({"listen/endpoints": [format!("tcp/127.0.0.1:{port}")]})).await
}

async fn router_with(more: &Value) -> zenoh::Session {
    let mut config = zenoh::Config::default();
    config.insert_json5("mode", "\"router\"").unwrap();
    config.insert_json5("scouting/multicast/enabled", "false").unwrap();
    for (path, value) in more.as_object().unwrap() {
        config.insert_json5(path, &value.to_string()).unwrap();
    }
    eventually("a free port", LIMIT, async || zenoh::open(config.clone()).await.ok()).await
}

fn config(port: u16) -> ZenohConfig {
    ZenohConfig { urls: vec![format!(" zenoh://127.0.0.1:{port}"), String::new()], ..ZenohConfig::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let port = free_port();
    let router = router(port).await;
    let (server, client) = (ZenohMesh::open(config(port)).await.unwrap(), ZenohMesh::open(config(port)).await.unwrap());
    contract::check(&server, &client).await;
    router.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_asks_once() {
    let port = free_port();
    let _router = router(port).await;
    let (server, client) = (ZenohMesh::open(config(port)).await.unwrap(), ZenohMesh::open(config(port)).await.unwrap());
    linked(&server, &client).await;
    let command = subject(format!("{}.h1.cmd", tenant()));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let sink = Arc::new(move |_: Message| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let _served = server.serve(&command, sink).await.unwrap();
    eventually("a first question", LIMIT, async || {
        let silence = client.request(&command, Bytes::new(), LIMIT).await;
        assert!(matches!(silence, Err(MeshError::NoResponders(_))), "{silence:?}");
        (asked.swap(0, Ordering::Relaxed) > 0).then_some(())
    })
    .await;
    let silence = client.request(&command, Bytes::new(), LIMIT).await;
    assert!(matches!(silence, Err(MeshError::NoResponders(_))), "{silence:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_survive_a_restart_of_the_router() {
    let port = free_port();
    let first = router(port).await;
    let (server, client) = (ZenohMesh::open(config(port)).await.unwrap(), ZenohMesh::open(config(port)).await.unwrap());
    let tenant = tenant();
    let command = subject(format!("{tenant}.h1.cmd"));
    let _served = server.serve(&command, echo()).await.unwrap();
    let (sink, mut events) = inbox();
    let _events = server.subscribe(&subject(format!("{tenant}.*.event.>")), sink).await.unwrap();
    let ask = async || client.request(&command, Bytes::new(), Duration::from_millis(500)).await.ok();
    eventually("an answer", LIMIT, ask).await;
    first.close().await.unwrap();
    drop(first);
    link_is(&server, LIMIT, |link| *link == Link::Down).await;
    let late = subject(format!("{tenant}.late.cmd"));
    let _late = server.serve(&late, echo()).await.unwrap();
    let _second = router(port).await;
    assert_eq!(link_is(&server, LIMIT, |link| *link != Link::Down).await, Link::Up(2));
    eventually("an answer after the restart", LIMIT, ask).await;
    eventually("an answer to what was declared meanwhile", LIMIT, async || {
        client.request(&late, Bytes::new(), Duration::from_millis(500)).await.ok()
    })
    .await;
    client.publish(&subject(format!("{tenant}.h1.event.motion")), Bytes::from_static(b"again")).await.unwrap();
    assert_eq!(next(&mut events).await.payload, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_waits_for_a_router_that_comes_later() {
    let port = free_port();
    let opening = tokio::spawn(ZenohMesh::open(config(port)));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!opening.is_finished());
    let _router = router(port).await;
    let mesh = tokio::time::timeout(LIMIT, opening).await.unwrap().unwrap().unwrap();
    assert_eq!(*mesh.link().borrow(), Link::Up(1));
}

/// A portal credential (wire contract 9.2): the device proves itself by certificate, and checks the router's name.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_shown_and_names_checked() {
    // Another test may have installed it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ca = Authority::new();
    let (cert, key) = ca.issue("localhost");
    let base64 = |pem: String| STANDARD.encode(pem);
    let port = free_port();
    let _router = router_with(&json!({
        "listen/endpoints": [format!("tls/127.0.0.1:{port}")],
        "transport/link/tls/enable_mtls": true,
        "transport/link/tls/root_ca_certificate_base64": base64(ca.pem()),
        "transport/link/tls/listen_certificate_base64": base64(cert),
        "transport/link/tls/listen_private_key_base64": base64(key),
    }))
    .await;
    let (cert, key) = ca.issue("h1");
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("key.pem");
    std::fs::write(&key_file, key).unwrap();
    let shown = TlsConfig { cert: Some(inline(cert)), key: Some(Pem::File(key_file)), ..ca.trusted() };
    let open = |host: &str, tls: &TlsConfig| {
        let urls = vec![format!("zenoh+tls://{host}:{port}")];
        let opening = ZenohMesh::open(ZenohConfig { urls, tls: Some(tls.clone()), ..ZenohConfig::default() });
        tokio::time::timeout(Duration::from_secs(3), opening)
    };
    let unnamed = TlsConfig { verify_hostname: false, ..shown.clone() };
    let server = open("localhost", &shown).await.expect("a connection").unwrap();
    let client = open("127.0.0.1", &unnamed).await.expect("a connection without the name").unwrap();
    linked(&server, &client).await;
    assert!(open("127.0.0.1", &shown).await.is_err(), "the certificate is for another name");
    let stranger = TlsConfig { ca: Some(inline(Authority::new().pem())), ..shown.clone() };
    assert!(open("localhost", &stranger).await.is_err(), "the router's authority is unknown");
}
