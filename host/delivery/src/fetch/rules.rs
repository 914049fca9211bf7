//! Which URLs may be asked, the first one and each that a redirect leads to.

use super::{FetchConfig, FetchError};
use mortise_http::check_address;
use mortise_model::Digest;
use reqwest::Url;

/// Parses and checks the URL that a caller gave.
pub(super) fn parse(text: &str, config: &FetchConfig) -> Result<Url, FetchError> {
    let url = Url::parse(text.trim()).map_err(|_| FetchError::InvalidUrl { url: redacted_url(text) })?;
    check(&url, config)?;
    Ok(url)
}

/// Where a redirect leads, checked like the URL that it came from.
pub(super) fn redirected(from: &Url, location: &str, config: &FetchConfig) -> Result<Url, FetchError> {
    let to = from.join(location).map_err(|_| FetchError::RedirectMalformed { url: redacted(from) })?;
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(FetchError::Downgrade { from: redacted(from), to: redacted(&to) });
    }
    check(&to, config)?;
    Ok(to)
}

fn check(url: &Url, config: &FetchConfig) -> Result<(), FetchError> {
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err(FetchError::InvalidUrl { url: redacted(url) });
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if !config.allowlist.is_empty() && !config.allowlist.iter().any(|pattern| pattern.admits(url)) {
        return Err(FetchError::HostNotAllowed { host: host.to_owned() });
    }
    match url.scheme() {
        "https" => {}
        "http" if config.allow_http => {}
        "http" => return Err(FetchError::PlainHttp { url: redacted(url) }),
        scheme => return Err(FetchError::Scheme { scheme: scheme.to_owned(), url: redacted(url) }),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(FetchError::UserInfo { url: redacted(url) });
    }
    check_address(url, &config.reach()).map_err(|(address, class)| FetchError::Address {
        host: address.to_string(),
        address,
        class,
    })
}

/// The URL without what may carry secrets: user information, query, fragment.
pub(super) fn redacted(url: &Url) -> String {
    crate::member::shown(redacted_url(url.as_str()).as_bytes())
}

/// Tells places apart: the digest of the URL without query and fragment, whole where [`redacted`] would cut it.
pub(super) fn place(url: &Url) -> Digest {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    Digest::of(url.as_str().as_bytes())
}

/// A name for a URL that does not tell it: the digest of all that a server is sent of it. Texts that mean the same URL
/// have the same name. None for what is no URL.
#[must_use]
pub fn url_digest(text: &str) -> Option<Digest> {
    let mut url = Url::parse(text.trim()).ok()?;
    url.set_fragment(None);
    Some(Digest::of(url.as_str().as_bytes()))
}

/// The URL of the file that lies beside another one, under the same path and `suffix`. Its query stays. None for what is no URL.
#[must_use]
pub fn url_beside(text: &str, suffix: &str) -> Option<String> {
    let mut url = Url::parse(text.trim()).ok()?;
    let path = format!("{}{suffix}", url.path());
    url.set_path(&path);
    url.set_fragment(None);
    Some(url.into())
}

/// A URL, or text that should be one, without what may carry secrets: user information, query, fragment.
#[must_use]
pub fn redacted_url(text: &str) -> String {
    let text = text.trim();
    if let Ok(mut url) = Url::parse(text)
        && url.has_host()
    {
        // Neither fails for a URL that has a host.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        url.set_query(None);
        url.set_fragment(None);
        return url.into();
    }
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    // Where the authority ends is a guess when this is no URL: up to the last `@`, anything may be a password.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    crate::member::shown(format!("{scheme}{rest}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_a_file_has_its_query() {
        for (url, beside) in [
            ("https://a.b/c.tgz", "https://a.b/c.tgz.minisig"),
            (" https://a.b/c.tgz?d=/e?f#g ", "https://a.b/c.tgz.minisig?d=/e?f"),
            ("https://a.b/c%2F%3F.tgz#g?h", "https://a.b/c%2F%3F.tgz.minisig"),
            ("https://a.b", "https://a.b/.minisig"),
        ] {
            assert_eq!(url_beside(url, ".minisig").as_deref(), Some(beside));
        }
        assert_eq!(url_beside("c.tgz", ".minisig"), None);
    }

    #[test]
    fn a_redirect_into_the_private_network_is_refused() {
        let config = FetchConfig::default();
        let from = parse("https://example.com/a", &config).unwrap();
        for location in [
            "https://10.0.0.1/",
            "//192.168.1.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::10.0.0.1]/",
            "https://[fd00::1]/",
            "https://100.64.0.1/",
            "https://0.0.0.0/",
        ] {
            let error = redirected(&from, location, &config).unwrap_err();
            assert!(matches!(error, FetchError::Address { .. }), "{location}: {error:?}");
        }
        assert_eq!(redirected(&from, "//8.8.8.8/b", &config).unwrap().as_str(), "https://8.8.8.8/b");
    }

    #[test]
    fn a_url_is_known_by_what_a_server_is_sent_of_it() {
        let same = url_digest("https://a.test/b?token=1").unwrap();
        for text in [" https://A.test:443/x/../b?token=1", "https://a.test/b?token=1#part"] {
            assert_eq!(url_digest(text), Some(same), "{text}");
        }
        for text in ["https://a.test/b?token=2", "https://a.test/b", "http://a.test/b?token=1"] {
            assert_ne!(url_digest(text), Some(same), "{text}");
        }
        assert_eq!(url_digest("a.test/b"), None);
        let long = |last: &str| place(&Url::parse(&format!("https://a.test/{}/{last}", "x".repeat(400))).unwrap());
        assert_ne!(long("a"), long("b"), "what is cut for people is not cut here");
        assert_eq!(long("a?token=1"), long("a?token=2"));
    }

    #[test]
    fn nothing_secret_is_shown() {
        for (text, shown) in [
            ("https://a.test/b?token=secret", "https://a.test/b"),
            ("https://a.test/b#secret", "https://a.test/b"),
            ("https://us:secret@a.test/b", "https://a.test/b"),
            ("https://us:se/cret@a.test/b", "https://a.test/b"),
            ("us:secret@a.test", "a.test"),
            ("https://us:secret@evil.test/@scope/p.tgz?t=secret", "https://evil.test/@scope/p.tgz"),
            ("https://evil.test/@trusted.test/p.tgz", "https://evil.test/@trusted.test/p.tgz"),
            (" a\nb ", "a\\nb"),
        ] {
            assert_eq!(redacted_url(text), shown);
        }
    }
}
