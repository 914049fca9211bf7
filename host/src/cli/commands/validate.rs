//! `mortise validate` (wire contract 10.12). What of the plugin runs runs in the sandbox.

use crate::cli::args::ValidateArgs;
use crate::cli::output::{CommandError, ExitStatus, OutputFormat, Printer};
use crate::cli::package;
use crate::cli::progress::Progress;
use crate::cli::settings::config_failure;
use crate::config::env::ProcessEnvironment;
use crate::config::resolve_runners_dir;

pub(in crate::cli) fn run(args: &ValidateArgs, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let runners_dir = resolve_runners_dir(args.runners_dir.as_deref(), &ProcessEnvironment)
        .map_err(|errors| config_failure(&errors))?;
    let report = {
        let progress = Progress::new(printer);
        progress.stage("asking it in the sandbox what it brings".to_owned());
        package::check_alone(&args.path, &runners_dir)
    };
    match printer.format() {
        OutputFormat::Json => printer.document(&serde_json::to_value(&report)?),
        OutputFormat::Text => {
            printer.line(&format!("Plugin: {}", report.plugin_id.as_deref().unwrap_or("-")));
            printer.line(&format!("Path:   {}", report.path));
            printer.line(&format!("Status: {}", if report.ok { "OK" } else { "FAILED" }));
            printer.line(&format!("RPCs:   {}", report.rpc_methods.join(", ")));
            for warning in &report.warnings {
                printer.line(&format!("warning: {warning}"));
            }
            for error in &report.errors {
                printer.line(&format!("error: {error}"));
            }
            for hint in &report.hints {
                printer.line(&format!("hint: {hint}"));
            }
        }
    }
    Ok(if report.ok { ExitStatus::Success } else { ExitStatus::Failed })
}
