//! The archive that a URL stands for: from this host where it is here already, else from the server.

use crate::artifact::on_artifacts;
use crate::depot::{Depot, DepotError};
use crate::install::disk_refusal;
use crate::manager::Manager;
use crate::refusal::{Refusal, chain};
use mortise_delivery::{
    DeliveryError, FetchError, FetchOutcome, Fetched, Known, ReadArchive, SIGNATURE_BYTES_MAX, SignatureError,
    url_beside, url_digest,
};
use mortise_model::{Digest, Source};
use tokio::sync::SemaphorePermit;
use tracing::{debug, warn};

/// A place to unpack and check; there are few.
pub(crate) type StagingPlace<'a> = Option<SemaphorePermit<'a>>;

/// An archive's bytes, wherever they are.
pub(crate) struct Found {
    content: Content,
    /// What the server said, if one was asked.
    said: Option<Said>,
}

enum Content {
    Bytes(Vec<u8>),
    Fetched(Box<Fetched>),
}

/// What the next download of the same URL may go by.
struct Said {
    /// As [`url_digest`] has it.
    url: Digest,
    known: Option<Known>,
}

impl Found {
    /// The bytes, and what is to be remembered once they are accepted. Blocks.
    pub(crate) fn read(self) -> Result<(Vec<u8>, Remembered), DepotError> {
        let bytes = match self.content {
            Content::Bytes(bytes) => bytes,
            Content::Fetched(fetched) => std::fs::read(fetched.archive.path())
                .map_err(|error| DepotError::Internal(format!("failed to read what was fetched: {error}")))?,
        };
        Ok((bytes, Remembered(self.said)))
    }
}

/// See [`Found::read`].
pub(crate) struct Remembered(Option<Said>);

impl Remembered {
    /// Writes it down, for archives that were accepted. Blocks.
    pub(crate) fn note(self, depot: &Depot) {
        let Some(Said { url, known }) = self.0 else { return };
        if let Err(error) = depot.remember_download(&url, known) {
            // It costs a download, some day.
            warn!(error = chain(&error), "failed to remember a download");
        }
    }
}

impl Manager {
    /// Whether an archive may come from there. Before anything else: what may not be fetched is not taken from the store
    /// under its name either.
    pub(crate) fn check_url(&self, url: &str) -> Result<(), Refusal> {
        match self.artifacts.resolve_local(url) {
            Some(_) => Ok(()),
            None => self.fetch_config().check_url(url).map_err(fetch_refusal),
        }
    }

    /// The archive at `url`, which was checked, and a place to unpack it. A caller that pins a digest needs no server
    /// where the archive came from there before, and nobody needs one for this host's own artifacts. One that came
    /// another way does not do: rules of the policy go by where archives come from.
    pub(crate) async fn archive_at(
        &self,
        url: &str,
        source: &Source,
        pinned: Option<Digest>,
    ) -> Result<(Found, StagingPlace<'_>), Refusal> {
        let here = |bytes| Found { content: Content::Bytes(bytes), said: None };
        if let Some(pinned) = pinned {
            let place = self.staging_place().await;
            if let Some(bytes) = self.kept_from(source, pinned).await {
                return Ok((here(bytes), place));
            }
        }
        if let Some(artifact) = self.artifacts.resolve_local(url) {
            // Our own archive: no need to ask ourselves over HTTP.
            let place = self.staging_place().await;
            let (store, bytes_max) = (self.artifacts.clone(), self.config.bundle_bytes_max);
            let bytes = on_artifacts(&store, move |store| store.read(&artifact, bytes_max)).await?;
            return Ok((here(bytes), place));
        }
        self.fetch(url).await
    }

    /// The signature that lies beside an archive, under its path and `.minisig`, fetched by the same rules.
    pub(crate) async fn signature_beside(&self, url: &str) -> Result<String, Refusal> {
        let refusal = |error: SignatureError| disk_refusal(&DeliveryError::from(error).into());
        if self.artifacts.resolve_local(url).is_some() {
            let why = "this host's own artifacts have none beside them";
            return Err(refusal(SignatureError::Required).detail(why.to_owned()));
        }
        let Some(beside) = url_beside(url, ".minisig") else { return Err(refusal(SignatureError::Required)) };
        let fetcher = self.fetcher().await.map_err(fetch_refusal)?.at_most(SIGNATURE_BYTES_MAX);
        let fetched = match fetcher.fetch(&beside, None, self.depot.staging()).await {
            Ok(FetchOutcome::Archive(fetched)) => fetched,
            Ok(FetchOutcome::NotModified { .. }) => {
                return Err(refusal(SignatureError::Malformed("its server did not send it")));
            }
            // There is none. Of any other failure nobody knows whether there is one.
            Err(error @ FetchError::Status { status: 404 | 410, .. }) => {
                return Err(refusal(SignatureError::Required).detail(chain(&error)));
            }
            Err(FetchError::TooLarge { .. }) => return Err(refusal(SignatureError::Malformed("it is too long"))),
            Err(error) => return Err(fetch_refusal(error)),
        };
        let read = self.on_disk(move |_| {
            let read = std::fs::read(fetched.archive.path());
            read.map_err(|error| DepotError::Internal(format!("failed to read what was fetched: {error}")))
        });
        let bytes = read.await.map_err(|error| disk_refusal(&error))?;
        String::from_utf8(bytes).map_err(|_| refusal(SignatureError::Malformed("it is no text")))
    }

    /// An archive that the mesh keeps as an object, and a place to unpack it. One that came from there before and is
    /// here is not asked for.
    pub(crate) async fn archive_in_mesh(
        &self,
        bucket: &str,
        name: &str,
        pinned: Option<Digest>,
    ) -> Result<(Found, StagingPlace<'_>), Refusal> {
        let Some(pinned) = pinned else {
            return Err(Refusal::new("digest_required", "an object must be pinned with `digest`")
                .hint("give the archive's SHA-256: whoever may write the bucket may replace the object"));
        };
        let here = |bytes| Found { content: Content::Bytes(bytes), said: None };
        // Places of their own: a slow broker holds up those who ask it, and nobody else. Never closed.
        let _reading = self.object_reads.acquire().await.ok();
        let source = Source::Object { bucket: bucket.to_owned(), name: name.to_owned() };
        if let Some(bytes) = self.kept_from(&source, pinned).await {
            return Ok((here(bytes), self.staging_place().await));
        }
        let read = self.client.object(bucket, name, self.config.bundle_bytes_max).await;
        let bytes = read.map_err(|error| Refusal::new(error.code(), error.to_string()).hint(error.hint()))?;
        Ok((here(bytes), self.staging_place().await))
    }

    /// Asks the server, but not for what it sent before and has still.
    async fn fetch(&self, url: &str) -> Result<(Found, StagingPlace<'_>), Refusal> {
        let fetcher = self.fetcher().await.map_err(fetch_refusal)?;
        let name = url_digest(url);
        let found = |content, known| Found { content, said: name.map(|url| Said { url, known }) };
        let mut known = match name {
            Some(name) => self.known_download(name).await,
            None => None,
        };
        loop {
            let outcome = fetcher.fetch(url, known.as_ref(), self.depot.staging()).await.map_err(fetch_refusal)?;
            let place = self.staging_place().await;
            match (outcome, known.take()) {
                (FetchOutcome::Archive(fetched), _) => {
                    let known = fetched.known();
                    return Ok((found(Content::Fetched(Box::new(fetched)), known), place));
                }
                (FetchOutcome::NotModified { digest }, Some(known)) => {
                    if let Some(bytes) = self.kept_archive(digest).await {
                        debug!(%digest, "the archive is here already");
                        return Ok((found(Content::Bytes(bytes), Some(known)), place));
                    }
                    // It was removed meanwhile, or is damaged: whatever the server has is fetched then.
                }
                (FetchOutcome::NotModified { digest }, None) => {
                    let message = format!("the server sent no archive, only `{digest}`");
                    return Err(Refusal::new("fetch_failed", message).hint("try again, or ask whoever runs the server"));
                }
            }
        }
    }

    /// What may spare a download; nothing, where nobody can say.
    async fn known_download(&self, url: Digest) -> Option<Known> {
        match self.on_disk(move |depot| depot.known_download(&url)).await {
            Ok(known) => known,
            Err(error) => {
                warn!(error = chain(&error), "failed to look up an earlier download");
                None
            }
        }
    }

    /// An archive of the store that a version came in from there.
    async fn kept_from(&self, source: &Source, archive: Digest) -> Option<Vec<u8>> {
        let source = source.clone();
        match self.on_disk(move |depot| depot.came_from(&source, &archive)).await {
            Ok(true) => self.kept_archive(archive).await,
            Ok(false) => None,
            Err(error) => {
                warn!(error = chain(&error), "failed to look up where an archive came from");
                None
            }
        }
    }

    /// An archive of the store, with the content it should have.
    async fn kept_archive(&self, digest: Digest) -> Option<Vec<u8>> {
        match self.on_disk(move |depot| Ok(depot.archives().read_verified(&digest, u64::MAX)?)).await {
            Ok(ReadArchive::Intact(bytes)) => Some(bytes),
            Ok(ReadArchive::Absent) => None,
            Ok(ReadArchive::Corrupt(corrupt)) => {
                warn!(error = chain(&corrupt), "an archive of the store was damaged and is removed");
                None
            }
            Err(error) => {
                warn!(error = chain(&error), "failed to read an archive of the store");
                None
            }
        }
    }

    /// A place to unpack and check; there are few, so that a burst of installs does not fill the disk. Cancel safe.
    pub(crate) async fn staging_place(&self) -> StagingPlace<'_> {
        // Never closed.
        self.staging_places.acquire().await.ok()
    }
}

fn fetch_refusal(error: FetchError) -> Refusal {
    disk_refusal(&DeliveryError::from(error).into())
}
