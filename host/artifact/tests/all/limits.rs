//! Clients that take their time, and the end of the server.

use crate::fixture::{Fixture, PATIENCE, get, read_to_end};
use mortise_artifact::{ArtifactServer, ServerLimits};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const FILE: &str = "/artifacts/demo/0.1.0.tgz";
const SOON: Duration = Duration::from_millis(300);

/// More than the sockets of both ends hold.
fn large() -> Fixture {
    let fixture = Fixture::new();
    fixture.put("demo/0.1.0.tgz", vec![7; 24 << 20]);
    fixture
}

/// Asks for the file and takes only the beginning of it.
async fn begin(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(format!("GET {FILE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut [0; 1000])).await.unwrap().unwrap();
    stream
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut() {
    let fixture = Fixture::new();
    let limits = ServerLimits { head_timeout: SOON, ..ServerLimits::default() };
    let serving = fixture.serve(limits).await;
    let (mut reader, mut writer) = TcpStream::connect(serving.address()).await.unwrap().into_split();
    let begun = Instant::now();
    writer.write_all(b"GET /artifacts HTTP/1.1\r\nHost: x\r\nX: ").await.unwrap();
    let dripping = async {
        loop {
            // Each byte comes well within the limit, which is one for all of them.
            tokio::time::sleep(SOON / 10).await;
            if writer.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut bytes = Vec::new();
    tokio::select! {
        () = dripping => {}
        end = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut bytes)) => {
            let end = end.expect("the connection ends");
            assert!(end.is_ok() || end.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset));
        }
    }
    assert!(begun.elapsed() >= SOON);
    assert!(!String::from_utf8_lossy(&bytes).contains("200 OK"));
    // So is a connection that is idle, at its beginning or after a request.
    let mut silent = TcpStream::connect(serving.address()).await.unwrap();
    read_to_end(&mut silent).await;
    let mut kept = TcpStream::connect(serving.address()).await.unwrap();
    kept.write_all(b"GET /artifacts HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(String::from_utf8_lossy(&read_to_end(&mut kept).await).contains("200 OK"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_makes_room_for_the_next() {
    let fixture = large();
    let limits = ServerLimits { connections_max: 1, stall_timeout: SOON, ..ServerLimits::default() };
    let serving = fixture.serve(limits).await;
    let stuck = begin(serving.address()).await;
    // There is one place, which is taken until the server gives up on the first client.
    let next = tokio::time::timeout(PATIENCE, get(serving.address(), "/artifacts", "")).await;
    assert_eq!(next.expect("a place becomes free").status, 200);
    drop(stuck);
}

#[tokio::test]
async fn no_connection_lasts_for_ever() {
    let fixture = large();
    let limits = ServerLimits { connection_time_max: SOON, ..ServerLimits::default() };
    let serving = fixture.serve(limits).await;
    let mut stream = begin(serving.address()).await;
    let mut total = 0;
    let slow = async {
        // Never long without taking a little, and never done within the limit.
        let mut block = vec![0; 64 << 10];
        while let Ok(count @ 1..) = stream.read(&mut block).await {
            total += count;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, slow).await.expect("the connection ends");
    assert!(total < 24 << 20);
}

#[tokio::test]
async fn closing_lets_downloads_end_and_lets_nobody_in() {
    let fixture = large();
    let serving = fixture.serve(ServerLimits::default()).await;
    let address = serving.address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut download = begin(address).await;
    let (ended, bytes, _) = tokio::join!(serving.close(PATIENCE), read_to_end(&mut download), read_to_end(&mut idle));
    assert!(ended);
    assert!(bytes.len() > (24 << 20) - 1000);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn closing_waits_no_longer_than_it_should() {
    let fixture = large();
    let serving = fixture.serve(ServerLimits::default()).await;
    let mut stuck = begin(serving.address()).await;
    let closing = tokio::time::timeout(PATIENCE, serving.close(SOON)).await;
    assert!(!closing.expect("closing ends"));
    assert!(read_to_end(&mut stuck).await.len() < 24 << 20);
}

#[tokio::test]
async fn a_server_that_is_dropped_ends() {
    let fixture = large();
    let serving = fixture.serve(ServerLimits::default()).await;
    let address = serving.address();
    let mut stuck = begin(address).await;
    drop(serving);
    assert!(read_to_end(&mut stuck).await.len() < 24 << 20);
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("the listener is closed");
}

#[tokio::test]
async fn an_address_in_use_is_refused_by_name() {
    let first = ArtifactServer::bind("127.0.0.1", 0).await.unwrap();
    let port = first.address().port();
    let error = ArtifactServer::bind("127.0.0.1", port).await.unwrap_err();
    assert_eq!(error.to_string(), format!("failed to bind the artifact server to `127.0.0.1:{port}`"));
    assert_eq!(error.hint(), "another program listens there: choose another port");
}
