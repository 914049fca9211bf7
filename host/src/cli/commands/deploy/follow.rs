//! `mortise deploy logs --follow`: what a plugin logs, as it comes.

use super::report;
use super::shown::{Shown, number};
use super::{Action, LINES_MAX, LOG_TICK, WAITING, is_success};
use crate::cli::client::{CallFailure, HostClient};
use crate::cli::output::{CommandError, ExitStatus, OutputFormat, Printer};
use crate::cli::progress::Progress;
use crate::config::ClientConfig;
use serde_json::{Value, json};

/// Goes on until Ctrl-C, or until nobody reads it any more, which is success. A host that has gone is waited for.
pub(super) fn run(config: &ClientConfig, action: Action, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let runtime = crate::cli::commands::client_runtime()?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            ended = follow(config, action, printer) => ended,
            _ = tokio::signal::ctrl_c() => Ok(ExitStatus::Success),
        }
    });
    // A transport's threads may still wait for peers; nobody else waits for them.
    runtime.shutdown_background();
    outcome
}

async fn follow(config: &ClientConfig, action: Action, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let mut client = HostClient::connect(config, &Progress::none()).await?;
    let mut config = config.clone();
    client.pin(&mut config);
    let Action { method, mut params, .. } = action;
    let mut page = match client.call(&method, params.clone(), config.timeout, &Progress::none()).await {
        Ok(page) if is_success(&page) => page,
        Ok(refused) => return Err(report::refusal(ExitStatus::Failed, &refused)),
        Err(failure) => return Err(failure.into_error()),
    };
    // What is older was not asked for.
    let mut shown = Shown::after(&page);
    loop {
        show(&page, printer);
        if printer.is_closed() {
            return Ok(ExitStatus::Success);
        }
        let mut is_more = page.get("lines").and_then(Value::as_array).is_some_and(|lines| lines.len() >= LINES_MAX);
        page = loop {
            if !std::mem::take(&mut is_more) {
                tokio::time::sleep(LOG_TICK).await;
            }
            params.insert("since".to_owned(), json!(shown.since()));
            params.insert("limit".to_owned(), json!(LINES_MAX));
            match client.call(&method, params.clone(), config.timeout, &Progress::none()).await {
                // A host that was started anew counts from its start.
                Ok(page) if is_success(&page) && number(&page, "next") < shown.since() => shown.interrupted(),
                Ok(page) if is_success(&page) => break page,
                // Nobody has tried to load the plugin yet, or there is much to do.
                Ok(later) if matches!(later.get("code").and_then(Value::as_str), Some("not_loaded" | "busy")) => {}
                Ok(refused) => return Err(report::refusal(ExitStatus::Failed, &refused)),
                Err(CallFailure::Answered(error)) => return Err(error),
                Err(CallFailure::Lost(_) | CallFailure::Final(_)) => {
                    printer.note(WAITING);
                    client = HostClient::reconnect(&config).await;
                    shown.interrupted();
                }
            }
        };
        let missing = shown.take(&mut page);
        if missing > 0 {
            printer.note(&format!("{missing} lines are not shown"));
        }
    }
}

fn show(page: &Value, printer: &mut Printer) {
    match printer.format() {
        OutputFormat::Text => report::log_lines(page, printer),
        OutputFormat::Json if page.get("lines").and_then(Value::as_array).is_some_and(Vec::is_empty) => {}
        OutputFormat::Json => printer.document(&json!({"status": "success", "result": page})),
    }
}
