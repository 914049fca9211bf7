//! Lifecycle calls that come twice: a caller that repeats a request joins the first and gets its answer.

use mortise_model::{Digest, Json};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long an answer is remembered after its call began.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Calls remembered at most; beyond it the oldest is forgotten.
const REMEMBERED_MAX: usize = 1024;

/// What makes two calls one: the caller's request id, the method and the parameters' text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RepeatKey {
    id: Box<str>,
    method: Box<str>,
    params: Digest,
}

impl RepeatKey {
    /// None for `null`, which names no request.
    pub(crate) fn new(id: &str, method: &str, params: &Json) -> Option<Self> {
        let params = Digest::of(params.as_str().as_bytes());
        (id != "null").then(|| Self { id: id.into(), method: method.into(), params })
    }
}

/// The answer of a call under way or just ended.
pub(crate) type Answer = watch::Receiver<Option<Json>>;

/// Whether a call is the first of its kind.
pub(crate) enum Repeat {
    /// Do the work and send the answer here.
    First(watch::Sender<Option<Json>>),
    /// Wait for the answer of the first.
    Joined(Answer),
}

/// The calls of the last minute.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    // A std mutex: held for one look-up.
    recent: Mutex<HashMap<RepeatKey, (Instant, Answer)>>,
}

impl Repeats {
    pub(crate) fn enter(&self, key: RepeatKey, now: Instant) -> Repeat {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, (began, _)| now.duration_since(*began) < REMEMBERED);
        if let Some((_, answer)) = recent.get(&key) {
            // A first call that ended without an answer is no answer to join.
            if answer.borrow().is_some() || answer.has_changed().is_ok() {
                return Repeat::Joined(answer.clone());
            }
        }
        if recent.len() >= REMEMBERED_MAX {
            let oldest = recent.iter().min_by_key(|(_, (began, _))| *began).map(|(key, _)| key.clone());
            oldest.map(|key| recent.remove(&key));
        }
        let (sender, answer) = watch::channel(None);
        recent.insert(key, (now, answer));
        Repeat::First(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, params: &str) -> RepeatKey {
        RepeatKey::new(id, "load_plugin", &Json::new(params.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn only_the_same_request_joins_and_only_for_a_minute() {
        let repeats = Repeats::default();
        let start = Instant::now();
        let Repeat::First(sender) = repeats.enter(key("\"a\"", "{}"), start) else { panic!("the first") };
        assert!(matches!(repeats.enter(key("\"a\"", "{}"), start), Repeat::Joined(_)));
        assert!(matches!(repeats.enter(key("\"b\"", "{}"), start), Repeat::First(_)));
        assert!(matches!(repeats.enter(key("\"a\"", r#"{"x":1}"#), start), Repeat::First(_)));
        sender.send_replace(Some(Json::new("1".to_owned()).unwrap()));
        drop(sender);
        let later = start + REMEMBERED - Duration::from_secs(1);
        let Repeat::Joined(answer) = repeats.enter(key("\"a\"", "{}"), later) else { panic!("within a minute") };
        assert_eq!(answer.borrow().as_ref().map(Json::as_str), Some("1"));
        assert!(matches!(repeats.enter(key("\"a\"", "{}"), start + REMEMBERED), Repeat::First(_)));
    }

    #[test]
    fn a_first_call_that_died_is_not_joined_and_null_names_nothing() {
        let repeats = Repeats::default();
        let now = Instant::now();
        drop(repeats.enter(key("1", "{}"), now));
        assert!(matches!(repeats.enter(key("1", "{}"), now), Repeat::First(_)));
        assert!(RepeatKey::new("null", "load_plugin", &Json::new("{}".to_owned()).unwrap()).is_none());
    }
}
