//! Plugins on their way to the host and on its disk: archives, folders, digests.
//!
//! Knows no mesh, no runtime and nothing asynchronous. Everything here blocks: callers run it on threads that may. The
//! way in is [`decode_base64`] and [`check_digest`], then [`StagedPlugin`], then [`StagedPlugin::commit`].
#![forbid(unsafe_code)]

mod bundle;
mod commit;
mod disk;
mod error;
mod folder;
mod member;
mod pack;
mod stage;
mod staging;
mod tree;
mod unpack;
mod validate;

pub use bundle::{BundleError, check_digest, decode_base64};
pub use commit::{CommitError, Committed, IfExists};
pub use disk::DiskError;
pub use error::DeliveryError;
pub use folder::{FolderError, ListedError, ListedFolder, PluginFolder, list_folders};
pub use member::{PathFault, TreeLimits};
pub use pack::pack;
pub use stage::{StageError, StagedPlugin};
pub use staging::Staging;
pub use tree::TreeError;
pub use unpack::{ArchiveError, ArchiveFormat, ArchiveLimits};
pub use validate::{Inspect, Inspected, Report, validate};
