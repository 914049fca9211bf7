//! How a call fails.

use crate::bindings::mortise::plugin::types::Failure;
use std::any::Any;
use std::borrow::Cow;
use std::fmt::{self, Display};

/// A failure for the caller to read.
///
/// Functions of a plugin may fail with anything that implements `Display`: its text becomes the message and the code is
/// `error`. With this type they also choose the code and say whether trying again may help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Cow<'static, str>,
    message: String,
    retryable: bool,
}

/// The result of a function that fails with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure that the same call would meet again. `code` is stable and short, in snake case.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Display) -> Self {
        Self { code: code.into(), message: message.to_string(), retryable: false }
    }

    /// The same failure, which may have passed when the call is tried again.
    #[must_use]
    pub fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }

    /// Stable and short, in snake case; `error` where nothing better is known.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// For the caller to read.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// An [`Error`] as it is; of anything else, its text. The alternate form is asked for, in which error types such
    /// as `anyhow`'s tell their causes too.
    pub(crate) fn of<E: Display + 'static>(error: E) -> Self {
        match (&error as &dyn Any).downcast_ref::<Self>() {
            Some(error) => error.clone(),
            None => Self::new("error", format_args!("{error:#}")),
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::new("error", message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::new("error", message)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::new("invalid_json", error)
    }
}

impl From<Failure> for Error {
    fn from(Failure { code, message, retryable }: Failure) -> Self {
        Self { code: Cow::Owned(code), message, retryable }
    }
}

impl From<Error> for Failure {
    fn from(Error { code, message, retryable }: Error) -> Self {
        Self { code: code.into_owned(), message, retryable }
    }
}
