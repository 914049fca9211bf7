//! Keeps secrets that a plugin was told out of whatever it says: its log, its events, its results and failures.

use mortise_model::{Failure, Json, VariableName};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// Shorter ones occur in texts by chance, in bytes.
const SECRET_BYTES_MIN: usize = 6;

/// Values that are remembered of one plugin. A secret that is replaced again and again is forgotten in the end.
const SECRETS_MAX: usize = 256;

/// The secrets that one plugin was told. As long as there are none it costs a look at a flag.
#[derive(Default)]
pub(crate) struct Redaction {
    any: AtomicBool,
    /// What stands in a text, and what is put in its place. The std lock is held for a search.
    marks: RwLock<BTreeMap<String, String>>,
}

impl Redaction {
    /// Remembers a secret that the plugin is about to be told.
    pub(crate) fn told(&self, name: &VariableName, secret: &str) {
        let mark = format!("[secret {name}]");
        // As it stands in JSON, without the quotes.
        let escaped = serde_json::Value::from(secret).to_string();
        let escaped = escaped.get(1..escaped.len() - 1).unwrap_or_default().to_owned();
        let mut marks = self.marks.write().unwrap_or_else(PoisonError::into_inner);
        for written in [secret.to_owned(), escaped] {
            if written.len() >= SECRET_BYTES_MIN && (marks.len() < SECRETS_MAX || marks.contains_key(&written)) {
                marks.insert(written, mark.clone());
            }
        }
        self.any.store(!marks.is_empty(), Ordering::Release);
    }

    /// The text with a mark in place of each secret.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !self.any.load(Ordering::Acquire) {
            return Cow::Borrowed(text);
        }
        let marks = self.marks.read().unwrap_or_else(PoisonError::into_inner);
        let mut clean = Cow::Borrowed(text);
        // The longest first: one secret may hold another.
        let mut longest: Vec<_> = marks.iter().collect();
        longest.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
        for (secret, mark) in longest {
            if clean.contains(secret.as_str()) {
                clean = Cow::Owned(clean.replace(secret.as_str(), mark));
            }
        }
        clean
    }

    /// The value with a mark in place of each secret.
    ///
    /// # Errors
    /// `secret_told` where a secret stood for more than a piece of text.
    pub(crate) fn json(&self, json: Json) -> Result<Json, Failure> {
        match self.text(json.as_str()) {
            Cow::Borrowed(_) => Ok(json),
            Cow::Owned(clean) => Json::new(clean)
                .map_err(|_| Failure::new("secret_told", "it would tell a secret that the plugin was given")),
        }
    }

    /// An outcome that tells no secret.
    pub(crate) fn outcome(&self, outcome: Result<Json, Failure>) -> Result<Json, Failure> {
        if !self.any.load(Ordering::Acquire) {
            return outcome;
        }
        match outcome {
            Ok(json) => self.json(json),
            Err(failure) => Err(Failure { message: self.text(&failure.message).into_owned(), ..failure }),
        }
    }
}

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redaction").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction(secrets: &[(&str, &str)]) -> Redaction {
        let redaction = Redaction::default();
        for (name, secret) in secrets {
            redaction.told(&VariableName::new(name).unwrap(), secret);
        }
        redaction
    }

    fn json(text: &str) -> Json {
        Json::new(text.to_owned()).unwrap()
    }

    #[test]
    fn a_secret_is_marked_wherever_it_stands() {
        let redaction =
            redaction(&[("a", "hunter22"), ("b", "hunter22-and-more"), ("c", "say \"hello\""), ("d", "short")]);
        assert_eq!(redaction.text("it is hunter22, hunter22-and-more"), "it is [secret a], [secret b]");
        assert_eq!(redaction.text("short"), "short");
        let quoted = json(r#"{"x":"say \"hello\""}"#);
        assert_eq!(redaction.json(quoted).unwrap().as_str(), r#"{"x":"[secret c]"}"#);
        let failure = redaction.outcome(Err(Failure::new("x", "no hunter22"))).unwrap_err();
        assert_eq!(failure.message, "no [secret a]");
    }

    #[test]
    fn a_secret_that_is_no_text_is_not_told_either() {
        let redaction = redaction(&[("pin", "123456")]);
        assert_eq!(redaction.json(json("123456")).unwrap_err().code, "secret_told");
        assert_eq!(redaction.json(json("\"123456\"")).unwrap().as_str(), "\"[secret pin]\"");
    }

    #[test]
    fn without_secrets_nothing_is_touched() {
        assert!(matches!(redaction(&[]).text("anything"), Cow::Borrowed("anything")));
    }
}
