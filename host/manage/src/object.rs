//! Replies grow key by key.

use serde_json::Value;

/// Puts one more key into an object.
pub(crate) fn insert(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Value::Object(object) = object {
        object.insert(key.to_owned(), value.into());
    }
}
