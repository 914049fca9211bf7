//! Work that blocks, on threads that may.

use crate::depot::DepotError;
use crate::install::disk_refusal;
use crate::refusal::Refusal;
use mortise_model::Failure;
use tokio::task::JoinError;

/// The work ended without a result: it panicked, which the log has.
#[derive(Debug)]
pub(crate) struct Lost(JoinError);

/// Runs what blocks on a thread that may. Dropping the future does not end the work.
pub(crate) async fn blocking<T: Send + 'static, E: From<Lost> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Lost(error).into()))
}

impl From<Lost> for DepotError {
    fn from(lost: Lost) -> Self {
        Self::Internal(lost.0.to_string())
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::new("internal", lost.0.to_string())
    }
}

impl From<Lost> for Refusal {
    fn from(lost: Lost) -> Self {
        disk_refusal(&lost.into())
    }
}
