//! Why the depot could not do what it was asked for.

use mortise_delivery::{ArchiveStoreError, DeliveryError, GenerationError, StageError, WorkingCopyError};
use mortise_store::StoreError;

/// What is wrong with what is installed, or with the disk it lies on.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// See [`DeliveryError`].
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// A fault of the host's own.
    #[error("the host failed while it worked on the disk: {0}")]
    Internal(String),
}

impl DepotError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Delivery(error) => error.code(),
            Self::Internal(_) => "internal",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Store(error) => error.hint(),
            Self::Delivery(error) => error.hint(),
            Self::Internal(_) => "look for the cause in the host's log".to_owned(),
        }
    }
}

impl From<GenerationError> for DepotError {
    fn from(error: GenerationError) -> Self {
        Self::Delivery(error.into())
    }
}

impl From<StageError> for DepotError {
    fn from(error: StageError) -> Self {
        Self::Delivery(error.into())
    }
}

impl From<WorkingCopyError> for DepotError {
    fn from(error: WorkingCopyError) -> Self {
        Self::Delivery(error.into())
    }
}

impl From<ArchiveStoreError> for DepotError {
    fn from(error: ArchiveStoreError) -> Self {
        Self::Delivery(error.into())
    }
}
