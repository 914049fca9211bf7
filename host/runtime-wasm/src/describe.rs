//! The guest's description of itself, checked: what would break the advertisement of the whole device is dropped or
//! mended, with a warning (wire contract 4.1; 11, C17).

use crate::bindings::mortise::plugin::types as wit;
use mortise_model::{
    Cadence, Description, EventDef, EventName, FunctionDef, FunctionName, Json, LabelValue, Labels, Permission,
    RoutineDef, SubscriptionDef, cut, one_line,
};
use mortise_plugin::HOST_EVENTS;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::time::Duration;

/// How many functions, or events, one plugin may bring.
const DECLARATIONS_MAX: usize = 1000;

/// How many routines: each has a clock of its own, which the host winds.
const ROUTINES_MAX: usize = 100;

/// How many subscriptions: each may be one on the mesh.
const SUBSCRIPTIONS_MAX: usize = 64;

/// What the reference's drivers hear of other devices' coming and going under (wire contract 8.5).
const LIFECYCLE: [&str; 4] = ["device.online", "device.offline", "peer_present", "peer_lost"];

/// How many bytes of text a description may have: it is advertised as a whole.
const TEXT_BYTES_MAX: usize = 512 << 10;

/// How many labels one function or event may have, and how many tags.
const LABELS_MAX: usize = 64;

/// How many warnings are told with a description; the others are counted.
const WARNINGS_MAX: usize = 50;

/// How long a warning may be, in bytes.
pub(crate) const WARNING_BYTES_MAX: usize = 512;

/// How much of a guest's own text is repeated where more has to be said after it, in bytes.
const QUOTED_BYTES_MAX: usize = 256;

/// Legal, and seldom meant.
const BRINGS_NOTHING: &str = "it brings no functions, events, routines or subscriptions: is a decorator missing?";

/// The shortest interval of a routine.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// Converts and checks a description. What the guest itself `warned` of is told after what is found here.
///
/// # Errors
/// Text for the operator when there is too much of it to be advertised.
pub(crate) fn check(description: wit::Description, warned: &[String]) -> Result<Description, String> {
    let wit::Description { functions, events, routines, subscriptions } = description;
    for (what, count, most) in [
        ("functions", functions.len(), DECLARATIONS_MAX),
        ("events", events.len(), DECLARATIONS_MAX),
        ("routines", routines.len(), ROUTINES_MAX),
        ("subscriptions", subscriptions.len(), SUBSCRIPTIONS_MAX),
    ] {
        if count > most {
            return Err(format!("{count} {what}, more than {most}"));
        }
    }
    let bytes = text_bytes(&functions, &events, &routines, &subscriptions);
    if bytes > TEXT_BYTES_MAX {
        return Err(format!("{bytes} bytes of text, more than {TEXT_BYTES_MAX}"));
    }
    for f in &functions {
        check_labels("function", &f.name, &f.labels, &f.tags)?;
    }
    for e in &events {
        check_labels("event", &e.name, &e.labels, &e.tags)?;
    }
    let mut warnings = Warnings::default();
    let mut names = HashSet::new();
    let functions = functions.into_iter().filter_map(|f| function(f, &mut names, &mut warnings)).collect();
    names.clear();
    let events = events.into_iter().filter_map(|e| event(e, &mut names, &mut warnings)).collect();
    names.clear();
    let routines = routines.into_iter().filter_map(|r| routine(&r, &mut names, &mut warnings)).collect();
    names.clear();
    let subscriptions = subscriptions.into_iter().filter_map(|s| subscription(s, &mut names, &mut warnings)).collect();
    let description = Description { functions, events, routines, subscriptions, warnings: Vec::new() };
    if brings_nothing(&description) {
        warnings.add(BRINGS_NOTHING);
    }
    for warning in warned {
        warnings.add(warning);
    }
    Ok(Description { warnings: warnings.told(), ..description })
}

fn check_labels(what: &str, name: &str, labels: &[wit::Label], tags: &[String]) -> Result<(), String> {
    for (kind, count) in [("labels", labels.len()), ("tags", tags.len())] {
        if count > LABELS_MAX {
            let name = one_line(cut(name, QUOTED_BYTES_MAX));
            return Err(format!("{what} `{name}`: {count} {kind}, more than {LABELS_MAX}"));
        }
    }
    Ok(())
}

fn brings_nothing(description: &Description) -> bool {
    description.functions.is_empty()
        && description.events.is_empty()
        && description.routines.is_empty()
        && description.subscriptions.is_empty()
}

/// How much text it all has. Empty labels and tags count as well.
fn text_bytes(
    functions: &[wit::Function],
    events: &[wit::Event],
    routines: &[wit::Routine],
    subscriptions: &[wit::Subscription],
) -> usize {
    let texts = |texts: &[String]| texts.iter().map(|text| text.len() + 1).sum::<usize>();
    let labels = |labels: &[wit::Label]| {
        let label = |label: &wit::Label| match &label.value {
            wit::LabelValue::Text(text) => label.key.len() + text.len() + 1,
            wit::LabelValue::Texts(values) => label.key.len() + texts(values) + 1,
        };
        labels.iter().map(label).sum::<usize>()
    };
    let function = |f: &wit::Function| {
        f.name.len() + f.description.len() + f.parameters.len() + labels(&f.labels) + texts(&f.tags)
    };
    let event = |e: &wit::Event| {
        let schema = e.payload_schema.as_ref().map_or(0, String::len);
        e.name.len() + e.description.len() + schema + labels(&e.labels) + texts(&e.tags)
    };
    functions.iter().map(function).sum::<usize>()
        + events.iter().map(event).sum::<usize>()
        + routines.iter().map(|r| r.name.len()).sum::<usize>()
        + subscriptions.iter().map(|s| s.name.len() + s.device.len() + s.event.len()).sum::<usize>()
}

/// The first of them, and how many more there are.
#[derive(Default)]
struct Warnings {
    kept: Vec<String>,
    more: usize,
}

impl Warnings {
    /// One line each, whatever the guest's words in it are.
    fn add(&mut self, warning: &str) {
        if self.kept.len() < WARNINGS_MAX {
            self.kept.push(cut(&one_line(warning), WARNING_BYTES_MAX).to_owned());
        } else {
            self.more += 1;
        }
    }

    fn told(mut self) -> Vec<String> {
        if self.more > 0 {
            self.kept.push(format!("and {} more", self.more));
        }
        self.kept
    }

    /// The value, or a warning that `what` was dropped because of the error.
    fn checked<T, E: std::fmt::Display>(&mut self, what: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(&format!("{what} dropped: {error}"))).ok()
    }

    /// Whether `name` is new; a warning otherwise.
    fn unique(&mut self, what: &str, name: &str, names: &mut HashSet<String>) -> bool {
        let new = names.insert(name.to_owned());
        if !new {
            self.add(&format!("second {what} `{name}` dropped"));
        }
        new
    }
}

fn function(function: wit::Function, names: &mut HashSet<String>, warnings: &mut Warnings) -> Option<FunctionDef> {
    let wit::Function { name, description, parameters, labels, tags } = function;
    let name = warnings.checked("function", FunctionName::new(&name))?;
    if !warnings.unique("function", name.as_str(), names) {
        return None;
    }
    let what = format!("function `{name}`");
    let parameters = object_schema(&what, parameters, warnings);
    let labels = sane_labels(&what, labels, warnings);
    Some(FunctionDef { name, description, parameters, labels, tags })
}

fn event(event: wit::Event, names: &mut HashSet<String>, warnings: &mut Warnings) -> Option<EventDef> {
    let wit::Event { name, description, payload_schema, labels, tags } = event;
    let name = warnings.checked("event", EventName::new(&name))?;
    if HOST_EVENTS.contains(&name.as_str()) {
        warnings.add(&format!("event `{name}` dropped: it is the host's own, choose another name"));
        return None;
    }
    if !warnings.unique("event", name.as_str(), names) {
        return None;
    }
    let what = format!("event `{name}`");
    let payload_schema = payload_schema.map(|schema| object_schema(&what, schema, warnings));
    let labels = sane_labels(&what, labels, warnings);
    Some(EventDef { name, description, payload_schema, labels, tags })
}

fn routine(routine: &wit::Routine, names: &mut HashSet<String>, warnings: &mut Warnings) -> Option<RoutineDef> {
    let name = warnings.checked("routine", FunctionName::new(&routine.name))?;
    if !warnings.unique("routine", name.as_str(), names) {
        return None;
    }
    let interval = Duration::from_nanos(routine.interval_ns);
    if interval < INTERVAL_MIN {
        warnings
            .add(&format!("routine `{name}` dropped: its interval of {interval:?} is shorter than {INTERVAL_MIN:?}"));
        return None;
    }
    let cadence = match routine.cadence {
        wit::Cadence::FixedRate => Cadence::FixedRate,
        wit::Cadence::FixedDelay => Cadence::FixedDelay,
    };
    Some(RoutineDef { name, interval, cadence })
}

fn subscription(
    subscription: wit::Subscription,
    names: &mut HashSet<String>,
    warnings: &mut Warnings,
) -> Option<SubscriptionDef> {
    let wit::Subscription { name, device, event } = subscription;
    let name = warnings.checked("subscription", FunctionName::new(&name))?;
    if !warnings.unique("subscription", name.as_str(), names) {
        return None;
    }
    // Subjects have no such prefix (wire contract 8.5).
    let event = event.strip_prefix("event/").unwrap_or(&event);
    if LIFECYCLE.contains(&event) {
        warnings.add(&format!(
            "subscription `{name}` dropped: `{event}` is not told to plugins; `discover` tells who is there"
        ));
        return None;
    }
    let pattern = format!("{device}/{event}");
    warnings.checked(&format!("subscription `{name}`"), Permission::mesh_subscribe(&pattern))?;
    Some(SubscriptionDef { name: name.to_string(), device, event: event.to_owned() })
}

/// A schema of type `object` with `properties` and `required` (wire contract 6.1). What is no such schema is replaced
/// by one that says nothing: the function stays callable, and one bad schema takes nobody off the registry.
fn object_schema(what: &str, text: String, warnings: &mut Warnings) -> Json {
    let problem = match Json::new(text) {
        Err(error) => error.to_string(),
        Ok(json) => match json.to_value() {
            Value::Object(schema) => match schema_problem(&schema) {
                None if schema.contains_key("properties") && schema.contains_key("required") => return json,
                None => return Json::of(&completed(schema)),
                Some(problem) => problem.to_owned(),
            },
            _ => "it is no JSON object".to_owned(),
        },
    };
    warnings.add(&format!("schema of {what} replaced by an empty one: {problem}"));
    Json::of(&completed(Map::new()))
}

fn schema_problem(schema: &Map<String, Value>) -> Option<&'static str> {
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Some("its `type` is not `object`");
    }
    if schema.get("properties").is_some_and(|properties| !properties.is_object()) {
        return Some("its `properties` are no object");
    }
    if schema.get("required").is_some_and(|required| !is_names(required)) {
        return Some("its `required` is no list of names");
    }
    None
}

fn is_names(value: &Value) -> bool {
    value.as_array().is_some_and(|names| names.iter().all(Value::is_string))
}

fn completed(mut schema: Map<String, Value>) -> Value {
    for (key, empty) in [("type", json!("object")), ("properties", json!({})), ("required", json!([]))] {
        schema.entry(key).or_insert(empty);
    }
    Value::Object(schema)
}

/// Labels by key. A key without text or given twice is dropped: registries keep one value per key.
fn sane_labels(what: &str, labels: Vec<wit::Label>, warnings: &mut Warnings) -> Option<Labels> {
    let mut sane = Labels::new();
    for wit::Label { key, value } in labels {
        if key.is_empty() || sane.contains_key(&key) {
            let key = cut(&key, QUOTED_BYTES_MAX);
            warnings.add(&format!("label `{key}` of {what} dropped: its key is empty or taken"));
            continue;
        }
        let value = match value {
            wit::LabelValue::Text(text) => LabelValue::Text(text),
            wit::LabelValue::Texts(texts) => LabelValue::Texts(texts),
        };
        sane.insert(key, value);
    }
    (!sane.is_empty()).then_some(sane)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = r#"{"type":"object","properties":{},"required":[]}"#;

    fn function(name: &str, parameters: &str) -> wit::Function {
        wit::Function {
            name: name.into(),
            description: "d".into(),
            parameters: parameters.into(),
            labels: vec![],
            tags: vec![],
        }
    }

    fn described(functions: Vec<wit::Function>) -> Description {
        warned(functions, &[])
    }

    fn warned(functions: Vec<wit::Function>, warned: &[String]) -> Description {
        let description = wit::Description { functions, events: vec![], routines: vec![], subscriptions: vec![] };
        check(description, warned).unwrap()
    }

    #[test]
    fn a_good_schema_is_kept_to_the_byte_and_an_incomplete_one_is_completed() {
        let good = r#"{ "type":"object", "properties":{"b":{"default":1.50},"a":{}}, "required":["a"] }"#;
        let description = described(vec![function("f", good), function("g", r#"{"type":"object"}"#)]);
        assert_eq!(description.functions[0].parameters.as_str(), good);
        assert_eq!(description.functions[1].parameters.as_str(), EMPTY);
        assert!(description.warnings.is_empty());
    }

    #[test]
    fn a_bad_schema_costs_the_schema_and_not_the_function() {
        for bad in [
            "",
            "nope",
            "[]",
            "{}",
            r#"{"type":"array"}"#,
            r#"{"type":"object","required":[1]}"#,
            r#"{"type":"object","properties":[]}"#,
        ] {
            let description = described(vec![function("f", bad)]);
            assert_eq!(description.functions[0].parameters.as_str(), EMPTY, "{bad}");
            assert_eq!(description.warnings.len(), 1, "{bad}");
        }
    }

    #[test]
    fn bad_and_repeated_names_are_dropped_with_a_warning_each() {
        let description = described(vec![function("a.b", EMPTY), function("f", EMPTY), function("f", EMPTY)]);
        let names: Vec<&str> = description.functions.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["f"]);
        assert_eq!(description.warnings.len(), 2, "{:?}", description.warnings);
    }

    #[test]
    fn labels_routines_and_subscriptions_are_checked() {
        let label = |key: &str| wit::Label { key: key.into(), value: wit::LabelValue::Text("v".into()) };
        let routine = |name: &str, interval_ns| wit::Routine {
            name: name.into(),
            interval_ns,
            cadence: wit::Cadence::FixedDelay,
        };
        let event = |name: &str| wit::Event {
            name: name.into(),
            description: String::new(),
            payload_schema: None,
            labels: vec![],
            tags: vec![],
        };
        let subscription = |name: &str, device: &str, event: &str| wit::Subscription {
            name: name.into(),
            device: device.into(),
            event: event.into(),
        };
        let description = wit::Description {
            functions: vec![wit::Function { labels: vec![label("k"), label(""), label("k")], ..function("f", EMPTY) }],
            events: vec![event("a/b"), event("plugin_log"), event("plugin_log_2")],
            routines: vec![routine("slow", 1_000_000), routine("fast", 999_999)],
            subscriptions: vec![
                subscription("s", "camera-*", "event/motion"),
                subscription("s", "*", "*"),
                subscription("t", "", "*"),
                subscription("u", "camera-?", "*"),
                subscription("v", "*", "device.online"),
                subscription("", "*", "*"),
            ],
        };
        let description = check(description, &[]).unwrap();
        assert_eq!(description.functions[0].labels.as_ref().map(Labels::len), Some(1));
        assert_eq!(description.events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["plugin_log_2"]);
        let reserved = "event `plugin_log` dropped: it is the host's own, choose another name";
        assert!(description.warnings.iter().any(|warning| warning == reserved), "{:?}", description.warnings);
        assert_eq!(description.routines.len(), 1);
        assert_eq!(description.subscriptions.len(), 1);
        assert_eq!(description.warnings.len(), 10, "{:?}", description.warnings);
    }

    #[test]
    fn a_flood_is_refused() {
        let functions = (0..=DECLARATIONS_MAX).map(|n| function(&format!("f{n}"), EMPTY)).collect();
        let flood = wit::Description { functions, events: vec![], routines: vec![], subscriptions: vec![] };
        assert_eq!(check(flood, &[]).unwrap_err(), "1001 functions, more than 1000");
        let subscription = |n| wit::Subscription { name: format!("s{n}"), device: "*".into(), event: "*".into() };
        let subscribed = |count| {
            let subscriptions = (0..count).map(subscription).collect();
            check(wit::Description { functions: vec![], events: vec![], routines: vec![], subscriptions }, &[])
        };
        let routine =
            |n| wit::Routine { name: format!("r{n}"), interval_ns: 1_000_000_000, cadence: wit::Cadence::FixedRate };
        let ticking = |count| {
            let routines = (0..count).map(routine).collect();
            check(wit::Description { functions: vec![], events: vec![], routines, subscriptions: vec![] }, &[])
        };
        assert_eq!(ticking(ROUTINES_MAX).unwrap().routines.len(), 100);
        assert_eq!(ticking(ROUTINES_MAX + 1).unwrap_err(), "101 routines, more than 100");
        assert_eq!(subscribed(SUBSCRIPTIONS_MAX).unwrap().subscriptions.len(), 64);
        assert_eq!(subscribed(SUBSCRIPTIONS_MAX + 1).unwrap_err(), "65 subscriptions, more than 64");
        let tags = vec![String::new(); TEXT_BYTES_MAX + 1];
        let functions = vec![wit::Function { tags, ..function("", "") }];
        let flood = wit::Description { functions, events: vec![], routines: vec![], subscriptions: vec![] };
        assert_eq!(check(flood, &[]).unwrap_err(), "524290 bytes of text, more than 524288");
    }

    #[test]
    fn labels_and_tags_are_few() {
        let label = |n| wit::Label { key: format!("k{n}"), value: wit::LabelValue::Text(String::new()) };
        let checked = |labels: usize, tags: usize, of_event: bool| {
            let (labels, tags) = ((0..labels).map(label).collect(), vec![String::new(); tags]);
            let (mut functions, mut events) = (vec![], vec![]);
            if of_event {
                let (name, description) = ("e".to_owned(), String::new());
                events.push(wit::Event { name, description, payload_schema: None, labels, tags });
            } else {
                functions.push(wit::Function { labels, tags, ..function("f", EMPTY) });
            }
            check(wit::Description { functions, events, routines: vec![], subscriptions: vec![] }, &[])
        };
        for of_event in [false, true] {
            assert_eq!(checked(64, 64, of_event).unwrap().warnings, [""; 0]);
        }
        assert_eq!(checked(65, 0, false).unwrap_err(), "function `f`: 65 labels, more than 64");
        assert_eq!(checked(0, 65, false).unwrap_err(), "function `f`: 65 tags, more than 64");
        assert_eq!(checked(65, 0, true).unwrap_err(), "event `e`: 65 labels, more than 64");
        assert_eq!(checked(0, 65, true).unwrap_err(), "event `e`: 65 tags, more than 64");
    }

    #[test]
    fn of_many_warnings_the_first_are_told_and_the_others_counted() {
        let bad = |count| (0..count).map(|_| function("", EMPTY)).collect();
        let own = |count| vec!["own".to_owned(); count];
        // Of each: the names that are bad, what follows from that, and what the guest says itself.
        let warnings = warned(bad(29), &own(20)).warnings;
        assert_eq!((warnings.len(), warnings[49].as_str()), (50, "own"));
        let warnings = warned(bad(29), &own(21)).warnings;
        assert_eq!((warnings.len(), warnings[50].as_str()), (51, "and 1 more"));
        let warnings = warned(bad(1000), &own(20)).warnings;
        assert_eq!((warnings.len(), warnings[50].as_str()), (51, "and 971 more"));
    }

    #[test]
    fn a_warning_is_one_short_line_whatever_it_repeats() {
        let label = || wit::Label { key: "long \n".repeat(1000), value: wit::LabelValue::Text(String::new()) };
        let labelled = wit::Function { labels: vec![label(), label()], ..function("f", EMPTY) };
        let warnings = described(vec![labelled, function(&"x".repeat(10_000), EMPTY)]).warnings;
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].ends_with(" of function `f` dropped: its key is empty or taken"), "{}", warnings[0]);
        for warning in warnings {
            assert!(warning.len() <= WARNING_BYTES_MAX && !warning.contains('\n'), "{warning}");
        }
    }
}
