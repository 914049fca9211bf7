//! Plugins on their way to the host and on its disk: archives, folders, digests.
//!
//! Knows no mesh and no runtime. Everything here but [`Fetcher`] blocks: callers run it on threads that may. The way in is
//! [`Fetcher`], or [`decode_base64`] and [`check_digest`], then [`StagedPlugin`], then [`StagedPlugin::commit`].
#![forbid(unsafe_code)]

mod archive_store;
mod bundle;
mod commit;
mod dependencies;
mod disk;
mod error;
mod fetch;
mod folder;
mod generations;
mod member;
mod native;
mod own_folder;
mod pack;
mod signed;
mod stage;
mod staging;
mod tree;
mod unpack;
mod upload;
mod validate;
mod working_copy;

pub use archive_store::{ArchiveStore, ArchiveStoreError, CorruptArchive, OpenArchive, ReadArchive};
pub use bundle::{BundleError, check_digest, decode_base64};
pub use commit::{CommitError, Committed, IfExists};
pub use dependencies::{DependencyConfig, DependencyError, Lock, Package};
pub use disk::DiskError;
pub use error::DeliveryError;
pub use fetch::{
    AddressClass, FetchConfig, FetchError, FetchOutcome, Fetched, Fetcher, HostPattern, HostPatternError, Known,
    redacted_url, url_beside, url_digest,
};
pub use folder::{FolderError, ListedError, ListedFolder, PluginFolder, list_folders};
pub use generations::{GenerationError, GenerationFolder, GenerationGuard, Generations, SweptGenerations};
pub use member::{PathFault, TreeLimits};
pub use native::{SITE_PACKAGES, native_file};
pub use pack::pack;
pub use signed::{SIGNATURE_BYTES_MAX, SignatureError, check_signature};
pub use stage::{StageError, StagedPlugin};
pub use staging::{Staging, SweptStaging};
pub use tree::{TreeError, TreeSize, is_left_behind};
pub use unpack::{ArchiveError, ArchiveFormat, ArchiveLimits};
pub use upload::{UploadError, UploadId, UploadLimits, UploadPhase, UploadStatus, UploadedBundle, Uploads};
pub use validate::{Inspect, Inspected, Report, validate};
pub use working_copy::{Repaired, WorkingCopies, WorkingCopyError, WorkingCopyState};
