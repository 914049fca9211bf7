//! Calls of this device to others (wire contract 3.4).

use crate::call::TraceContext;
use crate::envelope::{self, ReplyFault};
use bytes::Bytes;
use mortise_mesh::{Link, Mesh, MeshError, ObjectError, Subjects};
use mortise_model::{DeviceId, Json};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Why a call to another device failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host has not reached the mesh yet.
    #[error("the mesh is not connected")]
    NotConnected,
    /// The request or its reply was lost.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The device answered with an error, or with no JSON-RPC.
    #[error(transparent)]
    Reply(#[from] ReplyFault),
}

impl ClientError {
    /// Whether nobody answered in time: the call may have been made all the same.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Mesh(MeshError::Timeout { .. }))
    }
}

/// Calls functions of other devices. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    own: DeviceId,
    subjects: Subjects,
    mesh: watch::Receiver<Option<Arc<dyn Mesh>>>,
}

/// `_dc_meta` of a request.
#[derive(Serialize)]
struct Meta<'a> {
    source_device: &'a str,
    source_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl Client {
    /// A client for the device `own`, over the mesh once there is one.
    #[must_use]
    pub fn new(own: DeviceId, subjects: Subjects, mesh: watch::Receiver<Option<Arc<dyn Mesh>>>) -> Self {
        Self { own, subjects, mesh }
    }

    /// Whether messages flow now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.mesh.borrow().as_ref().is_some_and(|mesh| matches!(*mesh.link().borrow(), Link::Up(_)))
    }

    /// Waits until there is a mesh, and no longer than `by`. Cancel safe.
    pub async fn joined(&self, by: Instant) {
        let mut mesh = self.mesh.clone();
        // Closed only when the host ends.
        let _ = tokio::time::timeout_at(by, mesh.wait_for(Option::is_some)).await;
    }

    /// Calls `function` of `device` with `params`, a JSON object. Cancel safe: dropping it gives the answer up.
    ///
    /// # Errors
    /// [`ClientError`]; in device-to-device mode a request nobody answers is sent up to three times.
    pub async fn call(
        &self,
        device: &DeviceId,
        function: &str,
        params: &Json,
        trace: Option<&TraceContext>,
        timeout: Duration,
    ) -> Result<Json, ClientError> {
        let mesh = self.mesh.borrow().clone().ok_or(ClientError::NotConnected)?;
        let request = self.encode(function, params, trace);
        let reply = mesh.request(&self.subjects.command(device), request, timeout).await?;
        Ok(envelope::decode_reply(&reply)?)
    }

    /// Reads an object that the mesh keeps, at most `bytes_max` of it, within two minutes. Cancel safe: dropping the
    /// future gives it up.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn object(&self, bucket: &str, name: &str, bytes_max: u64) -> Result<Vec<u8>, ObjectError> {
        let mesh = self.mesh.borrow().clone().ok_or(ObjectError::NotConnected)?;
        mesh.object(bucket, name, bytes_max).await
    }

    fn encode(&self, function: &str, params: &Json, trace: Option<&TraceContext>) -> Bytes {
        let parent = trace.and_then(|trace| trace.parent.as_deref());
        let trace_id = parent.is_none().then(|| format!("{:016x}", rand::random::<u64>()));
        let meta = Meta {
            source_device: self.own.as_str(),
            source_type: "device",
            traceparent: parent,
            tracestate: trace.and_then(|trace| trace.state.as_deref()),
            trace_id,
        };
        // Texts always serialise.
        let meta = serde_json::to_string(&meta).unwrap_or_else(|_| "{}".to_owned());
        let id = format!("d2d-{:012x}", rand::random::<u64>() >> 16);
        let function = serde_json::Value::from(function);
        // The object's own text goes in as it is; only its closing brace makes room for `_dc_meta`.
        let object = params.as_str().strip_suffix('}').unwrap_or("{");
        let comma = if object.trim() == "{" { "" } else { "," };
        format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":{function},"params":{object}{comma}"_dc_meta":{meta}}}}}"#)
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mortise_model::Tenant;

    #[test]
    fn requests_carry_the_caller_and_keep_the_parameters() {
        let (_sender, mesh) = watch::channel(None);
        let client = Client::new(DeviceId::new("me").unwrap(), Subjects::new(Tenant::new("lab").unwrap()), mesh);
        for (params, expected) in [
            ("{}", serde_json::json!({})),
            ("{ }", serde_json::json!({})),
            (r#"{"a":{}}"#, serde_json::json!({"a": {}})),
            (r#"{"a":{"b":{}}}"#, serde_json::json!({"a": {"b": {}}})),
            (r#"{"a":[1,2] }"#, serde_json::json!({"a": [1, 2]})),
        ] {
            let params = Json::new(params.to_owned()).unwrap();
            let trace = TraceContext { parent: Some("00-x".into()), state: None };
            let request: serde_json::Value =
                serde_json::from_slice(&client.encode("f\"", &params, Some(&trace))).unwrap();
            assert_eq!(request["method"], "f\"");
            let mut sent = request["params"].clone();
            let meta = sent.as_object_mut().unwrap().shift_remove("_dc_meta").unwrap();
            assert_eq!(sent, expected);
            let own = serde_json::json!({"source_device": "me", "source_type": "device", "traceparent": "00-x"});
            assert_eq!(meta, own);
        }
    }
}
