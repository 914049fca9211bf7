//! Requests over HTTP. The host sends them, and judges each by the plugin's permissions.
//!
//! ```
//! # async fn outlook() -> tenon::Result<tenon::Value> {
//! use tenon::http::Request;
//!
//! let answer = Request::get("https://api.example.com/outlook").header("accept", "application/json").send().await?;
//! answer.expect_success()?.json()
//! # }
//! ```

use crate::context::context;
use crate::host::{HttpRequest, HttpResponse, Op, OpValue};
use crate::ops::OpFuture;
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Redirects that are followed unless [`Request::redirects`] says otherwise.
const REDIRECTS_DEFAULT: u32 = 10;

/// A request, to be sent.
#[derive(Debug, Clone)]
#[must_use]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    timeout: Option<Duration>,
    redirects: u32,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    url: String,
}

impl Request {
    /// Of any method, in capitals.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            redirects: REDIRECTS_DEFAULT,
        }
    }

    /// `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// `POST`.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header field.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends these bytes.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends a value as JSON.
    ///
    /// # Errors
    /// What serde cannot write.
    pub fn json(self, value: &impl Serialize) -> Result<Self> {
        Ok(self.header("content-type", "application/json").body(serde_json::to_vec(value)?))
    }

    /// How long each exchange may take at most. It never takes longer than the call on whose behalf it is made.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How many redirects are followed, 10 by default. Beyond it, and for a redirect from `https` to `http`, the redirect
    /// itself is the answer.
    pub fn redirects(mut self, redirects: u32) -> Self {
        self.redirects = redirects;
        self
    }

    /// Sends it, follows redirects, and reads the answer. A status that tells of a failure is an answer like others. Each
    /// request on the way needs a permission of its own. `authorization` and `cookie` go to no other server than the first.
    /// Cancel safe.
    ///
    /// # Errors
    /// `permission_denied`, `rate_limited`, `deadline_exceeded`, or why there was no answer.
    pub async fn send(mut self) -> Result<Response> {
        loop {
            let answer = self.exchange().await?;
            let next = answer.location().filter(|_| self.redirects > 0).and_then(|to| joined(&self.url, to));
            let Some(next) = next.filter(|next| !is_secure(&self.url) || is_secure(next)) else {
                return Ok(answer);
            };
            self.redirects -= 1;
            // As browsers do it (RFC 9110, 15.4).
            let is_changed = match answer.status {
                303 => self.method != "HEAD",
                301 | 302 => self.method == "POST",
                _ => false,
            };
            if is_changed {
                if self.method != "GET" {
                    self.headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
                }
                self.method = "GET".to_owned();
                self.body.clear();
            }
            if origin(&next) != origin(&self.url) {
                let is_secret =
                    |name: &str| ["authorization", "cookie"].iter().any(|own| name.eq_ignore_ascii_case(own));
                self.headers.retain(|(name, _)| !is_secret(name));
            }
            self.url = next;
        }
    }

    async fn exchange(&self) -> Result<Response> {
        let request = HttpRequest {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            timeout_ns: self.timeout.map(|timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)),
            on_behalf_of: context().map(|context| context.call()),
        };
        match OpFuture::new(Op::Http(request)).await? {
            OpValue::Http(HttpResponse { status, headers, body }) => {
                Ok(Response { status, headers, body, url: self.url.clone() })
            }
            OpValue::Done | OpValue::Json(_) => Err(Error::new("internal", "the host answered something else")),
        }
    }
}

impl Response {
    /// An answer, for tests.
    #[cfg(not(target_family = "wasm"))]
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), url: String::new() }
    }

    /// Adds a header field, for tests.
    #[cfg(not(target_family = "wasm"))]
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.as_bytes().to_owned()));
        self
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn into_parts(self) -> HttpResponse {
        HttpResponse { status: self.status, headers: self.headers, body: self.body }
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is one of success: 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The answer, if its status is one of success.
    ///
    /// # Errors
    /// `http_status` with the status; retryable for 429 and 500 and up.
    pub fn expect_success(self) -> Result<Self> {
        if self.is_success() {
            return Ok(self);
        }
        let error = Error::new("http_status", format_args!("the server answered with status {}", self.status));
        Err(if self.status == 429 || self.status >= 500 { error.retryable() } else { error })
    }

    /// Where the answer came from in the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The first header field of that name, in any case, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// All header fields in order, names in lower case.
    #[must_use]
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    ///
    /// # Errors
    /// `invalid_text` where it is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body).map_err(|error| Error::new("invalid_text", error))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// `invalid_json` where it is none, or not what `T` expects.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    fn location(&self) -> Option<&str> {
        matches!(self.status, 301 | 302 | 303 | 307 | 308).then(|| self.header("location")).flatten()
    }
}

fn is_secure(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// Scheme, host and port.
fn origin(url: &str) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end =
        url.get(after_scheme..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| at + after_scheme);
    url.get(..end).unwrap_or(url).to_ascii_lowercase()
}

/// Where `to` leads from `url`. The host puts `.` and `..` right.
fn joined(url: &str, to: &str) -> Option<String> {
    let to = to.split('#').next()?;
    let scheme = url.split("://").next()?;
    let is_absolute = to
        .split_once(':')
        .is_some_and(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)));
    let root = origin(url);
    let path = url.get(root.len()..)?.split(['?', '#']).next()?;
    Some(if to.is_empty() {
        return None;
    } else if is_absolute {
        to.to_owned()
    } else if to.starts_with("//") {
        format!("{scheme}:{to}")
    } else if to.starts_with('/') {
        format!("{root}{to}")
    } else if to.starts_with('?') {
        format!("{root}{path}{to}")
    } else {
        let folder = path.rfind('/').and_then(|at| path.get(..=at)).unwrap_or("/");
        format!("{root}{folder}{to}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_should() {
        for (url, to, expected) in [
            ("https://a.test/x/y?q#f", "https://b.test/z", "https://b.test/z"),
            ("https://a.test/x/y", "//b.test/z", "https://b.test/z"),
            ("https://a.test:8443/x/y", "/z?w#f", "https://a.test:8443/z?w"),
            ("https://a.test/x/y?q", "z", "https://a.test/x/z"),
            ("https://a.test", "z", "https://a.test/z"),
            ("https://a.test/x?q", "?w", "https://a.test/x?w"),
            ("https://a.test/x/y", "../z", "https://a.test/x/../z"),
        ] {
            assert_eq!(joined(url, to).as_deref(), Some(expected), "{url} {to}");
        }
        assert_eq!(joined("https://a.test/", ""), None);
    }

    #[test]
    fn places_are_told_apart_by_scheme_host_and_port() {
        assert_eq!(origin("https://A.test/x"), origin("https://a.test?y"));
        assert_ne!(origin("https://a.test:1/"), origin("https://a.test:2/"));
        assert!(is_secure("HTTPS://a.test") && !is_secure("http://a.test"));
    }
}
