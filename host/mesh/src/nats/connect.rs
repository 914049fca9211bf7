//! Settings of a NATS connection, its first connection, and the news of its link.

use super::tls;
use crate::backoff::Backoff;
use crate::secret::masked_url;
use crate::{Link, MeshError, Secret, TlsConfig};
use async_nats::{AuthError, Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use nkeys::KeyPair;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Between two attempts at reconnecting (wire contract 2.4); the first one is made at once.
const RECONNECT_PAUSE: Duration = Duration::from_secs(2);
/// Two unanswered pings in a row mean that the broker is gone.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// A credential that was refused so often is wrong (wire contract 8.6, step 1).
const REFUSALS_MAX: u32 = 3;
/// Messages that may lie between the client and a subscription. More are lost, as NATS does with slow consumers;
/// sinks don't block, so only a flood gets there.
const SUBSCRIPTION_CAPACITY: usize = 16_384;

/// Where and how to connect to NATS.
#[derive(Clone)]
pub struct NatsConfig {
    /// Brokers of one cluster: `nats://host:4222`, `tls://host:4222` or `host:4222`. Empty ones are ignored.
    pub urls: Vec<String>,
    /// The device's credential.
    pub auth: Option<NatsAuth>,
    /// How TLS is done. Without, a `tls://` broker is checked against the system's authorities.
    pub tls: Option<TlsConfig>,
    /// What the broker calls this connection in its own lists: the device id.
    pub name: String,
}

impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a password.
        f.debug_struct("NatsConfig")
            .field("urls", &self.urls.iter().map(|url| masked_url(url)).collect::<Vec<_>>())
            .field("auth", &self.auth)
            .field("tls", &self.tls)
            .field("name", &self.name)
            .finish()
    }
}

/// A user JWT and the seed of its key (wire contract 2.4: both or none).
#[derive(Debug, Clone)]
pub struct NatsAuth {
    /// The JWT.
    pub jwt: Secret,
    /// The NKey seed, `SU…`.
    pub seed: Secret,
}

/// Connects as [`super::NatsMesh::connect`] promises.
pub(super) async fn connect(config: NatsConfig) -> Result<(Client, watch::Receiver<Link>), MeshError> {
    let servers = servers(&config.urls)?;
    let target = config.urls.iter().map(|url| masked_url(url.trim())).collect::<Vec<_>>().join(",");
    // Nobody sees this link before there is one, so it begins as the first.
    let (link, link_receiver) = watch::channel(Link::Up(1));
    let options = options(config, LinkNews { link, links: AtomicU64::new(0), lost: AtomicU64::new(0) }).await?;
    let mut backoff = Backoff::new();
    let mut refusals = 0;
    loop {
        let error = match options.clone().connect(servers.as_slice()).await {
            Ok(client) => return Ok((client, link_receiver)),
            Err(error) => error,
        };
        if is_refusal(&error) {
            refusals += 1;
            if refusals == REFUSALS_MAX {
                return Err(MeshError::Connect { target, reason: error.to_string() });
            }
        }
        let pause = backoff.pause();
        tracing::warn!(%target, %error, ?pause, "failed to connect to the broker, trying again");
        tokio::time::sleep(pause).await;
    }
}

fn servers(urls: &[String]) -> Result<Vec<ServerAddr>, MeshError> {
    let invalid = |reason| MeshError::Setting { setting: "urls", reason };
    let mut servers = Vec::new();
    for url in urls.iter().map(|url| url.trim()).filter(|url| !url.is_empty()) {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            None | Some("nats" | "tls") => {}
            Some("mqtt" | "mqtts") => {
                return Err(invalid(format!("`{}`: MQTT is not supported, use NATS or Zenoh", masked_url(url))));
            }
            Some(_) => return Err(invalid(format!("`{}` is not a NATS URL", masked_url(url)))),
        }
        // The library's words may repeat the URL with its password, so they are not passed on.
        servers.push(url.parse().map_err(|_| invalid(format!("`{}` is not a NATS URL", masked_url(url))))?);
    }
    if servers.is_empty() {
        return Err(invalid("at least one NATS URL is needed".to_owned()));
    }
    Ok(servers)
}

async fn options(config: NatsConfig, news: LinkNews) -> Result<ConnectOptions, MeshError> {
    let news = Arc::new(news);
    let mut options = ConnectOptions::new()
        .name(config.name)
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .reconnect_delay_callback(|attempt| if attempt <= 1 { Duration::ZERO } else { RECONNECT_PAUSE })
        .event_callback(move |event| {
            news.take(event);
            std::future::ready(())
        });
    if let Some(auth) = config.auth {
        let key = KeyPair::from_seed(auth.seed.expose().trim())
            .map_err(|error| MeshError::Setting { setting: "auth.seed", reason: error.to_string() })?;
        let key = Arc::new(key);
        options = options.jwt(auth.jwt.expose().trim().to_owned(), move |nonce| {
            std::future::ready(key.sign(&nonce).map_err(AuthError::new))
        });
    }
    // The library follows the broker's word otherwise: one that does not ask for TLS would be spoken to in the clear.
    let tls_url = config.urls.iter().any(|url| url.trim().to_ascii_lowercase().starts_with("tls://"));
    options = options.require_tls(config.tls.is_some() || tls_url);
    if let Some(tls) = &config.tls
        && let Some(client_config) = tls::client_config(tls).await?
    {
        options = options.tls_client_config(client_config);
    }
    Ok(options)
}

/// Whether the broker refused the credential, in whichever words.
fn is_refusal(error: &ConnectError) -> bool {
    let words = error.to_string().to_ascii_lowercase();
    matches!(error.kind(), ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation)
        || ["authoriz", "authentic", "permissions violation"].iter().any(|word| words.contains(word))
}

/// Turns the client's events into the state of the link.
struct LinkNews {
    link: watch::Sender<Link>,
    links: AtomicU64,
    lost: AtomicU64,
}

impl LinkNews {
    fn take(&self, event: Event) {
        match event {
            Event::Connected => {
                let count = self.links.fetch_add(1, Ordering::Relaxed) + 1;
                if count > 1 {
                    tracing::info!(count, "linked to the broker again");
                }
                self.set(Link::Up(count));
            }
            Event::Disconnected => {
                tracing::warn!("lost the broker, trying again");
                self.set(Link::Down);
            }
            Event::Closed => self.set(Link::Down),
            Event::SlowConsumer(_) => {
                // One of these comes for every lost message: say so ever more rarely.
                let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
                if lost.is_power_of_two() {
                    tracing::warn!(lost, "messages were lost: they came faster than they were taken");
                }
            }
            Event::ServerError(error) => tracing::error!(%error, "the broker reported an error"),
            Event::ClientError(error) => tracing::warn!(%error, "failed to reach the broker"),
            Event::LameDuckMode | Event::Draining => tracing::debug!(%event, "news from the broker"),
        }
    }

    fn set(&self, link: Link) {
        self.link.send_if_modified(|current| std::mem::replace(current, link) != link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(urls: &[&str]) -> Vec<String> {
        urls.iter().map(|url| (*url).to_owned()).collect()
    }

    #[test]
    fn urls_are_trimmed_and_empty_ones_ignored() {
        let servers = servers(&texts(&[" nats://a:1 ", "", "tls://b", "c:3"])).unwrap();
        let found: Vec<_> = servers.iter().map(|s| (s.host(), s.port(), s.tls_required())).collect();
        assert_eq!(found, [("a", 1, false), ("b", 4222, true), ("c", 3, false)]);
    }

    #[test]
    fn other_urls_are_refused_without_their_passwords() {
        for (url, reason) in [
            ("mqtt://h:1883", "`mqtt://h:1883`: MQTT is not supported, use NATS or Zenoh"),
            ("MQTTS://u:p@h", "`MQTTS://***@h`: MQTT is not supported, use NATS or Zenoh"),
            ("zenoh+tls://h", "`zenoh+tls://h` is not a NATS URL"),
            ("ws://h", "`ws://h` is not a NATS URL"),
            ("nats://u:p@h:x", "`nats://***@h:x` is not a NATS URL"),
            ("  ", "at least one NATS URL is needed"),
        ] {
            match servers(&texts(&[url])) {
                Err(MeshError::Setting { setting: "urls", reason: found }) => assert_eq!(found, reason),
                other => panic!("`{url}` gave {other:?}"),
            }
        }
    }

    #[test]
    fn a_credential_never_prints() {
        let config = NatsConfig {
            urls: texts(&["nats://user:hunter2@h"]),
            auth: Some(NatsAuth { jwt: Secret::new("eyJ0"), seed: Secret::new("SUAM") }),
            tls: Some(TlsConfig { key: Some(crate::Pem::Inline(Secret::new("KEY"))), ..TlsConfig::default() }),
            name: "d".to_owned(),
        };
        let printed = format!("{config:?}");
        for secret in ["eyJ0", "SUAM", "KEY", "hunter2"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
