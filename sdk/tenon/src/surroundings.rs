//! Where the plugin runs and what it was given: settings, identity, random bytes, its log.

use crate::host::{self, Op};
use crate::ops::OpFuture;
use crate::{Error, Result, mesh};
use serde::de::DeserializeOwned;

pub use crate::bindings::mortise::plugin::host::{Level, PluginIdentity as Identity};

/// The plugin's settings: `config` of its manifest.
///
/// # Errors
/// `invalid_config` when they are not what `T` expects, with serde's reason.
pub fn config<T: DeserializeOwned>() -> Result<T> {
    serde_json::from_str(&host::config())
        .map_err(|error| Error::new("invalid_config", format_args!("the plugin's settings are wrong: {error}")))
}

/// The plugin, the device it runs on, and the device's tenant.
#[must_use]
pub fn identity() -> Identity {
    host::identity()
}

/// One of the host's environment variables; none where it is not set. Cancel safe.
///
/// The manifest must ask for it under `permissions.env`, and the host's operator grant it.
///
/// # Errors
/// `permission_denied`, or a name that none can have.
pub async fn env(name: &str) -> Result<Option<String>> {
    mesh::json(OpFuture::new(Op::Env(name.to_owned())).await?)
}

/// One of the operator's secrets; none where there is none of that name. Cancel safe. Keep it out of results, errors and
/// the log.
///
/// The manifest must ask for it under `permissions.secrets`, and the host's operator grant it.
///
/// # Errors
/// `permission_denied`, a name that none can have, or a secret that cannot be read.
pub async fn secret(name: &str) -> Result<Option<String>> {
    mesh::json(OpFuture::new(Op::Secret(name.to_owned())).await?)
}

/// Bytes from the host's secure generator.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    for chunk in bytes.chunks_mut(65_536) {
        // A chunk is no longer than what the host gives at once, so both have the same length.
        let length = u32::try_from(chunk.len()).unwrap_or_default();
        chunk.copy_from_slice(&host::random(length));
    }
    bytes
}

/// Writes one line to the plugin's log. The `log` and `tracing` macros end here too.
pub fn log(level: Level, target: &str, message: &str) {
    host::log(level, target, message);
}
