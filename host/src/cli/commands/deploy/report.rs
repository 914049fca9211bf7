//! How results are printed and what they mean for the exit code (wire contract 10.11).

use super::{Action, View};
use crate::cli::output::{CommandError, ExitStatus, OutputFormat, Printer};
use crate::config::ClientConfig;
use mortise_model::visible;
use serde_json::{Map, Value, json};

/// Prints what would be asked of whom.
pub(super) fn dry_run(config: &ClientConfig, action: Action, printer: &mut Printer) -> ExitStatus {
    let host = config.host.as_ref().map(|host| host.as_str());
    let mut result = Map::from_iter([("action".to_owned(), json!(action.method)), ("host".to_owned(), json!(host))]);
    result.extend(action.summary);
    let view = if action.view == View::Log { View::Parts } else { action.view };
    self::result(&Value::Object(result), view, printer)
}

/// Prints a result. Its `status` decides how the command ends: `error` is a refusal, `partial` done in part.
pub(super) fn result(result: &Value, view: View, printer: &mut Printer) -> ExitStatus {
    let word = result.get("status").and_then(Value::as_str).unwrap_or("ok");
    let status = match word {
        "error" => ExitStatus::Failed,
        "partial" => ExitStatus::Partial,
        _ => ExitStatus::Success,
    };
    match printer.format() {
        OutputFormat::Json => printer.document(&json!({"status": "success", "result": result})),
        OutputFormat::Text if view == View::Json => printer.document(result),
        OutputFormat::Text if view == View::Log && status == ExitStatus::Success => log(result, printer),
        OutputFormat::Text => {
            if status != ExitStatus::Failed {
                lines(word, result, printer);
            }
            // What went wrong with a part lies one level down.
            let failed = match status {
                ExitStatus::Failed => Some(result),
                ExitStatus::Partial => result.get("load_result"),
                _ => None,
            };
            if let Some(failed) = failed {
                printer.failure(&refusal(status, failed));
            }
        }
    }
    status
}

fn lines(word: &str, result: &Value, printer: &mut Printer) {
    printer.line(&format!("status: {word}"));
    for (key, value) in result.as_object().into_iter().flatten().filter(|(key, _)| *key != "status") {
        match value {
            Value::String(text) => printer.line(&format!("  {key}: {text}")),
            other => printer.line(&format!("  {key}: {other}")),
        }
    }
}

/// The lines of a log as they would stand in one.
fn log(result: &Value, printer: &mut Printer) {
    log_lines(result, printer);
    let number = |key: &str| result.get(key).and_then(Value::as_u64).unwrap_or_default();
    if number("dropped") > 0 {
        printer.note(&format!("{} lines were dropped so far: `limits.log_lines_per_second`", number("dropped")));
    }
    printer.note(&format!("`--since {}` goes on from here", number("next")));
}

/// The lines alone, each of them one line whatever the plugin wrote.
pub(in crate::cli::commands) fn log_lines(result: &Value, printer: &mut Printer) {
    for line in result.get("lines").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        let (ts, level) = (text("ts"), text("level").to_uppercase());
        printer.line(&format!("{ts} {level:>5} {}: {}", visible(text("source")), visible(text("text"))));
    }
}

/// What a host says when it refuses: message, code, cure.
pub(in crate::cli::commands) fn refusal(status: ExitStatus, result: &Value) -> CommandError {
    let text = |key: &str| result.get(key).and_then(Value::as_str).map(str::to_owned);
    let message = text("message").unwrap_or_else(|| "the host refused without saying why".to_owned());
    let message = match text("detail") {
        Some(detail) if !message.contains(&detail) => format!("{message}: {detail}"),
        _ => message,
    };
    CommandError {
        status,
        error: anyhow::Error::msg(message),
        code: text("code"),
        hints: text("hint").into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Captured;

    fn printed(value: &Value, view: View, format: OutputFormat) -> (ExitStatus, String, String) {
        let captured = Captured::default();
        let status = result(value, view, &mut captured.printer(format));
        (status, captured.out(), captured.err())
    }

    #[test]
    fn a_result_is_its_status_and_its_parts() {
        let value = json!({"status": "success", "connected": true, "loaded_count": 1, "name": "x", "list": ["a"]});
        let (status, out, err) = printed(&value, View::Parts, OutputFormat::Text);
        assert_eq!(status, ExitStatus::Success);
        assert_eq!(out, "status: success\n  connected: true\n  loaded_count: 1\n  name: x\n  list: [\"a\"]\n");
        assert_eq!(err, "");
        assert_eq!(printed(&json!({"a": null}), View::Parts, OutputFormat::Text).1, "status: ok\n  a: null\n");
    }

    #[test]
    fn a_refusal_is_an_error_with_its_cure() {
        let value = json!({"status": "error", "message": "no such plugin", "code": "not_found", "hint": "try `list`"});
        let (status, out, err) = printed(&value, View::Parts, OutputFormat::Text);
        assert_eq!((status, out.as_str()), (ExitStatus::Failed, ""));
        assert_eq!(err, "error: no such plugin [not_found]\nhint: try `list`\n");
        let (status, out, err) = printed(&value, View::Parts, OutputFormat::Json);
        assert_eq!((status, err.as_str()), (ExitStatus::Failed, ""));
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), json!({"status": "success", "result": value}));
    }

    #[test]
    fn done_in_part_says_what_and_why_not_all() {
        let load = json!({"status": "error", "plugin_id": "p", "message": "Failed to load plugin 'p'"});
        let (status, out, err) = printed(
            &json!({"status": "partial", "plugin_id": "p", "load_result": load}),
            View::Parts,
            OutputFormat::Text,
        );
        assert_eq!(status, ExitStatus::Partial);
        assert!(out.starts_with("status: partial\n  plugin_id: p\n"), "{out}");
        assert_eq!(err, "error: Failed to load plugin 'p'\n");
    }

    #[test]
    fn a_log_is_its_lines() {
        let line =
            json!({"ts": "2026-01-02T03:04:05.678Z", "level": "warn", "source": "lamp", "text": "is\n\u{1b}[31mhot"});
        let value = json!({"status": "success", "plugin_id": "p", "lines": [line], "next": 1, "dropped": 3});
        let (status, out, err) = printed(&value, View::Log, OutputFormat::Text);
        assert_eq!(
            (status, out.as_str()),
            (ExitStatus::Success, "2026-01-02T03:04:05.678Z  WARN lamp: is\\n\\u{1b}[31mhot\n")
        );
        assert_eq!(err, "3 lines were dropped so far: `limits.log_lines_per_second`\n`--since 1` goes on from here\n");
    }

    #[test]
    fn an_invoked_functions_result_is_json_in_both_modes() {
        let value = json!({"message": "Hello, ada!"});
        assert_eq!(printed(&value, View::Json, OutputFormat::Text).1, "{\n  \"message\": \"Hello, ada!\"\n}\n");
        assert_eq!(
            printed(&value, View::Json, OutputFormat::Json).1,
            "{\n  \"status\": \"success\",\n  \"result\": {\n    \"message\": \"Hello, ada!\"\n  }\n}\n"
        );
        assert_eq!(printed(&Value::Null, View::Json, OutputFormat::Text).1, "null\n");
    }
}
