//! `mortise config show`.

use crate::cli::args::{ConfigArgs, ConfigCommand};
use crate::cli::output::{CommandError, ExitStatus, OutputFormat, Printer};
use crate::cli::settings::config_failure;
use crate::config::{HostFlags, env::ProcessEnvironment, resolve_host};
use serde_json::json;

pub(in crate::cli) fn run(args: &ConfigArgs, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let ConfigCommand::Show { run, .. } = &args.command;
    let resolution =
        resolve_host(&HostFlags::from(run), &ProcessEnvironment).map_err(|errors| config_failure(&errors))?;
    let settings = &resolution.settings;
    match printer.format() {
        OutputFormat::Json => {
            let settings: Vec<_> = settings
                .iter()
                .map(|setting| {
                    json!({"name": setting.name, "value": setting.value, "origin": setting.origin.to_string()})
                })
                .collect();
            let warnings: Vec<_> = resolution.config.warnings.iter().map(ToString::to_string).collect();
            printer.document(&json!({"settings": settings, "warnings": warnings}));
        }
        OutputFormat::Text => {
            let width = settings.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
            for setting in settings {
                let value = if setting.value.is_empty() { "-" } else { &setting.value };
                printer.line(&format!("{:width$}  {value}  ({})", setting.name, setting.origin));
            }
            for warning in &resolution.config.warnings {
                printer.note(&format!("warning: {warning}"));
            }
        }
    }
    Ok(ExitStatus::Success)
}
