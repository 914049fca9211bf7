//! Requests that a plugin may make: method, scheme, host, port and path.

use std::collections::BTreeSet;
use std::fmt;
use url::Url;

/// Methods that one permission may name, and the longest of them, in bytes.
const METHODS_MAX: usize = 16;
const METHOD_BYTES_MAX: usize = 20;

/// The longest URL of a request, and the longest host in it, in bytes (RFC 9110, 4.1, and RFC 1035, 2.3.4).
const URL_BYTES_MAX: usize = 8 << 10;
const HOST_BYTES_MAX: usize = 255;

/// The longest path that a permission may name, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// Requests over HTTP, written `[<methods> ]<scheme>://<host>[:<port>][/<path>]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpAccess {
    scheme: Scheme,
    host: Host,
    /// None: any.
    port: Option<u16>,
    /// And all that lies below it. Begins with `/`.
    path: String,
    /// None: any.
    methods: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Scheme {
    Http,
    Https,
}

/// As the host of a parsed URL is written: lower case, punycode, IPv6 in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Host {
    Any,
    /// One label more than this: `*.` was before it.
    Below(String),
    One(String),
}

impl HttpAccess {
    /// Reads a permission.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (methods, rest) = match text.split_once(' ') {
            Some((methods, rest)) => (parse_methods(methods)?, rest),
            None => (BTreeSet::new(), text),
        };
        let (scheme, rest) = rest.split_once("://").ok_or("it does not begin with `https://` or `http://`")?;
        let scheme = Scheme::parse(scheme)?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = split_port(authority)?;
        let port = match port {
            None => Some(scheme.port()),
            Some("*") => None,
            Some(port) => match port.parse() {
                Ok(port @ 1..) => Some(port),
                _ => return Err("its port is none"),
            },
        };
        Ok(Self { scheme, host: Host::parse(host)?, port, path: check_path(path)?, methods })
    }

    /// What a plugin does that sends this request. The reason as text where no permission could let it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_request(method: &str, url: &str) -> Result<Self, &'static str> {
        if url.len() > URL_BYTES_MAX {
            return Err("it has more than 8,192 bytes");
        }
        let url = Url::parse(url).map_err(|_| "it is no URL")?;
        let scheme = Scheme::parse(url.scheme())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it holds a user name or password; send them in a header");
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("it has no host")?.to_owned();
        if host.len() > HOST_BYTES_MAX {
            return Err("no host has so long a name");
        }
        let methods = parse_methods(method)?;
        if methods.len() != 1 {
            return Err("it has more than one method");
        }
        let port = url.port_or_known_default();
        Ok(Self { scheme, host: Host::One(host), port, path: url.path().to_owned(), methods })
    }

    /// Everything at the same place.
    #[must_use]
    pub fn of_whole_origin(&self) -> Self {
        Self { path: "/".to_owned(), methods: BTreeSet::new(), ..self.clone() }
    }

    /// Whether it opens hosts that it does not name one by one, and whether it opens all.
    #[must_use]
    pub fn breadth(&self) -> Breadth {
        match self.host {
            Host::Any => Breadth::Everywhere,
            Host::Below(_) => Breadth::Several,
            Host::One(_) => Breadth::One,
        }
    }

    /// Whether others on the way can read and change what is sent.
    #[must_use]
    pub fn is_open_to_others(&self) -> bool {
        self.scheme == Scheme::Http
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty() || (!other.methods.is_empty() && other.methods.is_subset(&self.methods));
        methods
            && self.scheme == other.scheme
            && self.host.covers(&other.host)
            && (self.port.is_none() || self.port == other.port)
            && lies_below(&other.path, &self.path)
    }

    pub(crate) fn is_concrete(&self) -> bool {
        matches!(self.host, Host::One(_)) && self.port.is_some()
    }
}

/// How many hosts a permission opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breadth {
    /// One that it names.
    One,
    /// Those below a name.
    Several,
    /// Every host.
    Everywhere,
}

impl Scheme {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err("its scheme is neither `https` nor `http`"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        if name.contains('*') {
            return Err("a `*` in its host stands for all of it, or for its first label: `*.example.com`");
        }
        if name.contains(['@', '?', '#', '\\', '%']) || name.chars().any(char::is_whitespace) {
            return Err("its host is none");
        }
        if name.len() > HOST_BYTES_MAX {
            return Err("no host has so long a name");
        }
        let url = Url::parse(&format!("http://{name}/")).map_err(|_| "its host is none")?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("its host is none")?.to_owned();
        match (below, url.domain().is_some()) {
            (true, true) => Ok(Self::Below(host)),
            (true, false) => Err("nothing lies below an address"),
            (false, _) => Ok(Self::One(host)),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Below(name), Self::One(host)) => {
                let label = host.strip_suffix(name.as_str()).and_then(|label| label.strip_suffix('.'));
                label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
            }
            (mine, theirs) => mine == theirs,
        }
    }
}

/// Host and port, of which the host may be an address in brackets.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => Ok((host, Some(port))),
        _ if authority.is_empty() => Err("it lacks the host"),
        _ => Ok((authority, None)),
    }
}

fn parse_methods(text: &str) -> Result<BTreeSet<String>, &'static str> {
    let methods: BTreeSet<String> = text.split(',').map(str::to_owned).collect();
    let is_method = |method: &String| {
        (1..=METHOD_BYTES_MAX).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_uppercase())
    };
    if methods.len() > METHODS_MAX {
        Err("it has too many methods")
    } else if methods.iter().any(|method| method == "CONNECT" || method == "TRACE") {
        Err("nobody may send `CONNECT` or `TRACE`")
    } else if !methods.iter().all(is_method) {
        Err("methods are written in capitals, like `GET` or `GET,HEAD`")
    } else {
        Ok(methods)
    }
}

/// A path in the form that a URL gives it.
fn check_path(path: &str) -> Result<String, &'static str> {
    if path.len() > PATH_BYTES_MAX {
        return Err("no path may be that long");
    }
    if path.contains(['?', '#', '*']) {
        return Err("its path holds `?`, `#` or `*`; a path opens all that lies below it");
    }
    let url = Url::parse(&format!("http://host{path}")).map_err(|_| "its path is none")?;
    if url.path() != path || is_ambiguous(path) {
        return Err("its path is not written as it is sent");
    }
    Ok(path.to_owned())
}

/// Whether `path` is `root` or below it, whoever reads it.
fn lies_below(path: &str, root: &str) -> bool {
    if root == "/" {
        return true;
    }
    let rest = path.strip_prefix(root);
    rest.is_some_and(|rest| rest.is_empty() || root.ends_with('/') || rest.starts_with('/')) && !is_ambiguous(path)
}

/// Whether a server may take the path for another: it holds a slash, a dot or a percent sign in disguise, or a segment
/// that begins like a way up.
fn is_ambiguous(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    ["%2f", "%5c", "%2e", "%25", "%00", "\\"].iter().any(|disguise| lower.contains(disguise))
        || lower.split('/').any(|segment| segment.starts_with(".."))
}

impl fmt::Display for HttpAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.methods.is_empty() {
            let methods: Vec<&str> = self.methods.iter().map(String::as_str).collect();
            write!(f, "{} ", methods.join(","))?;
        }
        write!(f, "{}://", self.scheme.name())?;
        match &self.host {
            Host::Any => f.write_str("*")?,
            Host::Below(name) => write!(f, "*.{name}")?,
            Host::One(name) => f.write_str(name)?,
        }
        match self.port {
            None => f.write_str(":*")?,
            Some(port) if port == self.scheme.port() => {}
            Some(port) => write!(f, ":{port}")?,
        }
        if self.path == "/" { Ok(()) } else { f.write_str(&self.path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(text: &str) -> HttpAccess {
        HttpAccess::parse(text).unwrap()
    }

    #[test]
    fn a_request_is_covered_by_scheme_host_port_path_and_method() {
        for (permission, method, url, expected) in [
            ("https://api.example.com", "POST", "https://api.example.com/v1?key=1", true),
            ("https://api.example.com", "GET", "https://API.example.com:443/", true),
            ("https://api.example.com", "GET", "http://api.example.com/", false),
            ("https://api.example.com", "GET", "https://api.example.com:8443/", false),
            ("https://api.example.com", "GET", "https://api.example.com./", false),
            ("https://api.example.com", "GET", "https://example.com/", false),
            ("https://api.example.com", "GET", "https://api.example.com.evil.test/", false),
            ("https://*.example.com", "GET", "https://api.example.com/", true),
            ("https://*.example.com", "GET", "https://a.b.example.com/", false),
            ("https://*.example.com", "GET", "https://example.com/", false),
            ("https://*.example.com", "GET", "https://badexample.com/", false),
            ("http://*:*", "GET", "http://10.0.0.1:8080/", true),
            ("http://*", "GET", "http://10.0.0.1:8080/", false),
            ("http://10.0.0.1:*", "GET", "http://0x0a.1:8080/", true),
            ("http://[::1]:8080", "GET", "http://[0:0::1]:8080/x", true),
            ("GET,HEAD https://a.test", "HEAD", "https://a.test/", true),
            ("GET,HEAD https://a.test", "POST", "https://a.test/", false),
            ("https://a.test/v1", "GET", "https://a.test/v1", true),
            ("https://a.test/v1", "GET", "https://a.test/v1/x?y=../..", true),
            ("https://a.test/v1", "GET", "https://a.test/v10", false),
            ("https://a.test/v1/", "GET", "https://a.test/v1/x", true),
            ("https://a.test/v1/", "GET", "https://a.test/v1", false),
            ("https://a.test/v1", "GET", "https://a.test/v1/../admin", false),
            ("https://a.test/v1", "GET", "https://a.test/v1/%2e%2e/admin", false),
            ("https://a.test/v1", "GET", "https://a.test/v1/..%2fadmin", false),
            ("https://a.test/v1", "GET", "https://a.test/v1/..;/admin", false),
            ("https://a.test/v1", "GET", "https://a.test/v1/%252e%252e/admin", false),
            ("https://a.test/v1", "GET", "https://a.test/v1\\..\\admin", false),
            ("https://a.test", "GET", "https://a.test/v1/..%2fadmin", true),
            ("https://bücher.example", "GET", "https://xn--bcher-kva.example/", true),
        ] {
            let asked = HttpAccess::of_request(method, url).unwrap();
            assert!(asked.is_concrete());
            assert_eq!(access(permission).covers(&asked), expected, "{permission} {method} {url}");
        }
    }

    #[test]
    fn a_permission_covers_a_narrower_one() {
        for (mine, theirs, expected) in [
            ("https://*", "https://*.example.com", true),
            ("https://*.example.com", "https://*.example.com", true),
            ("https://*.example.com", "https://*", false),
            ("https://*.example.com", "https://*.a.example.com", false),
            ("https://a.test:*", "https://a.test:8443", true),
            ("https://a.test", "https://a.test:*", false),
            ("https://a.test", "GET https://a.test/v1", true),
            ("GET https://a.test", "https://a.test", false),
            ("https://a.test/v1", "https://a.test", false),
        ] {
            assert_eq!(access(mine).covers(&access(theirs)), expected, "{mine} {theirs}");
        }
        assert!(!access("https://*").is_concrete() && !access("https://a.test:*").is_concrete());
    }

    #[test]
    fn permissions_are_written_as_they_are_read() {
        for text in [
            "https://api.example.com",
            "http://*:*/v1/",
            "GET,HEAD https://*.example.com:8443/v1",
            "http://192.168.1.20",
            "http://[::1]:8080",
        ] {
            assert_eq!(access(text).to_string(), text);
        }
        assert_eq!(access("HEAD,GET https://API.example.com:443/").to_string(), "GET,HEAD https://api.example.com");
        let asked = HttpAccess::of_request("PUT", "https://a.test:8443/v1/x?key=secret").unwrap();
        assert_eq!(asked.to_string(), "PUT https://a.test:8443/v1/x");
        assert_eq!(asked.of_whole_origin().to_string(), "https://a.test:8443");
    }

    #[test]
    fn what_could_mean_nothing_is_refused() {
        for (text, reason) in [
            ("api.example.com", "it does not begin with `https://` or `http://`"),
            ("ftp://a.test", "its scheme is neither `https` nor `http`"),
            ("https://", "it lacks the host"),
            ("https://a*.test", "a `*` in its host stands for all of it, or for its first label: `*.example.com`"),
            ("https://*.*.test", "a `*` in its host stands for all of it, or for its first label: `*.example.com`"),
            ("https://*.10.0.0.1", "nothing lies below an address"),
            ("https://user@a.test", "its host is none"),
            ("https://a b.test", "methods are written in capitals, like `GET` or `GET,HEAD`"),
            ("https://a.test:0", "its port is none"),
            ("https://a.test:https", "its port is none"),
            ("https://a.test/v1/*", "its path holds `?`, `#` or `*`; a path opens all that lies below it"),
            ("https://a.test/v1/../x", "its path is not written as it is sent"),
            ("https://a.test/%2e", "its path is not written as it is sent"),
            ("get https://a.test", "methods are written in capitals, like `GET` or `GET,HEAD`"),
            ("GET,, https://a.test", "methods are written in capitals, like `GET` or `GET,HEAD`"),
            ("CONNECT https://a.test", "nobody may send `CONNECT` or `TRACE`"),
        ] {
            assert_eq!(HttpAccess::parse(text).unwrap_err(), reason, "{text}");
        }
        for (method, url) in [
            ("GET", "https://us:er@a.test/"),
            ("GET", "file:///etc/passwd"),
            ("GET", "a.test/x"),
            ("GET,HEAD", "https://a.test/"),
            ("get", "https://a.test/"),
            ("TRACE", "https://a.test/"),
            ("GET", &format!("https://a.test/{}", "x".repeat(8 << 10))),
            ("GET", &format!("https://{}.test/", "a.".repeat(130))),
        ] {
            assert!(HttpAccess::of_request(method, url).is_err(), "{method} {url}");
        }
        assert_eq!(HttpAccess::parse(&format!("https://{}.test", "a.".repeat(130))), Err("no host has so long a name"));
    }
}
