//! How a host function says no: a successful reply with `status: "error"` (wire contract 10.1).

pub(crate) use mortise_model::chain;
use serde_json::{Map, Value, json};

/// A host function's failure. `message` is the reference's wording where it has one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Apart, so that results stay small.
    more: Box<More>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct More {
    /// What went wrong underneath, as one line.
    detail: Option<String>,
    /// The cure.
    hint: Option<String>,
    /// Further keys that the wire contract asks for.
    extra: Map<String, Value>,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), more: Box::default() }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.more.hint = Some(hint.into());
        self
    }

    pub(crate) fn hint_if_none(self, hint: &str) -> Self {
        if self.more.hint.is_some() { self } else { self.hint(hint) }
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.more.detail = Some(detail.into());
        self
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.extra.insert(key.to_owned(), value.into());
        self
    }

    /// What went wrong, as one line.
    pub(crate) fn reason(&self) -> &str {
        self.more.detail.as_deref().unwrap_or(&self.message)
    }

    pub(crate) fn into_value(self) -> Value {
        let More { detail, hint, extra } = *self.more;
        let mut object = Map::from_iter([("status".to_owned(), json!("error"))]);
        object.extend(extra);
        object.insert("message".to_owned(), self.message.into());
        object.insert("code".to_owned(), self.code.into());
        for (key, text) in [("detail", detail), ("hint", hint)] {
            if let Some(text) = text {
                object.insert(key.to_owned(), text.into());
            }
        }
        Value::Object(object)
    }
}
