//! JSON-RPC over the mesh: envelopes, routing, presence and events of the one device.
//!
//! A message becomes a [`Call`] with a [`Responder`] that owes exactly one answer; [`Routes`] says who serves it; the
//! [`Endpoint`] is the device on the mesh, and advertises whatever the routes hold.
#![forbid(unsafe_code)]

mod announcer;
mod call;
mod capabilities;
mod chain;
mod client;
mod device;
mod dispatch;
mod endpoint;
mod envelope;
mod hearing;
mod outbox;
mod peers;
mod registration;
mod routes;

pub use call::{Admission, Call, CallError, Handler, LocalCall, Origin, Outcome, Responder, RpcCode, TraceContext};
pub use chain::CallChain;
pub use client::{Client, ClientError};
pub use device::DeviceCard;
pub use dispatch::Dispatcher;
pub use endpoint::{Endpoint, EndpointParts};
pub use envelope::{ReplyFault, encode_refusal};
pub use hearing::{Heard, Hearing, Listener, Listening, Topic};
pub use outbox::{Emitter, Outbox};
pub use peers::Peers;
pub use registration::ADVERTISEMENT_ENVELOPE_BYTES;
pub use routes::{AdvertisedFunction, HostRoute, PluginRoutes, REQUEST_REGISTRATION, Route, RouteTable, Routes};

use serde_json::value::RawValue;

/// The request id of calls that nobody made over JSON-RPC.
#[must_use]
pub fn no_request_id() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}
