//! NATS over TLS: who is trusted, and what for.

use crate::authority::{Authority, inline};
use crate::nats_server::NatsServer;
use crate::probe::{LIMIT, echo, subject};
use bytes::Bytes;
use mortise_mesh::{Mesh, MeshError, NatsConfig, NatsMesh, Pem, TlsConfig};
use std::time::Duration;
use tempfile::TempDir;

/// An authority, and a broker that it vouches for under `name`.
struct Fixture {
    ca: Authority,
    broker: NatsServer,
    _folder: TempDir,
}

fn fixture(name: &str, more: &str) -> Fixture {
    let ca = Authority::new();
    let (cert, key) = ca.issue(name);
    let folder = tempfile::tempdir().unwrap();
    let path = |file: &str| folder.path().join(file);
    std::fs::write(path("cert.pem"), cert).unwrap();
    std::fs::write(path("key.pem"), key).unwrap();
    std::fs::write(path("ca.pem"), ca.pem()).unwrap();
    let (cert, key, trusted) = (path("cert.pem"), path("key.pem"), path("ca.pem"));
    let tls = format!("tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {trusted:?}{more} }}");
    Fixture { ca, broker: NatsServer::start(&tls), _folder: folder }
}

impl Fixture {
    fn config(&self, tls: TlsConfig) -> NatsConfig {
        let urls = vec![format!("tls://127.0.0.1:{}", self.broker.port())];
        NatsConfig { urls, tls: Some(tls), ..self.broker.config() }
    }
}

async fn works(config: NatsConfig) {
    let mesh = tokio::time::timeout(LIMIT, NatsMesh::connect(config)).await.expect("a connection").unwrap();
    let _served = mesh.serve(&subject("d.cmd"), echo()).await.unwrap();
    assert_eq!(mesh.request(&subject("d.cmd"), Bytes::from_static(b"tls"), LIMIT).await.unwrap(), "tls");
}

/// Without a broker that can be trusted, connecting goes on trying.
async fn never_connects(config: NatsConfig) {
    let attempt = tokio::time::timeout(Duration::from_secs(1), NatsMesh::connect(config)).await;
    assert!(attempt.is_err(), "expected no connection, got {attempt:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inline_authority_is_enough_and_needed() {
    let fixture = fixture("127.0.0.1", "");
    works(fixture.config(fixture.ca.trusted())).await;
    let stranger = Authority::new();
    never_connects(fixture.config(stranger.trusted())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_name_is_verified_unless_an_operator_says_otherwise() {
    let fixture = fixture("elsewhere.example", "");
    never_connects(fixture.config(fixture.ca.trusted())).await;
    works(fixture.config(TlsConfig { verify_hostname: false, ..fixture.ca.trusted() })).await;
    // The chain is checked all the same.
    let stranger = Authority::new();
    never_connects(fixture.config(TlsConfig { verify_hostname: false, ..stranger.trusted() })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_tls_is_never_spoken_to_where_tls_is_set() {
    let ca = Authority::new();
    let broker = NatsServer::start("");
    never_connects(NatsConfig { tls: Some(ca.trusted()), ..broker.config() }).await;
    works(broker.config()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown() {
    let fixture = fixture("127.0.0.1", ", verify: true");
    never_connects(fixture.config(fixture.ca.trusted())).await;
    let (cert, key) = fixture.ca.issue("device");
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("key.pem");
    std::fs::write(&key_file, key).unwrap();
    let shown = TlsConfig { cert: Some(inline(cert)), key: Some(Pem::File(key_file)), ..fixture.ca.trusted() };
    works(fixture.config(shown)).await;
}

#[tokio::test]
async fn unusable_settings_are_named_at_once() {
    let nonsense = || Some(inline("nonsense".to_owned()));
    let missing = Some(Pem::File("/nonexistent/ca.pem".into()));
    for (tls, expected) in [
        (TlsConfig { ca: missing, ..TlsConfig::default() }, "tls.ca"),
        (TlsConfig { ca: nonsense(), ..TlsConfig::default() }, "tls.ca"),
        (TlsConfig { verify_hostname: false, ..TlsConfig::default() }, "tls.ca"),
        (TlsConfig { cert: nonsense(), ..TlsConfig::default() }, "tls.key"),
        (TlsConfig { key: nonsense(), ..TlsConfig::default() }, "tls.cert"),
        (TlsConfig { cert: nonsense(), key: nonsense(), ..TlsConfig::default() }, "tls.ca"),
    ] {
        let config = NatsConfig {
            urls: vec!["tls://127.0.0.1:1".to_owned()],
            auth: None,
            tls: Some(tls),
            name: "test".to_owned(),
        };
        match NatsMesh::connect(config).await {
            Err(MeshError::Setting { setting, .. }) => assert_eq!(setting, expected),
            other => panic!("expected `{expected}` to be refused, got {other:?}"),
        }
    }
}
