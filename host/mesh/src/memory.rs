//! A mesh within the process, for tests, with faults on demand.

use crate::{Guard, Link, Mesh, MeshError, Message, Replier, Reply, Sink, Subject, Subscription, deliver};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio_util::task::TaskTracker;

/// What happens to one message on its way to one receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As it should.
    Once,
    /// It is lost.
    Dropped,
    /// It arrives a second time.
    Twice,
    /// It arrives so much later, overtaken by whatever was sent meanwhile.
    After(Duration),
}

type Faults = Arc<dyn Fn(&Subject) -> Delivery + Send + Sync>;

/// One member of an in-memory mesh. Clones are the same member; [`MemoryMesh::join`] adds another one, with a link
/// of its own, to the same bus.
///
/// Messages are delivered in the publisher's own call, so one publisher's messages arrive in order. Requests reach
/// what was declared with [`Mesh::serve`] only, as on Zenoh; one that was taken and never answered times out, as on NATS.
#[derive(Clone)]
pub struct MemoryMesh {
    member: Arc<Member>,
}

struct Member {
    bus: Arc<Bus>,
    link: watch::Sender<Link>,
    links: AtomicU64,
    closed: AtomicBool,
}

#[derive(Default)]
struct Bus {
    payload_bytes_max: Option<usize>,
    state: Mutex<State>,
    delayed: TaskTracker,
}

#[derive(Default)]
struct State {
    handle_next: u64,
    declarations: BTreeMap<u64, Declaration>,
    faults: Option<Faults>,
}

#[derive(Clone)]
struct Declaration {
    member: Weak<Member>,
    pattern: Subject,
    served: bool,
    sink: Sink,
}

/// The one waiting requester, shared by everybody who may answer it.
type Waiting = Arc<Mutex<Option<oneshot::Sender<Bytes>>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks, so a poisoned value is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for MemoryMesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryMesh").field("link", &*self.member.link.borrow()).finish_non_exhaustive()
    }
}

impl Default for MemoryMesh {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryMesh {
    /// The first member of a new bus, linked.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Arc::default())
    }

    /// As [`MemoryMesh::new`], with a limit on every message of the bus, in bytes.
    #[must_use]
    pub fn with_payload_bytes_max(limit: usize) -> Self {
        Self::on(Arc::new(Bus { payload_bytes_max: Some(limit), ..Bus::default() }))
    }

    fn on(bus: Arc<Bus>) -> Self {
        let (link, _) = watch::channel(Link::Up(1));
        Self { member: Arc::new(Member { bus, link, links: AtomicU64::new(1), closed: AtomicBool::new(false) }) }
    }

    /// Another member of the same bus, linked.
    #[must_use]
    pub fn join(&self) -> Self {
        Self::on(Arc::clone(&self.member.bus))
    }

    /// Takes this member's link down: what it sends and what is sent to it is lost until [`MemoryMesh::reconnect`].
    /// Its declarations stay.
    pub fn disconnect(&self) {
        self.member.link.send_if_modified(|link| std::mem::replace(link, Link::Down) != Link::Down);
    }

    /// Brings this member's link up again; nothing happens when it is.
    pub fn reconnect(&self) {
        if self.member.closed.load(Ordering::Acquire) {
            return;
        }
        self.member.link.send_if_modified(|link| {
            let was_down = *link == Link::Down;
            if was_down {
                *link = Link::Up(self.member.links.fetch_add(1, Ordering::Relaxed) + 1);
            }
            was_down
        });
    }

    /// Decides from now on what happens to each message of the bus; asked once for each receiver.
    pub fn set_faults(&self, faults: impl Fn(&Subject) -> Delivery + Send + Sync + 'static) {
        lock(&self.member.bus.state).faults = Some(Arc::new(faults));
    }

    /// Every message arrives once again.
    pub fn clear_faults(&self) {
        lock(&self.member.bus.state).faults = None;
    }
}

impl Member {
    fn is_linked(&self) -> bool {
        matches!(*self.link.borrow(), Link::Up(_))
    }

    fn check(&self, payload: &Bytes) -> Result<(), MeshError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(MeshError::Closed);
        }
        match self.bus.payload_bytes_max {
            Some(limit) if payload.len() > limit => Err(MeshError::TooLarge { size: payload.len(), limit }),
            _ => Ok(()),
        }
    }

    fn declare(self: &Arc<Self>, pattern: &Subject, served: bool, sink: Sink) -> Result<Subscription, MeshError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(MeshError::Closed);
        }
        let mut state = lock(&self.bus.state);
        let handle = state.handle_next;
        state.handle_next += 1;
        let declaration = Declaration { member: Arc::downgrade(self), pattern: pattern.clone(), served, sink };
        state.declarations.insert(handle, declaration);
        Ok(Subscription::new(DeclarationGuard { bus: Arc::clone(&self.bus), handle }))
    }

    /// Sends one message to everybody who takes it; returns how many that are. `waiting` makes it a request.
    fn send(&self, subject: &Subject, payload: &Bytes, waiting: Option<&Waiting>) -> usize {
        if !self.is_linked() {
            return 0;
        }
        let (receivers, faults) = {
            let state = lock(&self.bus.state);
            let takes = |declaration: &&Declaration| {
                (declaration.served || waiting.is_none())
                    && declaration.pattern.matches(subject)
                    && declaration.member.upgrade().is_some_and(|member| member.is_linked())
            };
            (state.declarations.values().filter(takes).cloned().collect::<Vec<_>>(), state.faults.clone())
        };
        let count = receivers.len();
        for receiver in receivers {
            let delivery = faults.as_ref().map_or(Delivery::Once, |faults| faults(subject));
            receiver.take(subject, payload, waiting, delivery, &self.bus.delayed);
        }
        count
    }
}

impl Declaration {
    fn take(
        self,
        subject: &Subject,
        payload: &Bytes,
        waiting: Option<&Waiting>,
        delivery: Delivery,
        delayed: &TaskTracker,
    ) {
        let message = || Message {
            subject: subject.clone(),
            payload: payload.clone(),
            reply: waiting.map(|waiting| {
                Replier::new(MemoryReply { waiting: Arc::clone(waiting), member: Weak::clone(&self.member) })
            }),
        };
        match delivery {
            Delivery::Once => deliver(&self.sink, message()),
            Delivery::Dropped => {}
            Delivery::Twice => {
                deliver(&self.sink, message());
                deliver(&self.sink, message());
            }
            Delivery::After(pause) => {
                let message = message();
                delayed.spawn(async move {
                    tokio::time::sleep(pause).await;
                    deliver(&self.sink, message);
                });
            }
        }
    }
}

struct DeclarationGuard {
    bus: Arc<Bus>,
    handle: u64,
}

impl Drop for DeclarationGuard {
    fn drop(&mut self) {
        // The sink may own whatever it likes, this bus included: it is dropped after the lock is.
        let removed = lock(&self.bus.state).declarations.remove(&self.handle);
        drop(removed);
    }
}

#[async_trait]
impl Guard for DeclarationGuard {
    /// Messages are handed on in the publisher's own call: none is on its way.
    async fn close(self: Box<Self>) {}
}

struct MemoryReply {
    waiting: Waiting,
    member: Weak<Member>,
}

impl Reply for MemoryReply {
    fn send(self: Box<Self>, payload: Bytes) {
        let Some(member) = self.member.upgrade().filter(|member| member.is_linked()) else { return };
        if let Err(error) = member.check(&payload) {
            tracing::warn!(%error, "failed to send a reply");
            return;
        }
        if let Some(requester) = lock(&self.waiting).take() {
            // The requester may have given up.
            let _ = requester.send(payload);
        }
    }

    fn payload_bytes_max(&self) -> Option<usize> {
        self.member.upgrade().and_then(|member| member.bus.payload_bytes_max)
    }
}

#[async_trait]
impl Mesh for MemoryMesh {
    async fn serve(&self, subject: &Subject, sink: Sink) -> Result<Subscription, MeshError> {
        self.member.declare(subject, true, sink)
    }

    async fn subscribe(&self, pattern: &Subject, sink: Sink) -> Result<Subscription, MeshError> {
        self.member.declare(pattern, false, sink)
    }

    async fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), MeshError> {
        self.member.check(&payload)?;
        self.member.send(subject, &payload, None);
        Ok(())
    }

    async fn request(&self, subject: &Subject, payload: Bytes, timeout: Duration) -> Result<Bytes, MeshError> {
        self.member.check(&payload)?;
        let (requester, answer) = oneshot::channel();
        let waiting: Waiting = Arc::new(Mutex::new(Some(requester)));
        if self.member.send(subject, &payload, Some(&waiting)) == 0 {
            return Err(MeshError::NoResponders(subject.clone()));
        }
        // `waiting` is held here, so the channel closes only once an answer is in it.
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(payload)) => Ok(payload),
            Ok(Err(_)) | Err(_) => Err(MeshError::Timeout { subject: subject.clone(), timeout }),
        }
    }

    fn payload_bytes_max(&self) -> Option<usize> {
        self.member.bus.payload_bytes_max
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.member.link.subscribe()
    }

    async fn close(&self) {
        self.member.closed.store(true, Ordering::Release);
        self.disconnect();
        let mut ended = Vec::new();
        lock(&self.member.bus.state).declarations.retain(|_, declaration| {
            let ours = std::ptr::eq(declaration.member.as_ptr(), Arc::as_ptr(&self.member));
            if ours {
                ended.push(declaration.clone());
            }
            !ours
        });
    }
}
