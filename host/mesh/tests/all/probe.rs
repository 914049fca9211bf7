//! What the tests watch a mesh with.

use bytes::Bytes;
use mortise_mesh::{Link, Mesh, Message, Replier, Sink, Subject};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// How long a test listens for what must not come.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);

/// A tenant of its own for each test, so that tests on one mesh never hear of one another.
pub(crate) fn tenant() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("t{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn subject(text: impl AsRef<str>) -> Subject {
    Subject::received(text.as_ref())
}

/// A sink that hands on everything.
pub(crate) fn inbox() -> (Sink, mpsc::UnboundedReceiver<Message>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    // The receiver goes away with its test.
    (Arc::new(move |message| drop(sender.send(message))), receiver)
}

/// A sink that answers with what it got.
pub(crate) fn echo() -> Sink {
    Arc::new(|message: Message| {
        if let Some(reply) = message.reply {
            reply.send(message.payload);
        }
    })
}

/// A sink that keeps every address and never answers.
pub(crate) fn silent() -> Sink {
    let kept: Mutex<Vec<Replier>> = Mutex::default();
    Arc::new(move |message: Message| kept.lock().unwrap().extend(message.reply))
}

pub(crate) async fn next(receiver: &mut mpsc::UnboundedReceiver<Message>) -> Message {
    tokio::time::timeout(LIMIT, receiver.recv()).await.expect("a message within the limit").expect("an open sink")
}

/// Repeats `attempt` until it gives something, and says so when it never does.
pub(crate) async fn eventually<T>(what: &str, limit: Duration, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until requests from `client` reach what `server` serves.
pub(crate) async fn linked(server: &dyn Mesh, client: &dyn Mesh) {
    let probe = subject(format!("linked.{}", tenant()));
    let _served = server.serve(&probe, echo()).await.unwrap();
    eventually("a first answer", LIMIT, async || {
        client.request(&probe, Bytes::new(), Duration::from_millis(500)).await.ok()
    })
    .await;
}

/// Waits until the link is as `wanted`.
pub(crate) async fn link_is(mesh: &dyn Mesh, limit: Duration, wanted: impl FnMut(&Link) -> bool) -> Link {
    let mut link = mesh.link();
    *tokio::time::timeout(limit, link.wait_for(wanted)).await.expect("a change of the link").expect("a live mesh")
}
