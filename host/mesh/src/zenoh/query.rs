//! Questions and answers over Zenoh (wire contract 2.3).

use super::bytes;
use super::config::Mode;
use crate::{MeshError, Reply, Subject};
use ::zenoh::Session;
use ::zenoh::Wait;
use ::zenoh::query::{ConsolidationMode, Query, QueryTarget, Reply as ZenohReply};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// Peers may not have heard of one another yet, so silence is asked again.
const PEER_ATTEMPTS: u32 = 3;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(300);
/// Zenoh ends a query at its deadline by itself; this is for the case that it does not.
const DEADLINE_GRACE: Duration = Duration::from_millis(250);
/// What Zenoh itself replies at the deadline.
const TIMEOUT_TEXT: &[u8] = b"Timeout";

/// Asks, and returns the first good answer at once.
pub(super) async fn ask(
    session: &Session,
    mode: Mode,
    subject: &Subject,
    payload: Bytes,
    timeout: Duration,
) -> Result<Bytes, MeshError> {
    let deadline = Instant::now() + timeout;
    let attempts = if mode == Mode::Peer { PEER_ATTEMPTS } else { 1 };
    for attempt in 1..=attempts {
        if attempt > 1 {
            if deadline.saturating_duration_since(Instant::now()) <= ATTEMPT_PAUSE {
                break;
            }
            tokio::time::sleep(ATTEMPT_PAUSE).await;
        }
        let remaining = deadline.saturating_duration_since(Instant::now());
        let end = ask_once(session, mode, subject, payload.clone(), remaining)?;
        match tokio::time::timeout(remaining + DEADLINE_GRACE, end).await {
            Ok(Ok(End::Answer(payload))) => return Ok(payload),
            Ok(Ok(End::Refused(words))) if *words != *TIMEOUT_TEXT => {
                return Err(MeshError::Transport(format!("query error reply: {}", String::from_utf8_lossy(&words))));
            }
            // A collector that goes away always says how its query ended, so `Err` would be silence too.
            Ok(Ok(End::Silence) | Err(_)) => {}
            Ok(Ok(End::Refused(_))) | Err(_) => return Err(MeshError::Timeout { subject: subject.clone(), timeout }),
        }
    }
    Err(MeshError::NoResponders(subject.clone()))
}

fn ask_once(
    session: &Session,
    mode: Mode,
    subject: &Subject,
    payload: Bytes,
    timeout: Duration,
) -> Result<oneshot::Receiver<End>, MeshError> {
    let (sender, end) = oneshot::channel();
    let collector = Collector(Mutex::new(Collected { sender: Some(sender), refusal: None }));
    let key = super::endpoint::key(subject.as_str());
    let mut get = session.get(key).payload(payload).timeout(timeout);
    if mode == Mode::Peer {
        get = get.target(QueryTarget::All).consolidation(ConsolidationMode::None);
    }
    get.callback(move |reply| collector.take(&reply))
        .wait()
        .map_err(|error| MeshError::Transport(error.to_string()))?;
    Ok(end)
}

/// How a query ended.
enum End {
    Answer(Bytes),
    /// There were error replies only; this is the first.
    Refused(Bytes),
    /// Nobody said anything.
    Silence,
}

/// Gathers the replies to one query. Zenoh drops it when the query is final.
struct Collector(Mutex<Collected>);

struct Collected {
    sender: Option<oneshot::Sender<End>>,
    refusal: Option<Bytes>,
}

impl Collector {
    fn take(&self, reply: &ZenohReply) {
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match reply.result() {
            Ok(sample) => {
                if let Some(sender) = collected.sender.take() {
                    // The requester may have given up.
                    let _ = sender.send(End::Answer(bytes(sample.payload())));
                }
            }
            Err(error) => {
                collected.refusal.get_or_insert_with(|| bytes(error.payload()));
            }
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let collected = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = collected.sender.take() {
            let end = collected.refusal.take().map_or(End::Silence, End::Refused);
            // The requester may have given up.
            let _ = sender.send(end);
        }
    }
}

/// Decides where replies are sent from. Zenoh offers no way to send one without ever waiting: when a receiver has
/// stopped reading, sending blocks for up to 5 seconds, until Zenoh cuts that receiver off.
///
/// A small reply goes out from where it is made, unless so many are being sent just now that every worker of the runtime
/// might be caught; a large one, which waits for its fragments to be taken, goes to the runtime's blocking threads.
pub(super) struct ReplyLane {
    runtime: Handle,
    tasks: TaskTracker,
    inline: Semaphore,
    /// Threads for those that go elsewhere.
    threads: Arc<Semaphore>,
    /// KiB of them that may be held.
    room: Arc<Semaphore>,
}

/// The largest reply that fits one batch of Zenoh's transport, with room for its envelope.
const INLINE_BYTES_MAX: usize = 48 * 1024;

/// Threads that replies may have at once. The runtime has several hundred, and others need them: a peer that asks for much and reads
/// nothing must not have all.
const THREADS_MAX: usize = 32;

/// What replies that wait for a thread, or have one, may hold, in KiB: as much as all calls that the host's own functions take at once.
/// Of more the newest are not sent.
const ROOM_KIB: usize = 256 << 10;

impl ReplyLane {
    pub(super) fn new(runtime: Handle, tasks: TaskTracker) -> Self {
        let inline = Semaphore::new(runtime.metrics().num_workers().saturating_sub(1).max(1));
        let (threads, room) = (Arc::new(Semaphore::new(THREADS_MAX)), Arc::new(Semaphore::new(ROOM_KIB)));
        Self { runtime, tasks, inline, threads, room }
    }

    fn send(&self, query: Query, payload: Bytes) {
        if payload.len() <= INLINE_BYTES_MAX
            && let Ok(_permit) = self.inline.try_acquire()
        {
            answer(&query, payload);
            return;
        }
        let kib = u32::try_from(payload.len() / 1024 + 1).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(kib) else {
            tracing::warn!(bytes = payload.len(), "a reply is not sent: too many wait for their receivers to read");
            return;
        };
        let threads = Arc::clone(&self.threads);
        let sent = async move {
            // The semaphore is never closed.
            let _place = threads.acquire_owned().await;
            // A panic in the transport has been told where it happened.
            let _ = tokio::task::spawn_blocking(move || answer(&query, payload)).await;
            drop(room);
        };
        self.tasks.spawn_on(sent, &self.runtime);
    }
}

/// On the query's own key, which may hold wildcards.
fn answer(query: &Query, payload: Bytes) {
    if let Err(error) = query.reply(query.key_expr().clone(), payload).wait() {
        tracing::warn!(%error, "failed to send a reply");
    }
}

/// The address of one query. Dropping it finalises the query.
pub(super) struct QueryReply {
    pub(super) query: Query,
    pub(super) lane: Arc<ReplyLane>,
}

impl Reply for QueryReply {
    fn send(self: Box<Self>, payload: Bytes) {
        let Self { query, lane } = *self;
        lane.send(query, payload);
    }
}
