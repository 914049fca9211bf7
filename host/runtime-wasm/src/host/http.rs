//! `wasi:http`: requests of components that know WASI only. Each is sent as an op's is, by the same function: under the same
//! permission and limits, counted in the same place. Bodies are held whole, on their way out and back.

use super::room::Room;
use crate::view::{HostView, Shared, State};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderName, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use mortise_model::{Failure, HttpRequest, HttpResponse};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::types::{HostOutgoingRequest as _, Method};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

/// How components name the interfaces of this package.
pub(crate) const PACKAGE: &str = "wasi:http/";

/// How many bytes of bodies one instance may have in the host: of requests under way, and of answers that it keeps.
pub(crate) const BODIES_BYTES_MAX: usize = 16 << 20;

/// What a guest may write of a body at once. Two such pieces wait in the host until the request is handed over.
const CHUNK_BYTES_MAX: usize = 256 << 10;

/// What one set of header fields may take in the host's memory; more is a trap. A message may have half of it, and is
/// refused otherwise.
const FIELDS_BYTES_MAX: usize = 64 << 10;

/// The longest method, authority, and path with its query.
const METHOD_BYTES_MAX: usize = 64;
const TARGET_BYTES_MAX: usize = 8 << 10;

/// Header fields that are the host's to set, besides those that are so everywhere.
const OWN_HEADERS: [HeaderName; 3] = [header::EXPECT, header::TE, header::TRAILER];

type Answer = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// The interfaces of outgoing requests.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    // What the crate leaves without a bound, or takes and does not keep.
    linker.allow_shadowing(true);
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    types.func_wrap("[method]outgoing-request.set-method", set_method)?;
    types.func_wrap("[method]outgoing-request.set-path-with-query", set_path_with_query)?;
    types.func_wrap("[method]outgoing-request.set-authority", set_authority)?;
    types.func_wrap("[method]request-options.set-connect-timeout", set_connect_timeout)?;
    linker.allow_shadowing(false);
    Ok(())
}

type Set = wasmtime::Result<(Result<(), ()>,)>;

fn set_method(mut store: StoreContextMut<'_, State>, set: (Resource<HostOutgoingRequest>, Method)) -> Set {
    let (request, method) = set;
    if matches!(&method, Method::Other(name) if name.len() > METHOD_BYTES_MAX) {
        return Ok((Err(()),));
    }
    Ok((store.data_mut().http().set_method(request, method)?,))
}

fn set_path_with_query(
    mut store: StoreContextMut<'_, State>,
    set: (Resource<HostOutgoingRequest>, Option<String>),
) -> Set {
    let (request, path) = set;
    if path.as_ref().is_some_and(|path| path.len() > TARGET_BYTES_MAX) {
        return Ok((Err(()),));
    }
    Ok((store.data_mut().http().set_path_with_query(request, path)?,))
}

fn set_authority(mut store: StoreContextMut<'_, State>, set: (Resource<HostOutgoingRequest>, Option<String>)) -> Set {
    let (request, authority) = set;
    if authority.as_ref().is_some_and(|authority| authority.len() > TARGET_BYTES_MAX) {
        return Ok((Err(()),));
    }
    Ok((store.data_mut().http().set_authority(request, authority)?,))
}

/// The host's own time for it counts: an error says that this one is not supported.
fn set_connect_timeout(_: StoreContextMut<'_, State>, set: (Resource<RequestOptions>, Option<u64>)) -> Set {
    Ok((if set.1.is_none() { Ok(()) } else { Err(()) },))
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.host, table: &mut self.table, ctx: &mut self.http }
    }
}

/// What the crate needs to know of an instance.
pub(crate) fn context() -> WasiHttpCtx {
    let mut context = WasiHttpCtx::new();
    context.set_field_size_limit(FIELDS_BYTES_MAX);
    context
}

impl WasiHttpHooks for HostView {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name) || OWN_HEADERS.contains(name)
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES_MAX
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, Error>> + Send> {
        let (parts, body) = request.into_parts();
        let first_byte = options.and_then(|options| options.first_byte_timeout);
        Box::new(self.exchange(parts, body, first_byte))
    }
}

impl HostView {
    /// One exchange. It ends within the turn that began it, for whoever waits for it stands still until then.
    fn exchange(
        &self,
        parts: Parts,
        body: WasiBody,
        first_byte: Option<Duration>,
    ) -> BoxFuture<'static, Result<Answer, Error>> {
        let now = Instant::now();
        let asked = first_byte.and_then(|timeout| now.checked_add(timeout));
        let latest = self.turn_limit.wait_until().min(now + self.shared.limits.call_timeout);
        let deadline = asked.map_or(latest, |asked| asked.min(latest));
        let (shared, mut room) = (Arc::clone(&self.shared), self.bodies.room());
        Box::pin(async move {
            let exchange = async {
                let bytes_max = shared.entry_bytes_max();
                let request = request(&parts, whole(body, &mut room, bytes_max, &shared).await?);
                if request.bytes() > bytes_max {
                    return Err(too_large(&shared, request.bytes()));
                }
                let answer = shared.services.http(request, deadline, bytes_max).await;
                answer.map_err(|failure| error(&shared, &failure))
            };
            // The body of a request that nobody goes on writing comes to no end either.
            let answered = tokio::time::timeout_at(deadline, exchange).await;
            let answer = answered.unwrap_or(Err(Error::HttpResponseTimeout))?;
            Ok((response(answer, room)?, Box::new(async { Ok(()) }) as _))
        })
    }
}

/// All of a request's body.
async fn whole(mut body: WasiBody, room: &mut Room, bytes_max: usize, shared: &Shared) -> Result<Vec<u8>, Error> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                let bytes = whole.len() + data.len();
                if bytes > bytes_max || !room.grow(data.len()) {
                    return Err(too_large(shared, bytes));
                }
                whole.extend_from_slice(&data);
            }
            Err(trailers) if trailers.trailers_ref().is_some_and(|trailers| !trailers.is_empty()) => {
                return Err(Error::HttpRequestTrailerSectionSize(None));
            }
            Err(_) => {}
        }
    }
    Ok(whole)
}

fn too_large(shared: &Shared, bytes: usize) -> Error {
    shared.services.count_refusal("request_too_large");
    Error::HttpRequestBodySize(Some(bytes as u64))
}

/// The request as ops have it. Its length is told by who sends it.
fn request(parts: &Parts, body: Vec<u8>) -> HttpRequest {
    let headers = parts.headers.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH);
    HttpRequest {
        method: parts.method.to_string(),
        url: parts.uri.to_string(),
        headers: headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
        body,
    }
}

fn response(answer: HttpResponse, mut room: Room) -> Result<http::Response<WasiBody>, Error> {
    let HttpResponse { status, headers, body } = answer;
    room.shrink();
    if !room.grow(body.len()) {
        return Err(Error::HttpResponseBodySize(Some(body.len() as u64)));
    }
    let mut response = http::Response::builder().status(StatusCode::from_u16(status).unwrap_or_default());
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let body = Full::new(Bytes::from_owner(Kept { body, _room: room }));
    response.body(body.map_err(Error::from).boxed_unsync()).map_err(|_| Error::HttpProtocolError)
}

/// WASI's word for a failure. It has none for the cure: the plugin's log has it.
fn error(shared: &Shared, failure: &Failure) -> Error {
    shared.services.log(tracing::Level::WARN, "wasi:http", &format!("{}: {}", failure.code, failure.message));
    match failure.code.as_ref() {
        "permission_denied" => Error::HttpRequestDenied,
        "address_not_allowed" => Error::DestinationIpProhibited,
        "rate_limited" => Error::ConnectionLimitReached,
        "deadline_exceeded" => Error::HttpResponseTimeout,
        "response_too_large" => Error::HttpResponseBodySize(None),
        "host_not_found" => Error::DnsError { rcode: None, info_code: None },
        "tls" => Error::TlsProtocolError,
        "connection_failed" => Error::DestinationUnavailable,
        "http_unavailable" => Error::ConfigurationError,
        code => Error::InternalError(Some(format!("{code}: {}", failure.message))),
    }
}

/// The body of an answer, which takes its room until the guest has read it or given it up.
struct Kept {
    body: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}
