//! What became of an install, in a few lines.

use crate::cli::commands::deploy::report;
use crate::cli::output::{ExitStatus, Printer};
use serde_json::Value;

/// Prints the result of an install. Whether the plugin that was sent runs now.
pub(super) fn installed(result: &Value, printer: &mut Printer) -> bool {
    let word = result.get("status").and_then(Value::as_str);
    let load = result.get("load_result").unwrap_or(&Value::Null);
    if word != Some("success") {
        // What went wrong with the load lies one level down.
        let refused = if word == Some("partial") { load } else { result };
        printer.failure(&report::refusal(ExitStatus::Failed, refused));
        return false;
    }
    let deed = if result.get("unchanged") == Some(&Value::Bool(true)) { "unchanged" } else { "installed" };
    let id = text(result, "plugin_id");
    let plugin = load.get("plugin");
    let version = plugin.and_then(|plugin| plugin.get("manifest")?.get("version")?.as_str());
    let version = version.map(|version| format!(" {version}")).unwrap_or_default();
    let functions = plugin.and_then(|plugin| plugin.get("functions")?.as_array()).into_iter().flatten();
    let functions: Vec<&str> = functions.filter_map(Value::as_str).collect();
    printer.line(&format!("{deed} `{id}`{version}: {}", functions.join(", ")));
    for warning in list(load, "warnings").filter_map(Value::as_str) {
        printer.note(&format!("warning: {warning}"));
    }
    for conflict in list(load, "name_conflicts") {
        let (name, owner) = (text(conflict, "function"), text(conflict, "owner"));
        printer.note(&format!("warning: `{name}` belongs to {owner}: call `{id}.{name}`"));
    }
    for denied in list(load, "denied") {
        let permission = text(denied, "permission");
        printer.note(&format!("warning: it may not do what it asks for: {permission}"));
        match denied.get("command").and_then(Value::as_str) {
            Some(command) => printer.hint(command),
            None => printer.hint("the host's policy lets nobody grant that"),
        }
    }
    true
}

/// What serves under that id, by the host's list of plugins.
pub(super) fn what_runs(id: &str, list: &Value, printer: &mut Printer) {
    let running = list.get("loaded").and_then(|loaded| loaded.get(id));
    let version = running.and_then(|running| running.get("manifest")?.get("version")?.as_str());
    let version = version.map(|version| format!(" {version}")).unwrap_or_default();
    printer.note(&match running {
        Some(_) => format!("`{id}`{version} keeps running as it was"),
        None => format!("`{id}` is not running"),
    });
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::{Captured, OutputFormat};
    use serde_json::json;

    fn printed(result: &Value) -> (bool, String, String) {
        let captured = Captured::default();
        let runs = installed(result, &mut captured.printer(OutputFormat::Text));
        (runs, captured.out(), captured.err())
    }

    #[test]
    fn an_install_is_one_line_and_what_its_author_should_know() {
        let plugin = json!({"functions": ["open", "shut"], "manifest": {"version": "0.2.0"}});
        let mut result = json!({"status": "success", "plugin_id": "door", "load_result": {"plugin": plugin}});
        assert_eq!(printed(&result), (true, "installed `door` 0.2.0: open, shut\n".to_owned(), String::new()));
        result["unchanged"] = json!(true);
        assert_eq!(printed(&result).1, "unchanged `door` 0.2.0: open, shut\n");
        result["load_result"]["warnings"] = json!(["odd\u{1b}"]);
        result["load_result"]["name_conflicts"] = json!([{"function": "open", "owner": "plugin `gate`"}]);
        result["load_result"]["denied"] = json!([
            {"permission": "env:A", "command": "mortise deploy grant door env:A"},
            {"permission": "state", "beyond_policy": true},
        ]);
        assert_eq!(
            printed(&result).2,
            "warning: odd\\u{1b}\n\
             warning: `open` belongs to plugin `gate`: call `door.open`\n\
             warning: it may not do what it asks for: env:A\n\
             hint: mortise deploy grant door env:A\n\
             warning: it may not do what it asks for: state\n\
             hint: the host's policy lets nobody grant that\n"
        );
    }

    #[test]
    fn a_refusal_is_an_error_with_its_cure() {
        let refused = json!({"status": "error", "message": "no", "detail": "line 3", "code": "c", "hint": "h"});
        let err = "error: no: line 3 [c]\nhint: h\n".to_owned();
        assert_eq!(printed(&refused), (false, String::new(), err.clone()));
        assert_eq!(printed(&json!({"status": "partial", "load_result": refused})), (false, String::new(), err));
    }

    #[test]
    fn what_runs_is_told_by_the_hosts_list() {
        let captured = Captured::default();
        let mut printer = captured.printer(OutputFormat::Text);
        what_runs("door", &json!({"loaded": {"door": {"manifest": {"version": "1"}}}}), &mut printer);
        what_runs("door", &json!({"loaded": {}}), &mut printer);
        assert_eq!(captured.err(), "`door` 1 keeps running as it was\n`door` is not running\n");
    }
}
