//! A guest's outcome, judged: valid JSON within its limit, or a failure.

use crate::bindings::mortise::plugin::host::{self, OpValue};
use crate::bindings::mortise::plugin::types as wit;
use crate::ops::OpOutcome;
use mortise_model::{Failure, HttpResponse, Json, Limits};
use std::borrow::Cow;

/// The longest code that a guest may give its failures, in bytes.
const CODE_BYTES_MAX: usize = 64;

/// Checks what the guest answered. Its JSON is validated here, once; nobody parses it again on its way to the caller.
pub(crate) fn judge(outcome: wit::Outcome, limits: &Limits) -> Result<Json, Failure> {
    let text = outcome.map_err(|failure| failed(failure, limits))?;
    if text.len() as u64 > limits.result.0 {
        return Err(result_too_large(text.len(), limits));
    }
    Json::new(text).map_err(|error| Failure::new("invalid_result", format!("the plugin's result is no JSON: {error}")))
}

/// What a result of so many bytes becomes.
pub(crate) fn result_too_large(size: usize, limits: &Limits) -> Failure {
    let message = format!("the result has {size} bytes, more than `limits.result` ({})", limits.result);
    Failure::new("result_too_large", message)
}

/// A guest's own failure: its words, within bounds.
pub(crate) fn failed(failure: wit::Failure, limits: &Limits) -> Failure {
    let wit::Failure { code, mut message, retryable } = failure;
    let bytes_max = usize::try_from(limits.result.0).unwrap_or(usize::MAX);
    message.truncate(message.floor_char_boundary(bytes_max));
    let fits =
        (1..=CODE_BYTES_MAX).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let code = if fits { Cow::Owned(code) } else { Cow::Borrowed("error") };
    Failure { code, message, retryable }
}

/// The way back: a failure of ours as the guest reads it.
pub(crate) fn to_guest(failure: Failure) -> wit::Failure {
    wit::Failure { code: failure.code.into_owned(), message: failure.message, retryable: failure.retryable }
}

/// How an op ended, as the guest reads it.
pub(crate) fn of_op(outcome: OpOutcome) -> host::OpOutcome {
    match outcome {
        OpOutcome::Done => Ok(OpValue::Done),
        OpOutcome::Json(json) => Ok(OpValue::Json(json.into_string())),
        OpOutcome::Http(HttpResponse { status, headers, body }) => {
            Ok(OpValue::Http(host::HttpResponse { status, headers, body }))
        }
        OpOutcome::Failed(failure) => Err(to_guest(failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mortise_model::ByteSize;

    fn code(outcome: wit::Outcome) -> String {
        judge(outcome, &Limits { result: ByteSize(8), ..Limits::default() }).unwrap_err().code.into_owned()
    }

    #[test]
    fn only_one_json_value_within_the_limit_is_a_result() {
        assert_eq!(judge(Ok("{\"a\":1}".into()), &Limits::default()).unwrap().as_str(), "{\"a\":1}");
        for bad in ["", "NaN", "1 2", "{} x", "[1,]"] {
            assert_eq!(code(Ok(bad.into())), "invalid_result", "{bad}");
        }
        assert_eq!(code(Ok("123456789".into())), "result_too_large");
    }

    #[test]
    fn a_guests_failure_keeps_its_words_within_bounds() {
        let failure = |code: &str| wit::Failure { code: code.into(), message: "ééééé".into(), retryable: true };
        for (given, expected) in [("no_paper", "no_paper"), ("", "error"), ("a b", "error"), (&"x".repeat(65), "error")]
        {
            assert_eq!(code(Err(failure(given))), expected);
        }
        let bounded = failed(failure("x"), &Limits { result: ByteSize(5), ..Limits::default() });
        assert_eq!((bounded.message.as_str(), bounded.retryable), ("éé", true));
    }
}
