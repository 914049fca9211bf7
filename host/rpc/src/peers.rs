//! The devices seen by their presence (wire contract 5.5).

use mortise_model::{DeviceId, Json};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A peer unseen for this long is gone.
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// More peers than this are not kept: a bound against floods, far above any real mesh.
const PEERS_MAX: usize = 10_000;

struct Peer {
    record: Json,
    seen: Instant,
}

/// The peer table. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    own: DeviceId,
    // A std mutex: held for one insertion or one listing, never across an await.
    table: Arc<Mutex<HashMap<Box<str>, Peer>>>,
}

#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    device_id: Cow<'a, str>,
    #[serde(default)]
    departing: bool,
}

impl Peers {
    /// An empty table for the device `own`, which is never in it.
    #[must_use]
    pub fn new(own: DeviceId) -> Self {
        Self { own, table: Arc::default() }
    }

    /// Takes one presence message; what cannot be read is ignored. True when it comes from a device not known before.
    pub(crate) fn observe(&self, payload: &[u8], now: Instant) -> bool {
        let Ok(record) = serde_json::from_slice::<&RawValue>(payload) else {
            return false;
        };
        let Ok(seen) = serde_json::from_str::<Seen<'_>>(record.get()) else {
            return false;
        };
        if seen.device_id == self.own.as_str() || seen.device_id.is_empty() {
            return false;
        }
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.departing {
            table.remove(&*seen.device_id);
            return false;
        }
        let peer = Peer { record: record.to_owned().into(), seen: now };
        if let Some(known) = table.get_mut(&*seen.device_id) {
            *known = peer;
            return false;
        }
        if table.len() >= PEERS_MAX {
            return false;
        }
        table.insert(seen.device_id.into(), peer);
        true
    }

    /// Forgets who has not been seen for 30 s.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, peer| now.duration_since(peer.seen) < PEER_TIMEOUT);
    }

    /// The newest record of every peer, by device id, as a JSON array.
    #[must_use]
    pub fn list(&self) -> Json {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records: Vec<(&str, &Json)> = table.iter().map(|(id, peer)| (&**id, &peer.record)).collect();
        records.sort_by_key(|(id, _)| *id);
        let records: Vec<&Json> = records.into_iter().map(|(_, record)| record).collect();
        // Checked JSON always serialises.
        serde_json::value::to_raw_value(&records).unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(peers: &Peers) -> Vec<String> {
        let list = peers.list().to_value();
        list.as_array().unwrap().iter().map(|peer| peer["device_id"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn peers_come_stay_leave_and_time_out() {
        let peers = Peers::new(DeviceId::new("me").unwrap());
        let start = Instant::now();
        let observe = |payload: &[u8]| peers.observe(payload, start);
        assert!(observe(br#"{"device_id":"b","x":1}"#));
        assert!(observe(br#"{"device_id":"a"}"#));
        assert!(!observe(br#"{"device_id":"b","x":2}"#), "known already");
        for ignored in [&br#"{"device_id":"me"}"#[..], b"nope", b"{}", b"[]", br#"{"device_id":7}"#] {
            assert!(!observe(ignored));
        }
        assert_eq!(ids(&peers), ["a", "b"]);
        assert_eq!(peers.list().to_value()[1]["x"], 2, "the newest record is kept");

        assert!(!observe(br#"{"device_id":"a","departing":true}"#));
        assert_eq!(ids(&peers), ["b"]);

        peers.sweep(start + Duration::from_secs(29));
        assert_eq!(ids(&peers), ["b"]);
        peers.sweep(start + Duration::from_secs(31));
        assert!(ids(&peers).is_empty());
    }
}
