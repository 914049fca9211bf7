//! Downloads that succeed, the size limit, and what is refused before anybody is asked.

use crate::fetch_server::{Host, Reply, Server, answer, everything};
use mortise_delivery::{AddressClass, FetchError, FetchOutcome, Fetcher, HostPattern, Known};
use mortise_http::TlsError;
use mortise_model::Digest;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;

#[tokio::test]
async fn an_archive_arrives_with_its_digest() {
    let body: Vec<u8> = (0..9_999_u32).map(|n| n as u8).collect();
    let mut host = Host::new();
    let server = host.serve({
        let body = body.clone();
        move |_, _| answer(200, "ETag: \"v1\"\r\n", &body)
    });
    let server = server.await;
    let mut fetched = host.fetch("https://plugins.test/demo.tgz?token=secret#part").await;
    assert_eq!(fetched.digest, Digest::of(&body));
    assert_eq!(fetched.bytes, 9_999);
    assert_eq!(fetched.etag.as_deref(), Some("\"v1\""));
    assert_eq!(fetched.final_url, "https://plugins.test/demo.tgz");
    let mut read = Vec::new();
    fetched.archive.read_to_end(&mut read).unwrap();
    assert_eq!(read, body);
    assert_eq!(std::fs::metadata(fetched.archive.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fetched.archive.path().parent(), Some(host.staging.path()));
    let head = server.requests().concat().to_lowercase();
    assert!(head.starts_with("get /demo.tgz?token=secret http/1.1\r\n"), "{head}");
    assert!(head.contains("accept-encoding: identity\r\n"), "{head}");
    drop(fetched);
    assert_eq!(host.staged(), 0);
}

#[tokio::test]
async fn exactly_the_limit_passes_and_one_byte_more_does_not() {
    let at_limit = vec![7; 10_000];
    let chunked = |bytes: usize| {
        let mut reply = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        reply.extend(format!("{bytes:x}\r\n").bytes().chain(std::iter::repeat_n(7, bytes)).chain(*b"\r\n"));
        reply
    };
    let unannounced = |bytes| [b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n".to_vec(), vec![7; bytes]].concat();
    let mut host = Host::new();
    let _server = host
        .serve(move |_, path| match path {
            "/announced" => answer(200, "", vec![7; 10_000]),
            "/chunked" => Reply::Send([chunked(10_000), b"0\r\n\r\n".to_vec()].concat()),
            "/unannounced" => Reply::Send(unannounced(10_000)),
            // Servers that stall after what is too much: whoever waits for the end waits for longer than the test.
            "/announced+1" => Reply::Stall(b"HTTP/1.1 200 X\r\nContent-Length: 10001\r\n\r\n".to_vec()),
            "/announced-huge" => {
                Reply::Stall(b"HTTP/1.1 200 X\r\nContent-Length: 18446744073709551613\r\n\r\n".to_vec())
            }
            "/chunked+1" => Reply::Stall(chunked(10_001)),
            "/unannounced+1" => Reply::Stall(unannounced(10_001)),
            _ => answer(404, "", ""),
        })
        .await;
    for path in ["announced", "chunked", "unannounced"] {
        let fetched = host.fetch(&format!("https://plugins.test/{path}")).await;
        assert_eq!((fetched.bytes, fetched.digest), (10_000, Digest::of(&at_limit)), "{path}");
    }
    for path in ["announced+1", "announced-huge", "chunked+1", "unannounced+1"] {
        let error = host.refuse(&format!("https://plugins.test/{path}")).await;
        assert!(matches!(error, FetchError::TooLarge { bytes_max: 10_000 }), "{path}: {error:?}");
        assert_eq!(error.to_string(), "artifact exceeds max size (10000 bytes)");
    }
}

#[tokio::test]
async fn bytes_are_counted_and_hashed_as_they_come() {
    // A gzip file that a server also calls an encoding: it is the archive, and must not be unpacked on the way.
    let mut host = Host::new();
    let _server = host.serve(|_, _| answer(200, "Content-Encoding: gzip\r\n", b"\x1f\x8b not really")).await;
    assert_eq!(host.fetch("https://plugins.test/a.tgz").await.digest, Digest::of(b"\x1f\x8b not really"));
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let mut host = Host::new();
    let server = host
        .serve(|number, _| if number == 0 { answer(200, "ETag: W/\"v1\"\r\n", "archive") } else { answer(304, "", "") })
        .await;
    let url = "https://plugins.test/a?token=1";
    let known = host.fetch(url).await.known().unwrap();
    assert_eq!(known.digest, Digest::of(b"archive"));
    let outcome = host.fetch_known("https://plugins.test/a?token=2", Some(&known)).await.unwrap();
    assert!(matches!(outcome, FetchOutcome::NotModified { digest } if digest == known.digest));
    assert!(server.requests()[1].to_lowercase().contains("if-none-match: w/\"v1\"\r\n"));
    assert_eq!(host.staged(), 0);

    // Elsewhere the same validator means something else, and an answer to what was not asked is none.
    let known = Known { place: Digest::of(b"https://mirror.test/a"), ..known };
    let error = host.fetch_known(url, Some(&known)).await.unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 304, .. }), "{error:?}");
    assert!(!server.requests()[2].to_lowercase().contains("if-none-match"));
}

#[tokio::test]
async fn the_list_admits_hosts_and_what_is_below_them() {
    let mut host = Host::new();
    let server = host.serve(|_, _| answer(200, "", "archive")).await;
    host.config.allowlist = HostPattern::parse_list("example.com, MIRROR.test").unwrap();
    host.fetch("https://mirror.test/a").await;
    host.config.allowlist = HostPattern::parse_list("test").unwrap();
    host.fetch("https://plugins.test/a").await;
    host.config.allowlist = HostPattern::parse_list("lugins.test,example.com").unwrap();
    // The list comes first: whoever is not on it need not know what else is wrong.
    for url in ["https://plugins.test/a", "http://plugins.test/a", "https://u:p@plugins.test:1/a"] {
        let error = host.refuse(url).await;
        assert_eq!(error.to_string(), "URL host 'plugins.test' is not in DC_PLUGIN_INSTALL_URL_ALLOWLIST");
    }
    let error = host.refuse("https://[::1]/a").await;
    assert_eq!(error.to_string(), "URL host '::1' is not in DC_PLUGIN_INSTALL_URL_ALLOWLIST");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn text_that_is_no_url_of_ours_is_refused() {
    let host = Host::new();
    for (url, text) in [
        ("", "invalid URL: "),
        ("plugins.test/a?token=secret", "invalid URL: plugins.test/a"),
        ("https://?token=secret", "invalid URL: https://"),
        ("https://us:secret@exa mple/a", "invalid URL: https://exa mple/a"),
        ("https://u:sec/ret@[bad/a", "invalid URL: https://[bad/a"),
        ("mailto:a@b.test", "invalid URL: b.test"),
        ("file:///etc/passwd", "invalid URL: file:///etc/passwd"),
        ("ftp://plugins.test/a?secret", "`ftp://plugins.test/a` cannot be fetched over `ftp`"),
        ("http://plugins.test/a?secret", "`http://plugins.test/a` is not https"),
        ("https://user:secret@plugins.test/a", "`https://plugins.test/a` was given with a user name or password"),
        ("https://secret@plugins.test/a", "`https://plugins.test/a` was given with a user name or password"),
    ] {
        let error = host.refuse(url).await;
        assert_eq!(error.to_string(), text);
        assert!(!everything(&error).contains("secret"), "{error:?}");
        assert!(!error.retryable());
    }
}

#[tokio::test]
async fn plain_http_is_the_operators_decision() {
    let mut host = Host::new();
    let server = Server::http(|_, _| answer(200, "", "archive")).await;
    let url = format!("http://{}/a", server.address);
    assert!(matches!(host.refuse(&url).await, FetchError::PlainHttp { .. }));
    assert_eq!(server.requests().len(), 0);
    host.config.allow_http = true;
    assert_eq!(host.fetch(&url).await.digest, Digest::of(b"archive"));
}

#[tokio::test]
async fn private_addresses_are_refused_before_anybody_connects() {
    let mut host = Host::new();
    let server = host.serve(|_, _| answer(200, "", "archive")).await;
    let port = server.address.port();
    host.config.allow_private = false;
    for name in [
        // Given, looked up for real, and written in every way that leads to the same place.
        "plugins.test",
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ] {
        let error = host.refuse(&format!("https://{name}:{port}/a")).await;
        let loopback = matches!(error, FetchError::Address { class: AddressClass::Loopback, .. });
        assert!(loopback && !error.retryable(), "{name}: {error:?}");
        assert!(error.hint().contains("--install-allow-private"), "{error:?}");
    }
    let error = host.refuse(&format!("https://0.0.0.0:{port}/a")).await;
    assert!(matches!(error, FetchError::Address { class: AddressClass::Unspecified, .. }), "{error:?}");
    assert_eq!(server.requests().len(), 0);

    // What the operator's permission does not open.
    host.config.allow_private = true;
    host.config.resolve = vec![("metadata.test".to_owned(), "169.254.169.254:80".parse().unwrap())];
    for name in ["metadata.test", "169.254.169.254", "[::ffff:a9fe:a9fe]"] {
        let error = host.refuse(&format!("https://{name}/a")).await;
        assert!(matches!(error, FetchError::Address { class: AddressClass::CloudMetadata, .. }), "{error:?}");
        assert!(!error.hint().contains("allow_private"), "{error:?}");
    }
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_not_found() {
    let host = Host::new();
    let error = host.refuse("https://nothing.invalid/a").await;
    assert!(matches!(&error, FetchError::Resolve { host, .. } if host == "nothing.invalid"), "{error:?}");
}

#[tokio::test]
async fn authorities_that_cannot_be_used_are_refused_at_once() {
    let mut host = Host::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    host.config.ca_files = vec![file.path().to_owned()];
    assert!(matches!(Fetcher::new(host.config.clone()), Err(FetchError::Authorities(TlsError::Invalid { .. }))));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(file.path(), garbage).unwrap();
    assert!(matches!(Fetcher::new(host.config.clone()), Err(FetchError::Authorities(TlsError::Invalid { .. }))));
    host.config.ca_files = vec![file.path().join("missing")];
    assert!(matches!(Fetcher::new(host.config.clone()), Err(FetchError::Authorities(TlsError::Read { .. }))));
}
