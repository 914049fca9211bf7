//! The guest side of Mortise: plugins in Rust.
//!
//! TODO
#![cfg_attr(not(test), warn(missing_docs))]

mod arguments;
#[doc(hidden)]
pub mod bindings;
mod clock;
mod context;
mod describe;
mod error;
mod executor;
mod guest;
mod host;
mod logging;
mod mesh;
mod ops;
mod surroundings;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use clock::{TimedOut, monotonic, now, sleep, timeout};
pub use context::{Context, context};
pub use error::{Error, Result};
pub use executor::{Background, spawn};
pub use guest::Plugin;
pub use mesh::{discover, emit, invoke, invoke_local};
pub use surroundings::{Identity, Level, config, identity, log, random};

pub use schemars::{self, JsonSchema};
pub use serde;
pub use serde_json::{self, Value, json};
pub use tenon_macros::plugin;

/// What the macro's output names. No part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::arguments::{Parameter, Signature};

    pub use crate::bindings::mortise::plugin::types::{Cadence, CallKind};
    pub use crate::describe::{About, Describer};
    pub use crate::guest::{Component, Slot, Step, absent, error, result, value};
    pub use serde_json::to_value;
}
