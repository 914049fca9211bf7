//! Zenoh's own settings (wire contract 2.3).

use super::{list, used};
use crate::config::env;
use crate::config::error::{ConfigError, ConfigWarning};
use crate::config::setting::{Origin, Resolver, Sourced};
use mortise_mesh::{TlsConfig, ZenohConfig, masked_url};

/// Whether there is no router: peers find one another (wire contract 2.3).
#[must_use]
pub fn is_peer_mode(zenoh: &ZenohConfig) -> bool {
    zenoh.urls.iter().all(|url| is_peer_url(url))
}

/// `zenoh://` alone names no broker: it asks for peer mode (wire contract 2.3).
pub(super) fn is_peer_url(url: &str) -> bool {
    url.to_ascii_lowercase().strip_prefix("zenoh://").is_some_and(|rest| rest.chars().all(|c| c == '/'))
}

/// Routers, or peers on the local network.
pub(super) fn resolve(
    resolver: &mut Resolver<'_>,
    urls: Option<Sourced<Vec<String>>>,
    scouting_interface: Option<&str>,
    tls: TlsConfig,
) -> ZenohConfig {
    for url in urls.iter().flat_map(|urls| &urls.value) {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), None | Some("zenoh" | "zenoh+tls")) {
            let (url, origin) = (masked_url(url), urls.as_ref().map_or(Origin::Default, |urls| urls.origin.clone()));
            resolver.errors.push(ConfigError::BrokerUrl { url, origin, backend: "Zenoh" });
        }
    }
    let listen = resolver.env(&[&env::ZENOH_LISTEN]);
    if let Some(listen) = &listen {
        resolver.show("zenoh_listen", &listen.value, &listen.origin);
    }
    let mut zenoh = ZenohConfig {
        urls: urls.map(|urls| urls.value).unwrap_or_default(),
        listen: listen.map(|listen| list(&listen.value).collect()).unwrap_or_default(),
        gossip_multihop: false,
        scouting_interface: None,
        tls: used(tls),
    };
    if !is_peer_mode(&zenoh) {
        scouting_without_effect(resolver, scouting_interface, "with a Zenoh router nobody is scouted for");
        return zenoh;
    }
    let multihop = resolver.switch("", false, &[&env::ZENOH_GOSSIP_MULTIHOP]);
    if let Some(multihop) = &multihop {
        resolver.show("zenoh_gossip_multihop", multihop.value, &multihop.origin);
    }
    zenoh.gossip_multihop = multihop.is_some_and(|multihop| multihop.value);
    let interface =
        resolver.text("--zenoh-scouting-interface", scouting_interface, &[&env::MORTISE_ZENOH_SCOUTING_INTERFACE]);
    if let Some(interface) = &interface {
        resolver.show("zenoh_scouting_interface", &interface.value, &interface.origin);
    }
    zenoh.scouting_interface = interface.map(|interface| interface.value);
    zenoh
}

/// How peers find one another means nothing where there are no peers.
pub(super) fn scouting_without_effect(resolver: &mut Resolver<'_>, interface: Option<&str>, reason: &'static str) {
    let variable = &env::MORTISE_ZENOH_SCOUTING_INTERFACE;
    resolver.without_effect("--zenoh-scouting-interface", interface, variable, reason);
    if resolver.switch("", false, &[&env::ZENOH_GOSSIP_MULTIHOP]).is_some_and(|multihop| multihop.value) {
        let name = env::ZENOH_GOSSIP_MULTIHOP.name;
        resolver.warnings.push(ConfigWarning::WithoutEffect { name, reason });
    }
}
