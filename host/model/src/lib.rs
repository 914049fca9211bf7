//! The words of the product as types: ids, digests, manifests, limits, descriptions and failures.
//!
//! No I/O and nothing asynchronous. A value of one of these types is correct: its constructor checked it.
#![forbid(unsafe_code)]

mod description;
mod digest;
mod failure;
mod id;
mod json;
mod limits;
mod manifest;
mod quantity;
mod state;
mod suggestion;

pub use description::{Cadence, Description, EventDef, FunctionDef, LabelValue, Labels, RoutineDef, SubscriptionDef};
pub use digest::{Digest, DigestError};
pub use failure::Failure;
pub use id::{DeviceId, EventName, FunctionName, IdError, PluginId, Tenant};
pub use json::{Json, JsonError};
pub use limits::{LimitError, Limits};
pub use manifest::{
    ConfigError, MANIFEST_BYTES_MAX, MANIFEST_KEYS, Manifest, ManifestError, ManifestWarning, Permissions, RuntimeKind,
};
pub use quantity::{ByteSize, QuantityError, TimeSpan};
pub use state::PluginState;
