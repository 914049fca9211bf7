//! The devices seen by their presence (wire contract 5.5).

use mortise_model::{DeviceId, Json, is_truthy};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// A peer unseen for this long is gone.
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// More peers than this are not kept: a bound against floods, far above any real mesh.
const PEERS_MAX: usize = 10_000;

/// The longest presence message that is kept: what a NATS broker carries unless configured otherwise.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// The bytes of all presence messages together that are kept.
const TABLE_BYTES_MAX: usize = 64 << 20;

struct Peer {
    record: Json,
    seen: Instant,
}

/// The peer table. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    own: DeviceId,
    // A std mutex: held for one insertion or one listing, never across an await.
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    peers: HashMap<Box<str>, Peer>,
    /// Of all records.
    bytes: usize,
    /// Messages that there was no room for.
    ignored: u64,
}

impl Table {
    fn remove(&mut self, id: &str) {
        if let Some(peer) = self.peers.remove(id) {
            self.bytes -= peer.record.as_str().len();
        }
    }

    /// Keeps `peer` where it fits. True when it was not known before.
    fn keep(&mut self, id: Cow<'_, str>, peer: Peer) -> bool {
        let known = self.peers.get(&*id).map(|known| known.record.as_str().len());
        let bytes = self.bytes - known.unwrap_or(0) + peer.record.as_str().len();
        if bytes > TABLE_BYTES_MAX || (known.is_none() && self.peers.len() >= PEERS_MAX) {
            self.ignore();
            return false;
        }
        self.bytes = bytes;
        self.peers.insert(id.into(), peer);
        known.is_none()
    }

    fn ignore(&mut self) {
        self.ignored += 1;
        if self.ignored.is_power_of_two() {
            warn!(
                ignored = self.ignored,
                peers = self.peers.len(),
                bytes = self.bytes,
                "no room for presence messages"
            );
        }
    }
}

#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    device_id: Cow<'a, str>,
    #[serde(borrow, default)]
    departing: Option<&'a RawValue>,
}

impl Seen<'_> {
    /// Whatever is truthy says goodbye (wire contract 5.5).
    fn is_departing(&self) -> bool {
        self.departing
            .is_some_and(|departing| serde_json::from_str(departing.get()).is_ok_and(|value| is_truthy(&value)))
    }
}

impl Peers {
    /// An empty table for the device `own`, which is never in it.
    #[must_use]
    pub fn new(own: DeviceId) -> Self {
        Self { own, table: Arc::default() }
    }

    /// Takes one presence message; what cannot be read, is longer than 1 MiB or finds no room is ignored. True when it
    /// comes from a device not known before.
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
        if seen.is_departing() {
            table.remove(&seen.device_id);
            return false;
        }
        if record.get().len() > RECORD_BYTES_MAX {
            table.ignore();
            return false;
        }
        let peer = Peer { record: record.to_owned().into(), seen: now };
        table.keep(seen.device_id, peer)
    }

    /// Forgets who has not been seen for 30 s.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        table.peers.retain(|_, peer| {
            let stays = now.duration_since(peer.seen) < PEER_TIMEOUT;
            bytes += if stays { peer.record.as_str().len() } else { 0 };
            stays
        });
        table.bytes = bytes;
    }

    /// The longest list that is made, in bytes of records: more than a plugin can be given.
    pub const LISTING_BYTES_MAX: usize = 8 << 20;

    /// The newest record of every peer, by device id, as a JSON array; none beyond [`Self::LISTING_BYTES_MAX`], so that whoever
    /// floods the mesh with presence messages does not have every look at it copy them all.
    #[must_use]
    pub fn list(&self) -> Option<Json> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.bytes > Self::LISTING_BYTES_MAX {
            return None;
        }
        let mut records: Vec<(&str, &Json)> = table.peers.iter().map(|(id, peer)| (&**id, &peer.record)).collect();
        records.sort_by_key(|(id, _)| *id);
        let records: Vec<&Json> = records.into_iter().map(|(_, record)| record).collect();
        // Checked JSON always serialises.
        Some(serde_json::value::to_raw_value(&records).unwrap_or_default().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(peers: &Peers) -> Vec<String> {
        let list = peers.list().unwrap().to_value();
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
        assert_eq!(peers.list().unwrap().to_value()[1]["x"], 2, "the newest record is kept");

        assert!(!observe(br#"{"device_id":"a","departing":true}"#));
        assert_eq!(ids(&peers), ["b"]);
        for departing in ["1", r#""yes""#, "[0]", "0.5"] {
            assert!(observe(br#"{"device_id":"a"}"#));
            assert!(!observe(format!(r#"{{"device_id":"a","departing":{departing}}}"#).as_bytes()));
            assert_eq!(ids(&peers), ["b"], "{departing}");
        }
        for staying in ["null", "0", r#""""#, "{}"] {
            observe(format!(r#"{{"device_id":"b","departing":{staying}}}"#).as_bytes());
            assert_eq!(ids(&peers), ["b"], "{staying}");
        }

        peers.sweep(start + Duration::from_secs(29));
        assert_eq!(ids(&peers), ["b"]);
        peers.sweep(start + Duration::from_secs(31));
        assert!(ids(&peers).is_empty());
    }

    #[test]
    fn a_flood_of_peers_is_bounded_and_known_ones_stay_current() {
        let peers = Peers::new(DeviceId::new("me").unwrap());
        let start = Instant::now();
        let observe = |id: usize, x: u8| peers.observe(format!(r#"{{"device_id":"d{id}","x":{x}}}"#).as_bytes(), start);
        assert!((0..PEERS_MAX).all(|id| observe(id, 1)));
        assert!(!observe(PEERS_MAX, 1));
        assert!(!observe(7, 2), "known already");
        let list = peers.list().unwrap().to_value();
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), PEERS_MAX);
        assert_eq!(list.iter().find(|peer| peer["device_id"] == "d7").unwrap()["x"], 2);
        assert!(!peers.observe(br#"{"device_id":"d7","departing":true}"#, start));
        assert!(observe(PEERS_MAX, 1), "there is room again");
    }

    #[test]
    fn large_records_are_bounded_one_by_one_and_together() {
        let peers = Peers::new(DeviceId::new("me").unwrap());
        let start = Instant::now();
        let record = |id: usize, bytes: usize| {
            let head = format!(r#"{{"device_id":"d{id:02}","x":""#);
            format!("{head}{}\"}}", "x".repeat(bytes - head.len() - 2))
        };
        let observe = |id, bytes| peers.observe(record(id, bytes).as_bytes(), start);
        assert!(!observe(0, RECORD_BYTES_MAX + 1));
        let count = TABLE_BYTES_MAX / RECORD_BYTES_MAX;
        assert!((0..count).all(|id| observe(id, RECORD_BYTES_MAX)));
        assert!(!observe(count, 100), "the table is full");
        assert!(!observe(0, 100), "known already, and it gives room back");
        assert!(observe(count, 100));
        assert!(peers.list().is_none(), "nobody copies as much at each look");
        peers.sweep(start + PEER_TIMEOUT);
        assert!(observe(0, RECORD_BYTES_MAX), "whoever is gone takes no room");
        assert_eq!(peers.table.lock().unwrap().bytes, RECORD_BYTES_MAX);
        assert_eq!(ids(&peers), ["d00"]);
    }
}
