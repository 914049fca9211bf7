//! JSON text that has been checked once and is then passed on as it is.

use serde_json::value::RawValue;
use std::fmt;

/// One JSON value (RFC 8259) as text.
///
/// Checked when made, never parsed again on its way: numbers keep their digits, objects their order.
#[derive(Clone)]
pub struct Json(Box<RawValue>);

/// Text that is not one JSON value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON: {0}")]
pub struct JsonError(String);

impl Json {
    /// Checks `text`. `NaN`, `Infinity` and anything after the value are errors.
    ///
    /// # Errors
    /// [`JsonError`] says where the text goes wrong.
    pub fn new(text: String) -> Result<Self, JsonError> {
        RawValue::from_string(text).map(Self).map_err(|error| JsonError(error.to_string()))
    }

    /// A value that is known to serialise: maps with text keys, no failing `Serialize`.
    #[must_use]
    pub fn of(value: &serde_json::Value) -> Self {
        // A `Value` always serialises: its keys are text and its numbers finite.
        Self(serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }

    /// The text, without surrounding blanks.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The text alone.
    #[must_use]
    pub fn into_string(self) -> String {
        Box::<str>::from(self.0).into()
    }

    /// The text as serde_json has it.
    #[must_use]
    pub fn as_raw(&self) -> &RawValue {
        &self.0
    }

    /// Whether the value is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.as_str().starts_with('{')
    }

    /// The value parsed into a tree.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        // The text was checked when this was made; only its depth can still be refused.
        serde_json::from_str(self.as_str()).unwrap_or(serde_json::Value::Null)
    }
}

/// Whether a value counts as true where the wire contract says "truthy": everything but `false`, `null`, zero and what
/// is empty, as in Python.
#[must_use]
pub fn is_truthy(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

impl From<Box<RawValue>> for Json {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw)
    }
}

impl serde::Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Json {
    /// From JSON text only: other formats have no raw text to keep.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_text_and_refuses_what_is_not_json() {
        let text = r#"{"b":1.50,"a":123456789012345678901234567890}"#;
        assert_eq!(Json::new(text.to_owned()).map(|json| json.as_str().to_owned()), Ok(text.to_owned()));
        for bad in ["", "NaN", "{} x", "{\"a\":Infinity}", "[1,]", "'x'"] {
            assert!(Json::new(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn truth_is_python_s() {
        for (text, expected) in [
            ("true", true),
            ("1", true),
            ("-0.5", true),
            (r#""false""#, true),
            ("[0]", true),
            (r#"{"a":null}"#, true),
            ("false", false),
            ("null", false),
            ("0", false),
            ("0.0", false),
            (r#""""#, false),
            ("[]", false),
            ("{}", false),
        ] {
            assert_eq!(is_truthy(&Json::new(text.to_owned()).unwrap().to_value()), expected, "{text}");
        }
    }
}
