//! Configuration: flag, then environment, then credentials file, then default.
//!
//! [`mod@env`] is the only place that reads the environment. Everything wrong is reported at once: exit 64 for a bad
//! configuration, 2 for a wrong call of the program.

mod artifact;
mod broker;
mod client;
mod credentials;
pub mod env;
mod error;
mod host;
mod identity;
mod install;
mod policy;
mod quantity;
mod setting;
mod surroundings;

#[cfg(test)]
mod tests;

pub use artifact::{ArtifactConfig, ArtifactFlags, ArtifactResolution, resolve_artifacts};
pub use broker::{MeshConfig, is_peer_mode};
pub use client::{ClientConfig, ClientFlags, resolve_client};
pub use error::{ConfigError, ConfigErrors, ConfigWarning};
pub use host::{HostConfig, HostFlags, HostResolution, resolve_host, resolve_runners_dir};
pub use install::{ARCHIVE_BYTES_MAX, InstallConfig};
pub use policy::PolicyConfig;
pub use setting::{Origin, Setting, Sourced};
