//! Everything that delivery refuses, as one type.

use crate::{
    ArchiveStoreError, BundleError, CommitError, DiskError, FetchError, FolderError, GenerationError, SignatureError,
    StageError, TreeError, UploadError, WorkingCopyError,
};

/// Why a plugin was not delivered. What was there before is there still, and nothing else.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// See [`BundleError`].
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// See [`SignatureError`].
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// See [`StageError`].
    #[error(transparent)]
    Stage(#[from] StageError),
    /// See [`CommitError`].
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// See [`FolderError`].
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// See [`TreeError`].
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// See [`ArchiveStoreError`].
    #[error(transparent)]
    ArchiveStore(#[from] ArchiveStoreError),
    /// See [`GenerationError`].
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// See [`WorkingCopyError`].
    #[error(transparent)]
    WorkingCopy(#[from] WorkingCopyError),
    /// See [`UploadError`].
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// See [`FetchError`].
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// See [`DiskError`].
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl DeliveryError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bundle(error) => error.code(),
            Self::Signature(error) => error.code(),
            Self::Stage(error) => error.code(),
            Self::Commit(error) => error.code(),
            Self::Folder(error) => error.code(),
            Self::Tree(error) => error.code(),
            Self::ArchiveStore(error) => error.code(),
            Self::Generation(error) => error.code(),
            Self::WorkingCopy(error) => error.code(),
            Self::Upload(error) => error.code(),
            Self::Fetch(error) => error.code(),
            Self::Disk(_) => "disk",
        }
    }

    /// The cure, as one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Bundle(error) => error.hint(),
            Self::Signature(error) => error.hint().to_owned(),
            Self::Stage(error) => error.hint(),
            Self::Commit(error) => error.hint(),
            Self::Folder(error) => error.hint(),
            Self::Tree(error) => error.hint(),
            Self::ArchiveStore(error) => error.hint(),
            Self::Generation(error) => error.hint(),
            Self::WorkingCopy(error) => error.hint(),
            Self::Upload(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            Self::Disk(error) => error.hint(),
        }
    }
}
