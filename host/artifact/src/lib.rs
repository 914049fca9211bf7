//! Published plugins: the artifact store and the HTTP server that offers it (wire contract 10.8, 10.9).
//!
//! [`ArtifactStore`] is a folder that the reference host can read and write too. [`ArtifactServer`] serves it, and
//! nothing else, to whoever can reach it: without authentication, so it is off unless the operator turns it on. Knows
//! no mesh and runs no plugin.
#![forbid(unsafe_code)]

mod address;
mod conditional;
mod error;
mod folder;
mod measure;
mod name;
mod publish;
mod record;
mod routes;
mod server;
mod store;

pub use address::{UrlBase, UrlBaseError};
pub use error::ArtifactError;
pub use name::{ArtifactRef, FileName, Version, VersionError};
pub use record::{Origin, Record};
pub use server::{ArtifactServer, BindError, ServerLimits, Serving};
pub use store::{ArtifactStore, OpenArtifact};
