//! `mortise deploy logs --follow`: what a plugin logs, as it comes.

use super::report;
use super::shown::Shown;
use super::{Action, LINES_MAX};
use crate::cli::client::{CallFailure, HostClient};
use crate::cli::output::{CommandError, ExitStatus, OutputFormat, Printer};
use crate::cli::progress::Progress;
use crate::config::ClientConfig;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Between two looks at the log.
const TICK: Duration = Duration::from_millis(250);

/// Between two attempts to reach a host that has gone.
const RECONNECT: Duration = Duration::from_secs(1);

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
                tokio::time::sleep(TICK).await;
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
                    client = reconnected(&config, printer).await;
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

/// Tries until the host is there again: a broker is there without it.
async fn reconnected(config: &ClientConfig, printer: &mut Printer) -> HostClient {
    printer.note("waiting for the host");
    loop {
        tokio::time::sleep(RECONNECT).await;
        let Ok(mut client) = HostClient::connect(config, &Progress::none()).await else { continue };
        let answer = client.call("get_status", Map::new(), config.timeout, &Progress::none()).await;
        if let Ok(_) | Err(CallFailure::Answered(_)) = answer {
            return client;
        }
    }
}

fn is_success(answer: &Value) -> bool {
    answer.get("status") == Some(&json!("success"))
}

fn number(page: &Value, key: &str) -> u64 {
    page.get(key).and_then(Value::as_u64).unwrap_or_default()
}
