//! What the plugin keeps: durable key-value, which outlives its instance, its version and the host.
//!
//! ```
//! use tenon::{Result, state};
//!
//! #[derive(Default)]
//! struct Counter;
//!
//! #[tenon::plugin]
//! impl Counter {
//!     /// Counts, also over a restart of the host.
//!     #[function]
//!     fn increment(&self) -> Result<u64> {
//!         let value = state::get("value")?.unwrap_or(0) + 1;
//!         state::set("value", &value)?;
//!         Ok(value)
//!     }
//! }
//!
//! let mut host = tenon::testing::host::<Counter>();
//! assert_eq!(host.call("increment", tenon::json!({})), Ok(tenon::json!(1)));
//! host.restart();
//! assert_eq!(host.call("increment", tenon::json!({})), Ok(tenon::json!(2)));
//! ```
//!
//! The manifest must ask for it with `"permissions": {"state": true}`, and the host's operator grant it
//! (`mortise deploy grant <plugin> state`); without it every function here fails with `permission_denied`.
//!
//! It is served from memory, so reading and writing take no time, and what is written is on disk a moment later:
//! [`flush`] waits for that. What a crash leaves is what was there at one moment, and that may lie between two writes:
//! keep what belongs together under one key. All versions of the plugin see the same, an old one that still answers its
//! last calls included. What a new version writes before it serves, in its start hook for instance, is dropped if it never
//! does.
//!
//! A key has 1 to 256 bytes and no control characters (`invalid_key`). Keys and values together, with 64 bytes for each,
//! are at most `limits.state`, 1 MiB where the manifest says nothing: what would take more changes nothing and fails with
//! `state_full`.
//!
//! # Another version
//!
//! A new version that keeps things differently says how with `#[migrate]`, an associated function:
//!
//! ```
//! # use tenon::{Result, state};
//! # #[derive(Default)]
//! # struct Counter;
//! #[tenon::plugin]
//! impl Counter {
//!     #[migrate]
//!     fn migrate(from: String, _to: String) -> Result<()> {
//!         if from.starts_with("1.") {
//!             let value: u64 = state::get("value")?.unwrap_or(0);
//!             state::set("values", &[value])?;
//!             state::delete("value")?;
//!         }
//!         Ok(())
//!     }
//! }
//! ```
//!
//! The host calls it before it starts a newer version with another `version` in its manifest, when something is kept: before
//! the plugin is made, and once more where the version that serves has written meanwhile. It cannot wait. From its end until
//! the new version serves, the old one may read and not write (`state_migrating`); from then on it may do neither
//! (`state_migrated`). A failure refuses the new version, and nothing is changed. Going back to the version before brings back
//! what that had kept when it was migrated.

use crate::host::{self, Op};
use crate::ops::OpFuture;
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How many keys are asked for at once.
const PAGE: u32 = 1000;

/// The value of a key; none where it has none.
///
/// # Errors
/// The host's refusal; `invalid_json` where the value is not what `T` expects.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>> {
    get_bytes(key)?.map(|bytes| serde_json::from_slice(&bytes).map_err(Error::from)).transpose()
}

/// Writes the value of a key, as JSON.
///
/// # Errors
/// The host's refusal; `invalid_json` where JSON cannot tell the value.
pub fn set(key: &str, value: &impl Serialize) -> Result<()> {
    set_bytes(key, &serde_json::to_vec(value)?)
}

/// The value of a key as it was written; none where it has none.
///
/// # Errors
/// The host's refusal.
pub fn get_bytes(key: &str) -> Result<Option<Vec<u8>>> {
    host::state_get(key).map_err(Error::from)
}

/// Writes the value of a key.
///
/// # Errors
/// The host's refusal.
pub fn set_bytes(key: &str, value: &[u8]) -> Result<()> {
    host::state_set(key, value).map_err(Error::from)
}

/// Removes a key. One that is not there is no error.
///
/// # Errors
/// The host's refusal.
pub fn delete(key: &str) -> Result<()> {
    host::state_delete(key).map_err(Error::from)
}

/// Every key that begins with `prefix`, in the order of their bytes.
///
/// # Errors
/// The host's refusal.
pub fn keys(prefix: &str) -> Result<Vec<String>> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let page = host::state_keys(prefix, keys.last().map(String::as_str), PAGE)?;
        let is_last = page.len() < PAGE as usize;
        keys.extend(page);
        if is_last {
            return Ok(keys);
        }
    }
}

/// Waits until everything written before is on disk. Cancel safe.
///
/// # Errors
/// `not_active` before this version serves, for instance in its start hook; `state_not_saved` when the disk refuses: what
/// was written is there all the same, and is tried again.
pub async fn flush() -> Result<()> {
    OpFuture::new(Op::StateFlush).await?;
    Ok(())
}
