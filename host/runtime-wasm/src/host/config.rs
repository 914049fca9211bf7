//! `wasi:config/store`: the plugin's settings, and the operator's secrets under a prefix, judged at each use.

use crate::bindings::config::wasi::config::store::{Error, Host};
use crate::view::HostView;
use mortise_model::Failure;
use serde_json::Value;

/// What a secret's key begins with; a setting of such a name is not reached this way.
const SECRET: &str = "secret.";

impl Host for HostView {
    async fn get(&mut self, key: String) -> Result<Option<String>, Error> {
        let Some(secret) = key.strip_prefix(SECRET) else {
            return Ok(self.settings().into_iter().find_map(|(name, value)| (name == key).then_some(value)));
        };
        let value = self.shared.services.secret(secret).await.map_err(|failure| error(&failure))?;
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

fn error(failure: &Failure) -> Error {
    let text = format!("{}: {}", failure.code, failure.message);
    if failure.code == "secret_unreadable" { Error::Io(text) } else { Error::Upstream(text) }
}
