//! The mesh as the host sees it: subjects, subscriptions, requests. No plugins, no functions, no JSON.
//!
//! [`Mesh`] has three implementations: NATS, Zenoh and an in-memory one for tests. Each owns its reconnection:
//! a subscription lives until its guard is dropped, whatever the link does meanwhile.
//!
//! With TLS, the process must have installed rustls' `aws-lc-rs` provider as its default before it connects.
#![forbid(unsafe_code)]

mod backoff;
mod memory;
mod nats;
mod object;
mod secret;
mod subject;
mod tls;
mod zenoh;

pub use memory::{Delivery, MemoryMesh};
pub use nats::{NatsAuth, NatsConfig, NatsMesh};
pub use object::ObjectError;
pub use secret::{Secret, masked_url};
pub use subject::{Subject, Subjects};
pub use tls::{Pem, TlsConfig};
pub use zenoh::{ZenohConfig, ZenohMesh};

use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Chooses the cryptography of every TLS connection in this process: aws-lc-rs. Called once, first of all: with two
/// providers compiled in, rustls refuses to guess.
pub fn install_crypto_provider() {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a crypto provider was installed already");
    }
}

/// Why the mesh could not do something.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The first connection failed for a reason that waiting will not cure.
    #[error("failed to connect to `{target}`: {reason}")]
    Connect {
        /// Broker URLs or endpoints.
        target: String,
        /// The library's words.
        reason: String,
    },
    /// A setting that the transport cannot use.
    #[error("invalid mesh setting `{setting}`: {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers on that subject.
    #[error("no responders on `{0}`")]
    NoResponders(Subject),
    /// Nobody answered in time.
    #[error("request to `{subject}` timed out after {timeout:?}")]
    Timeout {
        /// Asked.
        subject: Subject,
        /// Waited.
        timeout: Duration,
    },
    /// More than the transport carries in one message.
    #[error("message of {size} bytes exceeds the mesh's limit of {limit} bytes")]
    TooLarge {
        /// Of the message.
        size: usize,
        /// Of the transport.
        limit: usize,
    },
    /// The mesh was closed.
    #[error("the mesh is closed")]
    Closed,
    /// Anything else the transport reports.
    #[error("mesh transport failed: {0}")]
    Transport(String),
}

/// Whether the host is linked to the mesh now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Messages flow. The number counts links made so far, the first being 1.
    Up(u64),
    /// The transport is trying again.
    Down,
}

/// One message from the mesh.
pub struct Message {
    /// In dotted form; for [`Mesh::serve`] the served subject itself.
    pub subject: Subject,
    /// As sent; empty when the sender gave none.
    pub payload: Bytes,
    /// Where the sender waits for an answer, if it does.
    pub reply: Option<Replier>,
}

/// Takes messages as they arrive, in order. Runs on the transport's own threads: it must not block.
///
/// A tokio runtime context is entered while it runs.
pub type Sink = Arc<dyn Fn(Message) + Send + Sync>;

/// Hands `message` to `sink`. A panic in there is reported and costs that message, not the subscription.
fn deliver(sink: &Sink, message: Message) {
    // A sink sees no state of ours, so there is none that a panic could leave half-changed.
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sink(message))).is_err() {
        tracing::error!("a message was lost: its handler panicked");
    }
}

/// The address of one answer. Dropping it without sending leaves the request unanswered, and on Zenoh finalises it.
pub struct Replier(Box<dyn Reply>);

/// A transport's half of [`Replier`].
pub trait Reply: Send {
    /// Sends the one answer. Must not block; failures are the transport's to log.
    fn send(self: Box<Self>, payload: Bytes);

    /// The most bytes that the answer may hold, where the transport has such a limit.
    fn payload_bytes_max(&self) -> Option<usize> {
        None
    }
}

impl Replier {
    /// Wraps a transport's address.
    #[must_use]
    pub fn new(reply: impl Reply + 'static) -> Self {
        Self(Box::new(reply))
    }

    /// The most bytes that the answer may hold, where the transport has such a limit; a larger one is lost.
    #[must_use]
    pub fn payload_bytes_max(&self) -> Option<usize> {
        self.0.payload_bytes_max()
    }

    /// Sends the answer. Never blocks; a failure is logged, as nobody else could act on it.
    pub fn send(self, payload: Bytes) {
        self.0.send(payload);
    }
}

impl fmt::Debug for Replier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replier")
    }
}

/// Ends its subscription when dropped: what the transport has taken by then and not yet handed on is lost.
/// [`Subscription::close`] loses nothing.
#[must_use = "dropping a subscription ends it"]
pub struct Subscription(Box<dyn Guard>);

/// A transport's half of [`Subscription`]. Dropped, it unsubscribes.
#[async_trait]
pub trait Guard: Send + Sync {
    /// Unsubscribes, and returns once the sink has been given whatever the transport had taken before. Takes half a
    /// second at most; then the rest is given up.
    async fn close(self: Box<Self>);
}

impl Subscription {
    /// Wraps whatever must be closed or dropped to unsubscribe.
    pub fn new(guard: impl Guard + 'static) -> Self {
        Self(Box::new(guard))
    }

    /// Ends the subscription without losing what is on its way: every message that the transport had taken is handed
    /// to the sink before this returns. Takes half a second at most. Dropping the future drops the subscription.
    pub async fn close(self) {
        self.0.close().await;
    }
}

/// A connection to the mesh.
#[async_trait]
pub trait Mesh: Send + Sync + 'static {
    /// Takes everything sent to `subject`, with or without a wish for an answer (wire contract 2.3: on Zenoh both a
    /// subscriber and a queryable).
    ///
    /// # Errors
    /// [`MeshError`] when the transport refuses the declaration.
    async fn serve(&self, subject: &Subject, sink: Sink) -> Result<Subscription, MeshError>;

    /// Takes what is published on `pattern`, which may hold wildcards.
    ///
    /// # Errors
    /// [`MeshError`] when the transport refuses the declaration.
    async fn subscribe(&self, pattern: &Subject, sink: Sink) -> Result<Subscription, MeshError>;

    /// Publishes one message. Returns once the transport has taken it, not once anybody has it.
    ///
    /// # Errors
    /// [`MeshError::TooLarge`], or whatever the transport reports.
    async fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), MeshError>;

    /// Sends a request and waits for the first good answer. Cancel safe: dropping the future gives the answer up.
    ///
    /// # Errors
    /// [`MeshError::NoResponders`], [`MeshError::Timeout`], or whatever the transport reports.
    async fn request(&self, subject: &Subject, payload: Bytes, timeout: Duration) -> Result<Bytes, MeshError>;

    /// Reads an object that the mesh keeps, at most `bytes_max` of it, within two minutes. Cancel safe: dropping the
    /// future gives it up. A mesh that keeps none says so.
    ///
    /// # Errors
    /// [`ObjectError`].
    async fn object(&self, bucket: &str, name: &str, bytes_max: u64) -> Result<Vec<u8>, ObjectError> {
        let _ = (bucket, name, bytes_max);
        Err(ObjectError::Unsupported)
    }

    /// The most bytes that one message may hold, where the transport has such a limit.
    fn payload_bytes_max(&self) -> Option<usize>;

    /// Follows the link.
    fn link(&self) -> watch::Receiver<Link>;

    /// Flushes what was published and closes. Subscriptions end. Takes a few seconds at most.
    async fn close(&self);
}
