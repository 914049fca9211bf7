//! The host's functions, or a fake of them where there is no host: in native tests.

pub(crate) use crate::bindings::mortise::plugin::host::{
    HttpRequest, HttpResponse, Invocation, Level, Op, OpOutcome, OpValue,
};
pub(crate) use crate::bindings::mortise::plugin::types::Failure;

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::mortise::plugin::host::{
    cancel_op, complete, config, emit, identity, log, monotonic_time_ns, random, start_op, state_delete, state_get,
    state_keys, state_set, wall_time_ns,
};
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::fake::{
    cancel_op, complete, config, emit, identity, log, monotonic_time_ns, random, start_op, state_delete, state_get,
    state_keys, state_set, wall_time_ns,
};
