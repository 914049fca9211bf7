//! The name of an event as its emitter gives it.

use crate::{EventName, IdError};
use std::fmt;
use std::sync::Arc;

/// The longest name that an event may be emitted under, in bytes.
pub const EMITTED_NAME_BYTES_MAX: usize = 1024;

/// The name that an event is emitted under: the whole of it is the message's `method`, what follows its first `/` is the
/// event's own name (wire contract 1.3, 8.1). `event/motion` and `motion` go out on one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmittedName {
    whole: Arc<str>,
    event: EventName,
}

impl EmittedName {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// [`IdError::Event`] where what follows the first `/`, or the whole where there is none, is no event name, and
    /// [`IdError::EmittedTooLong`] for more than [`EMITTED_NAME_BYTES_MAX`] bytes.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.len() > EMITTED_NAME_BYTES_MAX {
            return Err(IdError::EmittedTooLong { bytes: text.len(), bytes_max: EMITTED_NAME_BYTES_MAX });
        }
        match text.split_once('/') {
            None => Ok(EventName::new(text)?.into()),
            Some((_, event)) => Ok(Self { whole: text.into(), event: EventName::new(event)? }),
        }
    }

    /// As emitted.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.whole
    }

    /// The event: one subject token.
    #[must_use]
    pub fn event(&self) -> &EventName {
        &self.event
    }
}

impl From<EventName> for EmittedName {
    fn from(event: EventName) -> Self {
        Self { whole: event.shared(), event }
    }
}

impl fmt::Display for EmittedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_first_slash_is_no_part_of_the_event() {
        for (whole, event) in [("motion", "motion"), ("event/motion", "motion"), ("/motion", "motion"), ("é b/m", "m")]
        {
            let name = EmittedName::new(whole).unwrap();
            assert_eq!((name.as_str(), name.event().as_str()), (whole, event));
        }
        for (bad, event) in [("", ""), ("event/", ""), ("a/b/c", "b/c"), ("a.b", "a.b"), ("event/a b", "a b")] {
            assert_eq!(EmittedName::new(bad), Err(IdError::Event(event.to_owned())), "{bad}");
        }
        let longest = format!("{}/m", "x".repeat(EMITTED_NAME_BYTES_MAX - 2));
        assert!(EmittedName::new(&longest).is_ok());
        let error = EmittedName::new(&format!("x{longest}")).unwrap_err();
        assert_eq!(error, IdError::EmittedTooLong { bytes: 1025, bytes_max: 1024 });
    }
}
