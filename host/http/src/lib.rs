//! Requests over HTTP to wherever the operator lets them go.
//!
//! What every request of the host has in common lies here, an archive's download as well as a plugin's request: which
//! addresses may be connected to, whom TLS trusts, and that nothing on the way is decided by anybody else (no proxy, no
//! redirect that nobody looked at). [`client_builder`] is the common part, [`HttpClient`] is what plugins use.
#![forbid(unsafe_code)]

mod address;
mod error;
mod resolver;
mod tls;

pub use address::AddressClass;
pub use error::{HttpError, find_cause};
pub use resolver::{Reach, ResolveError};
pub use tls::{TlsError, check_authorities};

use mortise_model::{HttpRequest, HttpResponse};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Method, Response, Url};
use resolver::GuardedResolver;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// For each connection: name, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection without a request is kept at least, and how many of them to one host.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_PER_HOST_MAX: usize = 2;

/// How much of a body room is made for on the server's word, in bytes.
const ANNOUNCED_BYTES_MAX: usize = 64 << 10;

/// Header fields of one message, and the bytes of their names and values together.
const HEADERS_MAX: usize = 100;
const HEADERS_BYTES_MAX: usize = 32 << 10;

/// Header fields that say how a message is sent; that is the host's to say.
const OWN_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A client that connects to addresses within `reach` only, trusts the system's authorities and those in `ca_files`, and
/// goes where it is sent and no further. `resolve` are names that are not looked up. Blocks while it reads certificates.
///
/// # Errors
/// [`TlsError`].
pub fn client_builder(
    reach: Reach,
    ca_files: &[PathBuf],
    resolve: &[(String, SocketAddr)],
) -> Result<ClientBuilder, TlsError> {
    Ok(builder(tls::client_config(ca_files)?, reach, resolve))
}

fn builder(tls: rustls::ClientConfig, reach: Reach, resolve: &[(String, SocketAddr)]) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        // The address that is checked must be the one that is connected to.
        .no_proxy()
        .dns_resolver(GuardedResolver::new(reach, resolve))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(concat!("mortise/", env!("CARGO_PKG_VERSION")))
}

/// Whether `url` names an address instead of a host, and one that is out of reach. Names are checked when they have been
/// resolved; addresses are connected to as they are.
///
/// # Errors
/// The address and its class.
pub fn check_address(url: &Url, reach: &Reach) -> Result<(), (IpAddr, AddressClass)> {
    let host = url.host_str().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse() {
        Ok(address) if !reach.admits(address) => Err((address, AddressClass::of(address))),
        _ => Ok(()),
    }
}

/// What clients that may go to the same places have in common.
#[derive(Debug)]
pub struct HttpRules {
    tls: rustls::ClientConfig,
    reach: Reach,
}

impl HttpRules {
    /// Lets clients go within `reach`. Blocks while it reads certificates.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(reach: Reach, ca_files: &[PathBuf]) -> Result<Self, TlsError> {
        Ok(Self { tls: tls::client_config(ca_files)?, reach })
    }
}

/// Sends the requests of one plugin over connections that are kept for a while and that nobody else uses. Clones share
/// them.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client,
    reach: Reach,
}

impl HttpClient {
    /// A client under `rules`.
    ///
    /// # Errors
    /// [`HttpError::Client`].
    pub fn new(rules: &HttpRules) -> Result<Self, HttpError> {
        let reach = rules.reach.clone();
        let client = builder(rules.tls.clone(), reach.clone(), &[])
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .build()
            .map_err(HttpError::Client)?;
        Ok(Self { client, reach })
    }

    /// Sends one request and reads its answer, of which the body may have at most `body_bytes_max`. A redirect is an
    /// answer like others; so is a status that tells of a failure. Cancel safe: dropping it closes the connection.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn send(&self, request: HttpRequest, body_bytes_max: usize) -> Result<HttpResponse, HttpError> {
        let url = Url::parse(&request.url).map_err(|_| HttpError::Url)?;
        if let Err((address, class)) = check_address(&url, &self.reach) {
            return Err(HttpError::Address { host: address.to_string(), address, class });
        }
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| HttpError::Method)?;
        let headers = headers(&request.headers)?;
        let mut outgoing = self.client.request(method, url).headers(headers);
        if !request.body.is_empty() {
            outgoing = outgoing.body(request.body);
        } else if !matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "DELETE") {
            // A method that means to send something says so, too, where that is nothing (RFC 9110, 8.6).
            outgoing = outgoing.header(CONTENT_LENGTH, 0);
        }
        let response = outgoing.send().await.map_err(HttpError::of)?;
        let status = response.status().as_u16();
        let headers = received(response.headers())?;
        let body = body(response, body_bytes_max).await?;
        Ok(HttpResponse { status, headers, body })
    }
}

fn headers(given: &[(String, Vec<u8>)]) -> Result<HeaderMap, HttpError> {
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if given.len() > HEADERS_MAX || bytes > HEADERS_BYTES_MAX {
        return Err(HttpError::Headers { fields_max: HEADERS_MAX, bytes_max: HEADERS_BYTES_MAX });
    }
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let refused = |reason| HttpError::Header { name: mortise_model::cut(name, 64).to_owned(), reason };
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("it is no name of a header field"))?;
        if OWN_HEADERS.contains(&parsed.as_str()) {
            return Err(refused("the host sets it"));
        }
        let value = HeaderValue::from_bytes(value).map_err(|_| refused("its value holds what no value may hold"))?;
        headers.append(parsed, value);
    }
    Ok(headers)
}

fn received(headers: &HeaderMap) -> Result<Vec<(String, Vec<u8>)>, HttpError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > HEADERS_MAX || bytes > HEADERS_BYTES_MAX {
        return Err(HttpError::AnswerHeaders { fields_max: HEADERS_MAX, bytes_max: HEADERS_BYTES_MAX });
    }
    Ok(headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_owned())).collect())
}

async fn body(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, HttpError> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(HttpError::TooLarge { bytes_max });
    }
    let mut body = Vec::with_capacity(announced.unwrap_or_default().min(ANNOUNCED_BYTES_MAX));
    while let Some(chunk) = response.chunk().await.map_err(HttpError::of)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(HttpError::TooLarge { bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
