//! The in-memory mesh and its faults.

use crate::contract;
use crate::probe::{echo, inbox, next, subject};
use bytes::Bytes;
use mortise_mesh::{Delivery, Link, MemoryMesh, Mesh, MeshError};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let server = MemoryMesh::new();
    contract::check(&server, &server.join()).await;
}

#[tokio::test]
async fn one_member_goes_down_and_up_while_the_other_stays() {
    let server = MemoryMesh::new();
    let client = server.join();
    let _served = server.serve(&subject("d.cmd"), echo()).await.unwrap();
    let ask = async || client.request(&subject("d.cmd"), Bytes::new(), Duration::from_millis(50)).await;
    ask().await.unwrap();
    let mut link = server.link();
    server.disconnect();
    assert_eq!(*link.borrow_and_update(), Link::Down);
    assert_eq!(*client.link().borrow(), Link::Up(1));
    assert!(matches!(ask().await, Err(MeshError::NoResponders(_))));
    server.reconnect();
    server.reconnect();
    assert_eq!(*link.borrow_and_update(), Link::Up(2));
    ask().await.unwrap();
}

#[tokio::test]
async fn messages_are_dropped_doubled_and_delayed() {
    let mesh = MemoryMesh::new();
    let (sink, mut received) = inbox();
    let _events = mesh.subscribe(&subject("event.*"), sink).await.unwrap();
    mesh.set_faults(|subject| match subject.as_str() {
        "event.lost" => Delivery::Dropped,
        "event.double" => Delivery::Twice,
        "event.late" => Delivery::After(Duration::from_millis(300)),
        _ => Delivery::Once,
    });
    for event in ["late", "lost", "double", "plain"] {
        mesh.publish(&subject(format!("event.{event}")), Bytes::new()).await.unwrap();
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(next(&mut received).await.subject.as_str().to_owned());
    }
    assert_eq!(order, ["event.double", "event.double", "event.plain", "event.late"]);
    assert!(received.try_recv().is_err());
    mesh.clear_faults();
    mesh.publish(&subject("event.lost"), Bytes::new()).await.unwrap();
    assert_eq!(next(&mut received).await.subject.as_str(), "event.lost");
}

#[tokio::test]
async fn the_limit_on_sizes_holds_for_every_way_out() {
    let mesh = MemoryMesh::with_payload_bytes_max(4);
    assert_eq!(mesh.payload_bytes_max(), Some(4));
    let large = Bytes::from_static(b"12345");
    for result in [
        mesh.publish(&subject("s"), large.clone()).await,
        mesh.request(&subject("s"), large, Duration::from_secs(1)).await.map(drop),
    ] {
        assert!(matches!(result, Err(MeshError::TooLarge { size: 5, limit: 4 })), "{result:?}");
    }
    mesh.publish(&subject("s"), Bytes::from_static(b"1234")).await.unwrap();
}
