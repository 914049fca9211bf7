//! Archives from a URL (wire contract 10.6): bounded, hashed on the way, and from nowhere that the operator did not allow.
//!
//! [`Fetcher`] downloads; [`FetchConfig`] says from where and how much. Whoever pins a digest that the archive store
//! holds already has no reason to ask: this module is for archives that are not here yet, or may have changed.

mod allowlist;
mod attempt;
mod backoff;
mod config;
mod error;
mod rules;

pub use allowlist::{HostPattern, HostPatternError};
pub use config::FetchConfig;
pub use error::FetchError;
pub use mortise_http::AddressClass;
pub use rules::{redacted_url, url_beside, url_digest};

use crate::staging::Staging;
use attempt::Attempt;
use backoff::Backoff;
use mortise_http::client_builder;
use mortise_model::Digest;
use reqwest::{Client, Url};
use std::sync::Arc;
use tempfile::NamedTempFile;
use tokio::time::{Instant, sleep, timeout};

/// Downloads archives. Made once for a configuration; clones share it.
#[derive(Debug, Clone)]
pub struct Fetcher {
    config: Arc<FetchConfig>,
    client: Client,
}

/// What a download brought.
#[derive(Debug)]
pub enum FetchOutcome {
    /// An archive, complete and within the limit. Nobody has looked into it.
    Archive(Fetched),
    /// The server still has the archive that the caller knows.
    NotModified {
        /// [`Known::digest`].
        digest: Digest,
    },
}

/// An archive that was downloaded.
#[derive(Debug)]
pub struct Fetched {
    /// The archive in the staging folder, mode 0600, positioned at its beginning. Dropped, it is removed. Not synced:
    /// that is for whoever keeps it.
    pub archive: NamedTempFile,
    /// Of the archive's bytes as they came over the wire.
    pub digest: Digest,
    /// Received and written.
    pub bytes: u64,
    /// The validator of the last answer, as it came, if there was one of at most 512 bytes.
    pub etag: Option<String>,
    /// Where the last redirect led, without query and fragment, which may carry tokens. For people.
    pub final_url: String,
    /// The same as [`Known::place`].
    pub place: Digest,
}

/// An archive that the caller has already, from an earlier download of the same URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// [`Fetched::etag`].
    pub etag: String,
    /// Where it came from in the end: the digest of that URL without query and fragment, which change from one redirect
    /// to the next. The validator is sent there and to no other place that a redirect may lead to today: two servers may
    /// well use one validator for two archives.
    pub place: Digest,
    /// [`Fetched::digest`].
    pub digest: Digest,
}

impl Fetched {
    /// What to remember for the next download of the same URL; nothing when the server sent no validator.
    #[must_use]
    pub fn known(&self) -> Option<Known> {
        let etag = self.etag.clone()?;
        Some(Known { etag, place: self.place, digest: self.digest })
    }
}

impl FetchConfig {
    /// Whether the first request to `url` would be made: scheme, host and, where it is one, address. Looks nothing up.
    ///
    /// # Errors
    /// [`FetchError`], as [`Fetcher::fetch`] would answer.
    pub fn check_url(&self, url: &str) -> Result<(), FetchError> {
        rules::parse(url, self).map(drop)
    }
}

impl Fetcher {
    /// Reads the authorities to trust: the system's and [`FetchConfig::ca_files`]. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`FetchError::Authorities`], [`FetchError::Client`].
    pub fn new(config: FetchConfig) -> Result<Self, FetchError> {
        let client = client_builder(config.reach(), &config.ca_files, &config.resolve)?
            .https_only(!config.allow_http)
            // Each address is checked anew: no connection from before.
            .pool_max_idle_per_host(0)
            .connect_timeout(config.connect_timeout)
            .build()
            .map_err(|source| FetchError::Client { source })?;
        Ok(Self { config: Arc::new(config), client })
    }

    /// The same for what has at most so many bytes.
    #[must_use]
    pub fn at_most(&self, bytes_max: u64) -> Self {
        let config = FetchConfig { bytes_max, ..FetchConfig::clone(&self.config) };
        Self { config: Arc::new(config), client: self.client.clone() }
    }

    /// Downloads `url` into a new file in `staging`.
    ///
    /// The URL and each of at most [`FetchConfig::redirects_max`] redirects must be `https` (or `http` where allowed,
    /// but never after `https`), without user information, of a host on the allow-list, at an address that is allowed.
    /// Received bytes are counted, whatever `Content-Length` says. Server errors (5xx, 429), lost connections and
    /// timeouts are tried again with a growing pause, all within [`FetchConfig::total_timeout`]; everything else fails
    /// at once. With `known`, an archive that did not change is not sent again.
    ///
    /// Cancel safe: dropping the future closes the connection and removes the file.
    ///
    /// # Errors
    /// [`FetchError`]. The staging folder is as it was.
    pub async fn fetch(&self, url: &str, known: Option<&Known>, staging: &Staging) -> Result<FetchOutcome, FetchError> {
        let url = rules::parse(url, &self.config)?;
        let limit = self.config.total_timeout;
        let attempts = self.attempts(&url, known, staging);
        match timeout(limit, attempts).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::TotalTimeout { url: rules::redacted(&url), limit }),
        }
    }

    async fn attempts(&self, url: &Url, known: Option<&Known>, staging: &Staging) -> Result<FetchOutcome, FetchError> {
        let attempt = Attempt { config: &self.config, client: &self.client, known, staging };
        let started = Instant::now();
        let mut backoff = Backoff::new(&self.config);
        loop {
            let error = match attempt.run(url).await {
                Err(error) if error.retryable() => error,
                result => return result,
            };
            let Some(pause) = backoff.pause(error.retry_after()) else { return Err(error) };
            // What went wrong says more than that the time is over.
            if started.elapsed().saturating_add(pause) >= self.config.total_timeout {
                return Err(error);
            }
            sleep(pause).await;
        }
    }
}
