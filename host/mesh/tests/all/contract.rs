//! What every mesh promises, whatever carries it.

use crate::probe::{LIMIT, SILENCE, echo, eventually, inbox, linked, next, silent, subject, tenant};
use bytes::Bytes;
use mortise_mesh::{Mesh, MeshError, Message};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Runs the whole contract between two members of one mesh, and closes both.
pub(crate) async fn check(server: &dyn Mesh, client: &dyn Mesh) {
    linked(server, client).await;
    wildcards_and_order(server, client).await;
    served_subjects_take_both_kinds(server, client).await;
    many_requests_at_once(server, client).await;
    large_messages(server, client).await;
    nobody_answers(server, client).await;
    sinks_may_panic_and_spawn(server, client).await;
    a_dropped_guard_ends_its_subscription(server, client).await;
    a_closed_subscription_has_handed_on_what_came_before(server, client).await;
    closing_ends_everything(server, client).await;
}

async fn wildcards_and_order(server: &dyn Mesh, client: &dyn Mesh) {
    let root = tenant();
    let (every, mut of_every) = inbox();
    let (tail, mut of_tail) = inbox();
    let (exact, mut of_exact) = inbox();
    let _every = server.subscribe(&subject(format!("{root}.*.presence")), every).await.unwrap();
    let _tail = server.subscribe(&subject(format!("{root}.d1.event.>")), tail).await.unwrap();
    let _exact = server.subscribe(&subject(format!("{root}.d1.event.last")), exact).await.unwrap();
    // Only a first message through each says that the other side has heard of these subscriptions.
    for path in ["d1.presence", "d1.event.first"] {
        let path = subject(format!("{root}.{path}"));
        let receiver = if path.as_str().ends_with("presence") { &mut of_every } else { &mut of_tail };
        eventually("a first message", LIMIT, async || {
            client.publish(&path, Bytes::from_static(b"first")).await.unwrap();
            tokio::time::timeout(SILENCE, receiver.recv()).await.ok()
        })
        .await;
    }
    for number in 0..500 {
        client.publish(&subject(format!("{root}.d1.event.a.b")), Bytes::from(format!("{number}"))).await.unwrap();
    }
    client.publish(&subject(format!("{root}.d1.event.last")), Bytes::from_static(b"end")).await.unwrap();
    let mut message = next(&mut of_tail).await;
    while message.payload == "first" {
        message = next(&mut of_tail).await;
    }
    for number in 0..500 {
        assert_eq!(message.subject, subject(format!("{root}.d1.event.a.b")));
        assert_eq!(message.payload, format!("{number}"));
        assert!(message.reply.is_none());
        message = next(&mut of_tail).await;
    }
    assert_eq!((message.subject, &message.payload[..]), (subject(format!("{root}.d1.event.last")), &b"end"[..]));
    assert_eq!(next(&mut of_exact).await.payload, "end");
    while let Ok(message) = of_every.try_recv() {
        assert_eq!(message.payload, "first", "nothing else matches");
    }
}

async fn served_subjects_take_both_kinds(server: &dyn Mesh, client: &dyn Mesh) {
    let command = subject(format!("{}.d1.cmd", tenant()));
    let (sink, mut served) = inbox();
    let _served = server.serve(&command, sink).await.unwrap();
    let answered = async {
        loop {
            let message = next(&mut served).await;
            let Some(reply) = message.reply else { continue };
            assert_eq!((&message.subject, &message.payload[..]), (&command, &b"ask"[..]));
            // The answer may come from anywhere, later.
            tokio::spawn(async move { reply.send(Bytes::from_static(b"answer")) });
            break;
        }
    };
    let asked = eventually("an answer", LIMIT, async || {
        client.request(&command, Bytes::from_static(b"ask"), Duration::from_secs(5)).await.ok()
    });
    let (answer, ()) = tokio::join!(asked, answered);
    assert_eq!(answer, "answer");
    client.publish(&command, Bytes::from_static(b"tell")).await.unwrap();
    let message = next(&mut served).await;
    assert_eq!((message.subject, &message.payload[..]), (command.clone(), &b"tell"[..]));
    assert!(message.reply.is_none());
    client.publish(&command, Bytes::new()).await.unwrap();
    assert_eq!(next(&mut served).await.payload, "");
}

async fn many_requests_at_once(server: &dyn Mesh, client: &dyn Mesh) {
    let command = subject(format!("{}.d1.cmd", tenant()));
    let _served = server.serve(&command, echo()).await.unwrap();
    eventually("an answer", LIMIT, async || client.request(&command, Bytes::new(), LIMIT).await.ok()).await;
    let requests = (0..200).map(|number| {
        let (command, payload) = (&command, Bytes::from(format!("request {number}")));
        async move { (client.request(command, payload.clone(), LIMIT).await.unwrap(), payload) }
    });
    for (answer, payload) in futures_util::future::join_all(requests).await {
        assert_eq!(answer, payload);
    }
}

async fn large_messages(server: &dyn Mesh, client: &dyn Mesh) {
    let command = subject(format!("{}.d1.cmd", tenant()));
    let _served = server.serve(&command, echo()).await.unwrap();
    eventually("an answer", LIMIT, async || client.request(&command, Bytes::new(), LIMIT).await.ok()).await;
    let large: Bytes = (0..700_000_u32).map(|number| number.to_le_bytes()[0] ^ number.to_le_bytes()[1]).collect();
    let answer = client.request(&command, large.clone(), LIMIT).await.unwrap();
    assert!(answer == large, "700,000 bytes came back changed");
}

async fn nobody_answers(server: &dyn Mesh, client: &dyn Mesh) {
    let nowhere = subject(format!("{}.nobody.cmd", tenant()));
    match client.request(&nowhere, Bytes::new(), LIMIT).await {
        Err(MeshError::NoResponders(subject)) => assert_eq!(subject, nowhere),
        other => panic!("expected no responders, got {other:?}"),
    }
    let mute = subject(format!("{}.mute.cmd", tenant()));
    let _mute = server.serve(&mute, silent()).await.unwrap();
    let patience = Duration::from_millis(300);
    eventually("a timeout", LIMIT, async || match client.request(&mute, Bytes::new(), patience).await {
        Err(MeshError::Timeout { subject, timeout }) => {
            assert_eq!((subject, timeout), (mute.clone(), patience));
            Some(())
        }
        Err(MeshError::NoResponders(_)) => None,
        other => panic!("expected a timeout, got {other:?}"),
    })
    .await;
}

async fn sinks_may_panic_and_spawn(server: &dyn Mesh, client: &dyn Mesh) {
    let command = subject(format!("{}.d1.cmd", tenant()));
    let sink = Arc::new(|message: Message| {
        assert_ne!(message.payload, "panic", "this panic is part of the test");
        let reply = message.reply.expect("requests only");
        tokio::spawn(async move { reply.send(Bytes::from_static(b"alive")) });
    });
    let _served = server.serve(&command, sink).await.unwrap();
    let ask = async |payload| client.request(&command, Bytes::from_static(payload), Duration::from_millis(500)).await;
    eventually("an answer", LIMIT, async || ask(b"hello").await.ok()).await;
    ask(b"panic").await.unwrap_err();
    assert_eq!(eventually("an answer", LIMIT, async || ask(b"hello").await.ok()).await, "alive");
}

async fn a_dropped_guard_ends_its_subscription(server: &dyn Mesh, client: &dyn Mesh) {
    let command = subject(format!("{}.d1.cmd", tenant()));
    let first = server.serve(&command, echo()).await.unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let event = subject(format!("{}.event", tenant()));
    let listening = server
        .subscribe(
            &event,
            Arc::new(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            }),
        )
        .await;
    eventually("an answer", LIMIT, async || client.request(&command, Bytes::new(), LIMIT).await.ok()).await;
    eventually("an event", LIMIT, async || {
        client.publish(&event, Bytes::new()).await.unwrap();
        (seen.load(Ordering::Relaxed) > 0).then_some(())
    })
    .await;
    drop((first, listening));
    eventually("the end of serving", LIMIT, async || {
        match client.request(&command, Bytes::new(), Duration::from_millis(200)).await {
            Err(MeshError::NoResponders(_)) => Some(()),
            _ => None,
        }
    })
    .await;
    let before = seen.load(Ordering::Relaxed);
    client.publish(&event, Bytes::new()).await.unwrap();
    tokio::time::sleep(SILENCE).await;
    assert_eq!(seen.load(Ordering::Relaxed), before);
    // The same subject can be served again.
    let _again = server.serve(&command, echo()).await.unwrap();
    eventually("an answer", LIMIT, async || client.request(&command, Bytes::new(), LIMIT).await.ok()).await;
}

async fn a_closed_subscription_has_handed_on_what_came_before(server: &dyn Mesh, client: &dyn Mesh) {
    let command = subject(format!("{}.d1.cmd", tenant()));
    let (sink, mut served) = inbox();
    let guard = server.serve(&command, sink).await.unwrap();
    eventually("a first message", LIMIT, async || {
        client.publish(&command, Bytes::from_static(b"first")).await.unwrap();
        tokio::time::timeout(SILENCE, served.recv()).await.ok()
    })
    .await;
    while served.try_recv().is_ok() {}
    // From the serving side itself: what it sends reaches the mesh before the end of its subscription does.
    for number in 0..100 {
        server.publish(&command, Bytes::from(format!("{number}"))).await.unwrap();
    }
    guard.close().await;
    let seen: Vec<Bytes> = std::iter::from_fn(|| served.try_recv().ok()).map(|message| message.payload).collect();
    let numbers: Vec<&Bytes> = seen.iter().filter(|payload| *payload != "first").collect();
    assert!(numbers.iter().enumerate().all(|(index, number)| **number == format!("{index}")), "{numbers:?}");
    assert_eq!(numbers.len(), 100);
    eventually("the end of serving", LIMIT, async || {
        match client.request(&command, Bytes::new(), Duration::from_millis(200)).await {
            Err(MeshError::NoResponders(_)) => Some(()),
            _ => None,
        }
    })
    .await;
}

async fn closing_ends_everything(server: &dyn Mesh, client: &dyn Mesh) {
    let command = subject(format!("{}.d1.cmd", tenant()));
    let guard = server.serve(&command, echo()).await.unwrap();
    eventually("an answer", LIMIT, async || client.request(&command, Bytes::new(), LIMIT).await.ok()).await;
    tokio::time::timeout(Duration::from_secs(8), server.close()).await.expect("closing takes a few seconds at most");
    server.close().await;
    eventually("the end of serving", LIMIT, async || {
        match client.request(&command, Bytes::new(), Duration::from_millis(200)).await {
            Err(MeshError::NoResponders(_)) => Some(()),
            _ => None,
        }
    })
    .await;
    assert!(matches!(server.publish(&command, Bytes::new()).await, Err(MeshError::Closed)));
    assert!(matches!(server.request(&command, Bytes::new(), LIMIT).await, Err(MeshError::Closed)));
    assert!(matches!(server.serve(&command, echo()).await.map(drop), Err(MeshError::Closed)));
    drop(guard);
    client.close().await;
}
