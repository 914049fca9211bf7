//! Where the plugin runs and what it was given: settings, identity, random bytes, its log.

use crate::host;
use crate::{Error, Result};
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
