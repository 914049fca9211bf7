//! An event of another device, on its way to every handler that asked for it.

use crate::bindings::mortise::plugin::types::CallKind;
use crate::context;
use crate::executor::{CallFuture, Outcome};
use crate::guest::{Plugin, Step, absent};
use crate::{Error, Result};
use serde::de::DeserializeOwned;

/// One event, and how its handlers have ended so far.
pub struct Heard<'a> {
    device: String,
    /// As its message names it.
    name: &'a str,
    payload: &'a str,
    outcome: Option<Outcome>,
    later: Vec<CallFuture>,
}

impl<'a> Heard<'a> {
    /// The event of the call that is being served.
    #[must_use]
    pub fn new(name: &'a str, payload: &'a str) -> Self {
        let device = context::context().and_then(|context| context.caller().map(str::to_owned)).unwrap_or_default();
        Self { device, name, payload, outcome: None, later: Vec::new() }
    }

    /// Whether a handler asked for it.
    #[must_use]
    pub fn is_for(&self, device: &str, event: &str) -> bool {
        // What precedes the first `/` is no part of the event's own name.
        let own = self.name.split_once('/').map_or(self.name, |(_, own)| own);
        matches(device.as_bytes(), self.device.as_bytes()) && matches(event.as_bytes(), own.as_bytes())
    }

    /// Whose event it is.
    #[must_use]
    pub fn device(&self) -> String {
        self.device.clone()
    }

    /// Its name.
    #[must_use]
    pub fn event(&self) -> String {
        self.name.to_owned()
    }

    /// Its payload.
    ///
    /// # Errors
    /// `invalid_event` where it is none of that type.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(self.payload).map_err(|error| {
            let Self { device, name, .. } = self;
            Error::new("invalid_event", format_args!("event `{name}` of device `{device}` cannot be read: {error}"))
        })
    }

    /// A handler took it.
    pub fn taken(&mut self, step: Step) {
        match step {
            Step::Done(outcome) => keep(&mut self.outcome, outcome),
            Step::Later(future) => self.later.push(future),
        }
    }

    /// What is left to do: those who wait, one after another. The first failure is the outcome.
    #[must_use]
    pub fn step<P: Plugin>(self) -> Step {
        let Self { name, mut outcome, later, .. } = self;
        if later.is_empty() {
            return Step::Done(outcome.unwrap_or_else(|| absent::<P>(CallKind::Event, name)));
        }
        Step::Later(Box::pin(async move {
            for future in later {
                keep(&mut outcome, future.await);
            }
            outcome.unwrap_or_else(|| Ok("null".to_owned()))
        }))
    }
}

fn keep(first: &mut Option<Outcome>, outcome: Outcome) {
    if !matches!(first, Some(Err(_))) {
        *first = Some(outcome.map(|_| "null".to_owned()));
    }
}

/// Whether the whole of `text` matches `pattern`, in which `*` stands for any run of characters.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    // Behind the last `*`, and the text that it has not swallowed yet.
    let mut last_star = None;
    while let Some(found) = text.get(place) {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                last_star = Some((at, place));
            }
            Some(wanted) if wanted == found => (at, place) = (at + 1, place + 1),
            _ => {
                let Some((behind, left)) = last_star else { return false };
                last_star = Some((behind, left + 1));
                (at, place) = (behind, left + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|left| *left == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "motion", true),
            ("motion", "motion", true),
            ("motion", "motions", false),
            ("cam*-1", "camera-1", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("a*a", "a", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "`{pattern}` and `{text}`");
        }
    }
}
