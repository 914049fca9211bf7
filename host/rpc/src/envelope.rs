//! JSON-RPC 2.0 as the wire contract (section 3) has it: requests in, replies out.

use crate::call::{CallError, Outcome, RpcCode, TraceContext};
use indexmap::IndexMap;
use memchr::memchr2_iter;
use mortise_model::Json;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

/// The longest id that a request may have, in bytes: it is held until the request is answered.
const ID_BYTES_MAX: usize = 1024;

/// The longest claim of a caller, and the longest header of a trace, in bytes. W3C has 512 characters of `tracestate` passed on.
const CLAIM_BYTES_MAX: usize = 1024;

/// What arrived.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    /// A request to execute and answer.
    Request {
        /// As the caller wrote it, of whatever JSON type.
        id: &'a RawValue,
        /// As asked for; what is not text is shown as the reference shows it.
        method: Cow<'a, str>,
        /// Not yet looked at.
        params: Option<&'a RawValue>,
    },
    /// No `id`: not executed, not answered (wire contract 3.2).
    Ignored,
    /// Answered with an error, not executed.
    Refused(CallError),
}

#[derive(Deserialize)]
struct RawFrame<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

/// Keeps `null` apart from a key that is not there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&'de RawValue>::deserialize(deserializer).map(Some)
}

/// Reads one message.
pub(crate) fn decode(payload: &[u8]) -> Frame<'_> {
    // Checked as a whole: what nobody looks at would otherwise pass.
    let text = match std::str::from_utf8(payload) {
        Ok(text) => text,
        Err(error) => {
            return Frame::Refused(refused(RpcCode::ParseError, "parse_error", format!("invalid JSON: {error}")));
        }
    };
    if !text.trim_ascii_start().starts_with('{') {
        return match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => {
                Frame::Refused(refused(RpcCode::InvalidRequest, "invalid_request", "a request is one JSON object"))
            }
            Err(error) => Frame::Refused(refused(RpcCode::ParseError, "parse_error", format!("invalid JSON: {error}"))),
        };
    }
    let frame = match serde_json::from_str::<RawFrame<'_>>(text) {
        Ok(frame) => frame,
        Err(error) if error.is_data() => {
            return Frame::Refused(refused(
                RpcCode::InvalidRequest,
                "invalid_request",
                format!("invalid request: {error}"),
            ));
        }
        Err(error) => {
            return Frame::Refused(refused(RpcCode::ParseError, "parse_error", format!("invalid JSON: {error}")));
        }
    };
    let Some(id) = frame.id else {
        return Frame::Ignored;
    };
    if id.get().len() > ID_BYTES_MAX {
        let message = format!("the request's id has {} bytes, more than {ID_BYTES_MAX}", id.get().len());
        return Frame::Refused(refused(RpcCode::InvalidRequest, "invalid_request", message));
    }
    Frame::Request { id, method: method_text(frame.method), params: frame.params }
}

fn refused(rpc: RpcCode, code: &'static str, message: impl Into<String>) -> CallError {
    CallError { rpc, message: message.into(), code: Cow::Borrowed(code), retryable: false }
}

/// The method as text; what is none is shown as the reference would (`Unknown method: None`).
fn method_text(method: Option<&RawValue>) -> Cow<'_, str> {
    let Some(raw) = method.map(RawValue::get) else {
        return Cow::Borrowed("None");
    };
    match raw {
        "null" => Cow::Borrowed("None"),
        "true" => Cow::Borrowed("True"),
        "false" => Cow::Borrowed("False"),
        text if text.starts_with('"') => match text.get(1..text.len().saturating_sub(1)) {
            Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
            _ => Cow::Owned(serde_json::from_str(text).unwrap_or_default()),
        },
        other => Cow::Borrowed(other),
    }
}

/// A call's parameters, with what the runtime hides from functions taken out (wire contract 3.4, 3.5).
#[derive(Debug)]
pub(crate) struct Params {
    /// A JSON object.
    pub(crate) json: Json,
    /// The claimed caller.
    pub(crate) caller: Option<String>,
    pub(crate) trace: Option<Arc<TraceContext>>,
}

/// Takes `params` apart.
///
/// # Errors
/// -32602 when they are neither missing, `null` nor an object.
pub(crate) fn split_params(params: Option<&RawValue>) -> Result<Params, CallError> {
    let plain = |json: Box<RawValue>| Params { json: json.into(), caller: None, trace: None };
    let Some(raw) = params.filter(|raw| raw.get() != "null") else {
        return Ok(plain(empty_object()));
    };
    let text = raw.get();
    if !text.starts_with('{') {
        return Err(refused(RpcCode::InvalidParams, "invalid_params", "params must be a JSON object"));
    }
    // Most calls hold neither key, and none that an escape sequence could hide: pass them on as they are.
    if !may_hide(text.as_bytes()) {
        return Ok(plain(raw.to_owned()));
    }
    let mut fields: IndexMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text)
        .map_err(|error| refused(RpcCode::InvalidParams, "invalid_params", format!("invalid params: {error}")))?;
    let meta = fields.shift_remove("_dc_meta");
    let named = fields.shift_remove("source_device");
    let meta: IndexMap<Cow<'_, str>, &RawValue> =
        meta.and_then(|meta| serde_json::from_str(meta.get()).ok()).unwrap_or_default();
    let text_of = |key: &str| meta.get(key).copied().and_then(text_value);
    let caller = text_of("source_device").or_else(|| named.and_then(text_value));
    let trace = match (text_of("traceparent"), text_of("tracestate")) {
        (None, None) => None,
        (parent, state) => Some(Arc::new(TraceContext { parent, state })),
    };
    let json = serde_json::value::to_raw_value(&fields).unwrap_or_else(|_| empty_object());
    Ok(Params { json: json.into(), caller, trace })
}

/// Whether a key that functions must not see may be in it, plainly or behind an escape sequence.
fn may_hide(params: &[u8]) -> bool {
    memchr2_iter(b'_', b'\\', params).any(|at| {
        let (before, from) = params.split_at(at);
        from.starts_with(b"_dc_meta")
            || from.starts_with(b"\\u")
            || (before.ends_with(b"source") && from.starts_with(b"_device"))
    })
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The text of a JSON string that is not empty. One that is too long to be kept is as good as none.
fn text_value(raw: &RawValue) -> Option<String> {
    let text = serde_json::from_str::<String>(raw.get()).ok()?;
    (1..=CLAIM_BYTES_MAX).contains(&text.len()).then_some(text)
}

#[derive(Serialize)]
struct ErrorReply<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: i32,
    message: &'a str,
    data: ErrorData<'a>,
}

#[derive(Serialize)]
struct ErrorData<'a> {
    code: &'a str,
    retryable: bool,
    request_id: &'a RawValue,
}

/// Encodes the reply to what was never read as a request, and so has no id.
#[must_use]
pub fn encode_refusal(error: CallError) -> Vec<u8> {
    encode_reply(&crate::no_request_id(), &Err(error))
}

/// Encodes the reply to the request `id`.
pub(crate) fn encode_reply(id: &RawValue, outcome: &Outcome) -> Vec<u8> {
    const HEAD: &[u8] = br#"{"jsonrpc":"2.0","id":"#;
    const RESULT: &[u8] = br#","result":"#;
    match outcome {
        Ok(result) => {
            let (id, result) = (id.get().as_bytes(), result.as_str().as_bytes());
            // Exactly as large as needed, so that it becomes `Bytes` without another allocation.
            let mut reply = Vec::with_capacity(HEAD.len() + id.len() + RESULT.len() + result.len() + 1);
            for part in [HEAD, id, RESULT, result, b"}"] {
                reply.extend_from_slice(part);
            }
            reply
        }
        Err(error) => {
            let data = ErrorData { code: &error.code, retryable: error.retryable, request_id: id };
            let error = ErrorBody { code: error.rpc.number(), message: &error.message, data };
            // Text and numbers always serialise.
            serde_json::to_vec(&ErrorReply { jsonrpc: "2.0", id, error }).unwrap_or_default()
        }
    }
}

/// A reply to a request of ours.
#[derive(Deserialize)]
struct ReplyFrame<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<ReplyError>,
}

#[derive(Deserialize)]
struct ReplyError {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

/// What another device answered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReplyFault {
    /// The function failed, in its own words.
    #[error("{message}")]
    Failed {
        /// JSON-RPC code.
        code: i64,
        /// JSON-RPC message.
        message: String,
    },
    /// No JSON-RPC reply.
    #[error("malformed reply: {0}")]
    Malformed(String),
}

/// Reads a reply.
pub(crate) fn decode_reply(payload: &[u8]) -> Result<Json, ReplyFault> {
    let frame: ReplyFrame<'_> =
        serde_json::from_slice(payload).map_err(|error| ReplyFault::Malformed(error.to_string()))?;
    match frame {
        ReplyFrame { error: Some(error), .. } => Err(ReplyFault::Failed { code: error.code, message: error.message }),
        ReplyFrame { result: Some(result), .. } => Ok(result.to_owned().into()),
        _ => Err(ReplyFault::Malformed("neither `result` nor `error`".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mortise_model::Failure;

    fn request(text: &str) -> (String, String, Option<String>) {
        match decode(text.as_bytes()) {
            Frame::Request { id, method, params } => {
                (id.get().to_owned(), method.into_owned(), params.map(|params| params.get().to_owned()))
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refusal(text: &str) -> (RpcCode, String) {
        match decode(text.as_bytes()) {
            Frame::Refused(error) => (error.rpc, error.code.into_owned()),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn ids_are_kept_as_written() {
        for id in ["\"d2d-1\"", "7", "null", "12345678901234567890123", "1.50", "[1]"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m","params":{{}}}}"#);
            assert_eq!(request(&text), (id.to_owned(), "m".to_owned(), Some("{}".to_owned())));
        }
    }

    #[test]
    fn an_id_that_would_have_to_be_kept_is_not_too_long() {
        let of = |length: usize| format!(r#"{{"id":"{}","method":"m"}}"#, "x".repeat(length - 2));
        assert_eq!(request(&of(ID_BYTES_MAX)).1, "m");
        assert_eq!(refusal(&of(ID_BYTES_MAX + 1)), (RpcCode::InvalidRequest, "invalid_request".to_owned()));
    }

    #[test]
    fn a_claim_that_is_too_long_to_be_kept_is_none() {
        let split = |length: usize| {
            let claim = "x".repeat(length);
            let params =
                serde_json::json!({"_dc_meta": {"source_device": claim, "traceparent": claim, "tracestate": claim}});
            split_params(Some(&serde_json::value::to_raw_value(&params).unwrap())).unwrap()
        };
        let kept = split(CLAIM_BYTES_MAX);
        assert!(
            kept.caller.is_some() && kept.trace.is_some_and(|trace| trace.parent.is_some() && trace.state.is_some())
        );
        let dropped = split(CLAIM_BYTES_MAX + 1);
        assert!(dropped.caller.is_none() && dropped.trace.is_none());
    }

    #[test]
    fn a_message_without_an_id_is_ignored() {
        assert!(matches!(decode(br#"{"method":"m"}"#), Frame::Ignored));
    }

    #[test]
    fn methods_that_are_no_text_are_shown_as_the_reference_shows_them() {
        for (method, shown) in [("null", "None"), ("true", "True"), ("5", "5"), (r#""a\u0062""#, "ab"), (r#""""#, "")] {
            assert_eq!(request(&format!(r#"{{"id":1,"method":{method}}}"#)).1, shown);
        }
        assert_eq!(request(r#"{"id":1}"#).1, "None");
    }

    #[test]
    fn what_is_no_request_is_refused_by_kind() {
        for text in ["", "{", "nope", r#"{"id":1,}"#, r#"{"id":NaN}"#] {
            assert_eq!(refusal(text), (RpcCode::ParseError, "parse_error".into()), "{text}");
        }
        assert!(
            matches!(decode(b"{\"id\":1,\"a\":\"\xff\"}"), Frame::Refused(error) if error.rpc == RpcCode::ParseError)
        );
        for text in ["[]", r#"[{"id":1,"method":"m"}]"#, "1", "\"x\"", r#"{"id":1,"id":2}"#] {
            assert_eq!(refusal(text), (RpcCode::InvalidRequest, "invalid_request".into()), "{text}");
        }
    }

    fn split(text: &str) -> Params {
        let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
        split_params(Some(&raw)).unwrap()
    }

    #[test]
    fn params_pass_untouched_unless_they_hold_what_is_hidden() {
        assert_eq!(split_params(None).unwrap().json.as_str(), "{}");
        assert_eq!(split("null").json.as_str(), "{}");
        let text = r#"{ "n": 1.50, "big": 123456789012345678901234567890 }"#;
        assert_eq!(split(text).json.as_str(), text);
        for bad in ["[]", "1", "\"x\"", "true"] {
            let raw: Box<RawValue> = serde_json::from_str(bad).unwrap();
            assert_eq!(split_params(Some(&raw)).unwrap_err().rpc, RpcCode::InvalidParams);
        }
    }

    #[test]
    fn meta_and_caller_are_taken_out() {
        let params = split(
            r#"{"a":1,"_dc_meta":{"source_device":"robot-1","traceparent":"00-x","tracestate":"s"},"source_device":"mallory"}"#,
        );
        assert_eq!(params.json.as_str(), r#"{"a":1}"#);
        assert_eq!(params.caller.as_deref(), Some("robot-1"), "the envelope's word outranks the caller's parameter");
        let trace = TraceContext { parent: Some("00-x".into()), state: Some("s".into()) };
        assert_eq!(params.trace.as_deref(), Some(&trace));

        let params = split(r#"{"source_device":"robot-2"}"#);
        assert_eq!((params.json.as_str(), params.caller.as_deref()), ("{}", Some("robot-2")));
    }

    #[test]
    fn hidden_keys_cannot_be_smuggled_and_odd_meta_is_ignored() {
        let params = split(r#"{"\u005fdc_meta":{"source_device":"x"},"b":2}"#);
        assert_eq!((params.json.as_str(), params.caller.as_deref()), (r#"{"b":2}"#, Some("x")));
        for meta in ["null", "1", "[]", "\"x\"", r#"{"source_device":7}"#] {
            let params = split(&format!(r#"{{"_dc_meta":{meta},"b":2}}"#));
            assert_eq!((params.json.as_str(), params.caller), (r#"{"b":2}"#, None), "{meta}");
        }
    }

    #[test]
    fn replies_echo_the_id_and_carry_our_data() {
        let id: Box<RawValue> = serde_json::from_str("\"d2d-1\"").unwrap();
        let ok = Json::new(r#"{"pong": true}"#.to_owned()).unwrap();
        assert_eq!(encode_reply(&id, &Ok(ok)), br#"{"jsonrpc":"2.0","id":"d2d-1","result":{"pong": true}}"#);
        let error = CallError::from(Failure::retryable("busy", "say \"please\""));
        assert_eq!(
            String::from_utf8(encode_reply(&id, &Err(error))).unwrap(),
            r#"{"jsonrpc":"2.0","id":"d2d-1","error":{"code":-32000,"message":"say \"please\"","data":{"code":"busy","retryable":true,"request_id":"d2d-1"}}}"#
        );
    }

    #[test]
    fn replies_of_others_are_read() {
        assert_eq!(decode_reply(br#"{"result":null}"#).unwrap().as_str(), "null");
        assert_eq!(
            decode_reply(br#"{"error":{"code":-32601,"message":"Unknown method: x"}}"#),
            Err(ReplyFault::Failed { code: -32601, message: "Unknown method: x".into() })
        );
        assert!(matches!(decode_reply(b"{}"), Err(ReplyFault::Malformed(_))));
    }
}
