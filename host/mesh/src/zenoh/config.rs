//! Settings of a Zenoh session (wire contract 2.3).

use super::endpoint::{check_protocol, endpoints};
use crate::secret::masked_url;
use crate::{MeshError, Pem, TlsConfig};
use ::zenoh::Config;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::net::IpAddr;

/// Where and how to join Zenoh.
#[derive(Clone, Default)]
pub struct ZenohConfig {
    /// Routers, in the forms of wire contract 2.3. None, or none but `zenoh://`, means peer mode: devices find one
    /// another without any infrastructure.
    pub urls: Vec<String>,
    /// Where to listen (`ZENOH_LISTEN`). Empty means Zenoh's default: in peer mode any free TCP port of every
    /// interface, unless `scouting_interface` says less.
    pub listen: Vec<String>,
    /// Whether gossip travels on from peer to peer (`ZENOH_GOSSIP_MULTIHOP`).
    pub gossip_multihop: bool,
    /// The one network interface, by name or by address, that peer mode uses. It is scouted on, and unless `listen`
    /// is given it alone is listened on: a device that is told to stay on one network is not reachable on the others.
    pub scouting_interface: Option<String>,
    /// How TLS is done.
    pub tls: Option<TlsConfig>,
}

impl std::fmt::Debug for ZenohConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A URL may hold a password, even though Zenoh knows none.
        f.debug_struct("ZenohConfig")
            .field("urls", &self.urls.iter().map(|url| masked_url(url)).collect::<Vec<_>>())
            .field("listen", &self.listen)
            .field("gossip_multihop", &self.gossip_multihop)
            .field("scouting_interface", &self.scouting_interface)
            .field("tls", &self.tls)
            .finish()
    }
}

/// Which part this session plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// No router: devices link directly.
    Peer,
    /// All traffic goes through a router, which controls access.
    Client,
}

/// A checked configuration, good for any number of sessions.
pub(super) struct SessionConfig {
    pub(super) mode: Mode,
    /// Fit for logs.
    pub(super) target: String,
    pub(super) config: Config,
}

impl SessionConfig {
    pub(super) async fn new(settings: &ZenohConfig) -> Result<Self, MeshError> {
        let endpoints = endpoints(&settings.urls)?;
        let mode = if endpoints.is_empty() { Mode::Peer } else { Mode::Client };
        let target = match mode {
            Mode::Peer => "peers".to_owned(),
            Mode::Client => endpoints.iter().map(|endpoint| masked_url(endpoint)).collect::<Vec<_>>().join(","),
        };
        let mut config = Config::default();
        match mode {
            Mode::Peer => {
                insert(&mut config, "mode", "mode", &json!("peer"))?;
                // Announcements repeat, so there is no reason to hold up the start until a first peer is found.
                insert(&mut config, "urls", "open/return_conditions/connect_scouted", &json!(false))?;
            }
            Mode::Client => {
                insert(&mut config, "mode", "mode", &json!("client"))?;
                insert(&mut config, "urls", "connect/endpoints", &json!(endpoints))?;
                insert(&mut config, "urls", "connect/exit_on_failure", &json!(false))?;
                let retry = json!({"period_init_ms": 1000, "period_max_ms": 5000, "period_increase_factor": 2.0});
                insert(&mut config, "urls", "connect/retry", &retry)?;
            }
        }
        // A client that scouted would form links of its own, past the router's access control.
        let scouting = json!(mode == Mode::Peer);
        let autoconnect = json!({"router": ["peer", "router"], "peer": ["router", "peer"]});
        for kind in ["multicast", "gossip"] {
            insert(&mut config, "scouting", &format!("scouting/{kind}/enabled"), &scouting)?;
            insert(&mut config, "scouting", &format!("scouting/{kind}/autoconnect"), &autoconnect)?;
        }
        insert(&mut config, "gossip_multihop", "scouting/gossip/multihop", &json!(settings.gossip_multihop))?;
        if let Some(interface) = &settings.scouting_interface {
            insert(&mut config, "scouting_interface", "scouting/multicast/interface", &json!(interface))?;
        }
        let listen = listen(settings, mode);
        for endpoint in &listen {
            check_protocol("listen", endpoint)?;
        }
        if !listen.is_empty() {
            insert(&mut config, "listen", "listen/endpoints", &json!(listen))?;
        }
        if let Some(tls) = &settings.tls {
            insert_tls(&mut config, tls).await?;
        }
        Ok(Self { mode, target, config })
    }
}

fn listen(settings: &ZenohConfig, mode: Mode) -> Vec<String> {
    let given: Vec<String> =
        settings.listen.iter().map(|endpoint| endpoint.trim().to_owned()).filter(|e| !e.is_empty()).collect();
    if !given.is_empty() || mode == Mode::Client {
        return given;
    }
    let Some(interface) = &settings.scouting_interface else { return given };
    let endpoint = match (interface.as_str(), interface.parse::<IpAddr>()) {
        ("auto", _) => return given,
        // The loopback interface by its addresses: Zenoh never announces those of a wildcard endpoint.
        ("lo" | "lo0", _) => "tcp/127.0.0.1:0".to_owned(),
        (_, Ok(IpAddr::V4(address))) => format!("tcp/{address}:0"),
        (_, Ok(IpAddr::V6(address))) => format!("tcp/[{address}]:0"),
        (name, Err(_)) => format!("tcp/[::]:0#iface={name}"),
    };
    vec![endpoint]
}

async fn insert_tls(config: &mut Config, tls: &TlsConfig) -> Result<(), MeshError> {
    let identity = tls.identity()?;
    let parts = [
        ("tls.ca", "root_ca_certificate", tls.ca.as_ref()),
        ("tls.cert", "connect_certificate", identity.map(|(cert, _)| cert)),
        ("tls.key", "connect_private_key", identity.map(|(_, key)| key)),
    ];
    for (setting, field, pem) in parts {
        let Some(pem) = pem else { continue };
        // Read in either case: a missing file is the operator's to mend, not ours to retry for ever.
        let text = pem.read(setting).await?;
        match pem {
            Pem::File(path) => {
                insert(config, setting, &format!("transport/link/tls/{field}"), &json!(path.to_string_lossy()))?;
            }
            Pem::Inline(_) => {
                let encoded = json!(STANDARD.encode(text));
                insert(config, setting, &format!("transport/link/tls/{field}_base64"), &encoded)?;
            }
        }
    }
    if identity.is_some() {
        insert(config, "tls", "transport/link/tls/enable_mtls", &json!(true))?;
    }
    if !tls.verify_hostname {
        insert(config, "tls", "transport/link/tls/verify_name_on_connect", &json!(false))?;
    }
    Ok(())
}

fn insert(config: &mut Config, setting: &'static str, path: &str, value: &Value) -> Result<(), MeshError> {
    config.insert_json5(path, &value.to_string()).map_err(|error| MeshError::Setting {
        setting,
        // The library's words may repeat the value, which may be a key.
        reason: if setting.starts_with("tls") { "refused by Zenoh".to_owned() } else { error.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    async fn session(settings: ZenohConfig) -> SessionConfig {
        SessionConfig::new(&settings).await.unwrap()
    }

    fn value(session: &SessionConfig, path: &str) -> Value {
        serde_json::from_str(&session.config.get_json(path).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn without_endpoints_a_peer_scouts() {
        let session =
            session(ZenohConfig { urls: vec!["zenoh://".to_owned()], gossip_multihop: true, ..ZenohConfig::default() })
                .await;
        assert_eq!(session.mode, Mode::Peer);
        assert_eq!(value(&session, "mode"), "peer");
        assert_eq!(value(&session, "scouting/multicast/enabled"), true);
        assert_eq!(value(&session, "scouting/gossip/enabled"), true);
        assert_eq!(value(&session, "scouting/gossip/multihop"), true);
        // Opening a session waits for nobody.
        assert_eq!(value(&session, "open/return_conditions/connect_scouted"), false);
        assert_eq!(value(&session, "connect/endpoints"), json!([]));
    }

    #[tokio::test]
    async fn with_endpoints_a_client_does_not_scout() {
        let urls = vec!["zenoh+tls://H".to_owned(), String::new(), "tcp/b:1".to_owned()];
        let session = session(ZenohConfig { urls, ..ZenohConfig::default() }).await;
        assert_eq!(session.mode, Mode::Client);
        assert_eq!(value(&session, "mode"), "client");
        assert_eq!(value(&session, "connect/endpoints"), json!(["tls/h:7447", "tcp/b:1"]));
        assert_eq!(value(&session, "connect/exit_on_failure"), false);
        assert_eq!(
            value(&session, "connect/retry"),
            json!({"period_init_ms": 1000, "period_max_ms": 5000, "period_increase_factor": 2.0})
        );
        assert_eq!(value(&session, "scouting/multicast/enabled"), false);
        assert_eq!(value(&session, "scouting/gossip/enabled"), false);
    }

    #[test]
    fn one_interface_is_scouted_and_listened_on() {
        for (interface, given, expected) in [
            ("lo", "", "tcp/127.0.0.1:0"),
            ("10.0.0.7", "", "tcp/10.0.0.7:0"),
            ("fe80::7", "", "tcp/[fe80::7]:0"),
            ("eth1", "", "tcp/[::]:0#iface=eth1"),
            ("lo", " tcp/127.0.0.1:9 ", "tcp/127.0.0.1:9"),
        ] {
            let settings = ZenohConfig {
                scouting_interface: Some(interface.to_owned()),
                listen: vec![given.to_owned()],
                ..ZenohConfig::default()
            };
            assert_eq!(listen(&settings, Mode::Peer), [expected], "`{interface}`");
        }
        let auto = ZenohConfig { scouting_interface: Some("auto".to_owned()), ..ZenohConfig::default() };
        assert!(listen(&auto, Mode::Peer).is_empty());
    }

    #[tokio::test]
    async fn tls_files_and_texts_reach_the_session_without_showing() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, "CA").unwrap();
        let settings = ZenohConfig {
            urls: vec!["zenoh+tls://h".to_owned()],
            tls: Some(TlsConfig {
                ca: Some(Pem::File(ca.clone())),
                cert: Some(Pem::Inline(Secret::new("CERT"))),
                key: Some(Pem::Inline(Secret::new("PRIVATE"))),
                verify_hostname: true,
            }),
            ..ZenohConfig::default()
        };
        let session = session(settings).await;
        assert_eq!(value(&session, "transport/link/tls/root_ca_certificate"), json!(ca));
        assert_eq!(value(&session, "transport/link/tls/enable_mtls"), true);
        assert_eq!(value(&session, "transport/link/tls/verify_name_on_connect"), Value::Null);
        let printed = format!("{:?}", session.config);
        assert!(!printed.contains("PRIVATE") && !printed.contains(&STANDARD.encode("PRIVATE")), "{printed}");
    }

    #[tokio::test]
    async fn bad_settings_are_named() {
        for (settings, expected) in [
            (ZenohConfig { urls: vec!["tls://h:1".to_owned()], ..ZenohConfig::default() }, "urls"),
            (ZenohConfig { listen: vec!["h:1".to_owned()], ..ZenohConfig::default() }, "listen"),
            (
                ZenohConfig {
                    tls: Some(TlsConfig { ca: Some(Pem::File("/nonexistent/ca.pem".into())), ..TlsConfig::default() }),
                    ..ZenohConfig::default()
                },
                "tls.ca",
            ),
            (
                ZenohConfig {
                    tls: Some(TlsConfig { cert: Some(Pem::Inline(Secret::new("C"))), ..TlsConfig::default() }),
                    ..ZenohConfig::default()
                },
                "tls.key",
            ),
        ] {
            match SessionConfig::new(&settings).await {
                Err(MeshError::Setting { setting, .. }) => assert_eq!(setting, expected),
                other => panic!("expected `{expected}` to be refused, got {:?}", other.map(|session| session.target)),
            }
        }
    }
}
