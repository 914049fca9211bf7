//! NATS (wire contract 2.4).

mod connect;
mod object;
mod tls;

pub use connect::{NatsAuth, NatsConfig};

use crate::{Guard, Link, Mesh, MeshError, Message, ObjectError, Replier, Reply, Sink, Subject, Subscription, deliver};
use async_nats::client::{PublishErrorKind, RequestErrorKind};
use async_nats::message::OutboundMessage;
use async_nats::{Client, Request, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// How long a message may wait for a place in the client's outgoing queue, which is full only while the broker is
/// away or overwhelmed.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a subscription waits for the broker to confirm it.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the end of a subscription may take that is to lose nothing.
const UNSUBSCRIBE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long closing waits for each of its steps.
const CLOSE_STEP_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to a NATS broker or cluster. It reconnects for ever, and its subscriptions with it.
///
/// What is published while the link is down waits in a queue of 2,048 messages and goes out afterwards; senders of
/// what would be stale by then should look at [`Mesh::link`] first.
pub struct NatsMesh {
    shared: Arc<Shared>,
    link: watch::Receiver<Link>,
}

struct Shared {
    client: Client,
    /// Sends replies.
    replies: Mutex<Client>,
    /// Subscriptions, and replies that had to wait.
    tasks: TaskTracker,
    closed: CancellationToken,
}

impl fmt::Debug for NatsMesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsMesh").field("link", &*self.link.borrow()).finish_non_exhaustive()
    }
}

impl NatsMesh {
    /// Connects, trying again after 2, 4, … 30 seconds until it succeeds (wire contract 8.6, step 1). Cancel safe.
    ///
    /// # Errors
    /// [`MeshError::Setting`] for what waiting can't cure, [`MeshError::Connect`] after the third refusal of the
    /// credential.
    pub async fn connect(config: NatsConfig) -> Result<Self, MeshError> {
        let (client, link) = connect::connect(config).await?;
        let replies = Mutex::new(client.clone());
        let shared = Shared { client, replies, tasks: TaskTracker::new(), closed: CancellationToken::new() };
        Ok(Self { shared: Arc::new(shared), link })
    }

    /// Subscribes. `served` is the subject to report with each message; without, the message's own.
    async fn declare(&self, pattern: &Subject, served: Option<Subject>, sink: Sink) -> Result<Subscription, MeshError> {
        let shared = Arc::clone(&self.shared);
        shared.check_open()?;
        let subscriber = queued(shared.client.subscribe(pattern.as_str().to_owned()))
            .await?
            .map_err(|error| MeshError::Transport(error.to_string()))?;
        let (end, ending) = oneshot::channel();
        let drain = Drain { served, sink, shared: Arc::clone(&shared), link: self.link.clone() };
        let closed = shared.closed.clone();
        let task = shared.tasks.spawn(async move {
            closed.run_until_cancelled(drain.run(subscriber, ending)).await;
        });
        let subscription = Subscription::new(SubscriptionGuard { end, task: AbortOnDropHandle::new(task) });
        if timeout(SETTLE_TIMEOUT, settle(&shared.client, self.link.clone())).await.is_err() {
            tracing::warn!("the broker has not confirmed a subscription yet");
        }
        Ok(subscription)
    }
}

/// Waits until the broker has done everything that was sent before, subscribing and unsubscribing above all, and until
/// everything that it sent before has arrived: a message to ourselves comes back only after that. Without a link there
/// is nothing to wait for; it is done on reconnecting.
async fn settle(client: &Client, mut link: watch::Receiver<Link>) {
    let echo = async {
        let inbox = client.new_inbox();
        let mut subscriber = client.subscribe(inbox.clone()).await.ok()?;
        client.publish(inbox, Bytes::new()).await.ok()?;
        subscriber.next().await
    };
    tokio::select! {
        _ = echo => {}
        _ = link.wait_for(|link| *link == Link::Down) => {}
    }
}

impl Shared {
    fn check_open(&self) -> Result<(), MeshError> {
        if self.closed.is_cancelled() { Err(MeshError::Closed) } else { Ok(()) }
    }

    fn check_size(&self, payload: &Bytes) -> Result<(), MeshError> {
        let limit = self.client.max_payload();
        if payload.len() > limit { Err(MeshError::TooLarge { size: payload.len(), limit }) } else { Ok(()) }
    }

    /// Sends a reply, or gives it back where the client's outgoing queue has no place. Its subject is the broker's word.
    fn send_now(&self, reply: OutboundMessage) -> Option<OutboundMessage> {
        let mut client = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        let place = poll_fn(|cx| client.poll_ready_unpin(cx));
        // `unconstrained`, because a task that has used up its cooperative budget would be told to wait although there
        // is a place.
        let place = tokio::task::coop::unconstrained(place).now_or_never();
        let Some(place) = place else {
            return Some(reply);
        };
        let sent = place.and_then(|()| client.start_send_unpin(reply));
        drop(client);
        if let Err(error) = sent {
            tracing::warn!(%error, "failed to send a reply");
        }
        None
    }
}

/// Waits for a place in the client's outgoing queue, but not for ever.
async fn queued<T>(operation: impl Future<Output = T>) -> Result<T, MeshError> {
    timeout(QUEUE_TIMEOUT, operation)
        .await
        .map_err(|_| MeshError::Transport(format!("the outgoing queue has been full for {QUEUE_TIMEOUT:?}")))
}

/// One subscription at work.
struct Drain {
    /// The subject to report with each message; without, the message's own.
    served: Option<Subject>,
    sink: Sink,
    shared: Arc<Shared>,
    link: watch::Receiver<Link>,
}

impl Drain {
    /// Hands on what arrives, in order, within this one task, until it is dropped or asked to end.
    async fn run(self, mut subscriber: Subscriber, mut ending: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                // First, so that it is seen however much arrives.
                biased;
                _ = &mut ending => break,
                message = subscriber.next() => match message {
                    Some(message) => self.hand_on(message),
                    None => return,
                },
            }
        }
        if unsubscribe(&mut subscriber).await.is_err() {
            return;
        }
        let settled = settle(&self.shared.client, self.link.clone());
        tokio::pin!(settled);
        loop {
            tokio::select! {
                message = subscriber.next() => match message {
                    Some(message) => self.hand_on(message),
                    None => return,
                },
                () = &mut settled => break,
            }
        }
        // Nothing follows any more. The client ends the stream behind what it has handed over; a broker that has not
        // understood the above unsubscribes now.
        if subscriber.drain().await.is_ok() {
            while let Some(message) = subscriber.next().await {
                self.hand_on(message);
            }
        }
    }

    fn hand_on(&self, message: async_nats::Message) {
        let subject = self.served.clone().unwrap_or_else(|| Subject::received(&message.subject));
        let reply = message.reply.map(|subject| Replier::new(NatsReply { shared: Arc::clone(&self.shared), subject }));
        deliver(&self.sink, Message { subject, payload: message.payload, reply });
    }
}

/// Has the broker send nothing more, while the client goes on taking what is on its way.
///
/// The client's own `unsubscribe` and `drain` do not: both forget the subscription before the broker has heard of its
/// end, and what arrives in between is thrown away. With a count of messages the client waits for so many. This one is
/// beyond what a broker counts: nats-server reads it as -1, which is no count, and unsubscribes at once.
async fn unsubscribe(subscriber: &mut Subscriber) -> Result<(), async_nats::UnsubscribeError> {
    subscriber.unsubscribe_after(u64::MAX).await
}

/// Dropped, it ends its task; dropping the task's subscriber unsubscribes.
struct SubscriptionGuard {
    end: oneshot::Sender<()>,
    task: AbortOnDropHandle<()>,
}

#[async_trait]
impl Guard for SubscriptionGuard {
    async fn close(self: Box<Self>) {
        let Self { end, task } = *self;
        // The task has ended when the mesh was closed.
        let _ = end.send(());
        match timeout(UNSUBSCRIBE_TIMEOUT, task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a subscription failed"),
            Err(_) => tracing::warn!("the broker has not confirmed the end of a subscription in time"),
        }
    }
}

struct NatsReply {
    shared: Arc<Shared>,
    subject: async_nats::Subject,
}

impl Reply for NatsReply {
    fn send(self: Box<Self>, payload: Bytes) {
        let Self { shared, subject } = *self;
        let reply = OutboundMessage { subject, payload, reply: None, headers: None };
        // There is a place in the outgoing queue as good as always, so one is asked for here: a task per reply would
        // cost more than the reply.
        let Some(reply) = shared.send_now(reply) else {
            return;
        };
        // These tasks are bounded by the calls in flight: without a link no further ones arrive.
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            if let Err(error) = shared.client.publish(reply.subject, reply.payload).await {
                tracing::warn!(%error, "failed to send a reply");
            }
        });
    }

    fn payload_bytes_max(&self) -> Option<usize> {
        Some(self.shared.client.max_payload())
    }
}

#[async_trait]
impl Mesh for NatsMesh {
    async fn serve(&self, subject: &Subject, sink: Sink) -> Result<Subscription, MeshError> {
        self.declare(subject, Some(subject.clone()), sink).await
    }

    async fn subscribe(&self, pattern: &Subject, sink: Sink) -> Result<Subscription, MeshError> {
        self.declare(pattern, None, sink).await
    }

    async fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), MeshError> {
        self.shared.check_open()?;
        self.shared.check_size(&payload)?;
        let size = payload.len();
        queued(self.shared.client.publish(subject.as_str().to_owned(), payload)).await?.map_err(|error| {
            match error.kind() {
                // The limit may have changed with a reconnect since it was checked.
                PublishErrorKind::MaxPayloadExceeded => {
                    MeshError::TooLarge { size, limit: self.shared.client.max_payload() }
                }
                _ => MeshError::Transport(error.to_string()),
            }
        })
    }

    async fn request(&self, subject: &Subject, payload: Bytes, timeout: Duration) -> Result<Bytes, MeshError> {
        self.shared.check_open()?;
        self.shared.check_size(&payload)?;
        let client = &self.shared.client;
        let size = payload.len();
        // An inbox of its own: the client's shared one keeps an entry for every request that was never answered.
        let request = Request::new().payload(payload).timeout(None).inbox(client.new_inbox());
        let answer = client.send_request(subject.as_str().to_owned(), request);
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(message)) => Ok(message.payload),
            Ok(Err(error)) => Err(match error.kind() {
                RequestErrorKind::NoResponders => MeshError::NoResponders(subject.clone()),
                RequestErrorKind::TimedOut => MeshError::Timeout { subject: subject.clone(), timeout },
                RequestErrorKind::MaxPayloadExceeded => MeshError::TooLarge { size, limit: client.max_payload() },
                _ => MeshError::Transport(error.to_string()),
            }),
            Err(_) => Err(MeshError::Timeout { subject: subject.clone(), timeout }),
        }
    }

    async fn object(&self, bucket: &str, name: &str, bytes_max: u64) -> Result<Vec<u8>, ObjectError> {
        self.shared.check_open().map_err(|_| ObjectError::NotConnected)?;
        object::read(self.shared.client.clone(), bucket, name, bytes_max).await
    }

    fn payload_bytes_max(&self) -> Option<usize> {
        Some(self.shared.client.max_payload())
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    async fn close(&self) {
        self.shared.closed.cancel();
        self.shared.tasks.close();
        let _ = timeout(CLOSE_STEP_TIMEOUT, self.shared.tasks.wait()).await;
        // Without a link there is nobody to flush to, and nothing more to be done about it.
        let _ = timeout(CLOSE_STEP_TIMEOUT, self.shared.client.flush()).await;
        let _ = timeout(CLOSE_STEP_TIMEOUT, self.shared.client.drain()).await;
    }
}
