//! Finding hosts by their presence messages (wire contract 5.2, 5.3).

use crate::cli::output::CommandError;
use bytes::Bytes;
use mortise_mesh::{Mesh, Message, Sink, Subjects, Subscription};
use mortise_model::{DeviceId, Tenant, is_truthy};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// How long hosts are looked for at most.
const SEARCH_TIME: Duration = Duration::from_secs(3);
/// Once a host was found, others are given this long to show up as well.
const QUIET_TIME: Duration = Duration::from_secs(1);
/// Between two probes: a peer that is linked only now has missed the last.
const PROBE_INTERVAL: Duration = Duration::from_millis(300);
/// Presence messages waiting to be looked at; more are dropped, they come again.
const BACKLOG: usize = 1024;

/// A presence message, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Presence {
    device: DeviceId,
    is_host: bool,
    departing: bool,
    description: String,
}

impl Presence {
    /// None for anything that is no presence message (wire contract 5.5).
    fn parse(payload: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(payload).ok()?;
        let text = |part: &str, key: &str| value.get(part)?.get(key)?.as_str().map(str::to_owned);
        Some(Self {
            device: DeviceId::new(value.get("device_id")?.as_str()?).ok()?,
            is_host: text("identity", "device_type").as_deref() == Some("plugin_host"),
            departing: value.get("departing").is_some_and(is_truthy),
            description: text("identity", "model").or_else(|| text("identity", "description")).unwrap_or_default(),
        })
    }
}

/// The only plugin host of the tenant that answers.
///
/// # Errors
/// When there is none, or several: then they are listed.
pub(super) async fn only_host(mesh: &Arc<dyn Mesh>, tenant: &Tenant) -> Result<DeviceId, CommandError> {
    let hosts = hosts(mesh, tenant).await?;
    let mut ids = hosts.keys();
    match (ids.next(), ids.next()) {
        (Some(host), None) => Ok(host.clone()),
        (None, _) => {
            let error = anyhow::anyhow!("no plugin host was found, neither on this machine nor on the mesh");
            Err(CommandError::failed(error).hint("start one with `mortise run`").hint(
                "name the state folder of a local one with `--state-dir DIR`, or the mesh with `--messaging-url URL`",
            ))
        }
        (Some(_), Some(_)) => {
            let list = hosts.iter().map(|(id, description)| format!("`{id}` ({description})")).collect::<Vec<_>>();
            let error = anyhow::anyhow!("{} plugin hosts were found: {}", hosts.len(), list.join(", "));
            Err(CommandError::failed(error).hint("say which one with `--host ID`"))
        }
    }
}

async fn hosts(mesh: &Arc<dyn Mesh>, tenant: &Tenant) -> Result<BTreeMap<DeviceId, String>, CommandError> {
    let mut search = Search::begin(mesh, tenant).await?;
    let mut hosts = BTreeMap::new();
    let mut end = search.deadline;
    while let Some(presence) = search.next(end).await? {
        if presence.departing {
            hosts.remove(&presence.device);
        } else if presence.is_host && hosts.insert(presence.device, presence.description).is_none() {
            end = search.deadline.min(Instant::now() + QUIET_TIME);
        }
    }
    Ok(hosts)
}

/// Waits until `device` has shown itself, or the search time is over: it may still answer.
pub(super) async fn await_device(mesh: &Arc<dyn Mesh>, tenant: &Tenant, device: &DeviceId) -> Result<(), CommandError> {
    let mut search = Search::begin(mesh, tenant).await?;
    while let Some(presence) = search.next(search.deadline).await? {
        if presence.device == *device && !presence.departing {
            break;
        }
    }
    Ok(())
}

struct Search<'a> {
    mesh: &'a Arc<dyn Mesh>,
    subjects: Subjects,
    received: mpsc::Receiver<Presence>,
    deadline: Instant,
    probe_next: Instant,
    _subscription: Subscription,
}

impl<'a> Search<'a> {
    async fn begin(mesh: &'a Arc<dyn Mesh>, tenant: &Tenant) -> Result<Self, CommandError> {
        let subjects = Subjects::new(tenant.clone());
        let (sender, received) = mpsc::channel(BACKLOG);
        let sink: Sink = Arc::new(move |message: Message| {
            if let Some(presence) = Presence::parse(&message.payload) {
                // Full only in a flood; presence repeats.
                let _ = sender.try_send(presence);
            }
        });
        let subscription = mesh.subscribe(&subjects.presence_of_all(), sink).await?;
        let now = Instant::now();
        Ok(Self { mesh, subjects, received, deadline: now + SEARCH_TIME, probe_next: now, _subscription: subscription })
    }

    /// The next presence message until `end`; probes meanwhile.
    async fn next(&mut self, end: Instant) -> Result<Option<Presence>, CommandError> {
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(None);
            }
            if now >= self.probe_next {
                let ts = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64());
                let probe = Bytes::from(json!({"probe": true, "ts": ts}).to_string());
                self.mesh.publish(&self.subjects.probe(), probe).await?;
                self.probe_next = now + PROBE_INTERVAL;
            }
            if let Ok(presence) = timeout_at(end.min(self.probe_next), self.received.recv()).await {
                return Ok(presence);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mortise_mesh::MemoryMesh;

    /// Devices that answer probes, as they would: the messages of each, one after another at every probe.
    async fn found_among(devices: &[(&str, Value)]) -> Result<DeviceId, CommandError> {
        let tenant = Tenant::new("default").unwrap();
        let subjects = Subjects::new(tenant.clone());
        let seeker = MemoryMesh::new();
        let others = seeker.join();
        let (probed, mut probes) = mpsc::channel(16);
        let sink: Sink = Arc::new(move |_| {
            // One that does not fit is followed by others.
            let _ = probed.try_send(());
        });
        let _subscription = others.subscribe(&subjects.probe(), sink).await.unwrap();
        let answer = async {
            while probes.recv().await.is_some() {
                for (id, message) in devices {
                    let subject = subjects.presence(&DeviceId::new(id).unwrap());
                    others.publish(&subject, Bytes::from(message.to_string())).await.unwrap();
                }
            }
        };
        let mesh: Arc<dyn Mesh> = Arc::new(seeker);
        tokio::select! {
            outcome = only_host(&mesh, &tenant) => outcome,
            () = answer => unreachable!("probes end with the search"),
        }
    }

    fn presence(id: &str, kind: &str) -> Value {
        json!({"device_id": id, "identity": {"device_type": kind, "model": "M"}, "status": {}, "d2d": true})
    }

    #[tokio::test]
    async fn the_only_host_is_taken_among_other_devices() {
        let devices = [("hub", presence("hub", "plugin_host")), ("cam", presence("cam", "camera"))];
        assert_eq!(found_among(&devices).await.unwrap().as_str(), "hub");
    }

    #[tokio::test]
    async fn several_hosts_are_listed_and_the_cure_is_named() {
        let devices = [("hub-b", presence("hub-b", "plugin_host")), ("hub-a", presence("hub-a", "plugin_host"))];
        let error = found_among(&devices).await.unwrap_err();
        assert_eq!(error.chain(), "2 plugin hosts were found: `hub-a` (M), `hub-b` (M)");
        assert_eq!(error.hints, ["say which one with `--host ID`"]);
    }

    #[tokio::test]
    async fn nobody_or_a_host_that_leaves_is_no_host() {
        let leaves = json!({"device_id": "hub", "tenant": "default", "departing": true, "ts": 1.0});
        let devices = [("hub", presence("hub", "plugin_host")), ("hub", leaves), ("x", json!("no presence"))];
        let error = found_among(&devices).await.unwrap_err();
        assert!(error.chain().starts_with("no plugin host was found"), "{}", error.chain());
    }
}
