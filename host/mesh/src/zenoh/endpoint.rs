//! Subjects and server URLs in Zenoh's own forms.

use crate::MeshError;
use crate::secret::masked_url;

const PORT: u16 = 7447;
/// The transports that are built in.
const PROTOCOLS: [&str; 3] = ["tcp", "tls", "udp"];

/// The key expression of a dotted subject or pattern (wire contract 2.2).
pub(super) fn key(subject: &str) -> String {
    if subject.contains('/') {
        return subject.to_owned();
    }
    subject.replace('.', "/").replace("/>", "/**")
}

/// The dotted form of a key that a message came with.
pub(super) fn subject(key: &str) -> String {
    key.replace('/', ".")
}

/// The endpoints that `urls` name, without the empty ones and those that stand for the peer mode (wire contract 2.3).
///
/// # Errors
/// [`MeshError::Setting`] for a transport that is not built in.
pub(super) fn endpoints(urls: &[String]) -> Result<Vec<String>, MeshError> {
    let mut endpoints = Vec::new();
    for url in urls {
        if let Some(scheme) = url.trim().split_once("://").map(|(scheme, _)| scheme)
            && ["mqtt", "mqtts"].iter().any(|mqtt| scheme.eq_ignore_ascii_case(mqtt))
        {
            let reason = format!("`{}`: MQTT is not supported, use NATS or Zenoh", masked_url(url.trim()));
            return Err(MeshError::Setting { setting: "urls", reason });
        }
        if let Some(endpoint) = endpoint(url) {
            check_protocol("urls", &endpoint)?;
            endpoints.push(endpoint);
        }
    }
    Ok(endpoints)
}

/// Refuses what Zenoh would refuse too, but only on every attempt at using it.
pub(super) fn check_protocol(setting: &'static str, endpoint: &str) -> Result<(), MeshError> {
    match endpoint.split_once('/') {
        Some((protocol, _)) if PROTOCOLS.contains(&protocol) => Ok(()),
        _ => Err(MeshError::Setting {
            setting,
            reason: format!("`{}` begins with none of `tcp/`, `tls/` and `udp/`", masked_url(endpoint)),
        }),
    }
}

fn endpoint(url: &str) -> Option<String> {
    let url = url.trim();
    if url.is_empty() {
        return None;
    }
    for (scheme, protocol) in [("zenoh://", "tcp"), ("zenoh+tls://", "tls")] {
        if let Some(prefix) = url.get(..scheme.len())
            && prefix.eq_ignore_ascii_case(scheme)
        {
            let authority = url.get(scheme.len()..)?.split('/').next()?;
            return (!authority.is_empty()).then(|| format!("{protocol}/{}", with_port(authority)));
        }
    }
    if url.contains('/') {
        return Some(url.to_owned());
    }
    Some(format!("tcp/{}", with_port(url)))
}

/// `host:port`, the host in lower case, the brackets of an IPv6 address kept.
fn with_port(authority: &str) -> String {
    let authority = authority.to_ascii_lowercase();
    let after_address = authority.rsplit_once(']').map_or(authority.as_str(), |(_, rest)| rest);
    if after_address.contains(':') { authority } else { format!("{authority}:{PORT}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_become_key_expressions() {
        for (dotted, expected) in [
            ("device-connect.acme.h1.cmd", "device-connect/acme/h1/cmd"),
            ("device-connect.acme.*.event.>", "device-connect/acme/*/event/**"),
            ("device-connect.acme.h1.event.async_reply.br-1", "device-connect/acme/h1/event/async_reply/br-1"),
            ("device-connect.acme.*.presence", "device-connect/acme/*/presence"),
            ("a.>.b", "a/**/b"),
            (">", ">"),
            ("already/a.key", "already/a.key"),
        ] {
            assert_eq!(key(dotted), expected, "`{dotted}`");
        }
        assert_eq!(subject("device-connect/acme/h1/cmd"), "device-connect.acme.h1.cmd");
    }

    #[test]
    fn server_urls_become_endpoints() {
        for (url, expected) in [
            ("zenoh://", None),
            ("zenoh:///", None),
            ("zenoh://h", Some("tcp/h:7447")),
            ("zenoh://h:1", Some("tcp/h:1")),
            ("zenoh+tls://h", Some("tls/h:7447")),
            ("zenoh+tls://H:2", Some("tls/h:2")),
            ("zenoh+tls://h:2/", Some("tls/h:2")),
            ("tcp/h:1", Some("tcp/h:1")),
            ("tls/h:1", Some("tls/h:1")),
            ("udp/h:1", Some("udp/h:1")),
            ("h:1", Some("tcp/h:1")),
            ("h", Some("tcp/h:7447")),
            ("quic/h:1", Some("quic/h:1")),
            ("tls://h:1", Some("tls://h:1")),
            ("nats://h:4222", Some("nats://h:4222")),
            ("zenoh://[::1]:7447", Some("tcp/[::1]:7447")),
            ("zenoh://[::1]", Some("tcp/[::1]:7447")),
            ("[::1]:1", Some("tcp/[::1]:1")),
            ("  zenoh://h:1\t", Some("tcp/h:1")),
            ("", None),
            ("   ", None),
        ] {
            assert_eq!(endpoint(url).as_deref(), expected, "`{url}`");
        }
    }

    #[test]
    fn what_can_never_connect_is_refused_at_once() {
        for (url, expected) in [
            ("mqtts://h:8883", "`mqtts://h:8883`: MQTT is not supported"),
            ("nats://u:p@h:4222", "`nats://***@h:4222` begins with none of"),
            ("tls://h:1", "`tls://h:1` begins with none of"),
            ("quic/h:1", "`quic/h:1` begins with none of"),
        ] {
            let error = endpoints(&[url.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
