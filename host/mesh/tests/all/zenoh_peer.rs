//! Zenoh without infrastructure: peers that find one another on the loopback interface.

use crate::contract;
use crate::probe::{LIMIT, echo, eventually, inbox, linked, next, subject, tenant};
use bytes::Bytes;
use mortise_mesh::{Link, Mesh, MeshError, Message, ZenohConfig, ZenohMesh};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use zenoh::query::ConsolidationMode;

pub(crate) fn loopback() -> ZenohConfig {
    ZenohConfig { scouting_interface: Some("lo".to_owned()), ..ZenohConfig::default() }
}

async fn peer() -> ZenohMesh {
    ZenohMesh::open(loopback()).await.unwrap()
}

/// A session that is none of ours, as a client of the host may use it.
async fn foreign() -> zenoh::Session {
    let mut config = zenoh::Config::default();
    for (path, value) in [
        ("mode", "\"peer\""),
        ("scouting/multicast/interface", "\"lo\""),
        ("listen/endpoints", "[\"tcp/127.0.0.1:0\"]"),
    ] {
        config.insert_json5(path, value).unwrap();
    }
    zenoh::open(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    contract::check(&peer().await, &peer().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_peer_opens_and_is_linked() {
    let mesh = peer().await;
    assert_eq!(*mesh.link().borrow(), Link::Up(1));
    assert_eq!(mesh.payload_bytes_max(), None);
    mesh.publish(&subject("nobody.listens"), Bytes::new()).await.unwrap();
}

/// Wire contract 2.3: the answer carries the query's own key, comes once, and finalises the query at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_query_is_answered_on_its_own_key() {
    let (mesh, session) = (peer().await, foreign().await);
    let tenant = tenant();
    let (sink, mut served) = inbox();
    let _served = mesh.serve(&subject(format!("device-connect.{tenant}.h1.cmd")), sink).await.unwrap();
    tokio::spawn(async move {
        while let Some(message) = served.recv().await {
            assert_eq!(message.payload, "", "a query without payload is seen as empty bytes");
            message.reply.unwrap().send(Bytes::from_static(b"answer"));
        }
    });
    let wildcard = format!("device-connect/{tenant}/*/cmd");
    let replies = eventually("an answer", LIMIT, async || {
        // Automatic consolidation holds the reply back until the query is final, so this waits for just that.
        let replies = session.get(&wildcard).timeout(LIMIT).await.unwrap();
        let mut found = Vec::new();
        while let Ok(reply) = tokio::time::timeout(Duration::from_secs(5), replies.recv_async()).await.unwrap() {
            found.push(reply.into_result().unwrap());
        }
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].key_expr().as_str(), wildcard);
    assert_eq!(&replies[0].payload().to_bytes()[..], b"answer");
    assert_eq!(*replies[0].encoding(), zenoh::bytes::Encoding::ZENOH_BYTES);
    assert!(replies[0].timestamp().is_none() && replies[0].attachment().is_none());
}

/// Wire contract 2.3: silence is asked again, twice, by peers.
#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_query_is_final_and_asked_three_times() {
    let (server, client) = (peer().await, peer().await);
    linked(&server, &client).await;
    let command = subject(format!("{}.h1.cmd", tenant()));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let sink = Arc::new(move |message: Message| {
        if count.fetch_add(1, Ordering::Relaxed) % 3 == 2 && message.payload == "patient" {
            message.reply.unwrap().send(Bytes::from_static(b"third time"));
        }
    });
    let _served = server.serve(&command, sink).await.unwrap();
    // Until the other peer has heard of the declaration, there is no one to be silent.
    eventually("a first question", LIMIT, async || {
        let _ = client.request(&command, Bytes::from_static(b"first"), LIMIT).await;
        (asked.swap(0, Ordering::Relaxed) == 3).then_some(())
    })
    .await;
    let begun = Instant::now();
    let answer = client.request(&command, Bytes::from_static(b"patient"), LIMIT).await.unwrap();
    assert_eq!((answer, asked.swap(0, Ordering::Relaxed)), (Bytes::from_static(b"third time"), 3));
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
    let silence = client.request(&command, Bytes::from_static(b"in vain"), LIMIT).await;
    assert!(matches!(silence, Err(MeshError::NoResponders(_))), "{silence:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

/// Every peer is asked; the first good answer counts, error replies are passed over, and are no silence.
#[tokio::test(flavor = "multi_thread")]
async fn error_replies_are_passed_over_but_not_asked_again() {
    let (mesh, refusing, answering) = (peer().await, foreign().await, peer().await);
    let command = format!("{}/h1/cmd", tenant());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let _refusing = refusing
        .declare_queryable(&command)
        .callback(move |query| {
            count.fetch_add(1, Ordering::Relaxed);
            zenoh::Wait::wait(query.reply_err("no")).unwrap();
        })
        .await
        .unwrap();
    let subject = subject(command.replace('/', "."));
    let words = eventually("a refusal", LIMIT, async || {
        asked.store(0, Ordering::Relaxed);
        match mesh.request(&subject, Bytes::new(), LIMIT).await {
            Err(MeshError::Transport(words)) => Some(words),
            Err(MeshError::NoResponders(_)) => None,
            other => panic!("expected a refusal, got {other:?}"),
        }
    })
    .await;
    assert_eq!(words, "query error reply: no");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let _answering = answering.serve(&subject, echo()).await.unwrap();
    let payload = Bytes::from_static(b"yes");
    eventually("an answer", LIMIT, async || mesh.request(&subject, payload.clone(), LIMIT).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_reaches_a_served_subject_once_and_a_get_once() {
    let (mesh, session) = (peer().await, foreign().await);
    let tenant = tenant();
    let command = format!("{tenant}/h1/cmd");
    let (sink, mut served) = inbox();
    let _served = mesh.serve(&subject(format!("{tenant}.h1.cmd")), sink).await.unwrap();
    eventually("a first put", LIMIT, async || {
        session.put(&command, "early").await.unwrap();
        tokio::time::timeout(Duration::from_millis(100), served.recv()).await.ok()
    })
    .await;
    session.put(&command, "put").await.unwrap();
    let mut message = next(&mut served).await;
    while message.payload == "early" {
        message = next(&mut served).await;
    }
    assert!(message.payload == "put" && message.reply.is_none());
    let _replies = session.get(&command).payload("get").consolidation(ConsolidationMode::None).await.unwrap();
    let message = next(&mut served).await;
    assert!(message.payload == "get" && message.reply.is_some());
    session.delete(&command).await.unwrap();
    session.put(&command, "end").await.unwrap();
    assert_eq!(next(&mut served).await.payload, "end", "each came once, and a deletion is no message");
}
