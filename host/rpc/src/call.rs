//! One call on its way: from the envelope to a handler, and back to exactly one answer.

use crate::chain::CallChain;
use crate::envelope;
use bytes::Bytes;
use mortise_mesh::Replier;
use mortise_model::{Failure, Json};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// JSON-RPC codes that the wire contract knows (section 3.3, and 3.2 for what the reference leaves unanswered).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RpcCode {
    /// Not JSON.
    ParseError,
    /// JSON, but no request.
    InvalidRequest,
    /// No such function.
    UnknownMethod,
    /// Parameters that are no object.
    InvalidParams,
    /// Everything that goes wrong inside a function.
    Failed,
}

impl RpcCode {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::ParseError => -32700,
            Self::InvalidRequest => -32600,
            Self::UnknownMethod => -32601,
            Self::InvalidParams => -32602,
            Self::Failed => -32000,
        }
    }
}

/// A failed call as its caller reads it: the reference's code and text, and ours as `error.data`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// JSON-RPC code.
    pub rpc: RpcCode,
    /// JSON-RPC message.
    pub message: String,
    /// `error.data.code`: stable, snake case.
    pub code: Cow<'static, str>,
    /// `error.data.retryable`.
    pub retryable: bool,
}

impl CallError {
    /// `Unknown method: <method>` (wire contract 3.3).
    #[must_use]
    pub fn unknown_method(method: &str) -> Self {
        Self {
            rpc: RpcCode::UnknownMethod,
            message: format!("Unknown method: {method}"),
            code: Cow::Borrowed("unknown_method"),
            retryable: false,
        }
    }
}

impl From<Failure> for CallError {
    /// A plugin's failure: -32000 and its text without a prefix (wire contract 3.3).
    fn from(failure: Failure) -> Self {
        Self { rpc: RpcCode::Failed, message: failure.message, code: failure.code, retryable: failure.retryable }
    }
}

/// W3C trace context as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// `traceparent`.
    pub parent: Option<String>,
    /// `tracestate`.
    pub state: Option<String>,
}

/// Who is asking, over which way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A message on the device's `cmd` subject.
    Mesh,
    /// The control socket: the operator.
    Control,
    /// A plugin of this host.
    Plugin,
}

/// One call, decoded.
#[derive(Debug)]
pub struct Call {
    /// A JSON object, without `_dc_meta` and `source_device` (wire contract 3.4, 3.5).
    pub params: Json,
    /// The device that claims to be calling; nothing vouches for it.
    pub caller: Option<String>,
    /// Passed on to the function and to what it calls. None where the caller sent none, as most do.
    pub trace: Option<Arc<TraceContext>>,
    /// Which way it came.
    pub origin: Origin,
    /// The answer is due by then at the latest, where the caller said so.
    pub deadline: Option<Instant>,
    /// The calls between plugins that led here.
    pub chain: CallChain,
    /// Whether it may wait for a plugin that is about to serve.
    pub may_wait: bool,
    /// Where the answer goes.
    pub responder: Responder,
}

/// A call of a plugin to a function of this host.
#[derive(Debug)]
pub struct LocalCall {
    /// Bare or namespaced.
    pub method: String,
    /// A JSON object.
    pub params: Json,
    /// Of the call on whose behalf it is made.
    pub trace: Option<Arc<TraceContext>>,
    /// The answer is of no use after this.
    pub deadline: Instant,
    /// The calls between plugins that lead to this one, itself included.
    pub chain: CallChain,
    /// Whether it may wait for a plugin that is about to serve. Two that are about to might wait for each other.
    pub may_wait: bool,
}

/// What a call ends with.
pub type Outcome = Result<Json, CallError>;

/// Takes the one answer of a call. Dropped without one, it answers with an error itself: no call is forgotten.
#[derive(Debug)]
pub struct Responder {
    target: Option<Target>,
    request_id: Box<RawValue>,
}

#[derive(Debug)]
enum Target {
    Mesh(Replier),
    Local(oneshot::Sender<Outcome>),
}

impl Responder {
    /// Answers over the mesh, or nowhere when the caller left no address.
    #[must_use]
    pub fn mesh(request_id: Box<RawValue>, replier: Option<Replier>) -> Self {
        Self { target: replier.map(Target::Mesh), request_id }
    }

    /// Answers within the process.
    #[must_use]
    pub fn local(request_id: Box<RawValue>) -> (Self, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        (Self { target: Some(Target::Local(sender)), request_id }, receiver)
    }

    /// The caller's own id of the request, as it wrote it.
    #[must_use]
    pub fn request_id(&self) -> &RawValue {
        &self.request_id
    }

    /// Whether a local caller has stopped waiting. Always false over the mesh, where nobody tells.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        matches!(&self.target, Some(Target::Local(sender)) if sender.is_closed())
    }

    /// Sends the answer. Never blocks.
    pub fn respond(mut self, outcome: Outcome) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: Outcome) {
        match self.target.take() {
            Some(Target::Mesh(replier)) => {
                let mut reply = envelope::encode_reply(&self.request_id, &outcome);
                // The transport would lose it, and the caller would wait for nothing.
                if let Some(limit) = replier.payload_bytes_max().filter(|limit| reply.len() > *limit) {
                    let text = format!("the answer has {} bytes, more than the mesh's limit of {limit}", reply.len());
                    let failure = Failure::new("result_too_large", text);
                    reply = envelope::encode_reply(&self.request_id, &Err(failure.into()));
                }
                replier.send(Bytes::from(reply));
            }
            // A local caller may have gone; that is its right.
            Some(Target::Local(sender)) => drop(sender.send(outcome)),
            None => {}
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.target.is_some() {
            self.send(Err(Failure::retryable("dropped", "the call was dropped before it was answered").into()));
        }
    }
}

/// Serves calls.
pub trait Handler: Send + Sync + 'static {
    /// Takes the call and answers it sooner or later through its responder. Must not block: it runs where messages
    /// arrive, so calls reach one handler in arrival order.
    fn handle(&self, function: &Arc<str>, call: Call) -> Admission;
}

/// What became of a call handed to a [`Handler`].
#[derive(Debug)]
pub enum Admission {
    /// The handler answers it.
    Taken,
    /// The handler serves no longer: look again in the newest routes.
    Closed(Box<Call>),
}
