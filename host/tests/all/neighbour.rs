//! The plugin next door, which must never notice anything.

use crate::bundle::Plugin;
use crate::host::{Host, Site};
use serde_json::{Value, json};

const ID: &str = "neighbour";

/// Puts it where the host finds it at its start.
pub(crate) fn settle(site: &Site) {
    site.put(&Plugin::of(ID, "version-1"));
}

/// Does something beside it, while it is called all the time: each of its calls must be answered well, and its instance
/// must never be lost.
pub(crate) async fn beside<T>(host: &Host<'_>, mischief: impl Future<Output = T>) -> T {
    let call = || host.call("version", json!({}));
    assert_eq!(call().await, "1.0.0");
    let answers_before = stats_of(host, ID).await["calls"]["answered"].as_u64().unwrap();
    tokio::pin!(mischief);
    let outcome = loop {
        tokio::select! {
            outcome = &mut mischief => break outcome,
            version = call() => assert_eq!(version, "1.0.0"),
        }
    };
    assert_eq!(call().await, "1.0.0");
    let stats = stats_of(host, ID).await;
    assert_eq!((&stats["calls"]["failed"], &stats["losses"]), (&json!(0), &json!({})), "{stats}");
    assert!(stats["calls"]["answered"].as_u64().unwrap() > answers_before, "nobody called it meanwhile: {stats}");
    outcome
}

/// What `get_plugin_stats` tells of one plugin.
pub(crate) async fn stats_of(host: &Host<'_>, plugin: &str) -> Value {
    host.succeed("get_plugin_stats", json!({"plugin_id": plugin})).await["plugins"][plugin].take()
}
