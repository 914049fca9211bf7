//! What the server answers (wire contract 10.9).

use crate::conditional::{Selection, State as FileState, select};
use crate::error::ArtifactError;
use crate::name::ArtifactRef;
use crate::store::{ArtifactStore, OpenArtifact};
use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;
use std::io::{self, SeekFrom};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::Semaphore;
use tokio_util::io::ReaderStream;

/// How many requests may search or hash files at the same time; the others wait. What is hashed once is remembered.
const SEARCHES_MAX: usize = 4;
/// What is read from a file at once.
const BLOCK_BYTES: usize = 64 << 10;

#[derive(Clone)]
struct Shelf {
    store: ArtifactStore,
    searches: Arc<Semaphore>,
}

/// The two routes, and 404 for everything else.
pub(crate) fn router(store: ArtifactStore) -> Router {
    let shelf = Shelf { store, searches: Arc::new(Semaphore::new(SEARCHES_MAX)) };
    Router::new()
        .route("/artifacts", get(list))
        .route("/artifacts/{plugin_id}/{file}", get(file))
        .fallback(async || plain(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || plain(StatusCode::METHOD_NOT_ALLOWED))
        .layer(from_fn(refuse_body))
        .layer(map_response(harden))
        .with_state(shelf)
}

async fn list(State(shelf): State<Shelf>) -> Result<Response, Failure> {
    let store = shelf.store.clone();
    let listing = shelf.search(move || store.listing()).await?;
    let headers = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    Ok((headers, Value::Object(listing).to_string()).into_response())
}

/// The segments arrive decoded, once. A name that the store would not give is not looked for.
async fn file(
    State(shelf): State<Shelf>,
    method: Method,
    headers: HeaderMap,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Failure> {
    let Ok(Path((plugin_id, file))) = path else { return Err(Failure::NotFound) };
    let artifact = ArtifactRef::parse(&plugin_id, &file).ok_or(Failure::NotFound)?;
    let content_type = if artifact.file.is_archive() { "application/gzip" } else { "application/json" };
    let store = shelf.store.clone();
    let opened = shelf.search(move || store.open_artifact(&artifact)).await?;
    let tag = format!("\"{}\"", opened.digest.hex());
    // A file may be dated before dates in HTTP begin, or in the future, of which nothing may come.
    let modified = opened.modified.min(SystemTime::now()).max(UNIX_EPOCH);
    let state = FileState { tag: &tag, modified, size: opened.size };
    let selection = select(&headers, method == Method::GET, state);
    // `no-cache` asks clients to come back with the tag: a version may be published again.
    let identity = [
        (header::ETAG, tag),
        (header::LAST_MODIFIED, httpdate::fmt_http_date(modified)),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    let size = opened.size;
    let range = |range: String| [(header::CONTENT_RANGE, range)];
    let content_type = [(header::CONTENT_TYPE, content_type)];
    Ok(match selection {
        Selection::Whole => (identity, content_type, content(opened, 0..size).await?).into_response(),
        Selection::Part(part) => {
            let range = range(format!("bytes {}-{}/{size}", part.start, part.end - 1));
            (StatusCode::PARTIAL_CONTENT, identity, content_type, range, content(opened, part).await?).into_response()
        }
        Selection::NotModified => (StatusCode::NOT_MODIFIED, identity).into_response(),
        Selection::PreconditionFailed => (identity, plain(StatusCode::PRECONDITION_FAILED)).into_response(),
        Selection::Unsatisfiable => {
            (identity, range(format!("bytes */{size}")), plain(StatusCode::RANGE_NOT_SATISFIABLE)).into_response()
        }
    })
}

/// A part of a file. If somebody shortens the file meanwhile, the connection ends before the announced length.
async fn content(opened: OpenArtifact, part: std::ops::Range<u64>) -> Result<Response, Failure> {
    let mut file = tokio::fs::File::from_std(opened.file);
    file.seek(SeekFrom::Start(part.start)).await.map_err(Failure::Read)?;
    let bytes = part.end - part.start;
    let length = [(header::CONTENT_LENGTH, bytes.to_string())];
    Ok((length, Body::from_stream(ReaderStream::with_capacity(file.take(bytes), BLOCK_BYTES))).into_response())
}

impl Shelf {
    /// Runs what blocks where it may.
    async fn search<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
    ) -> Result<T, Failure> {
        let place = Arc::clone(&self.searches).acquire_owned().await.map_err(|_| Failure::Stopped)?;
        let search = tokio::task::spawn_blocking(move || {
            // Held by the work: a client that leaves does not make room before the disk is done.
            let _place = place;
            work()
        });
        Ok(search.await.map_err(|_| Failure::Stopped)??)
    }
}

/// Requests here have no body; one that brings it is not read.
async fn refuse_body(request: Request, next: Next) -> Response {
    if !request.body().is_end_stream() {
        return ([(header::CONNECTION, "close")], plain(StatusCode::PAYLOAD_TOO_LARGE)).into_response();
    }
    next.run(request).await
}

async fn harden(mut response: Response) -> Response {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The reference's form: `404: Not Found`.
fn plain(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    (status, format!("{}: {reason}", status.as_u16())).into_response()
}

/// A request that ends without an artifact.
enum Failure {
    NotFound,
    Store(ArtifactError),
    Read(io::Error),
    Stopped,
}

impl From<ArtifactError> for Failure {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::NotFound { .. } => Self::NotFound,
            error => Self::Store(error),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => return plain(StatusCode::NOT_FOUND),
            // Paths are for the log.
            Self::Store(error) => tracing::error!(error = &error as &dyn std::error::Error, "cannot serve an artifact"),
            Self::Read(error) => tracing::error!(error = &error as &dyn std::error::Error, "cannot read an artifact"),
            Self::Stopped => tracing::error!("a search for an artifact ended without a result"),
        }
        plain(StatusCode::INTERNAL_SERVER_ERROR)
    }
}
