//! URLs of artifacts: how they are formed, and which of them are our own (wire contract 10.8).

use crate::name::ArtifactRef;
use std::net::IpAddr;
use url::{Host, Url};

/// A public base that no URL can begin with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid public URL of artifacts: {fault}")]
pub struct UrlBaseError {
    /// Which part is wrong. The URL itself is not repeated: it may hold a password.
    pub fault: &'static str,
}

impl UrlBaseError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "invalid_public_url"
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        "give the URL under which clients reach the artifact server, such as `https://artifacts.example.com/plugins`"
            .to_owned()
    }
}

/// Where clients find this store's artifacts: a public base, or else the host and port of the server.
#[derive(Debug, Clone)]
pub struct UrlBase {
    /// Without a trailing `/`; URLs of artifacts begin with it.
    text: String,
    public: Option<Url>,
    serve_host: String,
    serve_port: u16,
}

impl UrlBase {
    /// `public` as the operator writes it, if at all; `serve_host` and `serve_port` as the server is bound.
    ///
    /// # Errors
    /// [`UrlBaseError`] when `public` is not an absolute `http` or `https` URL of plain host, port and path.
    pub fn new(public: Option<&str>, serve_host: &str, serve_port: u16) -> Result<Self, UrlBaseError> {
        let serve_host = bracketed(serve_host);
        let Some(public) = public.map(str::trim).filter(|public| !public.is_empty()) else {
            let text = format!("http://{serve_host}:{serve_port}");
            return Ok(Self { text, public: None, serve_host, serve_port });
        };
        let text = public.trim_end_matches('/').to_owned();
        let fault = |fault| UrlBaseError { fault };
        let url = Url::parse(&text).map_err(|_| fault("it is not an absolute URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault("it is neither `http` nor `https`"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(fault("it holds a user or a password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fault("it holds a query or a fragment"));
        }
        Ok(Self { text, public: Some(url), serve_host, serve_port })
    }

    /// The URL of one artifact. Its names hold nothing that needs an escape.
    #[must_use]
    pub fn url(&self, artifact: &ArtifactRef) -> String {
        format!("{}/artifacts/{}/{}", self.text, artifact.plugin_id, artifact.file)
    }

    /// Which artifact `url` names, if it is one of ours: below the public base, or at the server's host and port. A
    /// server that listens on this machine alone, or on every address, is also known as `localhost`, `127.0.0.1` and
    /// `::1`. A query is ignored, as the server ignores it. Touches nothing: the artifact need not exist.
    #[must_use]
    pub fn resolve(&self, url: &str) -> Option<ArtifactRef> {
        let url = Url::parse(url).ok()?;
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let below = self.below_public(&url).or_else(|| self.is_served(&url).then(|| url.path()))?;
        let (plugin_id, file) = below.strip_prefix("/artifacts/")?.split_once('/')?;
        ArtifactRef::parse(plugin_id, file)
    }

    fn below_public<'a>(&self, url: &'a Url) -> Option<&'a str> {
        let public = self.public.as_ref().filter(|public| public.origin() == url.origin())?;
        url.path().strip_prefix(public.path().trim_end_matches('/'))
    }

    fn is_served(&self, url: &Url) -> bool {
        let (Some(given), Ok(ours)) = (url.host(), Host::parse(&self.serve_host)) else { return false };
        let given = given.to_owned();
        let is_same_host = given == ours || (is_this_machine(&given) && (is_this_machine(&ours) || is_every(&ours)));
        url.scheme() == "http" && url.port_or_known_default() == Some(self.serve_port) && is_same_host
    }
}

/// IPv6 addresses stand in brackets in a URL.
fn bracketed(host: &str) -> String {
    if host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) { format!("[{host}]") } else { host.to_owned() }
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        // Not all of 127.0.0.0/8: another server may have another of its addresses, with the same port.
        Host::Ipv4(address) => *address == std::net::Ipv4Addr::LOCALHOST,
        Host::Ipv6(address) => *address == std::net::Ipv6Addr::LOCALHOST,
    }
}

fn is_every(host: &Host) -> bool {
    match host {
        Host::Domain(_) => false,
        Host::Ipv4(address) => address.is_unspecified(),
        Host::Ipv6(address) => address.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(public: Option<&str>, host: &str) -> UrlBase {
        UrlBase::new(public, host, 8790).unwrap()
    }

    fn artifact() -> ArtifactRef {
        ArtifactRef::parse("hello-world", "0.1.0+b.tgz").unwrap()
    }

    #[test]
    fn urls_are_formed_as_the_wire_contract_has_it() {
        for (public, host, url) in [
            (None, "127.0.0.1", "http://127.0.0.1:8790/artifacts/hello-world/0.1.0+b.tgz"),
            (Some(""), "::1", "http://[::1]:8790/artifacts/hello-world/0.1.0+b.tgz"),
            (Some("https://a.example/x//"), "::", "https://a.example/x/artifacts/hello-world/0.1.0+b.tgz"),
            (Some("http://a.example:81"), "0.0.0.0", "http://a.example:81/artifacts/hello-world/0.1.0+b.tgz"),
        ] {
            let base = base(public, host);
            assert_eq!(base.url(&artifact()), url);
            assert_eq!(base.resolve(url), Some(artifact()), "{url}");
        }
    }

    #[test]
    fn our_own_urls_are_known_in_other_spellings() {
        let local = base(None, "127.0.0.1");
        let everywhere = base(Some("https://A.example/x"), "0.0.0.0");
        let tail = "/artifacts/hello-world/0.1.0+b.tgz";
        for head in ["http://127.0.0.1:8790", "HTTP://LocalHost:8790", "http://[::1]:8790"] {
            assert_eq!(local.resolve(&format!("{head}{tail}")), Some(artifact()), "{head}");
            assert_eq!(everywhere.resolve(&format!("{head}{tail}?a=b")), Some(artifact()), "{head}");
        }
        assert_eq!(everywhere.resolve(&format!("https://a.EXAMPLE:443/x{tail}")), Some(artifact()));
    }

    #[test]
    fn other_urls_are_not_ours() {
        let base = base(Some("https://a.example/x"), "127.0.0.1");
        for url in [
            "",
            "artifacts/hello-world/1.tgz",
            "https://b.example/x/artifacts/hello-world/1.tgz",
            "http://a.example/x/artifacts/hello-world/1.tgz",
            "https://a.example:444/x/artifacts/hello-world/1.tgz",
            "https://a.example/artifacts/hello-world/1.tgz",
            "https://a.example/xx/artifacts/hello-world/1.tgz",
            "https://u:p@a.example/x/artifacts/hello-world/1.tgz",
            "https://a.example/x/artifacts/hello-world/1.zip",
            "https://a.example/x/artifacts/hello-world/..%2f1.tgz",
            "https://a.example/x/artifacts/..%2fx/1.tgz",
            "https://a.example/x/artifacts/a/b/1.tgz",
            "http://127.0.0.1:8791/artifacts/hello-world/1.tgz",
            "https://127.0.0.1:8790/artifacts/hello-world/1.tgz",
            "http://127.0.0.2:8790/artifacts/hello-world/1.tgz",
            "http://10.0.0.1:8790/artifacts/hello-world/1.tgz",
        ] {
            assert_eq!(base.resolve(url), None, "{url}");
        }
    }

    #[test]
    fn a_public_base_that_cannot_be_one_is_refused() {
        for bad in
            ["a.example", "/x", "ftp://a.example", "https://u:p@a.example", "https://a.example/?x", "http://a/#f"]
        {
            let error = UrlBase::new(Some(bad), "127.0.0.1", 8790).unwrap_err();
            assert!(error.to_string().starts_with("invalid public URL of artifacts: it "), "{bad}: {error}");
            assert!(!error.to_string().contains("u:p"));
        }
    }
}
