//! What a plugin brings, gathered for the host.

use crate::bindings::mortise::plugin::types::{
    Cadence, Description, Event, Function, Label, LabelValue, Routine, Subscription,
};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};
use std::time::Duration;

/// Collects a plugin's functions, events, routines and subscriptions in the order they are written.
#[derive(Debug)]
pub struct Describer(Description);

/// The words about a function or an event.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// As it is called or emitted.
    pub name: &'static str,
    /// For callers and subscribers.
    pub description: &'static str,
    /// Pairs of key and value.
    pub labels: &'static [(&'static str, &'static str)],
    /// Free texts.
    pub tags: &'static [&'static str],
}

impl Describer {
    pub(crate) fn new() -> Self {
        Self(Description { functions: vec![], events: vec![], routines: vec![], subscriptions: vec![] })
    }

    pub(crate) fn finish(self) -> Description {
        self.0
    }

    /// Adds a function.
    pub fn function(&mut self, about: About, parameters: impl FnOnce(&mut ObjectSchema)) {
        self.0.functions.push(Function {
            name: about.name.to_owned(),
            description: about.description.to_owned(),
            parameters: ObjectSchema::json(SchemaSettings::for_deserialize, parameters),
            labels: about.labels(),
            tags: about.tags(),
        });
    }

    /// Adds an event.
    pub fn event(&mut self, about: About, payload: impl FnOnce(&mut ObjectSchema)) {
        self.0.events.push(Event {
            name: about.name.to_owned(),
            description: about.description.to_owned(),
            payload_schema: Some(ObjectSchema::json(SchemaSettings::for_serialize, payload)),
            labels: about.labels(),
            tags: about.tags(),
        });
    }

    /// Adds a routine that begins every `interval`, or that long after the last tick ended.
    pub fn routine(&mut self, name: &str, interval: Duration, cadence: Cadence) {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        self.0.routines.push(Routine { name: name.to_owned(), interval_ns, cadence });
    }

    /// Adds a subscription to events of other devices.
    pub fn subscription(&mut self, name: &str, device: &str, event: &str) {
        let (name, device, event) = (name.to_owned(), device.to_owned(), event.to_owned());
        self.0.subscriptions.push(Subscription { name, device, event });
    }
}

impl About {
    fn labels(&self) -> Vec<Label> {
        let label =
            |(key, value): &(&str, &str)| Label { key: (*key).into(), value: LabelValue::Text((*value).into()) };
        self.labels.iter().map(label).collect()
    }

    fn tags(&self) -> Vec<String> {
        self.tags.iter().map(|&tag| tag.to_owned()).collect()
    }
}

/// A JSON Schema of type `object`, made of parameters.
#[derive(Debug)]
pub struct ObjectSchema {
    generator: SchemaGenerator,
    properties: Map<String, Value>,
    required: Vec<Value>,
}

impl ObjectSchema {
    fn json(contract: fn(SchemaSettings) -> SchemaSettings, fill: impl FnOnce(&mut Self)) -> String {
        let settings = contract(SchemaSettings::draft2020_12()).with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let mut schema = Self { generator: settings.into_generator(), properties: Map::new(), required: vec![] };
        fill(&mut schema);
        schema.finish().to_string()
    }

    /// A parameter that must be given.
    pub fn required<T: JsonSchema>(&mut self, name: &str, description: &str) {
        self.required.push(name.into());
        self.add::<T>(name, description, None);
    }

    /// A parameter with a default.
    pub fn optional<T: JsonSchema>(&mut self, name: &str, description: &str, default: Value) {
        self.add::<T>(name, description, Some(default));
    }

    /// A member that may be left out and has no default: of an event's payload.
    pub fn omissible<T: JsonSchema>(&mut self, name: &str, description: &str) {
        self.add::<T>(name, description, None);
    }

    fn add<T: JsonSchema>(&mut self, name: &str, description: &str, default: Option<Value>) {
        let mut schema = self.generator.subschema_for::<T>();
        bare().transform(&mut schema);
        let schema = schema.ensure_object();
        if !description.is_empty() {
            schema.insert("description".into(), description.into());
        }
        if let Some(default) = default {
            schema.insert("default".into(), default);
        }
        self.properties.insert(name.to_owned(), Value::Object(std::mem::take(schema)));
    }

    fn finish(mut self) -> Value {
        let mut object = Map::new();
        object.insert("type".into(), "object".into());
        object.insert("properties".into(), Value::Object(self.properties));
        object.insert("required".into(), Value::Array(self.required));
        // Only types that contain themselves cannot be inlined.
        let definitions = self.generator.take_definitions(true);
        if !definitions.is_empty() {
            let definitions = definitions.into_iter().map(|(name, definition)| {
                let Ok(mut schema) = Schema::try_from(definition.clone()) else { return (name, definition) };
                bare().transform(&mut schema);
                (name, schema.to_value())
            });
            object.insert("$defs".into(), Value::Object(definitions.collect()));
        }
        Value::Object(object)
    }
}

/// Removes what Rust's types say and clients of the mesh do not expect: names of types, formats and bounds of integers.
fn bare() -> impl Transform {
    RecursiveTransform(|schema: &mut Schema| {
        for key in ["$schema", "title", "format", "minimum", "maximum"] {
            schema.remove(key);
        }
    })
}
