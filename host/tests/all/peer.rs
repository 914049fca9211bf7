//! A client of the mesh that the host is on: over NATS a foreign library, over Zenoh a peer of its own.

use crate::LONG;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use mortise_mesh::{Mesh as _, Subject, ZenohConfig, ZenohMesh};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// More than any test leaves unread.
const INBOX_MESSAGES_MAX: usize = 65_536;

#[derive(Clone)]
pub(crate) enum Peer {
    Nats(async_nats::Client),
    Zenoh(Arc<ZenohMesh>),
}

impl Peer {
    pub(crate) async fn on_nats(url: &str) -> Self {
        let options = async_nats::ConnectOptions::new()
            .subscription_capacity(INBOX_MESSAGES_MAX)
            .request_timeout(None)
            .retry_on_initial_connect()
            .reconnect_delay_callback(|_| Duration::from_millis(20));
        Self::Nats(options.connect(url).await.unwrap())
    }

    pub(crate) async fn on_zenoh() -> Self {
        let config = ZenohConfig { scouting_interface: Some("lo".to_owned()), ..ZenohConfig::default() };
        Self::Zenoh(Arc::new(ZenohMesh::open(config).await.unwrap()))
    }

    /// Sends a request, in dotted form, and waits for one answer.
    pub(crate) async fn request(&self, subject: &str, payload: Bytes, limit: Duration) -> Result<Bytes, String> {
        match self {
            Self::Nats(client) => match timeout(limit, client.request(subject.to_owned(), payload)).await {
                Ok(answer) => answer.map(|message| message.payload).map_err(|error| error.to_string()),
                Err(_) => Err("no answer in time".to_owned()),
            },
            Self::Zenoh(mesh) => {
                let answer = mesh.request(&Subject::received(subject), payload, limit).await;
                answer.map_err(|error| error.to_string())
            }
        }
    }

    pub(crate) async fn publish(&self, subject: &str, payload: Bytes) {
        match self {
            Self::Nats(client) => client.publish(subject.to_owned(), payload).await.unwrap(),
            Self::Zenoh(mesh) => mesh.publish(&Subject::received(subject), payload).await.unwrap(),
        }
    }

    /// Takes what is published from now on.
    pub(crate) async fn subscribe(&self, pattern: &str) -> Inbox {
        let messages = match self {
            Self::Nats(client) => {
                let subscriber = client.subscribe(pattern.to_owned()).await.unwrap();
                // The server has the subscription once it has answered what was sent after it.
                client.flush().await.unwrap();
                self.round_trip().await;
                subscriber.map(|message| (message.subject.to_string(), message.payload)).boxed()
            }
            Self::Zenoh(mesh) => {
                let (sender, receiver) = tokio::sync::mpsc::channel(INBOX_MESSAGES_MAX);
                let sink = Arc::new(move |message: mortise_mesh::Message| {
                    sender.try_send((message.subject.to_string(), message.payload)).unwrap();
                });
                let subscription = mesh.subscribe(&Subject::received(pattern), sink).await.unwrap();
                // The subscription lives in the stream, and ends with it.
                stream::unfold((receiver, subscription), |(mut receiver, subscription)| async move {
                    Some((receiver.recv().await?, (receiver, subscription)))
                })
                .boxed()
            }
        };
        Inbox { messages }
    }

    /// Returns when everything that the broker took before has arrived here. Without a broker at once.
    pub(crate) async fn round_trip(&self) {
        if let Self::Nats(client) = self {
            let inbox = client.new_inbox();
            let mut echo = client.subscribe(inbox.clone()).await.unwrap();
            client.publish(inbox, Bytes::new()).await.unwrap();
            timeout(LONG, echo.next()).await.expect("the broker is gone").unwrap();
        }
    }
}

/// What a subscription has received.
pub(crate) struct Inbox {
    messages: BoxStream<'static, (String, Bytes)>,
}

impl Inbox {
    /// The next message.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        let next = timeout(LONG, self.messages.next()).await;
        let (subject, payload) = next.expect("no message within a minute").expect("the subscription ended");
        (subject, serde_json::from_slice(&payload).unwrap())
    }

    /// The next message that is as wanted; others are passed over.
    pub(crate) async fn next_where(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = async {
            loop {
                last = self.next().await.1;
                if wanted(&last) {
                    return;
                }
            }
        };
        let found = timeout(LONG, found).await.is_ok();
        assert!(found, "{what}; the last message was {last}");
        last
    }

    /// What has arrived already.
    pub(crate) fn arrived(&mut self) -> Vec<Value> {
        let mut messages = Vec::new();
        while let Some(Some((_, payload))) = self.messages.next().now_or_never() {
            messages.push(serde_json::from_slice(&payload).unwrap());
        }
        messages
    }
}
