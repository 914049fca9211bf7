//! `wasi:config/store`: the plugin's settings, and the operator's secrets under a prefix, judged at each use.

use super::plugin::NAME_BYTES_MAX;
use crate::bindings::config::wasi::config::store::{Error, Host};
use crate::view::HostView;
use mortise_model::{Failure, cut};
use serde_json::Value;

/// What a secret's key begins with; a setting of such a name is not reached this way.
const SECRET: &str = "secret.";

impl Host for HostView {
    async fn get(&mut self, key: String) -> Result<Option<String>, Error> {
        let Some(secret) = key.strip_prefix(SECRET) else {
            return Ok(self.settings().into_iter().find_map(|(name, value)| (name == key).then_some(value)));
        };
        // It may lie on a disk that does not answer.
        let reading = tokio::time::timeout_at(self.turn_limit.wait_until(), self.shared.services.secret(secret));
        let value = reading.await.unwrap_or_else(|_| Err(late(secret))).map_err(|failure| error(&failure))?;
        Ok(as_text(value.to_value()))
    }

    /// Settings only: a secret is told to whoever names it.
    async fn get_all(&mut self) -> Result<Vec<(String, String)>, Error> {
        Ok(self.settings())
    }
}

impl HostView {
    fn settings(&self) -> Vec<(String, String)> {
        let Value::Object(settings) = self.shared.services.config().to_value() else { return Vec::new() };
        let settings = settings.into_iter().filter(|(name, _)| !name.starts_with(SECRET));
        settings.filter_map(|(name, value)| Some((name, as_text(value)?))).collect()
    }
}

/// Text as it is, anything else as JSON; null is nothing.
fn as_text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

fn late(secret: &str) -> Failure {
    let secret = cut(secret, NAME_BYTES_MAX);
    Failure::retryable(
        "timeout",
        format!("secret `{secret}`: it took longer to read than the turn of the instance may"),
    )
}

fn error(failure: &Failure) -> Error {
    let text = format!("{}: {}", failure.code, failure.message);
    if matches!(failure.code.as_ref(), "secret_unreadable" | "timeout") {
        Error::Io(text)
    } else {
        Error::Upstream(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::plugin::tests::view;
    use crate::loss::TurnLimit;
    use std::time::Duration;
    use tokio::time::Instant;

    #[tokio::test]
    async fn a_secret_that_nobody_can_read_is_told_before_the_turn_ends() {
        let (mut view, span) = (view(), Duration::from_millis(200));
        view.turn_limit = TurnLimit { name: "limits.turn", span, end: Instant::now() + span };
        match view.get("secret.token".to_owned()).await {
            Err(Error::Io(text)) => assert!(text.starts_with("timeout: secret `token`"), "{text}"),
            other => panic!("{other:?}"),
        }
        assert!(Instant::now() < view.turn_limit.end, "the guest is left the time to make something of it");
    }
}
