//! Events of other devices: which are heard, how often, and until when.

use crate::{Device, LIMIT, device};
use mortise_mesh::{MemoryMesh, Mesh, Subject};
use mortise_model::{DeviceId, EventName, SubscriptionDef};
use mortise_rpc::{Heard, Hearing, Listener, Listening, Topic};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Takes what its patterns want, and writes it down.
struct Ear {
    wanted: Vec<SubscriptionDef>,
    heard: Mutex<Vec<Arc<Heard>>>,
    count: watch::Sender<usize>,
}

impl Listener for Ear {
    fn wants(&self, device: &DeviceId, event: &EventName) -> bool {
        self.wanted.iter().any(|wanted| wanted.wants(device, event))
    }

    fn hear(&self, heard: Arc<Heard>) {
        self.heard.lock().unwrap().push(heard);
        self.count.send_modify(|count| *count += 1);
    }
}

impl Ear {
    async fn at_least(&self, wanted: usize) -> Vec<String> {
        let mut count = self.count.subscribe();
        let waited = tokio::time::timeout(LIMIT, count.wait_for(|count| *count >= wanted)).await;
        let heard: Vec<String> =
            self.heard.lock().unwrap().iter().map(|heard| format!("{} {}", heard.device, heard.event)).collect();
        assert!(waited.is_ok(), "{wanted} events wanted, heard: {heard:?}");
        heard
    }
}

fn subscriptions(patterns: &[&str]) -> Vec<SubscriptionDef> {
    let subscription = |pattern: &&str| {
        let (device, event) = pattern.split_once('/').unwrap();
        SubscriptionDef { name: "s".into(), device: device.into(), event: event.into() }
    };
    patterns.iter().map(subscription).collect()
}

fn topics(patterns: &[&str]) -> Vec<Topic> {
    subscriptions(patterns).iter().filter_map(Topic::of).collect()
}

fn ear(hearing: &Hearing, patterns: &[&str]) -> (Arc<Ear>, Box<dyn Listening>) {
    let ear = Ear { wanted: subscriptions(patterns), heard: Mutex::default(), count: watch::Sender::new(0) };
    let ear = Arc::new(ear);
    let listening = hearing.listen(Arc::<Ear>::clone(&ear));
    listening.to(topics(patterns));
    (ear, listening)
}

async fn send(mesh: &MemoryMesh, subject: &str, payload: &str) {
    let subject = Subject::received(&format!("device-connect.{subject}"));
    mesh.publish(&subject, payload.to_owned().into()).await.unwrap();
}

async fn event(mesh: &MemoryMesh, device: &str, name: &str) {
    let message = json!({"jsonrpc": "2.0", "method": name, "params": {}}).to_string();
    send(mesh, &format!("lab.{device}.event.{}", name.rsplit('/').next().unwrap()), &message).await;
}

/// Until the mesh has been told what is listened to: a probe for `patterns`, which changes nothing, comes through.
async fn settled(mesh: &MemoryMesh, hearing: &Hearing) {
    let (probe, _listening) = ear(hearing, &["probe/probe"]);
    while *probe.count.borrow() == 0 {
        event(mesh, "probe", "probe").await;
        tokio::task::yield_now().await;
    }
}

async fn started() -> (MemoryMesh, Device) {
    let mesh = MemoryMesh::new();
    let device = device(mesh.clone()).await;
    (mesh.join(), device)
}

#[tokio::test]
async fn an_event_is_heard_once_by_everybody_who_wants_it() {
    let (mesh, Device { hearing, .. }) = &started().await;
    // It belongs to four topics.
    let (all, _all) = ear(hearing, &["camera-1/motion", "camera-*/motion", "camera-1/*", "*/*"]);
    let (one, _one) = ear(hearing, &["camera-*/motion"]);
    settled(mesh, hearing).await;
    event(mesh, "camera-1", "motion").await;
    event(mesh, "door-1", "motion").await;
    event(mesh, "a.b", "event/motion").await;
    event(mesh, "camera-2", "motion").await;
    // The publisher's own call delivers them.
    let heard: Vec<String> = all.at_least(1).await.into_iter().filter(|heard| heard != "probe probe").collect();
    // A device with a dot is found by its name alone (wire contract 1.1).
    assert_eq!(heard, ["camera-1 motion", "door-1 motion", "camera-2 motion"]);
    assert_eq!(one.at_least(2).await, ["camera-1 motion", "camera-2 motion"]);
}

#[tokio::test]
async fn a_device_with_dots_is_heard_by_its_name() {
    let (mesh, Device { hearing, .. }) = &started().await;
    // What every device sends does not hold what this one does.
    let (ear, _listening) = ear(hearing, &["*/motion", "a.b/motion"]);
    settled(mesh, hearing).await;
    event(mesh, "a.b", "event/motion").await;
    assert_eq!(ear.at_least(1).await, ["a.b event/motion"], "the name is the message's");
}

#[tokio::test]
async fn what_is_no_event_of_its_subject_is_not_heard() {
    let (mesh, Device { hearing, .. }) = &started().await;
    let (ear, _listening) = ear(hearing, &["camera-*/*"]);
    settled(mesh, hearing).await;
    for (subject, payload) in [
        ("lab.camera-1.event.motion", "no JSON"),
        ("lab.camera-1.event.motion", r#"{"params":{}}"#),
        ("lab.camera-1.event.motion", r#"{"method":"heat","params":{}}"#),
        ("lab.camera-1.event.motion", r#"{"method":"motion","params":[]}"#),
        ("other.camera-1.event.motion", r#"{"method":"motion"}"#),
        ("lab.*.event.motion", r#"{"method":"motion"}"#),
        ("lab.camera-1.event.async_reply.1", r#"{"method":"motion"}"#),
    ] {
        send(mesh, subject, payload).await;
    }
    let params = r#"{"n":1.50,"_traceparent":"00-x","_tracestate":7}"#;
    send(mesh, "lab.camera-1.event.motion", &format!(r#"{{"method":"motion","params":{params}}}"#)).await;
    send(mesh, "lab.camera-1.event.motion", r#"{"method":"motion"}"#).await;
    assert_eq!(ear.at_least(2).await.len(), 2);
    let heard = ear.heard.lock().unwrap();
    assert_eq!((heard[0].params.as_str(), heard[1].params.as_str()), (params, "{}"));
    let trace = heard[0].trace.as_ref().unwrap();
    assert_eq!((trace.parent.as_deref(), trace.state.as_deref()), (Some("00-x"), None));
    assert!(heard[1].trace.is_none());
}

#[tokio::test]
async fn listening_ends_and_changes_and_survives_the_link() {
    let mesh = MemoryMesh::new();
    let Device { hearing, endpoint, .. } = device(mesh.clone()).await;
    let peer = mesh.join();
    let (first, listening) = ear(&hearing, &["camera-1/motion", "camera-1/heat"]);
    let (second, _second) = ear(&hearing, &["camera-1/heat"]);
    settled(&peer, &hearing).await;
    mesh.disconnect();
    mesh.reconnect();
    event(&peer, "camera-1", "motion").await;
    assert_eq!(first.at_least(1).await.len(), 1);
    listening.to(topics(&["camera-1/heat"]));
    settled(&peer, &hearing).await;
    event(&peer, "camera-1", "motion").await;
    event(&peer, "camera-1", "heat").await;
    assert_eq!(first.at_least(2).await, ["camera-1 motion", "camera-1 heat"]);
    drop(listening);
    event(&peer, "camera-1", "heat").await;
    assert_eq!(second.at_least(2).await.len(), 2, "others go on");
    assert_eq!(*first.count.borrow(), 2);
    endpoint.close().await;
    event(&peer, "camera-1", "heat").await;
    assert_eq!(*second.count.borrow(), 2);
}
