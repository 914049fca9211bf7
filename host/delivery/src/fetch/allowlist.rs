//! The hosts that archives may come from (wire contract 10.6).

use reqwest::Url;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A host and its sub-domains, or an IP address: `example.com` admits `example.com` and `a.b.example.com`, but not
/// `badexample.com`. Ports play no part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    /// As the host of a parsed URL is written: lower case, punycode, IPv6 in brackets.
    host: String,
    /// Names have sub-domains, addresses do not.
    name: bool,
}

/// An entry of the allow-list that no URL could ever match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` is not a host name: write it without scheme, port, path, wildcard and leading dot")]
pub struct HostPatternError {
    /// As given.
    pub entry: String,
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    /// Trims and lower-cases. IPv6 addresses may stand in brackets or without.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entry = text.trim();
        let refused = || HostPatternError { entry: crate::member::shown(entry.as_bytes()) };
        let address = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
        let address = address.parse::<Ipv6Addr>().ok();
        let host = address.map_or_else(|| entry.to_owned(), |address| format!("[{address}]"));
        let foreign = |c: char| "/\\@?#*%".contains(c) || c.is_whitespace();
        if host.starts_with('.') || host.contains(foreign) || (host.contains(':') && address.is_none()) {
            return Err(refused());
        }
        // Written as the hosts that it is compared with.
        let url = Url::parse(&format!("https://{host}/")).map_err(|_| refused())?;
        let host = url.host_str().ok_or_else(refused)?.to_owned();
        Ok(Self { name: url.domain().is_some(), host })
    }
}

impl HostPattern {
    /// Parses a list as the environment carries it: separated by commas, empty entries left out.
    ///
    /// # Errors
    /// [`HostPatternError`] for the first entry that could never match.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, HostPatternError> {
        text.split(',').filter(|entry| !entry.trim().is_empty()).map(str::parse).collect()
    }

    /// Whether the URL's host is this one or below it.
    #[must_use]
    pub(super) fn admits(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let below = || host.strip_suffix(&self.host).is_some_and(|label| label.ends_with('.'));
        host == self.host || (self.name && url.domain().is_some() && below())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_what_is_below_it() {
        let table = [
            ("example.com", "https://example.com/x", true),
            ("example.com", "https://example.com:8443/x", true),
            ("example.com", "https://EXAMPLE.com/x", true),
            (" Example.COM\n", "https://example.com/x", true),
            ("example.com", "https://a.b.example.com/x", true),
            ("example.com", "https://badexample.com/x", false),
            ("example.com", "https://example.com.evil.test/x", false),
            ("example.com", "https://example.org/x", false),
            ("example.com", "https://com/x", false),
            ("example.com", "https://evil.test/example.com", false),
            ("example.com", "https://evil.test#.example.com", false),
            ("example.com", "https://example.com./x", false),
            ("a.example.com", "https://example.com/x", false),
            ("bücher.example", "https://xn--bcher-kva.example/x", true),
            ("localhost", "https://localhost/x", true),
            ("10.0.0.1", "https://10.0.0.1/x", true),
            ("10.0.0.1", "https://0x0a.1/x", true),
            ("10.0.0.1", "https://1.10.0.0.1/x", false),
            ("::1", "https://[::1]:1/x", true),
            ("[0:0::1]", "https://[::1]/x", true),
            ("::1", "https://[::2]/x", false),
        ];
        for (entry, url, expected) in table {
            // A host that ends in a number has to be an address: some of these are no URLs at all.
            let admitted = Url::parse(url).is_ok_and(|url| entry.parse::<HostPattern>().unwrap().admits(&url));
            assert_eq!(admitted, expected, "{entry} {url}");
        }
    }

    #[test]
    fn entries_that_could_never_match_are_refused() {
        for entry in [
            "https://example.com",
            "example.com/",
            "example.com/x",
            "example.com:443",
            "example.com:8443",
            "[::1]:443",
            "*.example.com",
            ".example.com",
            "a b",
            "user@example.com",
            "example.com?x",
            "example.com#x",
            "",
        ] {
            assert!(entry.parse::<HostPattern>().is_err(), "{entry}");
        }
        let error = HostPattern::parse_list("a.test, *.b.test").unwrap_err();
        assert_eq!(error, HostPatternError { entry: "*.b.test".to_owned() });
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let hosts = |text| HostPattern::parse_list(text).unwrap().into_iter().map(|p| p.host).collect::<Vec<_>>();
        assert_eq!(hosts(""), [""; 0]);
        assert_eq!(hosts(" , "), [""; 0]);
        assert_eq!(hosts("a.test, B.test,,c.test,"), ["a.test", "b.test", "c.test"]);
    }
}
