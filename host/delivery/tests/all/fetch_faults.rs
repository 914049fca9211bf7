//! Servers and networks that fail: what is tried again, what is not, and what is left behind.

use crate::fetch_server::{Authority, Host, Reply, answer, everything};
use mortise_delivery::{FetchError, Fetcher};
use mortise_model::Digest;
use std::time::{Duration, Instant};
use tokio_rustls::rustls;

/// The first half of an archive of which more was promised.
fn half() -> Vec<u8> {
    b"HTTP/1.1 200 X\r\nContent-Length: 14\r\n\r\narchive".to_vec()
}

#[tokio::test]
async fn what_may_be_over_in_a_moment_is_tried_again() {
    let failures = [
        ("503", answer(503, "", "later")),
        ("500", answer(500, "", "")),
        ("429", answer(429, "Retry-After: 0\r\n", "")),
        ("429 until a date", answer(429, "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n", "")),
        ("reset before the answer", Reply::Reset(Vec::new())),
        ("reset in the answer", Reply::Reset(half())),
        ("closed in the answer", Reply::Send(half())),
        ("no HTTP", Reply::Send(b"+OK POP3 ready\r\n".to_vec())),
    ];
    for (what, failure) in failures {
        let mut host = Host::new();
        let server = host
            .serve(move |number, _| if number < 2 { failure.clone() } else { answer(200, "", "archivearchive") })
            .await;
        let fetched = host.fetch("https://plugins.test/a").await;
        assert_eq!((fetched.bytes, fetched.digest), (14, Digest::of(b"archivearchive")), "{what}");
        assert_eq!(server.requests().len(), 3, "{what}");
        assert_eq!(host.staged(), 1, "{what}");
    }
}

#[tokio::test]
async fn attempts_have_an_end() {
    let mut host = Host::new();
    let server = host.serve(|_, _| answer(502, "", "")).await;
    let error = host.refuse("https://plugins.test/a?token=secret").await;
    assert!(matches!(error, FetchError::Status { status: 502, .. }) && error.retryable(), "{error:?}");
    assert_eq!(error.to_string(), "`https://plugins.test/a` answered with status 502");
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn what_will_not_change_is_not_tried_again() {
    for status in [400, 401, 403, 404, 410, 206, 304, 300] {
        let mut host = Host::new();
        let server = host.serve(move |_, _| answer(status, "", "")).await;
        let error = host.refuse("https://plugins.test/a").await;
        assert!(matches!(error, FetchError::Status { status: s, .. } if s == status), "{error:?}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_asks_for_much_time_is_left_alone() {
    let mut host = Host::new();
    let server = host.serve(|_, _| answer(503, "Retry-After: 31\r\n", "")).await;
    let error = host.refuse("https://plugins.test/a").await;
    assert_eq!(error.hint(), "the server asks to try again in 31 s");
    assert_eq!(server.requests().len(), 1);
    // Within that limit, but not within the time that all may take.
    host.config.retry_after_max = Duration::from_secs(60);
    host.config.total_timeout = Duration::from_secs(20);
    let error = host.refuse("https://plugins.test/a").await;
    assert!(matches!(error, FetchError::Status { status: 503, .. }), "{error:?}");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_server_that_goes_quiet_is_given_up() {
    for quiet in [Vec::new(), b"HTTP/1.1 200 X\r\n".to_vec(), half()] {
        let mut host = Host::new();
        host.config.idle_timeout = Duration::from_millis(50);
        host.config.connect_timeout = Duration::from_millis(500);
        host.config.attempts_max = 2.try_into().unwrap();
        let server = host.serve(move |_, _| Reply::Stall(quiet.clone())).await;
        let error = host.refuse("https://plugins.test/a?token=secret").await;
        assert!(matches!(error, FetchError::Stalled { .. }), "{error:?}");
        assert_eq!(error.to_string(), "`https://plugins.test/a` sent nothing for 0.05 s");
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_given_up() {
    // Accepts connections, as the kernel does for whoever listens, and never says a word of TLS.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut host = Host::new();
    host.config.connect_timeout = Duration::from_millis(50);
    host.config.attempts_max = 2.try_into().unwrap();
    let url = format!("https://{}/a?token=secret", listener.local_addr().unwrap());
    let error = host.refuse(&url).await;
    assert!(matches!(error, FetchError::ConnectTimeout { .. }) && error.retryable(), "{error:?}");
    assert!(!everything(&error).contains("secret"));
    drop(listener);
    let error = host.refuse(&url).await;
    assert!(matches!(error, FetchError::Connect { reset: false, .. }) && !error.retryable(), "{error:?}");
    assert!(!everything(&error).contains("secret"));
}

#[tokio::test]
async fn all_of_it_has_a_limit() {
    let mut host = Host::new();
    host.config.total_timeout = Duration::from_millis(300);
    let _server = host.serve(|_, _| Reply::Stall(half())).await;
    let begun = Instant::now();
    let error = host.refuse("https://plugins.test/a?token=secret").await;
    assert!(matches!(error, FetchError::TotalTimeout { .. }) && error.retryable(), "{error:?}");
    assert!(!everything(&error).contains("secret"));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_certificate_has_to_be_of_somebody_trusted() {
    let mut host = Host::new();
    let server = host.serve(|_, _| answer(200, "", "archive")).await;
    let other = Authority::new("another").file();
    host.config.ca_files = vec![other.path().to_owned()];
    let error = host.refuse("https://plugins.test/a?token=secret").await;
    let FetchError::Tls { source, .. } = &error else { panic!("{error:?}") };
    let unknown = rustls::CertificateError::UnknownIssuer;
    assert_eq!(source, &rustls::Error::InvalidCertificate(unknown));
    assert!(!error.retryable() && !everything(&error).contains("secret"));
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_certificate_has_to_be_for_the_host() {
    let mut host = Host::new();
    let server = host.serve(|_, _| answer(200, "", "archive")).await;
    host.config.resolve.push(("wrong.test".to_owned(), server.address));
    for url in ["https://wrong.test/a".to_owned(), format!("https://{}/a", server.address)] {
        let error = host.refuse(&url).await;
        let FetchError::Tls { source: rustls::Error::InvalidCertificate(reason), .. } = &error else {
            panic!("{error:?}")
        };
        assert!(matches!(reason, rustls::CertificateError::NotValidForNameContext { .. }), "{reason:?}");
    }
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn leaving_removes_what_was_begun() {
    let mut host = Host::new();
    let _server = host.serve(|_, _| Reply::Stall(half())).await;
    let fetcher = Fetcher::new(host.config.clone()).unwrap();
    let half_way = async {
        loop {
            let file = std::fs::read_dir(host.staging.path()).unwrap().next();
            if file.is_some_and(|file| file.unwrap().metadata().unwrap().len() == 7) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        outcome = fetcher.fetch("https://plugins.test/a", None, &host.staging) => panic!("{outcome:?}"),
        () = half_way => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("nothing arrives"),
    }
    assert_eq!(host.staged(), 0);
}

#[tokio::test]
async fn a_disk_that_refuses_is_not_asked_again() {
    let mut host = Host::new();
    let server = host.serve(|_, _| answer(200, "", "archive")).await;
    std::fs::remove_dir(host.staging.path()).unwrap();
    let fetcher = Fetcher::new(host.config.clone()).unwrap();
    let error = fetcher.fetch("https://plugins.test/a", None, &host.staging).await.unwrap_err();
    assert!(matches!(error, FetchError::Disk(_)) && !error.retryable(), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}
