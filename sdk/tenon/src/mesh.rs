//! Other functions and devices: emitting, invoking, discovering.

use crate::context::context;
use crate::host::{self, Invocation, Op, OpValue};
use crate::ops::OpFuture;
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Publishes an event of this device. Events that the plugin always emits are better declared with `#[event]`: then
/// they are advertised too.
///
/// # Errors
/// A name that is not `[A-Za-z0-9_-]+`, a payload that is no JSON object, one over `limits.event`.
pub fn emit(event: &str, payload: &impl Serialize) -> Result<()> {
    host::emit(event, &serde_json::to_string(payload)?).map_err(Error::from)
}

/// Calls a function of another device and waits for its result. Cancel safe: a dropped future gives the call up.
///
/// It is made on behalf of the call being served, whose deadline and trace context it shares. The manifest must ask
/// for it under `permissions.mesh.invoke`, and the host's operator grant it.
///
/// # Errors
/// The function's own failure, or the host's when it cannot be reached, may not be called or does not answer.
pub async fn invoke<R: DeserializeOwned>(device: &str, function: &str, parameters: &impl Serialize) -> Result<R> {
    call(Some(device), function, parameters).await
}

/// Calls a function of another plugin on this host, by its bare name or as `<plugin>.<function>`. Cancel safe.
///
/// The manifest must ask for it under `permissions.plugins`, and the host's operator grant it.
///
/// # Errors
/// As [`invoke`].
pub async fn invoke_local<R: DeserializeOwned>(function: &str, parameters: &impl Serialize) -> Result<R> {
    call(None, function, parameters).await
}

/// The devices this host sees now, as presence records. Cancel safe.
///
/// The manifest must ask for it with `permissions.mesh.discover`, and the host's operator grant it.
///
/// # Errors
/// The host's refusal.
pub async fn discover() -> Result<Vec<serde_json::Value>> {
    json(OpFuture::new(Op::Discover).await?)
}

async fn call<R: DeserializeOwned>(device: Option<&str>, function: &str, parameters: &impl Serialize) -> Result<R> {
    let invocation = Invocation {
        device: device.map(str::to_owned),
        function: function.to_owned(),
        parameters: serde_json::to_string(parameters)?,
        timeout_ns: None,
        on_behalf_of: context().map(|context| context.call()),
    };
    json(OpFuture::new(Op::Invoke(invocation)).await?)
}

pub(crate) fn json<R: DeserializeOwned>(value: OpValue) -> Result<R> {
    match value {
        OpValue::Json(text) => Ok(serde_json::from_str(&text)?),
        OpValue::Done | OpValue::Http(_) => Ok(serde_json::from_str("null")?),
    }
}
