//! `config_schema`: the part of JSON Schema that is checked here. Any other keyword is refused, since accepting it
//! would promise a check that nobody makes.

use super::json_type;
use crate::suggestion::suggestion;
use serde_json::{Map, Value};

/// A `config_schema` that cannot be kept, or a `config` that breaks it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A keyword that is not checked.
    #[error("keyword `{keyword}` in `{key}` is not supported by this version")]
    Keyword {
        /// Where, with dots.
        key: String,
        /// The keyword.
        keyword: String,
    },
    /// A keyword with a value that it cannot have.
    #[error("`{key}` must be {expected}, got {got}")]
    Schema {
        /// Where, with dots.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// The value, as JSON.
        got: String,
    },
    /// A setting that the schema does not list, where it says that it lists all.
    #[error("unknown key `config.{name}`")]
    Unknown {
        /// As written.
        name: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A setting that the schema requires.
    #[error("`config.{name}` is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A setting of the wrong type.
    #[error("`config.{name}` must be {expected}, got {got}")]
    WrongType {
        /// Its name.
        name: String,
        /// A JSON Schema type.
        expected: String,
        /// A JSON type.
        got: &'static str,
    },
}

impl ConfigError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Keyword { .. } | Self::Schema { .. } => "config_schema_unsupported",
            Self::Unknown { .. } | Self::Missing { .. } | Self::WrongType { .. } => "config_invalid",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Keyword { .. } => {
                "use `type`, `properties` with a `type` each, `required`, `additionalProperties`".to_owned()
            }
            Self::Schema { key, expected, .. } => format!("change `{key}` to {expected}"),
            Self::Unknown { suggestion: Some(suggestion), .. } => format!("did you mean `{suggestion}`?"),
            Self::Unknown { suggestion: None, name } => {
                format!("remove `config.{name}`, or list it in `config_schema.properties`")
            }
            Self::Missing { name } => format!("add \"{name}\" to `config`"),
            Self::WrongType { name, expected, .. } => format!("change `config.{name}` to {expected}"),
        }
    }
}

const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

/// Checks `config` by `schema`, and that `schema` asks for nothing that is not checked.
pub(super) fn check(schema: &Map<String, Value>, config: &Map<String, Value>) -> Result<(), ConfigError> {
    let key = |name: &str| format!("config_schema.{name}");
    let malformed =
        |name: &str, expected, got: &Value| ConfigError::Schema { key: key(name), expected, got: got.to_string() };
    let empty = Map::new();
    let (mut properties, mut closed) = (&empty, false);
    for (keyword, value) in schema {
        match (keyword.as_str(), value) {
            ("type", Value::String(name)) if name == "object" => {}
            ("type", _) => return Err(malformed("type", "\"object\"", value)),
            ("properties", Value::Object(listed)) => properties = listed,
            ("properties", _) => return Err(malformed("properties", "an object", value)),
            ("required", Value::Array(names)) if names.iter().all(Value::is_string) => {
                let missing = names.iter().filter_map(Value::as_str).find(|name| !config.contains_key(*name));
                if let Some(name) = missing {
                    return Err(ConfigError::Missing { name: name.to_owned() });
                }
            }
            ("required", _) => return Err(malformed("required", "an array of names", value)),
            ("additionalProperties", Value::Bool(open)) => closed = !open,
            ("additionalProperties", _) => return Err(malformed("additionalProperties", "true or false", value)),
            ("title" | "description", _) => {}
            _ => return Err(ConfigError::Keyword { key: "config_schema".to_owned(), keyword: keyword.clone() }),
        }
    }
    for (name, property) in properties {
        check_property(name, property, config.get(name))?;
    }
    if closed && let Some(name) = config.keys().find(|name| !properties.contains_key(*name)) {
        let suggestion = suggestion(name, properties.keys().map(String::as_str)).map(str::to_owned);
        return Err(ConfigError::Unknown { name: name.clone(), suggestion });
    }
    Ok(())
}

fn check_property(name: &str, property: &Value, value: Option<&Value>) -> Result<(), ConfigError> {
    let key = format!("config_schema.properties.{name}");
    let Value::Object(keywords) = property else {
        return Err(ConfigError::Schema { key, expected: "an object", got: property.to_string() });
    };
    for (keyword, wanted) in keywords {
        match keyword.as_str() {
            "type" => {
                let Some(wanted) = wanted.as_str().filter(|wanted| TYPES.contains(wanted)) else {
                    let expected = "one of null, boolean, integer, number, string, array, object";
                    return Err(ConfigError::Schema { key: format!("{key}.type"), expected, got: wanted.to_string() });
                };
                if let Some(value) = value.filter(|value| !has_type(value, wanted)) {
                    let (name, expected) = (name.to_owned(), wanted.to_owned());
                    return Err(ConfigError::WrongType { name, expected, got: json_type(value) });
                }
            }
            "title" | "description" => {}
            _ => return Err(ConfigError::Keyword { key, keyword: keyword.clone() }),
        }
    }
    Ok(())
}

/// JSON Schema's `type`: an integer is a number, and so is 1.0 an integer.
fn has_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => json_type(value) == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(schema: Value, config: Value) -> Result<(), ConfigError> {
        check(schema.as_object().unwrap(), config.as_object().unwrap())
    }

    fn schema() -> Value {
        json!({
            "type": "object", "title": "Settings", "required": ["unit"], "additionalProperties": false,
            "properties": {"unit": {"type": "string"}, "count": {"type": "integer", "description": "how many"}},
        })
    }

    #[test]
    fn a_config_that_keeps_its_schema_passes() {
        for config in [json!({"unit": "C"}), json!({"unit": "C", "count": 1}), json!({"unit": "C", "count": 2.0})] {
            assert_eq!(checked(schema(), config), Ok(()));
        }
        assert_eq!(checked(json!({}), json!({"anything": [1]})), Ok(()));
        assert_eq!(checked(json!({"properties": {"a": {}}}), json!({"b": 1})), Ok(()));
    }

    #[test]
    fn a_config_that_breaks_it_is_refused_by_name() {
        let name = |name: &str| name.to_owned();
        for (config, expected) in [
            (json!({}), ConfigError::Missing { name: name("unit") }),
            (
                json!({"unit": "C", "cuont": 1}),
                ConfigError::Unknown { name: name("cuont"), suggestion: Some(name("count")) },
            ),
            (json!({"unit": "C", "colour": 1}), ConfigError::Unknown { name: name("colour"), suggestion: None }),
            (
                json!({"unit": 1}),
                ConfigError::WrongType { name: name("unit"), expected: name("string"), got: "number" },
            ),
            (
                json!({"unit": "C", "count": 1.5}),
                ConfigError::WrongType { name: name("count"), expected: name("integer"), got: "number" },
            ),
        ] {
            assert_eq!(checked(schema(), config), Err(expected));
        }
    }

    #[test]
    fn a_keyword_that_nobody_checks_is_refused() {
        for (schema, at) in [
            (json!({"minProperties": 1}), "config_schema"),
            (json!({"properties": {"a": {"type": "integer", "minimum": 1}}}), "config_schema.properties.a"),
        ] {
            let error = checked(schema, json!({"a": 0})).unwrap_err();
            assert!(matches!(&error, ConfigError::Keyword { key, .. } if key == at), "{error}");
        }
        for schema in [
            json!({"type": "array"}),
            json!({"properties": []}),
            json!({"properties": {"a": {"type": "text"}}}),
            json!({"properties": {"a": {"type": ["string"]}}}),
            json!({"properties": {"a": true}}),
            json!({"required": "a"}),
            json!({"additionalProperties": {}}),
        ] {
            let error = checked(schema, json!({})).unwrap_err();
            assert!(matches!(error, ConfigError::Schema { .. }), "{error}");
        }
    }
}
