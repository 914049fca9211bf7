//! Bundles larger than one message of the mesh: `begin_plugin_upload`, `append_plugin_upload`, `commit_plugin_upload`.

use crate::blocking::blocking;
use crate::manager::Manager;
use crate::refusal::{Refusal, chain};
use crate::signature::Arguments;
use mortise_delivery::{UploadError, UploadId, UploadPhase, UploadedBundle, Uploads, decode_base64};
use mortise_model::{Digest, Json};
use mortise_policy::SourceKind;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tracing::info;

/// How often uploads that have expired are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

impl Manager {
    /// Ends uploads that nobody goes on with, as long as this runs. Cancel safe.
    pub async fn expire_uploads(&self) {
        loop {
            tokio::time::sleep(EXPIRE_EVERY).await;
            let uploads = self.uploads.clone();
            // Removing their files blocks. A panic is in the log.
            let expired = tokio::task::spawn_blocking(move || uploads.expire(Instant::now())).await.unwrap_or(0);
            if expired > 0 {
                info!(expired, "ended uploads that nobody went on with");
            }
        }
    }

    pub(crate) async fn begin_upload(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        self.admit_source(SourceKind::Upload)?;
        let total_bytes = arguments.number("total_bytes")?;
        let digest = Digest::parse(arguments.text("digest")?.trim()).map_err(|error| {
            Refusal::new("invalid_argument", "argument `digest` must be the archive's SHA-256")
                .detail(error.to_string())
                .hint("write `sha256:` and 64 hex digits")
        })?;
        let begun =
            on_uploads(&self.uploads, move |uploads| uploads.begin(total_bytes, digest, Instant::now())).await?;
        let expires_in =
            self.uploads.status(&begun, Instant::now()).map_err(|error| upload_refusal(&error))?.expires_in;
        Ok(json!({
            "status": "success",
            "upload_id": begun.to_string(),
            "next_offset": 0,
            "expires_in_seconds": expires_in.as_secs(),
        }))
    }

    /// Whether what [`Manager::begin_upload`] answered is an upload that can be gone on with.
    pub(crate) fn is_begun(&self, answer: &Json) -> bool {
        let answer = answer.to_value();
        let id = answer.get("upload_id").and_then(Value::as_str).and_then(UploadId::parse);
        let status = id.and_then(|id| self.uploads.status(&id, Instant::now()).ok());
        status.is_some_and(|status| status.phase != UploadPhase::Refused)
    }

    pub(crate) async fn append_upload(&self, arguments: &mut Arguments) -> Result<Value, Refusal> {
        let id = upload_id(arguments)?;
        let offset = arguments.number("offset")?;
        let chunk = arguments.take_text("chunk_b64")?;
        let (uploads, bytes_max) = (self.uploads.clone(), self.config.bundle_bytes_max);
        let next = blocking(move || {
            let chunk = decode_base64(&chunk, bytes_max)
                .map_err(|error| Refusal::new(error.code(), error.to_string()).hint(error.hint()))?;
            uploads.append(&id, offset, &chunk, Instant::now()).map_err(|error| upload_refusal(&error))
        })
        .await?;
        Ok(json!({"status": "success", "next_offset": next}))
    }

    /// Installs what was uploaded, and forgets the upload once it is in place: until then it can be committed again.
    pub(crate) async fn commit_upload(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let id = upload_id(arguments)?;
        let reply = self.install_from_upload(arguments).await?;
        on_uploads(&self.uploads, move |uploads| {
            uploads.abort(&id);
            Ok(())
        })
        .await?;
        Ok(reply)
    }

    /// The bundle of a complete upload, `upload_id`: taken with [`Uploads::commit`] to be installed, else with
    /// [`Uploads::verify`].
    pub(crate) async fn uploaded(&self, arguments: &Arguments, take: Take) -> Result<UploadedBundle, Refusal> {
        let id = upload_id(arguments)?;
        on_uploads(&self.uploads, move |uploads| take(uploads, &id, Instant::now())).await
    }
}

/// How a bundle is taken from the uploads.
pub(crate) type Take = fn(&Uploads, &UploadId, Instant) -> Result<UploadedBundle, UploadError>;

fn upload_id(arguments: &Arguments) -> Result<UploadId, Refusal> {
    let given = arguments.text("upload_id")?;
    UploadId::parse(given).ok_or_else(|| {
        Refusal::new("invalid_argument", "argument `upload_id` must be what `begin_plugin_upload` answered")
    })
}

/// Runs what blocks on a thread that may.
async fn on_uploads<T: Send + 'static>(
    uploads: &Uploads,
    work: impl FnOnce(&Uploads) -> Result<T, UploadError> + Send + 'static,
) -> Result<T, Refusal> {
    let uploads = uploads.clone();
    blocking(move || work(&uploads).map_err(|error| upload_refusal(&error))).await
}

fn upload_refusal(error: &UploadError) -> Refusal {
    let refusal = Refusal::new(error.code(), chain(error)).hint(error.hint());
    match error.expected_offset() {
        // Where a client goes on.
        Some(offset) => refusal.with("next_offset", offset),
        None => refusal,
    }
}
