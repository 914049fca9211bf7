//! What became of a lifecycle call: `get_plugin_operation`.

use crate::install::disk_refusal;
use crate::manager::Manager;
use crate::refusal::{Refusal, chain};
use crate::signature::Arguments;
use jiff::Timestamp;
use mortise_model::{Json, PluginId};
use mortise_store::{OperationKey, OperationRecord, OperationStatus};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tracing::warn;

/// The longest request id that is remembered, in bytes.
const REQUEST_BYTES_MAX: usize = 256;

/// The longest outcome that is kept whole, in bytes. Only a reply that lists hundreds of functions is longer.
const OUTCOME_BYTES_MAX: usize = 128 << 10;

/// The longest text of an outcome that is kept of one that is too long, in bytes.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// A lifecycle call that has been written down as under way.
pub(crate) struct Noted {
    key: OperationKey,
    record: OperationRecord,
    /// Ends when that is on disk: the call does not wait for it.
    written: JoinHandle<()>,
}

impl Manager {
    /// Writes down that a lifecycle call is under way. None where the caller gave it no name to ask by.
    pub(crate) fn note_operation(&self, request: &str, method: &'static str, plugin: Option<&str>) -> Option<Noted> {
        let manager = self.own()?;
        if request == "null" || request.len() > REQUEST_BYTES_MAX {
            return None;
        }
        let key = OperationKey { request: request.to_owned(), method: method.to_owned() };
        let record = OperationRecord {
            status: OperationStatus::Running,
            plugin: plugin.and_then(|id| PluginId::new(id).ok()),
            started_at: Timestamp::now(),
            finished_at: None,
            outcome: None,
        };
        let (begun, running) = (key.clone(), record.clone());
        let written = self.tasks().spawn(async move { manager.write_operation(&begun, &running).await });
        Some(Noted { key, record, written })
    }

    /// Writes down how it ended, beside the answer.
    pub(crate) fn note_outcome(&self, noted: Noted, outcome: &Value) {
        let Noted { key, mut record, written } = noted;
        let Some(manager) = self.own() else { return };
        record.status = OperationStatus::Done;
        record.finished_at = Some(Timestamp::now());
        if let Some(id) = outcome.get("plugin_id").and_then(Value::as_str) {
            record.plugin = PluginId::new(id).ok().or(record.plugin);
        }
        record.outcome = Some(kept(outcome));
        self.tasks().spawn(async move {
            // In their order; a panic there is in the log already.
            let _ = written.await;
            manager.write_operation(&key, &record).await;
        });
    }

    async fn write_operation(&self, key: &OperationKey, record: &OperationRecord) {
        let (key, record) = (key.clone(), record.clone());
        let written = self.on_disk(move |depot| Ok(depot.store().write(|tx| tx.put_operation(&key, &record))?)).await;
        if let Err(error) = written {
            // The operation itself does not depend on it.
            warn!(error = chain(&error), "failed to note an operation");
        }
    }

    pub(crate) async fn operation(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let given = arguments.text("request_id")?.to_owned();
        let method = arguments.optional_text("method")?.map(str::to_owned);
        // Ids are kept as their JSON text; a caller names them as it likes.
        let quoted = Json::of(&Value::from(given.as_str())).as_str().to_owned();
        let operations = self.on_disk(move |depot| Ok(depot.store().operations()?)).await;
        let operations = operations.map_err(|error| disk_refusal(&error))?;
        let found = operations.into_iter().find(|(key, _)| {
            (key.request == given || key.request == quoted)
                && method.as_ref().is_none_or(|method| key.method == *method)
        });
        let (key, record) = found.ok_or_else(|| {
            Refusal::new("unknown_operation", "no operation of that request is known")
                .hint("the last 256 are kept; `list_plugins` shows how things stand")
        })?;
        let status = match record.status {
            OperationStatus::Running => "running",
            OperationStatus::Done => "done",
            OperationStatus::Interrupted => "interrupted",
        };
        Ok(json!({
            "status": "success",
            "operation": {
                "method": key.method,
                "status": status,
                "plugin_id": record.plugin,
                "started_at": record.started_at.to_string(),
                "finished_at": record.finished_at.map(|at| at.to_string()),
                "outcome": record.outcome.map(|outcome| outcome.to_value()),
            },
        }))
    }
}

/// An outcome as it is kept: of one that is too long, what is not a list and says how it ended.
fn kept(outcome: &Value) -> Json {
    let whole = Json::of(outcome);
    if whole.as_str().len() <= OUTCOME_BYTES_MAX {
        return whole;
    }
    let is_short = |value: &Value| match value {
        Value::Array(_) | Value::Object(_) => false,
        Value::String(text) => text.len() <= TEXT_BYTES_MAX,
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    };
    let fields = outcome.as_object().into_iter().flatten();
    let mut short: Map<String, Value> =
        fields.filter(|(_, value)| is_short(value)).map(|(key, value)| (key.clone(), value.clone())).collect();
    short.insert("shortened".to_owned(), true.into());
    Json::of(&Value::Object(short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_that_is_too_long_is_kept_without_its_lists() {
        let outcome = json!({"status": "success", "generation": 3, "functions": ["a"]});
        assert_eq!(kept(&outcome).to_value(), outcome);
        let many = vec!["x".repeat(1000); 200];
        let outcome = json!({"status": "success", "generation": 3, "functions": many, "detail": "y".repeat(5000)});
        assert_eq!(kept(&outcome).to_value(), json!({"status": "success", "generation": 3, "shortened": true}));
    }
}
