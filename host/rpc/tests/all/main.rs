//! The device on an in-memory mesh: calls, presence, events, departure.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod hearing;

use bytes::Bytes;
use mortise_mesh::{MemoryMesh, Mesh, Subject, Subjects, Subscription};
use mortise_model::{DeviceId, EventName, FunctionDef, FunctionName, Json, Tenant};
use mortise_rpc::{
    Admission, AdvertisedFunction, Call, DeviceCard, Dispatcher, Endpoint, EndpointParts, Handler, Hearing, Outbox,
    Peers, PluginRoutes, Route, Routes,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_secs(5);

/// Answers with a text of as many letters as `letters` says.
struct Letters;

impl Handler for Letters {
    fn handle(&self, _: &Arc<str>, call: Call) -> Admission {
        let letters = call.params.to_value()["letters"].as_u64().unwrap_or(1);
        call.responder.respond(Ok(Json::of(&json!("x".repeat(letters as usize)))));
        Admission::Taken
    }
}

fn plugin_routes() -> PluginRoutes {
    let name: Arc<str> = "letters".into();
    let def = FunctionDef {
        name: FunctionName::new("letters").unwrap(),
        description: String::new(),
        parameters: Json::of(&json!({"type": "object", "properties": {}, "required": []})),
        labels: None,
        tags: Vec::new(),
    };
    let route = Route { function: Arc::clone(&name), handler: Arc::new(Letters) };
    PluginRoutes {
        routes: HashMap::from([(Arc::clone(&name), route)]),
        functions: vec![AdvertisedFunction { name, def }],
        events: Vec::new(),
    }
}

struct Device {
    endpoint: Endpoint,
    routes: Routes,
    outbox: Outbox,
    peers: Peers,
    hearing: Hearing,
    card: Arc<DeviceCard>,
    subjects: Subjects,
}

async fn device(mesh: MemoryMesh) -> Device {
    let card = Arc::new(DeviceCard {
        id: DeviceId::new("host-1").unwrap(),
        tenant: Tenant::new("lab").unwrap(),
        availability: "idle".into(),
        ttl: Duration::from_secs(15),
        version: "0".into(),
    });
    let (routes, outbox, peers) = (Routes::new(), Outbox::default(), Peers::new(card.id.clone()));
    let hearing = Hearing::new(card.tenant.clone());
    let endpoint = Endpoint::open(EndpointParts {
        card: Arc::clone(&card),
        mesh: Arc::new(mesh),
        routes: routes.clone(),
        dispatcher: Dispatcher::new(Arc::clone(&card), routes.clone()),
        outbox: outbox.clone(),
        peers: peers.clone(),
        hearing: hearing.clone(),
    })
    .await
    .unwrap();
    let subjects = Subjects::new(card.tenant.clone());
    Device { endpoint, routes, outbox, peers, hearing, card, subjects }
}

/// Everything that arrives on one pattern, with the time of its arrival.
struct Seen {
    messages: Arc<Mutex<Vec<(Instant, Value)>>>,
    count: watch::Sender<usize>,
    _subscription: Subscription,
}

async fn watch_subject(mesh: &MemoryMesh, subject: &Subject) -> Seen {
    let messages: Arc<Mutex<Vec<(Instant, Value)>>> = Arc::default();
    let count = watch::Sender::new(0);
    let (into, counter) = (Arc::clone(&messages), count.clone());
    let sink = Arc::new(move |message: mortise_mesh::Message| {
        into.lock().unwrap().push((Instant::now(), serde_json::from_slice(&message.payload).unwrap()));
        counter.send_modify(|count| *count += 1);
    });
    let subscription = mesh.subscribe(subject, sink).await.unwrap();
    Seen { messages, count, _subscription: subscription }
}

impl Seen {
    async fn at_least(&self, wanted: usize) -> Vec<(Instant, Value)> {
        let mut count = self.count.subscribe();
        let waited = tokio::time::timeout(LIMIT, count.wait_for(|count| *count >= wanted)).await;
        let messages = self.messages.lock().unwrap().clone();
        assert!(waited.is_ok(), "{wanted} messages wanted, seen: {messages:?}");
        messages
    }

    fn len(&self) -> usize {
        *self.count.borrow()
    }
}

async fn ask(mesh: &MemoryMesh, device: &Device, request: Value) -> Value {
    let subject = device.subjects.command(&device.card.id);
    let reply = mesh.request(&subject, Bytes::from(request.to_string()), LIMIT).await.unwrap();
    serde_json::from_slice(&reply).unwrap()
}

#[tokio::test]
async fn an_answer_that_the_mesh_cannot_carry_becomes_an_error() {
    let mesh = MemoryMesh::with_payload_bytes_max(4096);
    let device = device(mesh.join()).await;
    device.routes.publish(plugin_routes());
    let reply = ask(&mesh, &device, json!({"id": 1, "method": "letters", "params": {"letters": 10}})).await;
    assert_eq!(reply["result"], "xxxxxxxxxx");
    let reply = ask(&mesh, &device, json!({"id": 1, "method": "letters", "params": {"letters": 5000}})).await;
    assert_eq!(
        (&reply["error"]["code"], &reply["error"]["data"]["code"]),
        (&json!(-32000), &json!("result_too_large"))
    );
}

#[tokio::test]
async fn a_change_is_announced_at_once_and_a_probe_is_answered() {
    let mesh = MemoryMesh::new();
    let device = device(mesh.join()).await;
    let presence = watch_subject(&mesh, &device.subjects.presence_of_all()).await;
    presence.at_least(1).await;
    let before = presence.len();
    let changed = Instant::now();
    device.routes.publish(plugin_routes());
    let seen = presence.at_least(before + 1).await;
    let names = |message: &Value| message["capabilities"]["functions"].as_array().unwrap().len();
    let first = seen.iter().find(|(_, message)| names(message) == 1).expect("a presence with the new function");
    assert!(first.0 - changed < Duration::from_millis(400), "before the next one of the burst was due");

    let (_, message) = &seen[0];
    assert_eq!((&message["device_id"], &message["d2d"]), (&json!("host-1"), &json!(true)));
    for part in ["identity", "status"] {
        let object = message[part].as_object().unwrap();
        assert!(object.values().all(|value| !value.is_null()), "no null in {part}: {object:?}");
    }

    let before = presence.len();
    let asked = Instant::now();
    mesh.publish(&device.subjects.probe(), Bytes::from_static(b"whatever")).await.unwrap();
    let seen = presence.at_least(before + 1).await;
    assert!(seen[before].0 - asked < Duration::from_millis(400));
}

#[tokio::test]
async fn a_flood_of_probes_is_answered_a_few_times() {
    let mesh = MemoryMesh::new();
    let device = device(mesh.join()).await;
    let presence = watch_subject(&mesh, &device.subjects.presence_of_all()).await;
    presence.at_least(1).await;
    let (began, before) = (Instant::now(), presence.len());
    for _ in 0..1000 {
        mesh.publish(&device.subjects.probe(), Bytes::new()).await.unwrap();
    }
    let answered = presence.at_least(before + 1).await.len() - before;
    let allowed = began.elapsed().as_millis() / 50 + 2;
    assert!((answered as u128) <= allowed, "{answered} presences in {:?}", began.elapsed());
}

#[tokio::test]
async fn peers_are_learned_and_the_departure_is_the_last_presence() {
    let mesh = MemoryMesh::new();
    let device = device(mesh.join()).await;
    let presence = watch_subject(&mesh, &device.subjects.presence(&device.card.id)).await;
    let other = device.subjects.presence(&DeviceId::new("robot-1").unwrap());
    mesh.publish(&other, Bytes::from_static(br#"{"device_id":"robot-1"}"#)).await.unwrap();
    let learned = async {
        while device.peers.list().unwrap().to_value().as_array().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, learned).await.unwrap();

    presence.at_least(1).await;
    let (subjects, id) = (device.subjects.clone(), device.card.id.clone());
    device.endpoint.close().await;
    let seen = presence.at_least(1).await;
    let departures: Vec<bool> = seen.iter().map(|(_, message)| message["departing"] == true).collect();
    assert_eq!(departures.iter().filter(|departing| **departing).count(), 1);
    assert_eq!(departures.last(), Some(&true));
    mesh.publish(&subjects.probe(), Bytes::new()).await.unwrap();
    let silent = mesh.request(&subjects.command(&id), Bytes::from_static(b"{}"), Duration::from_millis(200)).await;
    assert!(silent.is_err(), "nobody answers any more");
    assert_eq!(presence.len(), seen.len());
}

#[tokio::test]
async fn events_wait_for_the_mesh_and_arrive_in_order() {
    let mesh = MemoryMesh::new();
    let member = mesh.join();
    let device = device(member.clone()).await;
    let name = EventName::new("motion").unwrap();
    let events = watch_subject(&mesh, &device.subjects.event(&device.card.id, &name)).await;
    member.disconnect();
    for n in 0..50 {
        device.outbox.push(None, name.clone().into(), &Json::of(&json!({"n": n})));
    }
    assert_eq!(events.len(), 0);
    member.reconnect();
    let seen = events.at_least(50).await;
    let numbers: Vec<&Value> = seen.iter().map(|(_, event)| &event["params"]["n"]).collect();
    assert!(numbers.iter().enumerate().all(|(index, n)| **n == json!(index)), "{numbers:?}");
    tokio::time::timeout(LIMIT, device.outbox.drained()).await.unwrap();
}
