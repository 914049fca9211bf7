//! How a plugin's call fails.

use std::borrow::Cow;

/// A failed call as a plugin, or the host in its place, reports it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Stable and short, in snake case.
    pub code: Cow<'static, str>,
    /// For the caller to read.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
}

impl Failure {
    /// A failure that a retry will not cure.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code), message: message.into(), retryable: false }
    }

    /// A failure that may pass.
    pub fn retryable(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code), message: message.into(), retryable: true }
    }
}
