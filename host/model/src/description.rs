//! What a plugin brings: functions, events, routines and subscriptions.

use crate::{DeviceId, EventName, FunctionName, Json, Permission, glob};
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
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
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
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cadence {
    /// One interval after the last tick began, or at once when that tick took longer.
    FixedRate,
    /// One interval after the last tick ended.
    FixedDelay,
}

/// One periodic function.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RoutineDef {
    /// As the plugin names it.
    pub name: FunctionName,
    /// Between ticks; at least a millisecond.
    pub interval: Duration,
    /// Counted from the begin or the end of the last tick.
    pub cadence: Cadence,
}

/// Events of other devices that a plugin wants.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SubscriptionDef {
    /// For people.
    pub name: String,
    /// Ids of devices; `*` stands for any run of characters.
    pub device: String,
    /// Names of events, likewise.
    pub event: String,
}

impl SubscriptionDef {
    /// The permission that it takes to hear all of it.
    #[must_use]
    pub fn permission(&self) -> Permission {
        Permission::MeshSubscribe { devices: self.device.clone(), events: self.event.clone() }
    }

    /// Whether it wants that event of that device.
    #[must_use]
    pub fn wants(&self, device: &DeviceId, event: &EventName) -> bool {
        glob(&self.device, device.as_str()) && glob(&self.event, event.as_str())
    }
}

/// Everything a plugin brings, checked.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
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

impl Description {
    /// Whether one stands for the other: nothing differs but warnings and the defaults of parameters. Those are told to callers
    /// and never filled in, and a plugin may compute them, say from the time.
    #[must_use]
    pub fn equals_but_for_defaults(&self, other: &Self) -> bool {
        fn without_defaults(description: &Description) -> serde_json::Value {
            let mut value = serde_json::to_value(description).unwrap_or_default();
            value.as_object_mut().map(|value| value.remove("warnings"));
            for kind in ["functions", "events"] {
                let each = value.get_mut(kind).and_then(serde_json::Value::as_array_mut).into_iter().flatten();
                let schemas = each.flat_map(|each| each.as_object_mut().into_iter().flat_map(|each| each.values_mut()));
                for properties in schemas.filter_map(|schema| schema.get_mut("properties")?.as_object_mut()) {
                    for property in properties.values_mut().filter_map(serde_json::Value::as_object_mut) {
                        property.remove("default");
                    }
                }
            }
            value
        }
        self == other || without_defaults(self) == without_defaults(other)
    }

    /// As it is kept on disk.
    #[must_use]
    pub fn to_json(&self) -> Json {
        // Nothing in it can fail to serialise: every key is text, every number whole.
        serde_json::value::to_raw_value(self).map_or_else(|_| Json::of(&serde_json::Value::Null), Json::from)
    }

    /// One that [`Description::to_json`] made; none for anything else.
    #[must_use]
    pub fn from_json(json: &Json) -> Option<Self> {
        serde_json::from_str(json.as_str()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_comes_back_from_disk_as_it_was() {
        let json = |text: &str| Json::new(text.to_owned()).unwrap();
        let labels = Labels::from([
            ("unit".to_owned(), LabelValue::Text("C".to_owned())),
            ("rooms".to_owned(), LabelValue::Texts(vec!["a".to_owned(), "b".to_owned()])),
        ]);
        let description = Description {
            functions: vec![FunctionDef {
                name: FunctionName::new("read").unwrap(),
                description: "Reads.".to_owned(),
                parameters: json(r#"{"type":"object","properties":{"n":{"default":1.50}}}"#),
                labels: Some(labels),
                tags: vec!["fast".to_owned()],
            }],
            events: vec![EventDef {
                name: EventName::new("hot").unwrap(),
                description: String::new(),
                payload_schema: None,
                labels: None,
                tags: Vec::new(),
            }],
            routines: vec![RoutineDef {
                name: FunctionName::new("tick").unwrap(),
                interval: Duration::from_millis(1500),
                cadence: Cadence::FixedDelay,
            }],
            subscriptions: vec![SubscriptionDef {
                name: "s".to_owned(),
                device: "camera-*".to_owned(),
                event: "*".to_owned(),
            }],
            warnings: vec!["dropped a label".to_owned()],
        };
        assert_eq!(Description::from_json(&description.to_json()), Some(description));
        assert_eq!(Description::from_json(&json("null")), None);
    }

    #[test]
    fn descriptions_differ_in_everything_but_the_defaults_of_parameters() {
        let with = |property: &str| Description {
            functions: vec![FunctionDef {
                name: FunctionName::new("since").unwrap(),
                description: String::new(),
                parameters: Json::new(format!(r#"{{"type":"object","properties":{{"at":{property}}},"required":[]}}"#))
                    .unwrap(),
                labels: None,
                tags: Vec::new(),
            }],
            ..Description::default()
        };
        let now = with(r#"{"type":"number","default":1.5}"#);
        assert!(now.equals_but_for_defaults(&now));
        assert!(now.equals_but_for_defaults(&with(r#"{"type":"number","default":2}"#)));
        assert!(now.equals_but_for_defaults(&with(r#"{"type":"number"}"#)));
        assert!(!now.equals_but_for_defaults(&with(r#"{"type":"string","default":1.5}"#)));
        assert!(!now.equals_but_for_defaults(&Description::default()));
        let warned = Description { warnings: vec!["at noon".to_owned()], ..now.clone() };
        assert!(now.equals_but_for_defaults(&warned));
    }
}
