//! Redirects: each is judged like the URL that it came from.

use crate::fetch_server::{Host, Server, answer, everything, redirect};
use mortise_delivery::{AddressClass, FetchError, HostPattern};
use mortise_model::Digest;

#[tokio::test]
async fn redirects_are_followed_to_the_archive() {
    let mut host = Host::new();
    let server = host
        .serve(|_, path| match path {
            "/a" => answer(301, "Location: b/c\r\n", "moved"),
            "/b/c" => answer(303, "Location: ?d\r\n", ""),
            "/b/c?d" => answer(307, "Location: //mirror.test/e\r\n", ""),
            "/e" => answer(308, "Location: https://plugins.test/f?token=secret#x\r\n", ""),
            "/f?token=secret" => answer(200, "", "archive"),
            _ => answer(404, "", ""),
        })
        .await;
    host.config.allowlist = HostPattern::parse_list("plugins.test,mirror.test").unwrap();
    let fetched = host.fetch("https://plugins.test/a").await;
    assert_eq!(fetched.digest, Digest::of(b"archive"));
    assert_eq!(fetched.final_url, "https://plugins.test/f");
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn only_so_many_redirects_are_followed() {
    let mut host = Host::new();
    let server = host
        .serve(|_, path| match path.trim_start_matches('/').parse::<u32>() {
            Ok(0) => answer(200, "", "archive"),
            Ok(left) => redirect(&format!("/{}", left - 1)),
            Err(_) => redirect("/round"),
        })
        .await;
    assert_eq!(host.fetch("https://plugins.test/5").await.bytes, 7);
    for path in ["6", "round"] {
        let before = server.requests().len();
        let error = host.refuse(&format!("https://plugins.test/{path}?token=secret")).await;
        assert!(matches!(error, FetchError::TooManyRedirects { redirects_max: 5, .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("`https://plugins.test/{path}` redirects more than 5 times"));
        assert_eq!(server.requests().len() - before, 6);
    }
}

#[tokio::test]
async fn every_rule_holds_after_a_redirect() {
    let mut host = Host::new();
    let plain = Server::http(|_, _| answer(200, "", "archive")).await;
    let to_plain = format!("http://{}/a", plain.address);
    host.config.allow_http = true;
    let _server = host
        .serve(move |_, path| match path.trim_end_matches("?token=secret") {
            "/off-list" => redirect("https://evil.test/?token=secret"),
            "/http" => redirect(&to_plain),
            "/metadata" => redirect("https://169.254.169.254/latest"),
            "/named-metadata" => redirect("https://metadata.test/latest"),
            "/user" => redirect("https://user:secret@plugins.test/a"),
            "/file" => redirect("file:///etc/passwd"),
            "/ftp" => redirect("ftp://plugins.test/a?secret"),
            "/nowhere" => answer(302, "", ""),
            "/garbage" => redirect("https://[secret"),
            _ => answer(200, "", "archive"),
        })
        .await;
    host.config.resolve.push(("metadata.test".to_owned(), "169.254.169.254:443".parse().unwrap()));

    let refuse = async |path: &str| {
        let error = host.refuse(&format!("https://plugins.test/{path}?token=secret")).await;
        assert!(!everything(&error).contains("secret"), "{error:?}");
        assert!(!error.retryable());
        error
    };
    let error = refuse("http").await;
    assert!(matches!(error, FetchError::Downgrade { .. }), "{error:?}");
    assert_eq!(plain.requests().len(), 0);
    for path in ["metadata", "named-metadata"] {
        let error = refuse(path).await;
        assert!(matches!(error, FetchError::Address { class: AddressClass::CloudMetadata, .. }), "{error:?}");
    }
    assert!(matches!(refuse("user").await, FetchError::UserInfo { .. }));
    assert!(matches!(refuse("file").await, FetchError::InvalidUrl { .. }));
    assert!(matches!(refuse("ftp").await, FetchError::Scheme { .. }));
    assert!(matches!(refuse("nowhere").await, FetchError::RedirectMalformed { .. }));
    assert!(matches!(refuse("garbage").await, FetchError::RedirectMalformed { .. }));

    host.config.allowlist = HostPattern::parse_list("plugins.test").unwrap();
    let error = host.refuse("https://plugins.test/off-list").await;
    assert_eq!(error.to_string(), "URL host 'evil.test' is not in DC_PLUGIN_INSTALL_URL_ALLOWLIST");
}
