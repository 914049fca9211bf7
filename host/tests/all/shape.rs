//! What an answer must look like: the keys of the wire contract and the types of their values.

use serde_json::Value;

/// Checks `value` against `shape`, in which an object stands for an object with at least these keys, a list for a list
/// of such, and a text for a JSON type (`text|null` for either).
#[track_caller]
pub(crate) fn assert_shape(value: &Value, shape: &Value) {
    if let Err(fault) = check(value, shape, "$") {
        panic!("{fault}; all of it: {value}");
    }
}

fn check(value: &Value, shape: &Value, at: &str) -> Result<(), String> {
    match (shape, value) {
        (Value::Object(keys), Value::Object(fields)) => keys.iter().try_for_each(|(key, shape)| {
            let at = format!("{at}.{key}");
            check(fields.get(key).ok_or_else(|| format!("`{at}` is missing"))?, shape, &at)
        }),
        (Value::Array(of), Value::Array(items)) => {
            items.iter().enumerate().try_for_each(|(n, item)| check(item, &of[0], &format!("{at}[{n}]")))
        }
        (Value::String(name), value) if name.split('|').any(|name| name == type_of(value)) => Ok(()),
        (shape, value) => Err(format!("`{at}` is {value}, expected {shape}")),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}
