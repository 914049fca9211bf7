//! A call's parameters, judged by the function's own signature (wire contract 3.3).

use crate::{Error, Result};
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What a function takes.
#[derive(Debug, Clone, Copy)]
pub struct Signature<const N: usize> {
    /// `<Type>.<function>`.
    pub function: &'static str,
    /// In the order of the signature.
    pub parameters: [Parameter; N],
}

/// One parameter of a function.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// As it is called in JSON.
    pub name: &'static str,
    /// Without a default.
    pub required: bool,
}

/// The parameters of one call: JSON text each, none where it was not given.
#[derive(Debug)]
pub struct Arguments<'a, const N: usize> {
    signature: &'a Signature<N>,
    values: [Option<&'a RawValue>; N],
}

impl<const N: usize> Signature<N> {
    /// Sorts a JSON object into arguments.
    ///
    /// # Errors
    /// `invalid_parameters`: not an object, an unknown name, a required one missing; in the reference's words.
    pub fn read<'a>(&'a self, json: &'a str) -> Result<Arguments<'a, N>> {
        let mut collect = Collect { signature: self, values: [None; N], unknown: None };
        serde_json::Deserializer::from_str(json)
            .deserialize_map(&mut collect)
            .map_err(|error| invalid(format_args!("{}() parameters: {}", self.function, plain(&error))))?;
        if let Some(name) = collect.unknown {
            return Err(invalid(format_args!("{}() got an unexpected keyword argument '{name}'", self.function)));
        }
        let given = self.parameters.iter().zip(&collect.values);
        let missing: Vec<_> = given.filter(|(p, value)| p.required && value.is_none()).map(|(p, _)| p.name).collect();
        if !missing.is_empty() {
            return Err(self.missing(&missing));
        }
        Ok(Arguments { signature: self, values: collect.values })
    }

    /// Python's wording, which callers of the reference know.
    fn missing(&self, names: &[&str]) -> Error {
        let quoted: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
        let list = match quoted.as_slice() {
            [one] => one.clone(),
            [one, two] => format!("{one} and {two}"),
            [head @ .., last] => format!("{}, and {last}", head.join(", ")),
            [] => String::new(),
        };
        let (count, plural) = (names.len(), if names.len() == 1 { "" } else { "s" });
        let function = self.function;
        invalid(format_args!("{function}() missing {count} required positional argument{plural}: {list}"))
    }
}

impl<const N: usize> Arguments<'_, N> {
    /// The argument of a parameter without a default, or with type `Option<_>`.
    ///
    /// # Errors
    /// `invalid_parameters` naming the parameter when its type is another.
    pub fn get<T: DeserializeOwned>(&self, index: usize) -> Result<T> {
        // Only an `Option` may be missing here, and `null` is its none.
        self.parse(index, self.value(index).map_or("null", RawValue::get))
    }

    /// The argument of a parameter with a default. `null` counts as not given: careless clients fill it in.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_or<T: DeserializeOwned>(&self, index: usize, default: impl FnOnce() -> T) -> Result<T> {
        match self.value(index).map(RawValue::get) {
            None | Some("null") => Ok(default()),
            Some(json) => self.parse(index, json),
        }
    }

    fn value(&self, index: usize) -> Option<&RawValue> {
        self.values.get(index).copied().flatten()
    }

    fn parse<T: DeserializeOwned>(&self, index: usize, json: &str) -> Result<T> {
        serde_json::from_str(json).map_err(|error| {
            let name = self.signature.parameters.get(index).map_or("", |parameter| parameter.name);
            invalid(format_args!("{}() argument '{name}': {}", self.signature.function, plain(&error)))
        })
    }
}

struct Collect<'a, const N: usize> {
    signature: &'a Signature<N>,
    values: [Option<&'a RawValue>; N],
    unknown: Option<String>,
}

impl<'a, const N: usize> Visitor<'a> for &mut Collect<'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let value: &RawValue = map.next_value()?;
            let slots = self.signature.parameters.iter().zip(&mut self.values);
            match slots.into_iter().find(|(parameter, _)| parameter.name == name) {
                Some((_, slot)) => *slot = Some(value),
                None => _ = self.unknown.get_or_insert_with(|| name.into_owned()),
            }
        }
        Ok(())
    }
}

/// A key, borrowed unless it is written with escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn invalid(message: fmt::Arguments<'_>) -> Error {
    Error::new("invalid_parameters", message)
}

/// The parser's reason without its line and column, which mean nothing to a caller.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: Signature<3> = Signature {
        function: "Lamp.dim",
        parameters: [
            Parameter { name: "level", required: true },
            Parameter { name: "zone", required: true },
            Parameter { name: "fade", required: false },
        ],
    };

    fn message(json: &str) -> String {
        let error = SIGNATURE.read(json).expect_err("refused");
        assert_eq!(error.code(), "invalid_parameters");
        error.to_string()
    }

    #[test]
    fn the_phrases_are_the_references() {
        for (json, expected) in [
            (r#"{"level": 1}"#, "Lamp.dim() missing 1 required positional argument: 'zone'"),
            ("{}", "Lamp.dim() missing 2 required positional arguments: 'level' and 'zone'"),
            (r#"{"bad": 1, "worse": 2}"#, "Lamp.dim() got an unexpected keyword argument 'bad'"),
            ("[]", "Lamp.dim() parameters: invalid type: sequence, expected a JSON object"),
        ] {
            assert_eq!(message(json), expected, "{json}");
        }
    }

    #[test]
    fn three_missing_names_are_listed_as_python_lists_them() {
        let error = SIGNATURE.missing(&["a", "b", "c"]);
        assert_eq!(error.message(), "Lamp.dim() missing 3 required positional arguments: 'a', 'b', and 'c'");
    }

    #[test]
    fn arguments_arrive_by_name_whatever_the_order_and_escapes() {
        let arguments = SIGNATURE.read(r#"{"zone": "hall", "\u006cevel": 3, "zone": "door"}"#).expect("accepted");
        assert_eq!(arguments.get::<u8>(0), Ok(3));
        assert_eq!(arguments.get::<String>(1).as_deref(), Ok("door"), "the last of two wins, as in Python");
        assert_eq!(arguments.get::<Option<u8>>(2), Ok(None));
        assert_eq!(arguments.get_or(2, || 9), Ok(9));
    }

    #[test]
    fn null_for_a_default_is_the_default() {
        let arguments = SIGNATURE.read(r#"{"level": 1, "zone": "", "fade": null}"#).expect("accepted");
        assert_eq!(arguments.get_or(2, || 9), Ok(9));
    }

    #[test]
    fn a_wrong_type_names_its_parameter() {
        let arguments = SIGNATURE.read(r#"{"level": "much", "zone": ""}"#).expect("accepted");
        let error = arguments.get::<u8>(0).expect_err("refused");
        assert_eq!(error.message(), "Lamp.dim() argument 'level': invalid type: string \"much\", expected u8");
        assert_eq!(error.code(), "invalid_parameters");
    }
}
