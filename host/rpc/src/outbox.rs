//! Events on their way out (wire contract 8.1, 8.2).

use crate::device::timestamp_text;
use bytes::Bytes;
use indexmap::IndexMap;
use mortise_mesh::{Link, Mesh, Subjects};
use mortise_model::{DeviceId, EmittedName, Json, PluginId};
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tracing::warn;

/// Events kept at most, and their bytes; beyond either the oldest of the largest share is dropped (wire contract 8.2; the bytes and shares
/// are ours).
const OUTBOX_EVENTS_MAX: usize = 10_000;
const OUTBOX_BYTES_MAX: usize = 32 << 20;

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A plugin, as one of those that share the outbox.
#[derive(Debug)]
pub struct Emitter {
    plugin: PluginId,
    dropped: AtomicU64,
}

impl Emitter {
    /// Of a plugin of which no event was dropped yet.
    #[must_use]
    pub fn new(plugin: PluginId) -> Self {
        Self { plugin, dropped: AtomicU64::new(0) }
    }

    /// How many of its events were dropped to make room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Event {
    sequence: u64,
    name: EmittedName,
    message: Bytes,
    emitter: Option<Arc<Emitter>>,
}

/// What waits of one plugin, or of the host itself: the oldest first, and never nothing.
#[derive(Debug, Default)]
struct Share {
    events: VecDeque<Event>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    shares: HashMap<Option<PluginId>, Share>,
    events: usize,
    bytes: usize,
    next: u64,
    dropped: u64,
}

impl Queue {
    fn push(&mut self, name: EmittedName, message: Bytes, emitter: Option<Arc<Emitter>>) {
        let share = self.shares.entry(emitter.as_ref().map(|emitter| emitter.plugin.clone())).or_default();
        share.bytes += message.len();
        self.events += 1;
        self.bytes += message.len();
        share.events.push_back(Event { sequence: self.next, name, message, emitter });
        self.next += 1;
    }

    /// The oldest event of all.
    fn first(&self) -> Option<&Event> {
        self.shares.values().filter_map(|share| share.events.front()).min_by_key(|event| event.sequence)
    }

    /// Drops the oldest event of whoever has most of what there is too much of, so that nobody makes others lose theirs.
    fn make_room(&mut self) {
        let too_many = self.events > OUTBOX_EVENTS_MAX;
        let weight = |share: &Share| if too_many { share.events.len() } else { share.bytes };
        let heaviest = self.shares.iter().filter_map(|(key, share)| {
            let oldest = share.events.front()?.sequence;
            Some(((weight(share), Reverse(oldest)), key))
        });
        let Some((_, key)) = heaviest.max_by_key(|(weight, _)| *weight) else { return };
        let Some(event) = self.take_from(&key.clone()) else { return };
        if let Some(emitter) = event.emitter {
            emitter.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.dropped += 1;
        if self.dropped.is_power_of_two() {
            let dropped = self.dropped;
            warn!(dropped, "the event queue is full, the oldest events of whoever has most in it were dropped");
        }
    }

    /// Takes the oldest event of one share out.
    fn take_from(&mut self, key: &Option<PluginId>) -> Option<Event> {
        let share = self.shares.get_mut(key)?;
        let event = share.events.pop_front()?;
        share.bytes -= event.message.len();
        self.events -= 1;
        self.bytes -= event.message.len();
        if share.events.is_empty() {
            self.shares.remove(key);
        }
        Some(event)
    }
}

/// The queue of events: bounded, in order, delivered at least once while the process lives. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    // A std mutex: held for a push or a pop, never across an await.
    queue: Arc<Mutex<Queue>>,
    changed: Arc<Notify>,
}

impl Outbox {
    /// Queues an event of `emitter`, or of the host itself, with `payload`, a JSON object. Adds `event_id`, `ts` and a trace where
    /// the payload has none. Never blocks; beyond 10,000 events or 32 MiB the oldest of whoever has most waiting are dropped and counted.
    pub fn push(&self, emitter: Option<&Arc<Emitter>>, name: EmittedName, payload: &Json) {
        let message = encode_event(&name, payload, SystemTime::now());
        let mut queue = self.lock();
        queue.push(name, message, emitter.cloned());
        while queue.events > OUTBOX_EVENTS_MAX || queue.bytes > OUTBOX_BYTES_MAX {
            queue.make_room();
        }
        drop(queue);
        self.changed.notify_waiters();
    }

    /// Events waiting now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().events
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Events dropped since the start because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits until nothing waits. Cancel safe.
    pub async fn drained(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change between the two is missed.
            changed.as_mut().enable();
            if self.is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// Sends what is queued, in order, retrying the first one until the mesh takes it. Runs until it is dropped.
    pub(crate) async fn send_to(&self, mesh: Arc<dyn Mesh>, subjects: Subjects, device: DeviceId) {
        let mut link = mesh.link();
        let mut retry = RETRY_MIN;
        loop {
            let (sequence, subject, message) = self.first(&subjects, &device).await;
            // The sender of the link lives in the mesh, which is held here.
            let _ = link.wait_for(|link| matches!(link, Link::Up(_))).await;
            match mesh.publish(&subject, message).await {
                Ok(()) => {
                    retry = RETRY_MIN;
                    self.remove(sequence);
                }
                Err(error @ mortise_mesh::MeshError::TooLarge { .. }) => {
                    warn!(%error, %subject, "dropped an event that the mesh cannot carry");
                    self.remove(sequence);
                }
                Err(error) => {
                    warn!(%error, %subject, ?retry, "failed to publish an event, trying again");
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    async fn first(&self, subjects: &Subjects, device: &DeviceId) -> (u64, mortise_mesh::Subject, Bytes) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(event) = self.lock().first() {
                return (event.sequence, subjects.event(device, event.name.event()), event.message.clone());
            }
            changed.await;
        }
    }

    /// Removes the event that was sent, unless it was dropped meanwhile.
    fn remove(&self, sequence: u64) {
        let mut queue = self.lock();
        let first = queue.first().filter(|event| event.sequence == sequence);
        if let Some(key) = first.map(|event| event.emitter.as_ref().map(|emitter| emitter.plugin.clone())) {
            queue.take_from(&key);
        }
        drop(queue);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode_event(name: &EmittedName, payload: &Json, now: SystemTime) -> Bytes {
    let mut params: IndexMap<Cow<'_, str>, Cow<'_, RawValue>> =
        serde_json::from_str::<IndexMap<Cow<'_, str>, &RawValue>>(payload.as_str())
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, Cow::Borrowed(value)))
            .collect();
    let mut add = |key: &'static str, value: String| {
        if let Ok(value) = to_raw_value(&value) {
            params.entry(Cow::Borrowed(key)).or_insert(Cow::Owned(value));
        }
    };
    add("event_id", format!("{:08x}", rand::random::<u32>()));
    add("ts", timestamp_text(now));
    // Exactly one of the two families (wire contract 8.1).
    if !params.contains_key("_traceparent") {
        if let Ok(trace) = to_raw_value(&format!("{:016x}", rand::random::<u64>())) {
            params.entry(Cow::Borrowed("_trace_id")).or_insert(Cow::Owned(trace));
        }
    } else {
        params.shift_remove("_trace_id");
    }
    let message = serde_json::json!({"jsonrpc": "2.0", "method": name.as_str()});
    let params = serde_json::to_string(&params).unwrap_or_else(|_| "{}".to_owned());
    let mut text = message.to_string();
    // Spliced rather than re-parsed: the payload's numbers keep their digits.
    text.truncate(text.len() - 1);
    text.push_str(",\"params\":");
    text.push_str(&params);
    text.push('}');
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(payload: &str) -> serde_json::Value {
        event_of("motion", payload)
    }

    fn event_of(name: &str, payload: &str) -> serde_json::Value {
        let name = EmittedName::new(name).unwrap();
        let message = encode_event(&name, &Json::new(payload.to_owned()).unwrap(), SystemTime::UNIX_EPOCH);
        serde_json::from_slice(&message).unwrap()
    }

    /// Wire contract 8.1.
    #[tokio::test]
    async fn the_method_keeps_what_the_subject_drops() {
        assert_eq!(event_of("event/motion", "{}")["method"], "event/motion");
        let outbox = Outbox::default();
        outbox.push(None, EmittedName::new("event/motion").unwrap(), &Json::of(&serde_json::json!({})));
        let subjects = Subjects::new(mortise_model::Tenant::new("lab").unwrap());
        let (_, subject, _) = outbox.first(&subjects, &DeviceId::new("d").unwrap()).await;
        assert_eq!(subject.as_str(), "device-connect.lab.d.event.motion");
    }

    #[test]
    fn events_get_an_id_a_time_and_one_trace() {
        let message = event(r#"{"zone":"A"}"#);
        assert_eq!((&message["jsonrpc"], &message["method"]), (&"2.0".into(), &"motion".into()));
        assert!(message.get("id").is_none());
        let params = &message["params"];
        assert_eq!((&params["zone"], &params["ts"]), (&"A".into(), &"1970-01-01T00:00:00Z".into()));
        let hex = |key: &str, length| {
            let text = params[key].as_str().unwrap();
            assert!(text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit()), "{key}: {text}");
        };
        hex("event_id", 8);
        hex("_trace_id", 16);
        assert!(params.get("_traceparent").is_none());
    }

    #[test]
    fn what_the_payload_brings_is_kept() {
        let params = &event(r#"{"event_id":"x","ts":"then","_traceparent":"00-a","_trace_id":"b"}"#)["params"];
        assert_eq!(params, &serde_json::json!({"event_id": "x", "ts": "then", "_traceparent": "00-a"}));
    }

    #[test]
    fn the_oldest_event_makes_room() {
        let outbox = Outbox::default();
        let name = EmittedName::new("e").unwrap();
        for n in 0..=OUTBOX_EVENTS_MAX {
            outbox.push(None, name.clone(), &Json::of(&serde_json::json!({"n": n})));
        }
        assert_eq!((outbox.len(), outbox.dropped()), (OUTBOX_EVENTS_MAX, 1));
        let first = outbox.lock().first().unwrap().message.clone();
        let first: serde_json::Value = serde_json::from_slice(&first).unwrap();
        assert_eq!(first["params"]["n"], 1);
    }

    #[test]
    fn few_large_events_are_bounded_too() {
        let outbox = Outbox::default();
        let name = EmittedName::new("e").unwrap();
        let payload = Json::of(&serde_json::json!({"text": "x".repeat(1 << 20)}));
        for _ in 0..40 {
            outbox.push(None, name.clone(), &payload);
        }
        assert_eq!((outbox.len(), outbox.dropped()), (31, 9));
        assert!(outbox.lock().bytes <= OUTBOX_BYTES_MAX);
    }

    /// What is first, over and over, until nothing waits.
    fn drain(outbox: &Outbox) -> Vec<serde_json::Value> {
        let next = || {
            let (sequence, message) = {
                let queue = outbox.lock();
                let first = queue.first()?;
                (first.sequence, first.message.clone())
            };
            outbox.remove(sequence);
            Some(serde_json::from_slice::<serde_json::Value>(&message).unwrap()["params"]["n"].clone())
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_plugin_that_floods_loses_its_own_events_alone() {
        let outbox = Outbox::default();
        let name = EmittedName::new("e").unwrap();
        let [noisy, quiet] = ["noisy", "quiet"].map(|id| Arc::new(Emitter::new(PluginId::new(id).unwrap())));
        let push = |emitter: Option<&Arc<Emitter>>, n: usize| {
            outbox.push(emitter, name.clone(), &Json::of(&serde_json::json!({"n": n})));
        };
        push(Some(&quiet), 0);
        push(None, 1);
        for n in 2..OUTBOX_EVENTS_MAX + 10 {
            push(Some(&noisy), n);
        }
        push(Some(&quiet), OUTBOX_EVENTS_MAX + 10);
        assert_eq!((noisy.dropped(), quiet.dropped(), outbox.dropped()), (11, 0, 11));
        assert_eq!(outbox.len(), OUTBOX_EVENTS_MAX);
        let kept: Vec<usize> = (0..2).chain(13..=OUTBOX_EVENTS_MAX + 10).collect();
        assert_eq!(drain(&outbox), kept, "in the order in which they came");
        assert!(outbox.is_empty() && outbox.lock().bytes == 0 && outbox.lock().shares.is_empty());
    }

    #[test]
    fn few_large_events_of_one_do_not_push_many_small_ones_out() {
        let outbox = Outbox::default();
        let name = EmittedName::new("e").unwrap();
        let [large, small] = ["large", "small"].map(|id| Arc::new(Emitter::new(PluginId::new(id).unwrap())));
        let text = "x".repeat(1 << 20);
        for n in 0..100 {
            outbox.push(Some(&small), name.clone(), &Json::of(&serde_json::json!({"n": n})));
        }
        for n in 0..40 {
            outbox.push(Some(&large), name.clone(), &Json::of(&serde_json::json!({"n": n, "text": text})));
        }
        assert_eq!((large.dropped(), small.dropped(), outbox.len()), (9, 0, 131));
    }
}
