//! Calls that come twice and are done once: a caller that repeats a request joins the first and gets its answer.

use mortise_model::{Digest, Json};
use mortise_rpc::Origin;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long an answer is remembered after its call began.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Calls remembered at most; beyond it the oldest is forgotten.
const REMEMBERED_MAX: usize = 1024;

/// What makes two calls one: the request id of one caller, the method and the parameters' text. What the caller chose
/// is kept as digests, so that a key has one size.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RepeatKey {
    /// Whose request it is, as far as that is known, and its id.
    request: Digest,
    method: &'static str,
    params: Digest,
}

impl RepeatKey {
    /// None for `null`, which names no request.
    pub(crate) fn new(
        origin: Origin,
        caller: Option<String>,
        id: &str,
        method: &'static str,
        params: &Json,
    ) -> Option<Self> {
        (id != "null").then(|| Self {
            request: request(origin, caller.as_deref(), id),
            method,
            params: Digest::of(params.as_str().as_bytes()),
        })
    }
}

fn request(origin: Origin, caller: Option<&str>, id: &str) -> Digest {
    // The caller's length keeps the end of its name apart from the beginning of the id.
    let caller_bytes = caller.map(str::len);
    Digest::of(format!("{origin:?} {caller_bytes:?} {}{id}", caller.unwrap_or_default()).as_bytes())
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
        // An id that comes back with another method or other parameters is used anew: what it stood for is over.
        recent.retain(|known, (_, answer)| known.request != key.request || is_under_way(answer));
        if recent.len() >= REMEMBERED_MAX {
            let ended = recent.iter().filter(|(_, (_, answer))| !is_under_way(answer));
            let oldest = ended.min_by_key(|(_, (began, _))| *began).map(|(key, _)| key.clone());
            oldest.map(|key| recent.remove(&key));
        }
        let (sender, answer) = watch::channel(None);
        recent.insert(key, (now, answer));
        Repeat::First(sender)
    }

    /// Lets a call be made again at once: its answer asked for that.
    pub(crate) fn forget(&self, key: &RepeatKey) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn is_under_way(answer: &Answer) -> bool {
    answer.borrow().is_none() && answer.has_changed().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, params: &str) -> RepeatKey {
        RepeatKey::new(Origin::Mesh, None, id, "load_plugin", &json(params)).unwrap()
    }

    fn json(text: &str) -> Json {
        Json::new(text.to_owned()).unwrap()
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
        assert!(RepeatKey::new(Origin::Mesh, None, "null", "load_plugin", &json("{}")).is_none());
    }

    #[test]
    fn another_caller_s_request_and_an_id_used_anew_are_calls_of_their_own() {
        let repeats = Repeats::default();
        let now = Instant::now();
        let done = |key: RepeatKey| match repeats.enter(key, now) {
            Repeat::First(sender) => drop(sender.send_replace(Some(json("1")))),
            Repeat::Joined(_) => panic!("joined"),
        };
        done(key("1", "{}"));
        done(RepeatKey::new(Origin::Control, None, "1", "load_plugin", &json("{}")).unwrap());
        done(RepeatKey::new(Origin::Mesh, Some("robot".into()), "1", "load_plugin", &json("{}")).unwrap());
        done(RepeatKey::new(Origin::Mesh, None, "1", "unload_plugin", &json("{}")).unwrap());
        done(key("1", "{}"));
        assert!(matches!(repeats.enter(key("1", "{}"), now), Repeat::Joined(_)));
        let of = |caller: &str, id: &str| request(Origin::Mesh, Some(caller), id);
        assert_ne!(of("a", "b1"), of("ab", "1"), "caller and id are told apart");
        assert_ne!(request(Origin::Mesh, None, "1"), of("", "1"));
        repeats.forget(&key("1", "{}"));
        assert!(matches!(repeats.enter(key("1", "{}"), now), Repeat::First(_)));
    }
    #[test]
    fn the_oldest_answers_make_room_and_calls_under_way_stay() {
        let repeats = Repeats::default();
        let start = Instant::now();
        let at = |n: usize| start + Duration::from_millis(n as u64);
        let Repeat::First(under_way) = repeats.enter(key("0", "{}"), at(0)) else { panic!("the first") };
        for n in 1..=REMEMBERED_MAX {
            match repeats.enter(key(&n.to_string(), "{}"), at(n)) {
                Repeat::First(sender) => drop(sender.send_replace(Some(json("1")))),
                Repeat::Joined(_) => panic!("{n} joined"),
            }
        }
        assert_eq!(repeats.recent.lock().unwrap().len(), REMEMBERED_MAX);
        let now = at(REMEMBERED_MAX);
        assert!(matches!(repeats.enter(key("0", "{}"), now), Repeat::Joined(_)), "it is not over");
        assert!(matches!(repeats.enter(key("2", "{}"), now), Repeat::Joined(_)));
        assert!(matches!(repeats.enter(key("1", "{}"), now), Repeat::First(_)), "the oldest is forgotten");
        drop(under_way);
    }

    /// What a caller chooses is not kept, however long it is.
    #[test]
    fn a_key_has_one_size() {
        let long = "x".repeat(1 << 20);
        let key = RepeatKey::new(Origin::Mesh, Some(long.clone()), &long, "load_plugin", &json("{}")).unwrap();
        assert!(format!("{key:?}").len() < 512);
    }
}
