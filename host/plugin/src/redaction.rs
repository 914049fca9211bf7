//! Keeps secrets that a plugin was told out of whatever it says: its log, its events, its results and failures.

use mortise_model::{Failure, Json, VariableName};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// Shorter ones occur in texts by chance, in bytes.
const SECRET_BYTES_MIN: usize = 6;

/// Values of one secret that are remembered: of one that was replaced, the one before is still about.
const VALUES_MAX: usize = 2;

/// The word for what cannot be told without one.
const SECRET_TOLD: &str = "secret_told";

fn secret_told() -> Failure {
    Failure::new(SECRET_TOLD, "it would tell a secret that the plugin was given")
}

/// The secrets that one plugin was told. As long as there are none it costs a look at a flag.
#[derive(Default)]
pub(crate) struct Redaction {
    any: AtomicBool,
    /// The std lock is held for a search.
    told: RwLock<BTreeMap<VariableName, VecDeque<Value>>>,
}

/// A secret's value, in every way that it is written.
struct Value {
    secret: String,
    written: Vec<String>,
}

impl Value {
    fn new(secret: &str) -> Self {
        // A text of several lines is logged line by line.
        let mut written = vec![secret.to_owned()];
        written.extend(secret.lines().map(str::to_owned));
        // As it stands in JSON, without the quotes.
        let escaped: Vec<_> = written.iter().map(|text| serde_json::Value::from(text.as_str()).to_string()).collect();
        written.extend(escaped.iter().filter_map(|text| text.get(1..text.len() - 1)).map(str::to_owned));
        written.retain(|text| text.len() >= SECRET_BYTES_MIN);
        written.sort_unstable();
        written.dedup();
        Self { secret: secret.to_owned(), written }
    }
}

impl Redaction {
    /// Remembers a secret that the plugin is about to be told.
    pub(crate) fn told(&self, name: &VariableName, secret: &str) {
        let mut told = self.told.write().unwrap_or_else(PoisonError::into_inner);
        let values = told.entry(name.clone()).or_default();
        if values.back().is_none_or(|last| last.secret != secret) {
            values.push_back(Value::new(secret));
            if values.len() > VALUES_MAX {
                values.pop_front();
            }
        }
        self.any.store(true, Ordering::Release);
    }

    /// The text with a mark in place of each secret.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !self.any.load(Ordering::Acquire) {
            return Cow::Borrowed(text);
        }
        let told = self.told.read().unwrap_or_else(PoisonError::into_inner);
        let written = told.iter().flat_map(|(name, values)| {
            values.iter().flat_map(move |value| value.written.iter().map(move |written| (written, name)))
        });
        let mut found: Vec<_> = written.filter(|(written, _)| text.contains(written.as_str())).collect();
        // The longest first: one secret may hold another.
        found.sort_by_key(|(written, _)| std::cmp::Reverse(written.len()));
        let mut clean = Cow::Borrowed(text);
        for (written, name) in found {
            clean = Cow::Owned(clean.replace(written.as_str(), &format!("[secret {name}]")));
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
            Cow::Owned(clean) => Json::new(clean).map_err(|_| secret_told()),
        }
    }

    /// Nothing, where `name` tells no secret: a mark is no name.
    ///
    /// # Errors
    /// `secret_told`.
    pub(crate) fn name(&self, name: &str) -> Result<(), Failure> {
        match self.text(name) {
            Cow::Borrowed(_) => Ok(()),
            Cow::Owned(_) => Err(secret_told()),
        }
    }

    /// The same for the beginning of a text: what may be a part of a secret, at its end, is left out.
    pub(crate) fn beginning<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let part_max = self.longest().saturating_sub(1);
        match self.text(text) {
            clean if part_max == 0 => clean,
            clean => {
                let end = clean.floor_char_boundary(clean.len().saturating_sub(part_max));
                Cow::Owned(clean.get(..end).unwrap_or_default().to_owned())
            }
        }
    }

    /// Of what is marked, in bytes; 0 where nothing is.
    fn longest(&self) -> usize {
        if !self.any.load(Ordering::Acquire) {
            return 0;
        }
        let told = self.told.read().unwrap_or_else(PoisonError::into_inner);
        let written = told.values().flatten().flat_map(|value| &value.written);
        written.map(String::len).max().unwrap_or_default()
    }

    /// A failure that tells no secret. A code that is one is none.
    pub(crate) fn failure(&self, failure: Failure) -> Failure {
        let code = match self.text(&failure.code) {
            Cow::Borrowed(_) => failure.code,
            Cow::Owned(_) => Cow::Borrowed(SECRET_TOLD),
        };
        Failure { code, message: self.text(&failure.message).into_owned(), ..failure }
    }

    /// An outcome that tells no secret.
    pub(crate) fn outcome(&self, outcome: Result<Json, Failure>) -> Result<Json, Failure> {
        if !self.any.load(Ordering::Acquire) {
            return outcome;
        }
        match outcome {
            Ok(json) => self.json(json),
            Err(failure) => Err(self.failure(failure)),
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
    fn a_secret_that_is_replaced_again_and_again_is_marked_as_it_is_now() {
        let redaction = Redaction::default();
        let name = VariableName::new("token").unwrap();
        for n in 0..1000 {
            redaction.told(&name, &format!("token-number-{n}"));
        }
        assert_eq!(redaction.text("token-number-999 token-number-998"), "[secret token] [secret token]");
        redaction.told(&name, "-----BEGIN KEY-----\nabcdefgh\n");
        assert_eq!(redaction.text("abcdefgh"), "[secret token]", "a line of it");
    }

    #[test]
    fn a_part_of_a_secret_at_the_end_of_what_was_cut_is_left_out() {
        let redaction = redaction(&[("a", "hunter22")]);
        assert_eq!(redaction.beginning("it is hunter22, it is hunter"), "it is [secret a], it is");
        assert_eq!(redaction.beginning("hunter"), "");
        assert_eq!(Redaction::default().beginning("hunter"), "hunter");
    }

    #[test]
    fn neither_names_nor_codes_tell_a_secret() {
        let redaction = redaction(&[("a", "hunter22")]);
        assert_eq!(redaction.name("is_hunter22").unwrap_err().code, "secret_told");
        assert_eq!(redaction.name("is_hunter"), Ok(()));
        let failure = Failure { code: Cow::Owned("hunter22".to_owned()), message: "m".to_owned(), retryable: false };
        assert_eq!(redaction.failure(failure).code, "secret_told");
    }

    #[test]
    fn without_secrets_nothing_is_touched() {
        assert!(matches!(redaction(&[]).text("anything"), Cow::Borrowed("anything")));
    }
}
