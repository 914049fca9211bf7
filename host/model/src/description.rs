//! What a plugin brings: functions, events, routines and subscriptions.

use crate::{EventName, FunctionName, Json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A label's value: text or a list of texts (wire contract 4.1).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum LabelValue {
    /// One text.
    Text(String),
    /// Several; selectors match any of them.
    Texts(Vec<String>),
}

/// Labels by key.
pub type Labels = BTreeMap<String, LabelValue>;

/// One function (RPC) as advertised (wire contract 6.1).
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionDef {
    /// As the plugin names it.
    pub name: FunctionName,
    /// A sentence for callers.
    pub description: String,
    /// A JSON Schema of type `object`.
    pub parameters: Json,
    /// None is advertised as `null`.
    pub labels: Option<Labels>,
    /// Free texts.
    pub tags: Vec<String>,
}

/// One event as advertised (wire contract 6.1).
#[derive(Debug, Clone, PartialEq)]
pub struct EventDef {
    /// As it is emitted.
    pub name: EventName,
    /// A sentence for subscribers.
    pub description: String,
    /// A JSON Schema of the payload.
    pub payload_schema: Option<Json>,
    /// None is advertised as `null`.
    pub labels: Option<Labels>,
    /// Free texts.
    pub tags: Vec<String>,
}

/// When the next tick of a routine begins. Ticks of one routine never overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cadence {
    /// One interval after the last tick began, or at once when that tick took longer.
    FixedRate,
    /// One interval after the last tick ended.
    FixedDelay,
}

/// One periodic function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutineDef {
    /// As the plugin names it.
    pub name: FunctionName,
    /// Between ticks; at least a millisecond.
    pub interval: Duration,
    /// Counted from the begin or the end of the last tick.
    pub cadence: Cadence,
}

/// Events of other devices that a plugin wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionDef {
    /// Passed to the plugin with each event.
    pub name: String,
    /// Glob over device ids.
    pub device: String,
    /// Glob over event names.
    pub event: String,
}

/// Everything a plugin brings, checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Description {
    /// In the plugin's own order, names unique.
    pub functions: Vec<FunctionDef>,
    /// In the plugin's own order, names unique.
    pub events: Vec<EventDef>,
    /// In the plugin's own order, names unique.
    pub routines: Vec<RoutineDef>,
    /// In the plugin's own order.
    pub subscriptions: Vec<SubscriptionDef>,
    /// What was dropped or mended on the way, one sentence each (wire contract 11, C17).
    pub warnings: Vec<String>,
}
