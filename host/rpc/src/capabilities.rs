//! The capabilities object of presence and registration (wire contract 6.1): every key present, nulls included.

use crate::device::DeviceCard;
use crate::routes::AdvertisedFunction;
use mortise_model::{EventDef, FunctionDef, Json, Labels};
use serde::Serialize;

#[derive(Serialize)]
struct Capabilities<'a> {
    description: &'a str,
    functions: Vec<Function<'a>>,
    events: Vec<Event<'a>>,
    labels: Labels,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Json,
    labels: &'a Option<Labels>,
    tags: &'a [String],
}

#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    description: &'a str,
    payload_schema: &'a Option<Json>,
    labels: &'a Option<Labels>,
    tags: &'a [String],
}

fn function<'a>(name: &'a str, def: &'a FunctionDef) -> Function<'a> {
    Function { name, description: &def.description, parameters: &def.parameters, labels: &def.labels, tags: &def.tags }
}

/// Host functions first in their own order, then those of plugins as given (wire contract 6.5).
pub(crate) fn encode_capabilities(
    host: &[&FunctionDef],
    plugins: &[&AdvertisedFunction],
    events: &[&EventDef],
) -> Json {
    let functions = host
        .iter()
        .map(|def| function(def.name.as_str(), def))
        .chain(plugins.iter().map(|advertised| function(&advertised.name, &advertised.def)))
        .collect();
    let events = events
        .iter()
        .map(|event| Event {
            name: event.name.as_str(),
            description: &event.description,
            payload_schema: &event.payload_schema,
            labels: &event.labels,
            tags: &event.tags,
        })
        .collect();
    let capabilities =
        Capabilities { description: DeviceCard::DESCRIPTION, functions, events, labels: DeviceCard::labels() };
    // Texts, lists and checked JSON always serialise.
    serde_json::value::to_raw_value(&capabilities).unwrap_or_default().into()
}
