//! What crosses as JSON: descriptions, failures, calls' contexts, and what ops are to do.

use crate::bindings::mortise::plugin::host::{HttpRequest, Invocation, Op};
use crate::bindings::mortise::plugin::types as wit;
use mortise_model::{HttpResponse, Json};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wasmtime::{Error, Result};

#[derive(Serialize, Deserialize)]
struct FailureText {
    code: String,
    message: String,
    retryable: bool,
}

#[derive(Deserialize)]
struct DescriptionText {
    functions: Vec<FunctionText>,
    events: Vec<EventText>,
    routines: Vec<RoutineText>,
    subscriptions: Vec<SubscriptionText>,
}

#[derive(Deserialize)]
struct FunctionText {
    name: String,
    description: String,
    parameters: Box<RawValue>,
    labels: BTreeMap<String, LabelText>,
    tags: Vec<String>,
}

#[derive(Deserialize)]
struct EventText {
    name: String,
    description: String,
    payload_schema: Option<Box<RawValue>>,
    labels: BTreeMap<String, LabelText>,
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum LabelText {
    Text(String),
    Texts(Vec<String>),
}

#[derive(Deserialize)]
struct RoutineText {
    name: String,
    interval_ns: u64,
    cadence: CadenceText,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CadenceText {
    FixedRate,
    FixedDelay,
}

#[derive(Deserialize)]
struct SubscriptionText {
    name: String,
    device: String,
    event: String,
}

#[derive(Deserialize)]
struct SleepText {
    ns: u64,
}

#[derive(Deserialize)]
struct NameText {
    name: String,
}

#[derive(Deserialize)]
struct InvocationText {
    device: Option<String>,
    function: String,
    parameters: String,
    timeout_ns: Option<u64>,
    on_behalf_of: Option<u64>,
}

#[derive(Deserialize)]
struct RequestText {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    timeout_ns: Option<u64>,
    on_behalf_of: Option<u64>,
}

/// The plugin's description of itself.
pub(super) fn description(text: &str) -> Result<wit::Description> {
    let DescriptionText { functions, events, routines, subscriptions } = serde_json::from_str(text)?;
    Ok(wit::Description {
        functions: functions.into_iter().map(function).collect(),
        events: events.into_iter().map(event).collect(),
        routines: routines.into_iter().map(routine).collect(),
        subscriptions: subscriptions
            .into_iter()
            .map(|SubscriptionText { name, device, event }| wit::Subscription { name, device, event })
            .collect(),
    })
}

fn function(function: FunctionText) -> wit::Function {
    let FunctionText { name, description, parameters, labels: labelled, tags } = function;
    wit::Function { name, description, parameters: raw(parameters), labels: labels(labelled), tags }
}

fn event(event: EventText) -> wit::Event {
    let EventText { name, description, payload_schema, labels: labelled, tags } = event;
    wit::Event { name, description, payload_schema: payload_schema.map(raw), labels: labels(labelled), tags }
}

fn routine(routine: RoutineText) -> wit::Routine {
    let RoutineText { name, interval_ns, cadence } = routine;
    let cadence = match cadence {
        CadenceText::FixedRate => wit::Cadence::FixedRate,
        CadenceText::FixedDelay => wit::Cadence::FixedDelay,
    };
    wit::Routine { name, interval_ns, cadence }
}

fn labels(labels: BTreeMap<String, LabelText>) -> Vec<wit::Label> {
    let label = |(key, value)| wit::Label {
        key,
        value: match value {
            LabelText::Text(text) => wit::LabelValue::Text(text),
            LabelText::Texts(texts) => wit::LabelValue::Texts(texts),
        },
    };
    labels.into_iter().map(label).collect()
}

fn raw(json: Box<RawValue>) -> String {
    Box::<str>::from(json).into()
}

/// A failure of the plugin's.
pub(super) fn failure(text: &str) -> Result<wit::Failure> {
    let FailureText { code, message, retryable } = serde_json::from_str(text)?;
    Ok(wit::Failure { code, message, retryable })
}

/// A failure of the host's.
pub(super) fn failure_text(failure: wit::Failure) -> String {
    let wit::Failure { code, message, retryable } = failure;
    text(json!({"code": code, "message": message, "retryable": retryable}))
}

/// An answer over HTTP, without its body.
pub(super) fn response(response: &HttpResponse) -> String {
    let header = |(name, value): &(String, Vec<u8>)| (name.clone(), value.iter().copied().map(char::from).collect());
    let headers: Vec<(String, String)> = response.headers.iter().map(header).collect();
    text(json!({"status": response.status, "headers": headers}))
}

/// What an op is to do.
pub(super) fn op(kind: &str, json: &str, body: Vec<u8>) -> Result<Op> {
    Ok(match kind {
        "sleep" => Op::Sleep(serde_json::from_str::<SleepText>(json)?.ns),
        "discover" => Op::Discover,
        "env" => Op::Env(serde_json::from_str::<NameText>(json)?.name),
        "secret" => Op::Secret(serde_json::from_str::<NameText>(json)?.name),
        "state-flush" => Op::StateFlush,
        "invoke" => {
            let InvocationText { device, function, parameters, timeout_ns, on_behalf_of } = serde_json::from_str(json)?;
            Op::Invoke(Invocation { device, function, parameters, timeout_ns, on_behalf_of })
        }
        "http" => {
            let RequestText { method, url, headers, timeout_ns, on_behalf_of } = serde_json::from_str(json)?;
            let header = |(name, value): (String, String)| {
                let value: std::result::Result<Vec<u8>, _> = value.chars().map(u8::try_from).collect();
                Ok((name, value.map_err(|_| Error::msg("a header's value holds a character beyond one byte"))?))
            };
            let headers: Result<Vec<_>> = headers.into_iter().map(header).collect();
            Op::Http(HttpRequest { method, url, headers: headers?, body, timeout_ns, on_behalf_of })
        }
        other => return Err(Error::msg(format!("there is no op `{other}`"))),
    })
}

/// A whole number that a double tells from every other.
pub(super) fn whole(number: f64) -> Result<u64> {
    if number.fract() != 0.0 || !(0.0..9_007_199_254_740_992.0).contains(&number) {
        return Err(Error::msg("the host was told what is not a whole number"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was looked at")]
    Ok(number as u64)
}

pub(super) fn text(value: Value) -> String {
    Json::of(&value).into_string()
}
