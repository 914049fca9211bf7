//! What the fuzz targets share: the unpacking code of `mortise-delivery`, and what must hold whatever it is given.
//!
//! The code is taken in by its files, not by its crate. The crate brings the network's libraries along, which would be
//! compiled once more with coverage counters and have no part in this.

#[path = "../../src"]
#[allow(dead_code, unreachable_pub, reason = "one room's files without the room")]
mod delivery {
    pub(crate) mod disk;
    pub(crate) mod member;
    pub(crate) mod staging;
    pub(crate) mod unpack;
}

pub mod builder;
mod check;
mod mend;
mod second_reader;

pub use check::Checker;
pub use delivery::unpack::ArchiveFormat;
pub use mend::{mend_tar, store_gzip};

// As the files name one another.
pub(crate) use delivery::member::{self, PathFault, TreeLimits};
pub(crate) use delivery::staging::Staging;
pub(crate) use delivery::unpack::ArchiveLimits;
pub(crate) use delivery::{disk, unpack};
