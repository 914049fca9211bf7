//! The mesh as a responder against a bare async-nats loop, on one broker, in turns: requests per second with 64 and
//! 256 in flight, and the latency of one after the other.
//!
//! `cargo bench -p mortise-mesh` prints one line for each; the ratio is the mesh's figure over the bare loop's.
//! It needs `nats-server` on the search path.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench reports on stdout, may fail loudly, and owns its broker"
)]

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mortise_mesh::{Mesh, Message, NatsConfig, NatsMesh, Subject};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

async fn round(client: &async_nats::Client, subject: &str, in_flight: usize) -> f64 {
    let payload = Bytes::from_static(br#"{"jsonrpc":"2.0","id":"d2d-3f9a0c11b2de","method":"echo","params":{}}"#);
    let ask = || {
        let (client, subject, payload) = (client.clone(), subject.to_owned(), payload.clone());
        async move { client.request(subject, payload).await.unwrap() }
    };
    let mut asking: FuturesUnordered<_> = (0..in_flight).map(|_| ask()).collect();
    let begun = Instant::now();
    let mut answered = 0_u32;
    while begun.elapsed() < ROUND {
        asking.next().await;
        answered += 1;
        asking.push(ask());
    }
    let rate = f64::from(answered) / begun.elapsed().as_secs_f64();
    while asking.next().await.is_some() {}
    rate
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    *figures.get(figures.len() / 2).unwrap()
}

#[tokio::main]
async fn main() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let mut broker =
        Command::new("nats-server").args(["-a", "127.0.0.1", "-p", &port]).stderr(Stdio::null()).spawn().unwrap();
    let url = format!("nats://127.0.0.1:{port}");
    let config = NatsConfig { urls: vec![url.clone()], auth: None, tls: None, name: "bench".to_owned() };
    let mesh = NatsMesh::connect(config).await.unwrap();
    let _served = mesh
        .serve(
            &Subject::received("mesh"),
            Arc::new(|message: Message| {
                if let Some(reply) = message.reply {
                    reply.send(message.payload);
                }
            }),
        )
        .await
        .unwrap();
    let bare = async_nats::connect(&url).await.unwrap();
    let mut requests = bare.subscribe("bare").await.unwrap();
    bare.flush().await.unwrap();
    tokio::spawn(async move {
        while let Some(message) = requests.next().await {
            bare.publish(message.reply.unwrap(), message.payload).await.unwrap();
        }
    });
    let client = async_nats::connect(&url).await.unwrap();
    for in_flight in [1, 64, 256] {
        let (mut of_mesh, mut of_bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            of_bare.push(round(&client, "bare", in_flight).await);
            of_mesh.push(round(&client, "mesh", in_flight).await);
        }
        let (of_mesh, of_bare) = (median(of_mesh), median(of_bare));
        println!(
            "{in_flight:>3} in flight: mesh {of_mesh:>7.0}/s, bare {of_bare:>7.0}/s, ratio {:.2}",
            of_mesh / of_bare
        );
    }
    broker.kill().unwrap();
    broker.wait().unwrap();
}
