//! What host functions take: names, types and defaults as the reference advertises them (wire contract 6.4), and
//! arguments judged with the reference's own phrases (3.3).

use crate::object::insert;
use crate::refusal::Refusal;
use mortise_model::Json;
use serde_json::{Map, Value, json};

/// The type a parameter is advertised with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Boolean,
    Integer,
    Object,
}

impl Kind {
    fn schema_type(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Object => "object",
        }
    }
}

/// One parameter of a host function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) description: &'static str,
    /// None: the caller must give it.
    pub(crate) default: Option<DefaultValue>,
}

/// A default as it is advertised.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DefaultValue {
    Null,
    True,
    False,
    Text(&'static str),
}

impl DefaultValue {
    fn value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::True => Value::Bool(true),
            Self::False => Value::Bool(false),
            Self::Text(text) => text.into(),
        }
    }
}

/// The JSON Schema that a signature is advertised with.
pub(crate) fn schema(parameters: &[Parameter]) -> Json {
    let properties: Map<String, Value> = parameters
        .iter()
        .map(|parameter| {
            let mut property = json!({"type": parameter.kind.schema_type(), "description": parameter.description});
            if let Some(default) = parameter.default {
                insert(&mut property, "default", default.value());
            }
            (parameter.name.to_owned(), property)
        })
        .collect();
    let required: Vec<&str> =
        parameters.iter().filter(|parameter| parameter.default.is_none()).map(|parameter| parameter.name).collect();
    Json::of(&json!({"type": "object", "properties": properties, "required": required}))
}

/// The arguments of one call; every key is known, every required one is there.
#[derive(Debug)]
pub(crate) struct Arguments(Map<String, Value>);

impl Arguments {
    /// Judges `params`, a JSON object, against the signature of `function`.
    ///
    /// # Errors
    /// The reference's words for an unexpected or a missing argument.
    pub(crate) fn judge(function: &str, parameters: &[Parameter], params: &Json) -> Result<Self, String> {
        let Value::Object(given) = params.to_value() else {
            return Err(format!("PluginHostDriver.{function}() takes one JSON object"));
        };
        if let Some(unknown) = given.keys().find(|key| !parameters.iter().any(|known| known.name == *key)) {
            return Err(format!("PluginHostDriver.{function}() got an unexpected keyword argument '{unknown}'"));
        }
        let missing: Vec<String> = parameters
            .iter()
            .filter(|parameter| parameter.default.is_none() && !given.contains_key(parameter.name))
            .map(|parameter| format!("'{}'", parameter.name))
            .collect();
        if let Some((last, others)) = missing.split_last() {
            let (count, plural) = (missing.len(), if others.is_empty() { "" } else { "s" });
            let names = if others.is_empty() { last.clone() } else { format!("{} and {last}", others.join(", ")) };
            return Err(format!(
                "PluginHostDriver.{function}() missing {count} required positional argument{plural}: {names}"
            ));
        }
        Ok(Self(given))
    }

    /// Arguments that the host makes itself.
    pub(crate) fn of(given: Map<String, Value>) -> Self {
        Self(given)
    }

    /// Whether it was given, and not as `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whatever was given, taken out; none where it is missing or `null`.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.0.get_mut(name).map(Value::take).filter(|value| !value.is_null())
    }

    /// An object that must be there, taken out; text is read as JSON.
    pub(crate) fn take_object(&mut self, name: &'static str) -> Result<Map<String, Value>, Refusal> {
        match self.0.get_mut(name).map(Value::take) {
            Some(Value::Object(object)) => Ok(object),
            Some(Value::String(text)) => match serde_json::from_str(&text) {
                Ok(Value::Object(object)) => Ok(object),
                _ => Err(wrong(name, "a JSON object")),
            },
            _ => Err(wrong(name, "a JSON object")),
        }
    }

    /// A whole number that is not negative, which must be there.
    pub(crate) fn number(&self, name: &'static str) -> Result<u64, Refusal> {
        self.optional_number(name)?.ok_or_else(|| wrong(name, "a number"))
    }

    /// A whole number that is not negative, or none where it is missing or `null`.
    pub(crate) fn optional_number(&self, name: &'static str) -> Result<Option<u64>, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| wrong(name, "a whole number that is not negative")),
        }
    }

    /// A text that must be there.
    pub(crate) fn text(&self, name: &'static str) -> Result<&str, Refusal> {
        self.optional_text(name)?.ok_or_else(|| wrong(name, "a text"))
    }

    /// A text that must be there, taken out: for those too large to copy.
    pub(crate) fn take_text(&mut self, name: &'static str) -> Result<String, Refusal> {
        match self.0.get_mut(name).map(Value::take) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(wrong(name, "a text")),
        }
    }

    /// A text, or none where it is missing or `null`.
    pub(crate) fn optional_text(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "a text")),
        }
    }

    /// A boolean, or the texts that callers write for one (wire contract 6.4); none where it is missing or `null`.
    pub(crate) fn optional_flag(&self, name: &'static str) -> Result<Option<bool>, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(Some(true)),
                "false" | "0" | "no" | "off" => Ok(Some(false)),
                _ => Err(wrong(name, "true or false")),
            },
            Some(_) => Err(wrong(name, "true or false")),
        }
    }
}

fn wrong(name: &'static str, expected: &str) -> Refusal {
    Refusal::new("invalid_argument", format!("argument `{name}` must be {expected}"))
        .hint("the advertised schema of the function says what it takes")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKES: [Parameter; 3] = [
        Parameter { name: "a", kind: Kind::Text, description: "first", default: None },
        Parameter { name: "b", kind: Kind::Text, description: "second", default: None },
        Parameter { name: "load", kind: Kind::Boolean, description: "third", default: Some(DefaultValue::True) },
    ];

    fn judge(params: &str) -> Result<Arguments, String> {
        Arguments::judge("f", &TAKES, &Json::new(params.to_owned()).unwrap())
    }

    #[test]
    fn problems_are_named_as_the_reference_names_them() {
        for (params, message) in [
            ("{}", "PluginHostDriver.f() missing 2 required positional arguments: 'a' and 'b'"),
            (r#"{"b":1}"#, "PluginHostDriver.f() missing 1 required positional argument: 'a'"),
            (r#"{"a":1,"x":1}"#, "PluginHostDriver.f() got an unexpected keyword argument 'x'"),
        ] {
            assert_eq!(judge(params).unwrap_err(), message);
        }
    }

    #[test]
    fn booleans_may_be_written_as_text() {
        for (text, flag) in [("true", true), (r#""Yes""#, true), (r#""false""#, false), (r#"" 0 ""#, false)] {
            let arguments = judge(&format!(r#"{{"a":"","b":"","load":{text}}}"#)).unwrap();
            assert_eq!(arguments.optional_flag("load").unwrap(), Some(flag), "{text}");
        }
        let arguments = judge(r#"{"a":"x","b":null,"load":"maybe"}"#).unwrap();
        assert_eq!(arguments.optional_flag("load").unwrap_err().code, "invalid_argument");
        assert_eq!(arguments.text("a").unwrap(), "x");
        assert_eq!(arguments.text("b").unwrap_err().message, "argument `b` must be a text");
    }

    #[test]
    fn the_schema_has_the_reference_s_shape() {
        assert_eq!(
            schema(&TAKES).to_value(),
            json!({"type": "object", "required": ["a", "b"], "properties": {
                "a": {"type": "string", "description": "first"},
                "b": {"type": "string", "description": "second"},
                "load": {"type": "boolean", "description": "third", "default": true},
            }})
        );
    }
}
