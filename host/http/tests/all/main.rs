//! Requests of plugins against a server on this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod server;

use ipnet::IpNet;
use mortise_http::{AddressClass, HttpClient, HttpError, HttpRules, Reach};
use mortise_model::{HttpRequest, HttpResponse};
use server::{Authority, Server};
use std::path::PathBuf;

const BODY_BYTES_MAX: usize = 1 << 20;

fn client(networks: &[&str], ca_files: &[PathBuf]) -> HttpClient {
    let networks: Vec<IpNet> = networks.iter().map(|network| network.parse().unwrap()).collect();
    HttpClient::new(&HttpRules::new(Reach::Networks(networks), ca_files).unwrap()).unwrap()
}

fn get(url: String) -> HttpRequest {
    HttpRequest { method: "GET".to_owned(), url, headers: Vec::new(), body: Vec::new() }
}

async fn send(client: &HttpClient, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    client.send(request, BODY_BYTES_MAX).await
}

#[tokio::test]
async fn a_server_is_trusted_that_a_named_authority_vouches_for() {
    let authority = Authority::new();
    let server = Server::https(&authority).await;
    let url = server.url("https", "/echo");
    let answer = send(&client(&["127.0.0.1/32"], &[authority.file()]), get(url.clone())).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"GET /echo"[..]));
    let error = send(&client(&["127.0.0.1/32"], &[]), get(url)).await.unwrap_err();
    assert!(matches!(error, HttpError::Insecure(_)), "{error:?}");
    assert_eq!((error.code(), error.is_retryable()), ("tls", false));
}

#[tokio::test]
async fn one_connection_serves_one_request_after_the_other() {
    let server = Server::http().await;
    let client = client(&["127.0.0.0/8"], &[]);
    for _ in 0..5 {
        send(&client, get(server.url("http", "/echo"))).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_post_of_nothing_says_so() {
    let server = Server::http().await;
    let client = client(&["127.0.0.1/32"], &[]);
    for (method, length) in [("POST", "0"), ("PUT", "0"), ("GET", "none"), ("DELETE", "none")] {
        let request = HttpRequest { method: method.to_owned(), ..get(server.url("http", "/length")) };
        let answer = send(&client, request).await.unwrap();
        assert_eq!(String::from_utf8(answer.body).unwrap(), length, "{method}");
    }
}

#[tokio::test]
async fn an_address_out_of_reach_is_refused_by_number_and_by_name() {
    let server = Server::http().await;
    let elsewhere = client(&["10.0.0.0/8"], &[]);
    let localhost = server.url("http", "/echo").replace("127.0.0.1", "localhost");
    for url in [server.url("http", "/echo"), localhost] {
        let error = send(&elsewhere, get(url.clone())).await.unwrap_err();
        assert!(matches!(error, HttpError::Address { class: AddressClass::Loopback, .. }), "{url}: {error:?}");
        assert_eq!(error.code(), "address_not_allowed");
    }
    let error = send(&elsewhere, get("http://nothing.invalid/".to_owned())).await.unwrap_err();
    assert_eq!(error.code(), "host_not_found", "{error:?}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_given_up() {
    let server = Server::http().await;
    let client = client(&["127.0.0.1/32"], &[]);
    let path = |bytes: usize| format!("/bytes/{bytes}");
    let whole = send(&client, get(server.url("http", &path(BODY_BYTES_MAX)))).await.unwrap();
    assert_eq!(whole.body.len(), BODY_BYTES_MAX);
    for path in [path(BODY_BYTES_MAX + 1), "/chunks".to_owned(), "/headers".to_owned()] {
        let error = send(&client, get(server.url("http", &path))).await.unwrap_err();
        assert_eq!(error.code(), "response_too_large", "{path}: {error:?}");
    }
}

#[tokio::test]
async fn how_a_message_is_sent_is_not_for_the_plugin_to_say() {
    let server = Server::http().await;
    let client = client(&["127.0.0.1/32"], &[]);
    let with = |name: &str, value: &str| {
        let headers = vec![(name.to_owned(), value.as_bytes().to_owned())];
        HttpRequest { headers, ..get(server.url("http", "/echo")) }
    };
    for (name, value) in [
        ("Host", "elsewhere"),
        ("content-length", "7"),
        ("Transfer-Encoding", "chunked"),
        ("connection", "close"),
        ("a b", "x"),
        ("x-key", "a\r\nhost: elsewhere"),
    ] {
        let error = send(&client, with(name, value)).await.unwrap_err();
        assert_eq!(error.code(), "invalid_request", "{name}: {error:?}");
    }
    let many = HttpRequest {
        headers: (0..101).map(|n| (format!("x-{n}"), Vec::new())).collect(),
        ..get(server.url("http", "/echo"))
    };
    assert!(matches!(send(&client, many).await, Err(HttpError::Headers { .. })));
    assert_eq!(server.connections(), 0);
    let wrong = HttpRequest { method: "G T".to_owned(), ..get(server.url("http", "/echo")) };
    assert!(matches!(send(&client, wrong).await, Err(HttpError::Method)));
}

#[tokio::test]
async fn a_connection_that_breaks_off_may_be_tried_again_and_shows_no_url() {
    let server = Server::http().await;
    let client = client(&["127.0.0.1/32"], &[]);
    let gone = format!("http://127.0.0.1:{}/?key=hidden", server::closed_port());
    for url in [server.url("http", "/hang-up?key=hidden"), gone] {
        let error = send(&client, get(url)).await.unwrap_err();
        assert!(error.code() == "connection_failed" && error.is_retryable(), "{error:?}");
        assert!(!format!("{error:?} {}", mortise_model::chain(&error)).contains("hidden"), "{error:?}");
    }
}
