//! One attempt at a download: redirects, the answer, its body.

use super::{FetchConfig, FetchError, FetchOutcome, Fetched, Known, rules};
use crate::disk::{DiskError, failed};
use crate::staging::Staging;
use mortise_http::{ResolveError, find_cause};
use mortise_model::Digest;
use reqwest::header::{ACCEPT_ENCODING, ETAG, HeaderValue, IF_NONE_MATCH, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use sha2::{Digest as _, Sha256};
use std::io;
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// A longer validator is not worth keeping.
const ETAG_BYTES_MAX: usize = 512;

pub(super) struct Attempt<'a> {
    pub(super) config: &'a FetchConfig,
    pub(super) client: &'a Client,
    pub(super) known: Option<&'a Known>,
    pub(super) staging: &'a Staging,
}

impl Attempt<'_> {
    pub(super) async fn run(&self, url: &Url) -> Result<FetchOutcome, FetchError> {
        let (url, response) = self.follow(url).await?;
        let status = response.status();
        match self.known {
            Some(known) if status == StatusCode::NOT_MODIFIED && self.validator(&url).is_some() => {
                return Ok(FetchOutcome::NotModified { digest: known.digest });
            }
            _ => {}
        }
        // A part that nobody asked for is not the archive.
        if !status.is_success() || status == StatusCode::PARTIAL_CONTENT {
            let retry_after = retry_after(&response);
            return Err(FetchError::Status { url: rules::redacted(&url), status: status.as_u16(), retry_after });
        }
        self.receive(&url, response).await.map(FetchOutcome::Archive)
    }

    /// The first answer that is no redirect, and whose it is.
    async fn follow(&self, url: &Url) -> Result<(Url, Response), FetchError> {
        let mut at = url.clone();
        let mut redirects = 0;
        loop {
            let response = self.ask(&at).await?;
            if !is_redirect(response.status()) {
                return Ok((at, response));
            }
            if redirects == self.config.redirects_max {
                let redirects_max = self.config.redirects_max;
                return Err(FetchError::TooManyRedirects { url: rules::redacted(url), redirects_max });
            }
            redirects += 1;
            let location =
                response.headers().get(LOCATION).and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
            let Some(location) = location else {
                return Err(FetchError::RedirectMalformed { url: rules::redacted(&at) });
            };
            at = rules::redirected(&at, location, self.config)?;
        }
    }

    async fn ask(&self, url: &Url) -> Result<Response, FetchError> {
        // Bytes are counted and hashed as they come: nothing may be packed on the way and unpacked here.
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(etag) = self.validator(url) {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let limit = self.config.connect_timeout.saturating_add(self.config.idle_timeout);
        match timeout(limit, request.send()).await {
            Ok(result) => result.map_err(|error| self.lost(url, error)),
            Err(_) => Err(self.stalled(url)),
        }
    }

    /// What to send as `If-None-Match`, if this is where it came from.
    fn validator(&self, url: &Url) -> Option<HeaderValue> {
        let known = self.known.filter(|known| known.place == rules::place(url))?;
        HeaderValue::from_str(&known.etag).ok()
    }

    async fn receive(&self, url: &Url, mut response: Response) -> Result<Fetched, FetchError> {
        let bytes_max = self.config.bytes_max;
        let too_large = FetchError::TooLarge { bytes_max };
        if response.content_length().is_some_and(|length| length > bytes_max) {
            return Err(too_large);
        }
        let archive = self.create().await?;
        let written = |action| failed::<io::Error>(action, archive.path());
        let mut file = File::from_std(archive.as_file().try_clone().map_err(written("open"))?);
        let (mut hasher, mut bytes) = (Sha256::new(), 0_u64);
        loop {
            let chunk = match timeout(self.config.idle_timeout, response.chunk()).await {
                Ok(result) => result.map_err(|error| self.lost(url, error))?,
                Err(_) => return Err(self.stalled(url)),
            };
            let Some(chunk) = chunk else { break };
            bytes = bytes.saturating_add(chunk.len() as u64);
            if bytes > bytes_max {
                return Err(too_large);
            }
            hasher.update(&chunk);
            file.write_all(&chunk).await.map_err(written("write"))?;
        }
        // Writes go on in the background: only this tells whether they all went well.
        file.flush().await.map_err(written("write"))?;
        // Both handles share one position.
        file.rewind().await.map_err(written("read"))?;
        let digest = Digest::from_bytes(hasher.finalize().into());
        let (final_url, place) = (rules::redacted(url), rules::place(url));
        Ok(Fetched { archive, digest, bytes, etag: etag(&response), final_url, place })
    }

    /// A file that is removed with its guard. When the caller leaves while it is being made, the guard is dropped there.
    async fn create(&self) -> Result<NamedTempFile, FetchError> {
        let dir = self.staging.path().to_owned();
        let created = tokio::task::spawn_blocking(move || {
            let file = tempfile::Builder::new().prefix("fetch-").tempfile_in(&dir);
            file.map_err(failed("create a file in", &dir))
        });
        let result: Result<_, DiskError> = created
            .await
            .unwrap_or_else(|error| Err(failed("create a file in", self.staging.path())(io::Error::other(error))));
        Ok(result?)
    }

    fn stalled(&self, url: &Url) -> FetchError {
        FetchError::Stalled { url: rules::redacted(url), limit: self.config.idle_timeout }
    }

    /// What the client's error means. It knows the whole URL, which must not be shown.
    fn lost(&self, url: &Url, error: reqwest::Error) -> FetchError {
        let source = error.without_url();
        let url = rules::redacted(url);
        match find_cause::<ResolveError>(&source).cloned() {
            Some(ResolveError::Lookup { host, source }) => return FetchError::Resolve { host, source },
            Some(ResolveError::NoAddress { host }) => return FetchError::NoAddress { host },
            Some(ResolveError::Refused { host, address, class }) => {
                return FetchError::Address { host, address, class };
            }
            None => {}
        }
        if !source.is_connect() {
            return FetchError::Interrupted { url, source };
        }
        if let Some(error) = find_cause::<rustls::Error>(&source) {
            return FetchError::Tls { url, source: error.clone() };
        }
        if source.is_timeout() {
            return FetchError::ConnectTimeout { url, limit: self.config.connect_timeout };
        }
        let reset = find_cause::<io::Error>(&source).is_some_and(|error| is_reset(error.kind()));
        FetchError::Connect { url, reset, source }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

fn is_reset(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

fn etag(response: &Response) -> Option<String> {
    let etag = response.headers().get(ETAG)?.to_str().ok()?;
    (!etag.is_empty() && etag.len() <= ETAG_BYTES_MAX).then(|| etag.to_owned())
}
