//! Events of other devices on their way in (wire contract 8.5).

use crate::call::TraceContext;
use arc_swap::ArcSwap;
use mortise_mesh::{Mesh, Message, Sink, Subjects, Subscription};
use mortise_model::{DeviceId, EmittedName, EventName, Json, SubscriptionDef, Tenant};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{debug, warn};

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What is subscribed to on the mesh: events of one device or of all, of one name or of all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    device: Option<DeviceId>,
    event: Option<EventName>,
}

impl Topic {
    /// The narrowest topic with everything that a subscription wants; none where no event can be it.
    #[must_use]
    pub fn of(subscription: &SubscriptionDef) -> Option<Self> {
        let SubscriptionDef { device, event, .. } = subscription;
        let device = if device.contains('*') { None } else { Some(DeviceId::new(device).ok()?) };
        let event = if event.contains('*') { None } else { Some(EventName::new(event).ok()?) };
        Some(Self { device, event })
    }

    /// Whether such an event comes by it. What every device sends leaves out those whose ids have dots (wire contract 1.1).
    fn takes(&self, device: &DeviceId, event: &EventName) -> bool {
        self.device.as_ref().map_or(!device.has_dots(), |own| own == device)
            && self.event.as_ref().is_none_or(|own| own == event)
    }
}

/// An event of some device.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Whose subject it came by. A claim, unless the mesh says who may publish there.
    pub device: DeviceId,
    /// As its message names it.
    pub event: EmittedName,
    /// A JSON object.
    pub params: Json,
    /// As the params tell it.
    pub trace: Option<Arc<TraceContext>>,
}

/// Somebody who listens. Called on the mesh's threads: must not block.
pub trait Listener: Send + Sync {
    /// Whether it takes such an event now. Asked before the message is read.
    fn wants(&self, device: &DeviceId, event: &EventName) -> bool;

    /// Takes one, in the order of arrival.
    fn hear(&self, heard: Arc<Heard>);
}

/// What somebody listens to. Dropped, nothing more is heard.
pub trait Listening: Send + Sync {
    /// Replaces what is listened to. Never blocks; what is new is on the mesh a moment later.
    fn to(&self, topics: Vec<Topic>);
}

/// Who listens to what, and what is subscribed to for it. However many listen to a topic, and however many topics of one
/// listener an event belongs to, it is subscribed to once and heard once. Cheap to clone.
#[derive(Clone)]
pub struct Hearing(Arc<Shared>);

struct Shared {
    subjects: Subjects,
    /// The std mutex is held for a change.
    table: Mutex<Table>,
    /// What [`Table`] says, for those who only look.
    listeners: ArcSwap<Vec<Tuned>>,
    changed: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    listeners: BTreeMap<u64, (Arc<dyn Listener>, Vec<Topic>)>,
    /// On the mesh, or on their way there; and since when.
    declared: HashMap<Topic, u64>,
}

/// A listener and what of its topics is on the mesh, in the order in which it came there.
struct Tuned {
    listener: Arc<dyn Listener>,
    topics: Vec<Topic>,
}

impl Hearing {
    /// Of the events of one tenant.
    #[must_use]
    pub fn new(tenant: Tenant) -> Self {
        Self(Arc::new(Shared {
            subjects: Subjects::new(tenant),
            table: Mutex::default(),
            listeners: ArcSwap::default(),
            changed: Notify::new(),
        }))
    }

    /// Listens, to nothing yet.
    #[must_use]
    pub fn listen(&self, listener: Arc<dyn Listener>) -> Box<dyn Listening> {
        let mut table = self.0.table();
        let id = table.next;
        table.next += 1;
        table.listeners.insert(id, (listener, Vec::new()));
        Box::new(Seat { id, shared: Arc::clone(&self.0) })
    }

    /// Keeps on the mesh what is listened to, until it is dropped.
    pub(crate) async fn follow(self, mesh: Arc<dyn Mesh>) {
        let Self(shared) = self;
        let mut held: HashMap<Topic, Subscription> = HashMap::new();
        let mut retry = RETRY_MIN;
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change between the two is missed.
            changed.as_mut().enable();
            let (missing, unwanted) = shared.compare(&held);
            for topic in unwanted {
                held.remove(&topic);
            }
            let mut failed = false;
            for topic in missing {
                // Known before it is there: what comes by it first is heard as well.
                shared.declare(&topic);
                let subject = shared.subjects.events(topic.device.as_ref(), topic.event.as_ref());
                match mesh.subscribe(&subject, shared.sink(&topic)).await {
                    Ok(subscription) => drop(held.insert(topic, subscription)),
                    Err(error) => {
                        warn!(%error, %subject, ?retry, "failed to subscribe to events, trying again");
                        shared.undeclare(&topic);
                        failed = true;
                    }
                }
            }
            if failed {
                let _ = tokio::time::timeout(retry, changed).await;
                retry = (retry * 2).min(RETRY_MAX);
            } else {
                retry = RETRY_MIN;
                changed.await;
            }
        }
    }
}

impl Shared {
    /// What is listened to and not held, and what is held and listened to no longer, which is off the table then.
    fn compare(&self, held: &HashMap<Topic, Subscription>) -> (Vec<Topic>, Vec<Topic>) {
        let mut table = self.table();
        let mut missing: Vec<Topic> = Vec::new();
        for topic in table.listeners.values().flat_map(|(_, topics)| topics) {
            if !held.contains_key(topic) && !missing.contains(topic) {
                missing.push(topic.clone());
            }
        }
        let is_wanted = |topic: &Topic| table.listeners.values().any(|(_, topics)| topics.contains(topic));
        let unwanted: Vec<Topic> = held.keys().filter(|topic| !is_wanted(topic)).cloned().collect();
        for topic in &unwanted {
            table.declared.remove(topic);
        }
        self.tell(&table);
        (missing, unwanted)
    }

    fn declare(&self, topic: &Topic) {
        let mut table = self.table();
        let since = table.next;
        table.next += 1;
        table.declared.insert(topic.clone(), since);
        self.tell(&table);
    }

    fn undeclare(&self, topic: &Topic) {
        let mut table = self.table();
        table.declared.remove(topic);
        self.tell(&table);
    }

    fn tell(&self, table: &Table) {
        let tuned = table.listeners.values().map(|(listener, topics)| {
            let mut topics: Vec<(u64, Topic)> =
                topics.iter().filter_map(|topic| Some((*table.declared.get(topic)?, topic.clone()))).collect();
            topics.sort_unstable_by_key(|(since, _)| *since);
            let topics = topics.into_iter().map(|(_, topic)| topic).collect();
            Tuned { listener: Arc::clone(listener), topics }
        });
        self.listeners.store(Arc::new(tuned.collect()));
    }

    fn sink(self: &Arc<Self>, topic: &Topic) -> Sink {
        let (shared, topic) = (Arc::downgrade(self), topic.clone());
        Arc::new(move |message| {
            if let Some(shared) = shared.upgrade() {
                shared.take(&topic, &message);
            }
        })
    }

    /// Takes what came by `topic`.
    fn take(&self, topic: &Topic, message: &Message) {
        let Some((device, event)) = self.subjects.event_of(&message.subject) else { return };
        let listeners = self.listeners.load();
        // It comes once by each topic that it belongs to: whoever listens to several hears it by the oldest.
        let by_this = |tuned: &&Tuned| tuned.topics.iter().find(|own| own.takes(&device, &event)) == Some(topic);
        let mut takers =
            listeners.iter().filter(by_this).filter(|tuned| tuned.listener.wants(&device, &event)).peekable();
        if takers.peek().is_none() {
            return;
        }
        let Some(heard) = read(&device, &event, &message.payload).map(Arc::new) else {
            debug!(%device, %event, "a message that is no event of its subject");
            return;
        };
        for tuned in takers {
            tuned.listener.hear(Arc::clone(&heard));
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener's place.
struct Seat {
    id: u64,
    shared: Arc<Shared>,
}

impl Listening for Seat {
    fn to(&self, topics: Vec<Topic>) {
        let mut table = self.shared.table();
        match table.listeners.get_mut(&self.id) {
            // Told at every change of any permission.
            Some((_, own)) if *own == topics => return,
            Some((_, own)) => *own = topics,
            None => return,
        }
        self.shared.tell(&table);
        drop(table);
        self.shared.changed.notify_waiters();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        // Dropped after the lock is: a listener may own whatever it likes.
        let _listener = table.listeners.remove(&self.id);
        self.shared.tell(&table);
        drop(table);
        self.shared.changed.notify_waiters();
    }
}

#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Traced<'a> {
    #[serde(borrow, default, rename = "_traceparent")]
    parent: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_tracestate")]
    state: Option<&'a RawValue>,
}

/// The event of a message that came by the subject of `event`.
fn read(device: &DeviceId, event: &EventName, payload: &[u8]) -> Option<Heard> {
    let Notification { method, params } = serde_json::from_slice(payload).ok()?;
    let emitted = EmittedName::new(&method).ok().filter(|emitted| emitted.event() == event)?;
    let params: Json = params.map_or_else(|| Json::of(&serde_json::json!({})), |params| params.to_owned().into());
    if !params.is_object() {
        return None;
    }
    let Traced { parent, state } = serde_json::from_str(params.as_str()).unwrap_or_default();
    let text = |value: Option<&RawValue>| serde_json::from_str::<Option<String>>(value?.get()).ok()?;
    let trace = text(parent).map(|parent| Arc::new(TraceContext { parent: Some(parent), state: text(state) }));
    Some(Heard { device: device.clone(), event: emitted, params, trace })
}
