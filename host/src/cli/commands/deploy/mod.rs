//! `mortise deploy …` (wire contract 10.11).

mod install;
mod report;

use crate::cli::args::{DeployArgs, DeployCommand};
use crate::cli::client::HostClient;
use crate::cli::output::{CommandError, ExitStatus, Printer};
use crate::cli::progress::Progress;
use crate::cli::settings::config_failure;
use crate::config::{ClientConfig, ClientFlags, env::ProcessEnvironment, resolve_client};
use serde_json::{Map, Value, json};

/// One request to a host, decided on before anything is contacted.
#[derive(Debug)]
struct Action {
    method: String,
    params: Map<String, Value>,
    /// What `--dry-run` tells beside action and host.
    summary: Map<String, Value>,
    /// Whether the result is printed as JSON even for people.
    raw: bool,
}

pub(in crate::cli) fn run(args: &DeployArgs, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let config = resolve_client(&ClientFlags::from(&args.connection), &ProcessEnvironment)
        .map_err(|errors| config_failure(&errors))?;
    for warning in &config.warnings {
        printer.note(&format!("warning: {warning}"));
    }
    let action = match &args.command {
        DeployCommand::Install(install) => install::action(install, printer)?,
        DeployCommand::List => Action::plain("list_plugins"),
        DeployCommand::Load { plugin_id } => Action::on_plugin("load_plugin", plugin_id),
        DeployCommand::Unload { plugin_id } => Action::on_plugin("unload_plugin", plugin_id),
        DeployCommand::Reload { plugin_id } => Action::on_plugin("reload_plugin", plugin_id),
        DeployCommand::Status => Action::plain("get_status"),
        DeployCommand::Invoke(invoke) => Action::invoke(&invoke.function, &invoke.params)?,
    };
    if args.connection.dry_run {
        return Ok(report::dry_run(&config, action, printer));
    }
    let raw = action.raw;
    let result = perform(&config, action, printer)?;
    Ok(report::result(&result, raw, printer))
}

impl Action {
    fn plain(method: &str) -> Self {
        Self { method: method.to_owned(), params: Map::new(), summary: Map::new(), raw: false }
    }

    fn on_plugin(method: &str, plugin_id: &str) -> Self {
        let params = Map::from_iter([("plugin_id".to_owned(), json!(plugin_id))]);
        Self { summary: params.clone(), params, ..Self::plain(method) }
    }

    fn invoke(function: &str, params: &str) -> Result<Self, CommandError> {
        let params: Value = serde_json::from_str(params)
            .map_err(|error| CommandError::failed(anyhow::Error::new(error).context("params are not JSON")))?;
        let Value::Object(params) = params else {
            return Err(CommandError::failed(anyhow::anyhow!("params must be a JSON object")));
        };
        let summary = Map::from_iter([("params".to_owned(), Value::Object(params.clone()))]);
        Ok(Self { params, summary, raw: true, ..Self::plain(function) })
    }
}

/// Sends the request and waits for its result. Ctrl-C ends the waiting, not what the host does.
fn perform(config: &ClientConfig, action: Action, printer: &Printer) -> Result<Value, CommandError> {
    let runtime = super::client_runtime()?;
    let progress = Progress::new(printer);
    let outcome = runtime.block_on(async {
        let work = async {
            let mut client = HostClient::connect(config, &progress).await?;
            progress.stage(format!("calling `{}`", action.method));
            let result = client.call(config, &action.method, action.params, &progress).await;
            client.close().await;
            result
        };
        tokio::select! {
            result = work => result,
            _ = tokio::signal::ctrl_c() => Err(CommandError {
                status: ExitStatus::Interrupted,
                ..CommandError::failed(anyhow::anyhow!("interrupted; the host may still finish what it was asked"))
            }),
        }
    });
    // A transport's threads may still wait for peers; nobody else waits for them.
    runtime.shutdown_background();
    outcome
}
