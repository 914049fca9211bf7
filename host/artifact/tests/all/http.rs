//! What clients get.

use crate::fixture::{Fixture, PATIENCE, Reply, ask, get, read_to_end};
use mortise_artifact::ServerLimits;
use mortise_model::Digest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

const FILE: &str = "/artifacts/demo/0.1.0.tgz";

async fn published() -> (Fixture, mortise_artifact::Serving) {
    let fixture = Fixture::new();
    fixture.put("demo/0.1.0.tgz", "0123456789");
    let serving = fixture.serve(ServerLimits::default()).await;
    (fixture, serving)
}

#[tokio::test]
async fn artifacts_are_listed_with_their_urls() {
    let fixture = Fixture::new();
    let serving = fixture.serve(ServerLimits::default()).await;
    let reply = get(serving.address(), "/artifacts", "").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"artifacts":[],"versions":[]}"#));
    let record = fixture.publish("demo", &fixture.bundle("demo", b"code"), Some("0.1.0")).unwrap();
    let reply = get(serving.address(), "/artifacts?a=b", "").await;
    assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
    let listed: Value = serde_json::from_slice(&reply.body).unwrap();
    let shown = json!([fixture.store.to_json(&record)]);
    assert_eq!(listed, json!({"artifacts": shown, "versions": shown}));
    assert_eq!(listed["artifacts"][0]["url"], "http://127.0.0.1:8790/artifacts/demo/0.1.0.tgz");
}

#[tokio::test]
async fn a_file_is_served_with_what_identifies_it() {
    let (fixture, serving) = published().await;
    let reply = get(serving.address(), FILE, "").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "0123456789"));
    let tag = format!("\"{}\"", Digest::of(b"0123456789").hex());
    for (name, value) in [
        ("content-type", "application/gzip"),
        ("content-length", "10"),
        ("accept-ranges", "bytes"),
        ("etag", &tag),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    assert!(reply.header("last-modified").unwrap().ends_with(" GMT"));
    let head = ask(serving.address(), format!("HEAD {FILE}").as_bytes(), "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    for name in ["content-type", "content-length", "etag", "last-modified"] {
        assert_eq!(head.header(name), reply.header(name), "{name}");
    }
    // As with the reference host, the record is served too.
    fixture.put("demo/artifact.json", "{}");
    let reply = get(serving.address(), "/artifacts/demo/artifact.json", "").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn parts_are_served_and_refused() {
    let (_fixture, serving) = published().await;
    for (range, status, body, content_range) in [
        ("bytes=0-3", 206, "0123", Some("bytes 0-3/10")),
        ("bytes=8-", 206, "89", Some("bytes 8-9/10")),
        ("bytes=-1", 206, "9", Some("bytes 9-9/10")),
        ("bytes=10-", 416, "416: Range Not Satisfiable", Some("bytes */10")),
        ("bytes=0-1,4-5", 200, "0123456789", None),
    ] {
        let reply = get(serving.address(), FILE, &format!("Range: {range}\r\n")).await;
        assert_eq!((reply.status, reply.text().as_str()), (status, body), "{range}");
        assert_eq!(reply.header("content-range"), content_range, "{range}");
        assert_eq!(reply.header("content-length"), Some(body.len().to_string().as_str()), "{range}");
    }
    let head = ask(serving.address(), format!("HEAD {FILE}").as_bytes(), "Range: bytes=0-3\r\n").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
}

#[tokio::test]
async fn a_client_that_has_the_bytes_downloads_none() {
    let (fixture, serving) = published().await;
    let first = get(serving.address(), FILE, "").await;
    let tag = first.header("etag").unwrap();
    let reply = get(serving.address(), FILE, &format!("If-None-Match: {tag}\r\n")).await;
    assert_eq!((reply.status, reply.body.len(), reply.header("etag")), (304, 0, Some(tag)));
    let since = format!("If-Modified-Since: {}\r\n", first.header("last-modified").unwrap());
    assert_eq!(get(serving.address(), FILE, &since).await.status, 304);
    let resume = format!("Range: bytes=4-\r\nIf-Range: {tag}\r\n");
    assert_eq!(get(serving.address(), FILE, &resume).await.text(), "456789");
    // Written into in place, as the reference host does: another tag, and no half of it is taken for the other.
    fixture.put("demo/0.1.0.tgz", "abcdefghij");
    let reply = get(serving.address(), FILE, &resume).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "abcdefghij"));
    assert_eq!(get(serving.address(), FILE, &format!("If-None-Match: {tag}\r\n")).await.status, 200);
    assert_eq!(get(serving.address(), FILE, &format!("If-Match: {tag}\r\n")).await.status, 412);
}

#[tokio::test]
async fn files_dated_outside_http_are_served() {
    let (fixture, serving) = published().await;
    let file = std::fs::File::options().write(true).open(fixture.path("demo/0.1.0.tgz")).unwrap();
    let epoch = std::time::UNIX_EPOCH;
    let day = std::time::Duration::from_secs(86_400);
    for time in [epoch - day, std::time::SystemTime::now() + day] {
        file.set_modified(time).unwrap();
        let reply = get(serving.address(), FILE, "").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "0123456789"));
        let date = reply.header("last-modified").unwrap();
        assert!(date == "Thu, 01 Jan 1970 00:00:00 GMT" || Some(date) == reply.header("date"), "{date}");
    }
}

#[tokio::test]
async fn everything_else_is_refused() {
    let (_fixture, serving) = published().await;
    for path in [
        "/",
        "/artifacts/",
        "/artifacts/demo",
        "/artifacts/demo/",
        "/artifacts/demo/0.2.0.tgz",
        "/artifacts/x/0.1.0.tgz",
        "/x",
    ] {
        let reply = get(serving.address(), path, "").await;
        assert_eq!((reply.status, reply.text().as_str()), (404, "404: Not Found"), "{path}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        for path in ["/artifacts", FILE] {
            let reply = ask(serving.address(), format!("{method} {path}").as_bytes(), "").await;
            assert_eq!((reply.status, reply.text().as_str()), (405, "405: Method Not Allowed"), "{method}");
            assert_eq!(reply.header("allow"), Some("GET,HEAD"));
        }
    }
    let reply = get(serving.address(), FILE, "Content-Length: 5\r\n\r\nhello").await;
    assert_eq!((reply.status, reply.text().as_str()), (413, "413: Payload Too Large"));
    let reply = get(serving.address(), FILE, &format!("X: {}\r\n", "x".repeat(20_000))).await;
    assert_eq!(reply.status, 431);
}

#[tokio::test]
async fn a_download_keeps_the_bytes_it_began_with() {
    let fixture = Fixture::new();
    // More than the sockets of both ends hold, so that most of it is read from the file after the publication.
    let old: Vec<u8> = (0..24u32 << 20).map(|index| (index / 7) as u8).collect();
    fixture.put("demo/0.1.0.tgz", &old);
    let serving = fixture.serve(ServerLimits::default()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut stream = socket.connect(serving.address()).await.unwrap();
    stream.write_all(format!("GET {FILE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut bytes = vec![0; 1000];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    let new = fixture.bundle("demo", b"code");
    fixture.publish("demo", &new, Some("0.1.0")).unwrap();
    assert_eq!(get(serving.address(), FILE, "").await.body, new);
    bytes.extend(read_to_end(&mut stream).await);
    let reply = Reply::parse(&bytes);
    assert!(reply.body == old, "{} bytes", reply.body.len());
    assert_eq!(reply.header("etag"), Some(format!("\"{}\"", Digest::of(&old).hex()).as_str()));
}
