//! The words of the product as types: ids, digests, manifests, limits, descriptions and failures.
//!
//! No I/O and nothing asynchronous. A value of one of these types is correct: its constructor checked it.
#![forbid(unsafe_code)]

mod description;
mod digest;
mod emitted;
mod failure;
mod glob;
mod http;
mod id;
mod json;
mod limits;
mod line;
mod manifest;
mod permission;
mod provenance;
mod quantity;
mod state;
mod suggestion;

pub use description::{Cadence, Description, EventDef, FunctionDef, LabelValue, Labels, RoutineDef, SubscriptionDef};
pub use digest::{Digest, DigestError};
pub use emitted::{EMITTED_NAME_BYTES_MAX, EmittedName};
pub use failure::Failure;
pub use glob::{glob, globs_meet};
pub use http::{HttpRequest, HttpResponse};
pub use id::{DeviceId, EventName, FunctionName, IdError, PluginId, Tenant};
pub use json::{Json, JsonError, is_truthy};
pub use limits::{Instances, LimitError, Limits};
pub use line::{chain, cut, one_line, visible};
pub use manifest::{
    ConfigError, Folder, GUEST_SOURCE, MANIFEST_BYTES_MAX, MANIFEST_KEYS, Manifest, ManifestError, ManifestWarning,
    RuntimeKind, Swap,
};
pub use permission::{
    Breadth, FileAccess, HttpAccess, Permission, PermissionError, Permissions, VariableName, check_event_pattern,
};
pub use provenance::{Provenance, Source};
pub use quantity::{ByteSize, QuantityError, TimeSpan};
pub use state::PluginState;
