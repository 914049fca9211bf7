//! How what a plugin brings differs from what its predecessor brought.

use mortise_model::{EventDef, FunctionDef, Json, RoutineDef, SubscriptionDef};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of functions, and whether a caller who knows the old ones could notice.
pub(super) struct Functions {
    pub(super) breaking: bool,
    pub(super) value: Value,
}

/// One thing that changed, in a sentence.
struct Change {
    text: String,
    /// A call that was right before may now be wrong.
    breaking: bool,
}

impl Change {
    fn harmless(text: impl Into<String>) -> Self {
        Self { text: text.into(), breaking: false }
    }

    fn breaking(text: impl Into<String>) -> Self {
        Self { text: text.into(), breaking: true }
    }
}

/// Things by name: those only in the new, those only in the old, those in both.
struct Sides<'a, T> {
    added: Vec<&'a str>,
    removed: Vec<&'a str>,
    kept: Vec<(&'a str, &'a T, &'a T)>,
}

impl<'a, T> Sides<'a, T> {
    fn of(old: &'a [T], new: &'a [T], name: impl Fn(&'a T) -> &'a str) -> Self {
        let by_name = |all: &'a [T]| all.iter().map(|one| (name(one), one)).collect::<BTreeMap<_, _>>();
        let (old, new) = (by_name(old), by_name(new));
        Self {
            added: new.keys().filter(|name| !old.contains_key(*name)).copied().collect(),
            removed: old.keys().filter(|name| !new.contains_key(*name)).copied().collect(),
            kept: new.iter().filter_map(|(name, new)| Some((*name, *old.get(name)?, *new))).collect(),
        }
    }
}

pub(super) fn functions(old: &[FunctionDef], new: &[FunctionDef]) -> Functions {
    let sides = Sides::of(old, new, |function| function.name.as_str());
    let mut breaking = !sides.removed.is_empty();
    let mut changed = Vec::new();
    for (name, old, new) in sides.kept {
        let mut changes = parameters(&old.parameters, &new.parameters);
        for (what, same) in [
            ("description", old.description == new.description),
            ("labels", old.labels == new.labels),
            ("tags", old.tags == new.tags),
        ] {
            if !same {
                changes.push(Change::harmless(format!("{what} changed")));
            }
        }
        if changes.is_empty() {
            continue;
        }
        let breaks = changes.iter().any(|change| change.breaking);
        breaking |= breaks;
        let texts: Vec<String> = changes.into_iter().map(|change| change.text).collect();
        changed.push(json!({"name": name, "breaking": breaks, "changes": texts}));
    }
    Functions { breaking, value: json!({"added": sides.added, "removed": sides.removed, "changed": changed}) }
}

pub(super) fn events(old: &[EventDef], new: &[EventDef]) -> Value {
    let sides = Sides::of(old, new, |event| event.name.as_str());
    let changed: Vec<&str> = sides.kept.iter().filter(|(_, old, new)| old != new).map(|(name, ..)| *name).collect();
    json!({"added": sides.added, "removed": sides.removed, "changed": changed})
}

pub(super) fn routines(old: &[RoutineDef], new: &[RoutineDef]) -> Value {
    let sides = Sides::of(old, new, |routine| routine.name.as_str());
    let changed: Vec<&str> = sides.kept.iter().filter(|(_, old, new)| old != new).map(|(name, ..)| *name).collect();
    json!({"added": sides.added, "removed": sides.removed, "changed": changed})
}

/// With whose events they want.
pub(super) fn subscriptions(old: &[SubscriptionDef], new: &[SubscriptionDef]) -> Value {
    let sides = Sides::of(old, new, |subscription| subscription.name.as_str());
    let changed: Vec<&str> = sides.kept.iter().filter(|(_, old, new)| old != new).map(|(name, ..)| *name).collect();
    json!({"wanted": new, "added": sides.added, "removed": sides.removed, "changed": changed})
}

/// One object of the manifest: as it is wanted, and which of its settings come and go.
pub(super) fn settings(key: &str, old: Option<&Map<String, Value>>, new: &Map<String, Value>) -> Value {
    let wanted = new.get(key).cloned().unwrap_or_else(|| json!({}));
    let flat = |value: Option<&Value>| {
        let mut all = BTreeSet::new();
        if let Some(value) = value {
            flatten("", value, &mut all);
        }
        all
    };
    let (before, after) = (flat(old.and_then(|old| old.get(key))), flat(Some(&wanted)));
    let added: Vec<&String> = after.difference(&before).collect();
    let removed: Vec<&String> = before.difference(&after).collect();
    json!({"wanted": wanted, "added": added, "removed": removed})
}

/// Each setting as one line: `mesh.invoke camera-*`, `memory 32MiB`.
fn flatten(path: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| flatten(path, item, into)),
        Value::String(text) => drop(into.insert(format!("{path} {text}"))),
        other => drop(into.insert(format!("{path} {other}"))),
    }
}

/// What changed between two JSON Schemas of type `object`. Calls that fit the old one and not the new are what breaks;
/// where nobody can tell, it counts as breaking.
fn parameters(old: &Json, new: &Json) -> Vec<Change> {
    if old == new {
        return Vec::new();
    }
    let (old, new) = (Schema::of(old), Schema::of(new));
    let mut changes = Vec::new();
    let names: BTreeSet<&String> = old.properties.keys().chain(new.properties.keys()).collect();
    for name in names {
        match (old.properties.get(name), new.properties.get(name)) {
            (Some(_), None) => changes.push(Change::breaking(format!("parameter `{name}` removed"))),
            (None, Some(_)) if new.required.contains(name) => {
                changes.push(Change::breaking(format!("required parameter `{name}` added")));
            }
            (None, Some(_)) => changes.push(Change::harmless(format!("optional parameter `{name}` added"))),
            (Some(before), Some(after)) => {
                match (old.required.contains(name), new.required.contains(name)) {
                    (false, true) => changes.push(Change::breaking(format!("parameter `{name}` is required now"))),
                    (true, false) => changes.push(Change::harmless(format!("parameter `{name}` is optional now"))),
                    _ => {}
                }
                if accepts(before) != accepts(after) {
                    let (before, after) = (accepts(before), accepts(after));
                    changes.push(Change::breaking(format!("parameter `{name}` is {after} now, was {before}")));
                } else if before != after {
                    changes.push(Change::harmless(format!("parameter `{name}` is described differently")));
                }
            }
            (None, None) => {}
        }
    }
    if old.rest != new.rest {
        changes.push(Change::breaking("the rules for its parameters as a whole changed"));
    }
    changes
}

struct Schema {
    properties: Map<String, Value>,
    required: BTreeSet<String>,
    /// Everything else that says what is accepted.
    rest: Value,
}

impl Schema {
    fn of(schema: &Json) -> Self {
        let mut rest = accepts(&schema.to_value());
        let mut take = |key: &str| rest.as_object_mut().and_then(|rest| rest.remove(key));
        let properties = match take("properties") {
            Some(Value::Object(_)) => schema.to_value().get("properties").and_then(Value::as_object).cloned(),
            _ => None,
        };
        let required = match take("required") {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => BTreeSet::new(),
        };
        Self { properties: properties.unwrap_or_default(), required, rest }
    }
}

/// A schema without what only explains: two that are equal then accept the same. A default is what the plugin does, and
/// changes no call.
fn accepts(schema: &Value) -> Value {
    match schema {
        Value::Object(object) => object
            .iter()
            .filter(|(key, value)| {
                // A parameter may be called `title`, and its schema is an object.
                !matches!(key.as_str(), "description" | "title" | "default" | "examples") || value.is_object()
            })
            .map(|(key, value)| (key.clone(), accepts(value)))
            .collect(),
        Value::Array(items) => items.iter().map(accepts).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mortise_model::{Cadence, FunctionName};
    use std::time::Duration;

    fn function(name: &str, parameters: &Value) -> FunctionDef {
        FunctionDef {
            name: FunctionName::new(name).unwrap(),
            description: "Does.".to_owned(),
            parameters: Json::of(parameters),
            labels: None,
            tags: Vec::new(),
        }
    }

    fn object(properties: &Value, required: &[&str]) -> Value {
        json!({"type": "object", "properties": properties, "required": required})
    }

    #[test]
    fn functions_come_go_and_stay() {
        let (ping, echo) = (function("ping", &object(&json!({}), &[])), function("echo", &object(&json!({}), &[])));
        let found = functions(std::slice::from_ref(&ping), &[ping.clone(), echo.clone()]);
        assert!(!found.breaking);
        assert_eq!(found.value, json!({"added": ["echo"], "removed": [], "changed": []}));
        let found = functions(&[ping.clone(), echo], &[ping]);
        assert!(found.breaking, "a caller may know it");
        assert_eq!(found.value, json!({"added": [], "removed": ["echo"], "changed": []}));
    }

    #[test]
    fn every_change_of_parameters_is_named_and_judged() {
        let text = json!({"type": "string"});
        let old = object(&json!({"a": text, "b": text}), &["a"]);
        for (new, breaking, expected) in [
            (object(&json!({"a": text}), &["a"]), true, "parameter `b` removed"),
            (object(&json!({"a": text, "b": text, "c": text}), &["a"]), false, "optional parameter `c` added"),
            (object(&json!({"a": text, "b": text, "c": text}), &["a", "c"]), true, "required parameter `c` added"),
            (object(&json!({"a": text, "b": text}), &["a", "b"]), true, "parameter `b` is required now"),
            (object(&json!({"a": text, "b": text}), &[]), false, "parameter `a` is optional now"),
            (
                object(&json!({"a": text, "b": {"type": "integer"}}), &["a"]),
                true,
                r#"parameter `b` is {"type":"integer"} now, was {"type":"string"}"#,
            ),
            (
                object(&json!({"a": {"type": "string", "description": "New."}, "b": text}), &["a"]),
                false,
                "parameter `a` is described differently",
            ),
            (
                object(&json!({"a": text, "b": {"type": "string", "default": "x"}}), &["a"]),
                false,
                "parameter `b` is described differently",
            ),
            (
                json!({
                    "type": "object", "properties": {"a": text, "b": text}, "required": ["a"],
                    "additionalProperties": false,
                }),
                true,
                "the rules for its parameters as a whole changed",
            ),
        ] {
            let found = functions(&[function("f", &old)], &[function("f", &new)]);
            assert_eq!(found.breaking, breaking, "{new}");
            let changed = json!([{"name": "f", "breaking": breaking, "changes": [expected]}]);
            assert_eq!(found.value["changed"], changed, "{new}");
        }
        let found = functions(&[function("f", &old)], &[function("f", &old)]);
        assert_eq!(found.value["changed"], json!([]));
    }

    #[test]
    fn a_parameter_may_be_called_like_an_annotation() {
        let old = object(&json!({"title": {"type": "string"}}), &[]);
        let new = object(&json!({"title": {"type": "integer"}}), &[]);
        assert!(functions(&[function("f", &old)], &[function("f", &new)]).breaking);
        let gone = object(&json!({}), &[]);
        assert!(functions(&[function("f", &old)], &[function("f", &gone)]).breaking);
    }

    #[test]
    fn a_description_that_changed_breaks_nothing() {
        let old = function("f", &object(&json!({}), &[]));
        let new = FunctionDef { description: "Does more.".to_owned(), tags: vec!["t".to_owned()], ..old.clone() };
        let found = functions(&[old], &[new]);
        assert!(!found.breaking);
        assert_eq!(found.value["changed"][0]["changes"], json!(["description changed", "tags changed"]));
    }

    #[test]
    fn a_routine_with_another_interval_has_changed() {
        let routine = |interval| RoutineDef {
            name: FunctionName::new("tick").unwrap(),
            interval: Duration::from_secs(interval),
            cadence: Cadence::FixedRate,
        };
        assert_eq!(routines(&[routine(1)], &[routine(2)])["changed"], json!(["tick"]));
        assert_eq!(routines(&[routine(1)], &[routine(1)])["changed"], json!([]));
    }

    #[test]
    fn settings_are_told_one_by_one() {
        let manifest = |value: Value| value.as_object().cloned().unwrap();
        let old = manifest(json!({"permissions": {"plugins": ["a.*"], "mesh": {"discover": true}}}));
        let new = manifest(json!({"permissions": {"plugins": ["a.*", "b.x"], "mesh": {"invoke": ["camera-*"]}}}));
        let found = settings("permissions", Some(&old), &new);
        assert_eq!(found["added"], json!(["mesh.invoke camera-*", "plugins b.x"]));
        assert_eq!(found["removed"], json!(["mesh.discover true"]));
        assert_eq!(settings("limits", None, &new), json!({"wanted": {}, "added": [], "removed": []}));
    }
}
