//! NATS: limits, credentials, and a broker that dies.

use crate::contract;
use crate::nats_server::NatsServer;
use crate::probe::{LIMIT, echo, eventually, inbox, link_is, next, subject};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::StreamExt;
use mortise_mesh::{Link, Mesh, MeshError, Message, NatsAuth, NatsMesh, Secret};
use nkeys::{KeyPair, KeyPairType};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let broker = NatsServer::start("");
    contract::check(&broker.connect().await, &broker.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_in_force_when_it_returns() {
    let broker = NatsServer::start("");
    let (server, client) = (broker.connect().await, broker.connect().await);
    for number in 0..200 {
        let command = subject(format!("d{number}.cmd"));
        let _served = server.serve(&command, echo()).await.unwrap();
        client.request(&command, Bytes::new(), LIMIT).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brokers_limit_on_sizes_is_known_and_kept() {
    let broker = NatsServer::start("max_payload: 1024");
    let mesh = broker.connect().await;
    assert_eq!(mesh.payload_bytes_max(), Some(1024));
    let _served = mesh.serve(&subject("d.cmd"), echo()).await.unwrap();
    let (fits, exceeds) = (Bytes::from(vec![0; 1024]), Bytes::from(vec![0; 1025]));
    mesh.publish(&subject("d.cmd"), fits.clone()).await.unwrap();
    assert_eq!(mesh.request(&subject("d.cmd"), fits.clone(), LIMIT).await.unwrap(), fits);
    for result in [
        mesh.publish(&subject("d.cmd"), exceeds.clone()).await,
        mesh.request(&subject("d.cmd"), exceeds, LIMIT).await.map(drop),
    ] {
        assert!(matches!(result, Err(MeshError::TooLarge { size: 1025, limit: 1024 })), "{result:?}");
    }
    // The link has not suffered.
    assert_eq!(*mesh.link().borrow(), Link::Up(1));
}

/// Wire contract 2.4, last but one: a device's reply is a plain message on the reply subject, without headers.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_over_the_wire_is_plain() {
    let broker = NatsServer::start("");
    let mesh = broker.connect().await;
    let foreign = async_nats::connect(broker.url()).await.unwrap();
    let _served = mesh.serve(&subject("d.cmd"), echo()).await.unwrap();
    let mut inbox = foreign.subscribe("answers").await.unwrap();
    foreign.publish_with_reply("d.cmd", "answers", Bytes::from_static(b"hello")).await.unwrap();
    let answer = tokio::time::timeout(LIMIT, inbox.next()).await.unwrap().unwrap();
    assert_eq!((answer.payload, answer.headers, answer.reply), (Bytes::from_static(b"hello"), None, None));

    let mut asked = foreign.subscribe("registry").await.unwrap();
    foreign.flush().await.unwrap();
    let answering = async {
        let question = tokio::time::timeout(LIMIT, asked.next()).await.unwrap().unwrap();
        assert_eq!(question.headers, None);
        let reply = question.reply.unwrap();
        assert!(reply.starts_with("_INBOX."), "`{reply}`");
        foreign.publish(reply, Bytes::from_static(b"registered")).await.unwrap();
    };
    let question = subject("registry");
    // The subscription may still be on its way to the broker.
    let asking = eventually("an answer", LIMIT, async || mesh.request(&question, Bytes::new(), LIMIT).await.ok());
    assert_eq!(tokio::join!(asking, answering).0, "registered");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_work_again_after_the_broker_was_killed() {
    let mut broker = NatsServer::start("");
    let (server, client) = (broker.connect().await, broker.connect().await);
    let _served = server.serve(&subject("d.cmd"), echo()).await.unwrap();
    let (sink, mut events) = inbox();
    let _events = server.subscribe(&subject("*.event"), sink).await.unwrap();
    client.request(&subject("d.cmd"), Bytes::new(), LIMIT).await.unwrap();
    broker.kill();
    link_is(&server, LIMIT, |link| *link == Link::Down).await;
    // What is declared while the broker is away is there when it is back, and declaring does not wait for it.
    let late = subject("late.cmd");
    let late = tokio::time::timeout(Duration::from_secs(1), server.serve(&late, echo())).await;
    let _late = late.expect("serving does not wait for the broker").unwrap();
    broker.restart();
    let back = Duration::from_secs(5);
    assert_eq!(link_is(&server, back, |link| *link != Link::Down).await, Link::Up(2));
    for command in ["d.cmd", "late.cmd"] {
        eventually("an answer after the restart", back, async || {
            client.request(&subject(command), Bytes::new(), Duration::from_millis(500)).await.ok()
        })
        .await;
    }
    client.publish(&subject("d.event"), Bytes::from_static(b"again")).await.unwrap();
    assert_eq!(next(&mut events).await.payload, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_while_the_broker_is_away_does_not_hang() {
    let mut broker = NatsServer::start("");
    let mesh = broker.connect().await;
    let _served = mesh.serve(&subject("d.cmd"), echo()).await.unwrap();
    broker.kill();
    link_is(&mesh, LIMIT, |link| *link == Link::Down).await;
    tokio::time::timeout(Duration::from_secs(5), mesh.close()).await.expect("closing takes a few seconds at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_waits_for_a_broker_that_comes_later() {
    let mut broker = NatsServer::start("");
    broker.kill();
    let config = broker.config();
    let connecting = tokio::spawn(NatsMesh::connect(config));
    tokio::time::sleep(Duration::from_millis(100)).await;
    broker.restart();
    let mesh = tokio::time::timeout(LIMIT, connecting).await.unwrap().unwrap().unwrap();
    assert_eq!(*mesh.link().borrow(), Link::Up(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_credential_is_given_up_after_three_attempts() {
    let broker = NatsServer::start("authorization { user: someone, password: secret }");
    let mut config = broker.config();
    config.urls = vec![format!("nats://nobody:wrong@127.0.0.1:{}", broker.port())];
    match tokio::time::timeout(LIMIT, NatsMesh::connect(config)).await.expect("an end to the attempts") {
        Err(MeshError::Connect { target, reason }) => {
            assert_eq!(target, format!("nats://***@127.0.0.1:{}", broker.port()));
            assert!(reason.contains("authorization violation"), "{reason}");
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// On one thread the client can't empty its queue of 2,048 while this test fills it.
#[tokio::test]
async fn replies_arrive_even_when_they_outrun_the_outgoing_queue() {
    let broker = NatsServer::start("");
    let (server, client) = (broker.connect().await, Arc::new(broker.connect().await));
    // Every reply waits for the last request, then all are sent at once from one place.
    let (sink, mut requests) = inbox();
    let _served = server.serve(&subject("d.cmd"), sink).await.unwrap();
    const COUNT: usize = 5_000;
    let asking: Vec<_> = (0..COUNT)
        .map(|number| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                let payload = Bytes::from(number.to_string());
                let answer = client.request(&subject("d.cmd"), payload.clone(), LIMIT).await.unwrap();
                assert_eq!(answer, payload);
            })
        })
        .collect();
    let mut waiting: Vec<Message> = Vec::new();
    while waiting.len() < COUNT {
        waiting.push(next(&mut requests).await);
    }
    for message in waiting {
        message.reply.unwrap().send(message.payload);
    }
    for task in asking {
        tokio::time::timeout(LIMIT, task).await.unwrap().unwrap();
    }
    // And afterwards at once again.
    for number in 0..3 {
        let (command, payload) = (subject("d.cmd"), Bytes::from(number.to_string()));
        let (answer, ()) = tokio::join!(client.request(&command, payload.clone(), LIMIT), async {
            let message = next(&mut requests).await;
            message.reply.unwrap().send(message.payload);
        });
        assert_eq!(answer.unwrap(), payload);
    }
}

/// Whoever has sent a request before its subject is served no more gets an answer; whoever sends one later hears at
/// once that nobody answers. There is no third kind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn closing_a_subscription_in_a_flood_of_requests_loses_none() {
    const ASKING: usize = 256;
    let broker = NatsServer::start("");
    let (server, client) = (broker.connect().await, Arc::new(broker.connect().await));
    for round in 0..20 {
        let command = subject(format!("d{round}.cmd"));
        let answered = Arc::new(AtomicUsize::new(0));
        let served = server.serve(&command, echo()).await.unwrap();
        let asking: Vec<_> = (0..ASKING)
            .map(|_| {
                let (client, command, answered) = (Arc::clone(&client), command.clone(), Arc::clone(&answered));
                tokio::spawn(async move {
                    loop {
                        match client.request(&command, Bytes::from_static(b"hello"), LIMIT).await {
                            Ok(_) => answered.fetch_add(1, Ordering::Relaxed),
                            Err(error) => return error,
                        };
                    }
                })
            })
            .collect();
        eventually("a flood", LIMIT, async || (answered.load(Ordering::Relaxed) > 4 * ASKING).then_some(())).await;
        served.close().await;
        for task in asking {
            let error = task.await.unwrap();
            assert!(matches!(error, MeshError::NoResponders(_)), "round {round}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_subscription_without_a_broker_does_not_hang() {
    let mut broker = NatsServer::start("");
    let mesh = broker.connect().await;
    let served = mesh.serve(&subject("d.cmd"), echo()).await.unwrap();
    broker.kill();
    link_is(&mesh, LIMIT, |link| *link == Link::Down).await;
    tokio::time::timeout(Duration::from_secs(1), served.close()).await.expect("half a second at most");
}

/// A JSON web token as NATS has them: signed with the key of its issuer.
fn token(issuer: &KeyPair, subject: &KeyPair, nats: &serde_json::Value) -> String {
    let claims = json!({
        "jti": "test", "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(),
        "name": "test", "nats": nats,
    });
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), encode(&claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

/// A device credential as the portal hands out (wire contract 2.4): it reaches its tenant and its inboxes only.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_credential_is_enough() {
    let key = |kind, seed| KeyPair::new_from_raw(kind, [seed; 32]).unwrap();
    let operator = key(KeyPairType::Operator, 1);
    let account = key(KeyPairType::Account, 2);
    let device = key(KeyPairType::User, 3);
    let everything =
        json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1, "leaf": -1});
    let account_claims = json!({"type": "account", "version": 2, "limits": everything});
    let allowed = json!({"allow": ["device-connect.acme.>", "_INBOX.>"]});
    let device_claims =
        json!({"type": "user", "version": 2, "pub": allowed, "sub": allowed, "subs": -1, "data": -1, "payload": -1});
    let broker = NatsServer::start(&format!(
        "operator: \"{}\"\nresolver: MEMORY\nresolver_preload: {{ {}: \"{}\" }}\n",
        token(&operator, &operator, &json!({"type": "operator", "version": 2})),
        account.public_key(),
        token(&operator, &account, &account_claims),
    ));
    let mut config = broker.config();
    config.auth = Some(NatsAuth {
        jwt: Secret::new(token(&account, &device, &device_claims)),
        seed: Secret::new(format!("{}\n", device.seed().unwrap())),
    });
    let mesh = NatsMesh::connect(config.clone()).await.unwrap();
    let command = subject("device-connect.acme.h1.cmd");
    let _served = mesh.serve(&command, echo()).await.unwrap();
    let answer = mesh.request(&command, Bytes::from_static(b"hello"), LIMIT).await.unwrap();
    assert_eq!(answer, "hello");

    // The seed of somebody else, and one that is none.
    config.auth.as_mut().unwrap().seed = Secret::new(account.seed().unwrap());
    let refused = tokio::time::timeout(LIMIT, NatsMesh::connect(config.clone())).await.expect("an end to the attempts");
    assert!(matches!(refused, Err(MeshError::Connect { .. })), "{refused:?}");
    config.auth.as_mut().unwrap().seed = Secret::new("SUnonsense");
    let invalid = NatsMesh::connect(config).await;
    assert!(matches!(invalid, Err(MeshError::Setting { setting: "auth.seed", .. })), "{invalid:?}");
    assert!(!format!("{invalid:?}").contains("nonsense"));
}
