//! Zenoh (wire contract 2.2 and 2.3).

mod config;
mod endpoint;
mod query;

pub use config::ZenohConfig;

use crate::backoff::Backoff;
use crate::{Guard, Link, Mesh, MeshError, Message, Replier, Sink, Subject, Subscription, deliver};
use ::zenoh::Session;
use ::zenoh::bytes::ZBytes;
use ::zenoh::config::ZenohId;
use ::zenoh::pubsub::Subscriber;
use ::zenoh::query::{Query, Queryable};
use ::zenoh::sample::{Sample, SampleKind};
use async_trait::async_trait;
use bytes::Bytes;
use config::{Mode, SessionConfig};
use query::{QueryReply, ReplyLane, ask};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// How often the link is looked at. Zenoh tells of it only by being asked, unless its unstable interface is used.
const LINK_PERIOD: Duration = Duration::from_millis(250);
/// How often a closed session is noticed, and reopening it is tried (wire contract 2.3).
const WATCH_PERIOD: Duration = Duration::from_secs(3);
/// Neighbours drop their routes to a peer's queryables within this time (wire contract 2.3, close order).
const ROUTES_DROP: Duration = Duration::from_millis(500);
const CLOSE_STEP_TIMEOUT: Duration = Duration::from_secs(2);

/// A Zenoh session, reopened when it closes by itself, and everything that was declared through it.
///
/// The transport has no limit on the size of a message that a device could reach.
pub struct ZenohMesh {
    shared: Arc<Shared>,
    _watch: DropGuard,
}

struct Shared {
    session_config: SessionConfig,
    session: RwLock<Session>,
    /// By handle, so that every declaration is there once however often it is made again (wire contract C14).
    declarations: Mutex<BTreeMap<u64, Declaration>>,
    /// Held while declaring, reopening and closing, so that a new session gets exactly what is declared.
    lifecycle: tokio::sync::Mutex<Lifecycle>,
    link: watch::Sender<Link>,
    runtime: Handle,
    replies: Arc<ReplyLane>,
    tasks: TaskTracker,
    closed: CancellationToken,
}

struct Lifecycle {
    handle_next: u64,
}

struct Declaration {
    wanted: Wanted,
    live: Live,
}

#[derive(Clone)]
struct Wanted {
    pattern: Subject,
    served: bool,
    sink: Sink,
}

/// What a session holds for one declaration. The queryable comes first: it is undeclared first.
struct Live {
    queryable: Option<Queryable<()>>,
    subscriber: Subscriber<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks, so a poisoned value is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn transport(error: impl fmt::Display) -> MeshError {
    MeshError::Transport(error.to_string())
}

/// Copies a payload out of the transport's receive buffer, which a reference would keep from being used again.
fn bytes(payload: &ZBytes) -> Bytes {
    Bytes::from(payload.to_bytes().into_owned())
}

impl fmt::Debug for ZenohMesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZenohMesh").field("link", &*self.shared.link.borrow()).finish_non_exhaustive()
    }
}

impl ZenohMesh {
    /// Opens a session: as a peer at once, as a client trying again after 2, 4, … 30 seconds until a router takes it
    /// (wire contract 8.6, step 1). Cancel safe. Must be called within a multi-threaded tokio runtime, in which
    /// sinks will run.
    ///
    /// # Errors
    /// [`MeshError::Setting`] for what waiting can't cure, [`MeshError::Connect`] when a peer can't listen.
    pub async fn open(settings: ZenohConfig) -> Result<Self, MeshError> {
        let session_config = SessionConfig::new(&settings).await?;
        let mut backoff = Backoff::new();
        let session = loop {
            let error = match ::zenoh::open(session_config.config.clone()).await {
                Ok(session) => break session,
                Err(error) => error,
            };
            let target = session_config.target.clone();
            if session_config.mode == Mode::Peer {
                return Err(MeshError::Connect { target, reason: error.to_string() });
            }
            let pause = backoff.pause();
            tracing::warn!(%target, %error, ?pause, "failed to connect to the router, trying again");
            tokio::time::sleep(pause).await;
        };
        let runtime = Handle::current();
        let tasks = TaskTracker::new();
        let shared = Arc::new(Shared {
            session_config,
            session: RwLock::new(session),
            declarations: Mutex::default(),
            lifecycle: tokio::sync::Mutex::new(Lifecycle { handle_next: 0 }),
            link: watch::Sender::new(Link::Up(1)),
            replies: Arc::new(ReplyLane::new(runtime.clone(), tasks.clone())),
            runtime,
            tasks,
            closed: CancellationToken::new(),
        });
        shared.tasks.spawn(watch(Arc::clone(&shared)));
        let _watch = shared.closed.clone().drop_guard();
        Ok(Self { shared, _watch })
    }

    async fn declare(&self, pattern: &Subject, served: bool, sink: Sink) -> Result<Subscription, MeshError> {
        let mut lifecycle = self.shared.lifecycle.lock().await;
        self.shared.check_open()?;
        let wanted = Wanted { pattern: pattern.clone(), served, sink };
        let live = self.shared.declare(&self.shared.session(), &wanted).await?;
        let handle = lifecycle.handle_next;
        lifecycle.handle_next += 1;
        lock(&self.shared.declarations).insert(handle, Declaration { wanted, live });
        Ok(Subscription::new(DeclarationGuard { shared: Arc::clone(&self.shared), handle }))
    }
}

impl Shared {
    fn check_open(&self) -> Result<(), MeshError> {
        if self.closed.is_cancelled() { Err(MeshError::Closed) } else { Ok(()) }
    }

    fn session(&self) -> Session {
        self.session.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn declare(&self, session: &Session, wanted: &Wanted) -> Result<Live, MeshError> {
        let key = endpoint::key(wanted.pattern.as_str());
        let subscriber = session.declare_subscriber(key.clone()).callback(self.sample_callback(wanted));
        let subscriber = subscriber.await.map_err(transport)?;
        let queryable = if wanted.served {
            let queryable = session.declare_queryable(key).complete(true).callback(self.query_callback(wanted));
            Some(queryable.await.map_err(transport)?)
        } else {
            None
        };
        Ok(Live { queryable, subscriber })
    }

    fn sample_callback(&self, wanted: &Wanted) -> impl Fn(Sample) + Send + Sync + 'static {
        let served = wanted.served.then(|| wanted.pattern.clone());
        let (sink, runtime) = (Arc::clone(&wanted.sink), self.runtime.clone());
        move |sample| {
            if sample.kind() != SampleKind::Put {
                return;
            }
            let subject =
                served.clone().unwrap_or_else(|| Subject::received(&endpoint::subject(sample.key_expr().as_str())));
            let _context = runtime.enter();
            deliver(&sink, Message { subject, payload: bytes(sample.payload()), reply: None });
        }
    }

    fn query_callback(&self, wanted: &Wanted) -> impl Fn(Query) + Send + Sync + 'static {
        let wanted = wanted.clone();
        let (lane, runtime) = (Arc::clone(&self.replies), self.runtime.clone());
        move |query| {
            let payload = query.payload().map(bytes).unwrap_or_default();
            let reply = Replier::new(QueryReply { query, lane: Arc::clone(&lane) });
            let _context = runtime.enter();
            deliver(&wanted.sink, Message { subject: wanted.pattern.clone(), payload, reply: Some(reply) });
        }
    }

    fn set_link(&self, link: Link) {
        self.link.send_if_modified(|current| std::mem::replace(current, link) != link);
    }

    /// Opens another session in place of the closed one and makes every declaration again.
    async fn reopen(&self) -> Result<(), MeshError> {
        let session = ::zenoh::open(self.session_config.config.clone()).await.map_err(transport)?;
        let _lifecycle = self.lifecycle.lock().await;
        self.check_open()?;
        let wanted: Vec<(u64, Wanted)> = lock(&self.declarations)
            .iter()
            .map(|(handle, declaration)| (*handle, declaration.wanted.clone()))
            .collect();
        for (handle, wanted) in wanted {
            let live = self.declare(&session, &wanted).await?;
            // Whoever dropped the guard meanwhile finds nothing to undeclare; then this one ends here.
            let replaced = match lock(&self.declarations).get_mut(&handle) {
                Some(declaration) => std::mem::replace(&mut declaration.live, live),
                None => live,
            };
            drop(replaced);
        }
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = session;
        Ok(())
    }
}

/// Follows the link, and reopens a session that was closed, until the mesh is closed.
async fn watch(shared: Arc<Shared>) {
    let closed = shared.closed.clone();
    closed.run_until_cancelled(follow(&shared)).await;
}

async fn follow(shared: &Shared) {
    let mut links = 1;
    let mut neighbours = neighbours(&shared.session()).await;
    loop {
        tokio::time::sleep(LINK_PERIOD).await;
        let session = shared.session();
        if session.is_closed() {
            shared.set_link(Link::Down);
            tracing::warn!("the Zenoh session was closed, opening another one");
            while let Err(error) = shared.reopen().await {
                tracing::warn!(%error, "failed to open another Zenoh session, trying again");
                tokio::time::sleep(WATCH_PERIOD).await;
            }
            links += 1;
            neighbours = self::neighbours(&shared.session()).await;
            shared.set_link(Link::Up(links));
            continue;
        }
        // A lone peer is a mesh of one: it is linked. A client is linked to a router or not at all.
        if shared.session_config.mode == Mode::Peer {
            continue;
        }
        let before = std::mem::replace(&mut neighbours, self::neighbours(&session).await);
        if neighbours.is_empty() {
            shared.set_link(Link::Down);
        } else if !neighbours.iter().any(|neighbour| before.contains(neighbour)) {
            // Another router, or the same one restarted, perhaps between two looks.
            links += 1;
            shared.set_link(Link::Up(links));
        }
    }
}

async fn neighbours(session: &Session) -> Vec<ZenohId> {
    let info = session.info();
    info.routers_zid().await.chain(info.peers_zid().await).collect()
}

struct DeclarationGuard {
    shared: Arc<Shared>,
    handle: u64,
}

impl Drop for DeclarationGuard {
    fn drop(&mut self) {
        // Undeclaring calls into Zenoh, so it is done after the lock is gone.
        let removed = lock(&self.shared.declarations).remove(&self.handle);
        drop(removed);
    }
}

#[async_trait]
impl Guard for DeclarationGuard {
    /// Zenoh runs the sink where messages arrive, so none waits here. A query that comes after the undeclaring is
    /// finalised by the session, and its sender hears at once that nobody answers.
    async fn close(self: Box<Self>) {}
}

#[async_trait]
impl Mesh for ZenohMesh {
    async fn serve(&self, subject: &Subject, sink: Sink) -> Result<Subscription, MeshError> {
        self.declare(subject, true, sink).await
    }

    async fn subscribe(&self, pattern: &Subject, sink: Sink) -> Result<Subscription, MeshError> {
        self.declare(pattern, false, sink).await
    }

    async fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), MeshError> {
        self.shared.check_open()?;
        self.shared.session().put(endpoint::key(subject.as_str()), payload).await.map_err(transport)
    }

    async fn request(&self, subject: &Subject, payload: Bytes, timeout: Duration) -> Result<Bytes, MeshError> {
        self.shared.check_open()?;
        ask(&self.shared.session(), self.shared.session_config.mode, subject, payload, timeout).await
    }

    fn payload_bytes_max(&self) -> Option<usize> {
        None
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    async fn close(&self) {
        let lifecycle = self.shared.lifecycle.lock().await;
        if self.shared.closed.is_cancelled() {
            return;
        }
        self.shared.closed.cancel();
        let declarations = std::mem::take(&mut *lock(&self.shared.declarations));
        let mut subscribers = Vec::new();
        for Live { queryable, subscriber } in declarations.into_values().map(|declaration| declaration.live) {
            drop(queryable);
            subscribers.push(subscriber);
        }
        if self.shared.session_config.mode == Mode::Peer {
            tokio::time::sleep(ROUTES_DROP).await;
        }
        drop(subscribers);
        self.shared.tasks.close();
        // Whoever doesn't take a reply in time has had its chance.
        let _ = timeout(CLOSE_STEP_TIMEOUT, self.shared.tasks.wait()).await;
        match timeout(CLOSE_STEP_TIMEOUT, self.shared.session().close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "failed to close the Zenoh session"),
            Err(_) => tracing::warn!("closing the Zenoh session took too long"),
        }
        self.shared.set_link(Link::Down);
        drop(lifecycle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    async fn peer() -> ZenohMesh {
        let settings = ZenohConfig { scouting_interface: Some("lo".to_owned()), ..ZenohConfig::default() };
        ZenohMesh::open(settings).await.unwrap()
    }

    /// A session can close by itself; only from in here can a test close it.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_closed_session_is_reopened_with_exactly_what_is_declared() {
        let (server, client) = (peer().await, peer().await);
        let subject = |tail: &str| Subject::received(&format!("reopen{}.{tail}", std::process::id()));
        let served = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&served);
        let sink: Sink = Arc::new(move |message: Message| {
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(reply) = message.reply {
                reply.send(message.payload);
            }
        });
        let _kept = server.serve(&subject("kept.cmd"), Arc::clone(&sink)).await.unwrap();
        let dropped = server.serve(&subject("dropped.cmd"), Arc::clone(&sink)).await.unwrap();
        let ask = async |tail: &str| client.request(&subject(tail), Bytes::new(), Duration::from_secs(2)).await;
        ask("kept.cmd").await.unwrap();
        ask("dropped.cmd").await.unwrap();
        for round in 2..4 {
            let mut link = server.link();
            server.shared.session().close().await.unwrap();
            let up = timeout(Duration::from_secs(10), link.wait_for(|link| *link == Link::Up(round))).await;
            assert!(up.is_ok(), "the session was not reopened");
            drop(up);
            // The other peer has to find the new session first.
            let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
            while let Err(error) = ask("kept.cmd").await {
                assert!(tokio::time::Instant::now() < deadline, "no answer after reopening: {error}");
            }
        }
        // Declared once, however often the session was reopened: one message is taken once.
        served.store(0, Ordering::Relaxed);
        client.publish(&subject("kept.cmd"), Bytes::new()).await.unwrap();
        ask("kept.cmd").await.unwrap();
        assert_eq!(served.load(Ordering::Relaxed), 2);
        drop(dropped);
        assert!(matches!(ask("dropped.cmd").await, Err(MeshError::NoResponders(_))));
        assert_eq!(lock(&server.shared.declarations).len(), 1);
    }
}
