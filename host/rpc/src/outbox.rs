//! Events on their way out (wire contract 8.1, 8.2).

use crate::device::timestamp_text;
use bytes::Bytes;
use indexmap::IndexMap;
use mortise_mesh::{Link, Mesh, Subjects};
use mortise_model::{DeviceId, EmittedName, Json};
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tracing::warn;

/// Events kept at most, and their bytes; beyond either the oldest is dropped (wire contract 8.2; the bytes are ours).
const OUTBOX_EVENTS_MAX: usize = 10_000;
const OUTBOX_BYTES_MAX: usize = 32 << 20;

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Event {
    sequence: u64,
    name: EmittedName,
    message: Bytes,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    next: u64,
    dropped: u64,
}

impl Queue {
    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes -= event.message.len();
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
    /// Queues an event with `payload`, a JSON object. Adds `event_id`, `ts` and a trace where the payload has none.
    /// Never blocks; when 10,000 events or 32 MiB wait the oldest are dropped and counted.
    pub fn push(&self, name: EmittedName, payload: &Json) {
        let message = encode_event(&name, payload, SystemTime::now());
        let mut queue = self.lock();
        while queue.events.len() >= OUTBOX_EVENTS_MAX || queue.bytes + message.len() > OUTBOX_BYTES_MAX {
            if queue.pop().is_none() {
                break;
            }
            queue.dropped += 1;
            if queue.dropped.is_power_of_two() {
                warn!(dropped = queue.dropped, "the event queue is full, the oldest events were dropped");
            }
        }
        let sequence = queue.next;
        queue.next += 1;
        queue.bytes += message.len();
        queue.events.push_back(Event { sequence, name, message });
        drop(queue);
        self.changed.notify_waiters();
    }

    /// Events waiting now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().events.len()
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
            if let Some(event) = self.lock().events.front() {
                return (event.sequence, subjects.event(device, event.name.event()), event.message.clone());
            }
            changed.await;
        }
    }

    /// Removes the event that was sent, unless it was dropped meanwhile.
    fn remove(&self, sequence: u64) {
        let mut queue = self.lock();
        if queue.events.front().is_some_and(|event| event.sequence == sequence) {
            queue.pop();
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
        outbox.push(EmittedName::new("event/motion").unwrap(), &Json::of(&serde_json::json!({})));
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
            outbox.push(name.clone(), &Json::of(&serde_json::json!({"n": n})));
        }
        assert_eq!((outbox.len(), outbox.dropped()), (OUTBOX_EVENTS_MAX, 1));
        let first = outbox.lock().events.front().unwrap().message.clone();
        let first: serde_json::Value = serde_json::from_slice(&first).unwrap();
        assert_eq!(first["params"]["n"], 1);
    }

    #[test]
    fn few_large_events_are_bounded_too() {
        let outbox = Outbox::default();
        let name = EmittedName::new("e").unwrap();
        let payload = Json::of(&serde_json::json!({"text": "x".repeat(1 << 20)}));
        for _ in 0..40 {
            outbox.push(name.clone(), &payload);
        }
        assert_eq!((outbox.len(), outbox.dropped()), (31, 9));
        assert!(outbox.lock().bytes <= OUTBOX_BYTES_MAX);
    }
}
