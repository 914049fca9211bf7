//! `mortise deploy …` (wire contract 10.11).

mod follow;
pub(super) mod install;
pub(super) mod report;
pub(super) mod shown;
mod upload;

use crate::cli::args::{DeployArgs, DeployCommand, GrantArgs, PluginLogsArgs};
use crate::cli::client::{CallFailure, HostClient};
use crate::cli::output::{CommandError, ExitStatus, Printer};
use crate::cli::progress::Progress;
use crate::cli::settings::config_failure;
use crate::config::{ClientConfig, ClientFlags, env::ProcessEnvironment, resolve_client};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Parameter of installs and loads, sent only when it is asked for (wire contract 10.11).
const INSTALL_DEPENDENCIES: &str = "install_dependencies";

/// Lines of log in one answer: as many as a host gives.
pub(super) const LINES_MAX: usize = 1000;

/// Between two looks at a log that is followed.
pub(super) const LOG_TICK: Duration = Duration::from_millis(250);

/// Told once, when the host has gone.
pub(super) const WAITING: &str = "waiting for the host";

/// One request to a host, decided on before anything is contacted.
#[derive(Debug)]
pub(super) struct Action {
    method: String,
    params: Map<String, Value>,
    /// What `--dry-run` tells beside action and host.
    summary: Map<String, Value>,
    /// How people read the result.
    view: View,
    /// An archive that goes with the parameters: in the same message if it fits, else in parts before it.
    bundle: Option<Bundle>,
}

/// How a result is printed for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    /// A line for each of its parts.
    Parts,
    /// As JSON.
    Json,
    /// The lines of a log.
    Log,
}

/// An archive on its way to a host.
#[derive(Debug)]
struct Bundle {
    bytes: Vec<u8>,
    /// As it is to be sent: the archive's own, or the one that the user expects.
    digest: String,
}

/// Whether a function of the host's did what was asked.
pub(super) fn is_success(answer: &Value) -> bool {
    answer.get("status").and_then(Value::as_str) == Some("success")
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
        DeployCommand::Load { plugin_id, install_dependencies } => Action::load(plugin_id, *install_dependencies),
        DeployCommand::Unload { plugin_id } => Action::on_plugin("unload_plugin", plugin_id),
        DeployCommand::Reload { plugin_id } => Action::on_plugin("reload_plugin", plugin_id),
        DeployCommand::Rollback { plugin_id, generation } => Action::rollback(plugin_id, *generation),
        DeployCommand::Versions { plugin_id } => Action::on_plugin("list_plugin_versions", plugin_id),
        DeployCommand::Logs(logs) => Action::logs(logs),
        DeployCommand::Stats { plugin_id } => Action::stats(plugin_id.as_deref()),
        DeployCommand::Permissions { plugin_id } => Action::on_plugin("get_plugin_permissions", plugin_id),
        DeployCommand::Grant(grant) => Action::grant(grant),
        DeployCommand::Revoke { plugin_id, permission } => {
            Action::on_plugin("revoke_plugin_permission", plugin_id).with("permission", permission.as_str())
        }
        DeployCommand::Uninstall { plugin_id } => Action::on_plugin("uninstall_plugin", plugin_id),
        DeployCommand::Status => Action::plain("get_status"),
        DeployCommand::Invoke(invoke) => Action::invoke(&invoke.function, &invoke.params)?,
    };
    if args.dry_run {
        return Ok(report::dry_run(&config, action, printer));
    }
    if let DeployCommand::Logs(PluginLogsArgs { follow: true, .. }) = &args.command {
        return follow::run(&config, action, printer);
    }
    let view = action.view;
    let result = perform(&config, action, printer)?;
    Ok(report::result(&result, view, printer))
}

impl Action {
    fn plain(method: &str) -> Self {
        Self { method: method.to_owned(), params: Map::new(), summary: Map::new(), view: View::Parts, bundle: None }
    }

    fn on_plugin(method: &str, plugin_id: &str) -> Self {
        let params = Map::from_iter([("plugin_id".to_owned(), json!(plugin_id))]);
        Self { summary: params.clone(), params, ..Self::plain(method) }
    }

    /// With one parameter more, which is told beforehand too.
    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.summary.insert(key.to_owned(), value.clone());
        self.params.insert(key.to_owned(), value);
        self
    }

    fn load(plugin_id: &str, install_dependencies: bool) -> Self {
        let action = Self::on_plugin("load_plugin", plugin_id);
        if install_dependencies { action.with(INSTALL_DEPENDENCIES, true) } else { action }
    }

    fn grant(args: &GrantArgs) -> Self {
        let mut action = Self::on_plugin("grant_plugin_permission", &args.plugin_id);
        action = action.with("permission", args.permission.as_str());
        if let Some(span) = &args.expires_in {
            action = action.with("expires_in", span.as_str());
        }
        let flags = [("once", args.once), ("this_version", args.this_version)];
        flags.into_iter().filter(|(_, given)| *given).fold(action, |action, (key, _)| action.with(key, true))
    }

    fn rollback(plugin_id: &str, generation: Option<u64>) -> Self {
        let action = Self::on_plugin("rollback_plugin", plugin_id);
        generation.into_iter().fold(action, |action, generation| action.with("generation", generation))
    }

    fn logs(args: &PluginLogsArgs) -> Self {
        let mut action = Self { view: View::Log, ..Self::on_plugin("get_plugin_logs", &args.plugin_id) };
        let given = [
            ("level", args.level.as_ref().map(|level| json!(level))),
            ("limit", args.limit.map(|limit| json!(limit))),
            ("since", args.since.map(|since| json!(since))),
        ];
        for (key, value) in given.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            action = action.with(key, value);
        }
        action
    }

    fn stats(plugin_id: Option<&str>) -> Self {
        match plugin_id {
            Some(plugin_id) => Self::on_plugin("get_plugin_stats", plugin_id),
            None => Self::plain("get_plugin_stats"),
        }
    }

    fn invoke(function: &str, params: &str) -> Result<Self, CommandError> {
        let params: Value = serde_json::from_str(params)
            .map_err(|error| CommandError::failed(anyhow::Error::new(error).context("params are not JSON")))?;
        let Value::Object(params) = params else {
            return Err(CommandError::failed(anyhow::anyhow!("params must be a JSON object")));
        };
        let summary = Map::from_iter([("params".to_owned(), Value::Object(params.clone()))]);
        Ok(Self { params, summary, view: View::Json, ..Self::plain(function) })
    }
}

/// Sends a request as it is, or in parts where it would not fit into one message.
pub(super) async fn send(
    client: &mut HostClient,
    config: &ClientConfig,
    action: Action,
    progress: &Progress,
) -> Result<Value, CallFailure> {
    let Action { method, mut params, bundle, .. } = action;
    if let Some(bundle) = bundle {
        let bytes_max = client.request_bytes_max();
        if !upload::fits(&bundle, &params, bytes_max) {
            progress.sending(bundle.bytes.len());
            let calls = upload::Calls { client, config, progress };
            let last = if method == upload::PLAN { upload::PLAN } else { upload::COMMIT };
            return upload::send(&bundle, last, params, bytes_max, calls).await;
        }
        params.insert("bundle_b64".to_owned(), json!(STANDARD.encode(&bundle.bytes)));
        params.insert("digest".to_owned(), json!(bundle.digest));
    }
    progress.stage(format!("calling `{method}`"));
    client.call(&method, params, config.timeout, progress).await
}

/// Sends the request and waits for its result. Ctrl-C ends the waiting, not what the host does.
fn perform(config: &ClientConfig, action: Action, printer: &Printer) -> Result<Value, CommandError> {
    let runtime = super::client_runtime()?;
    let progress = Progress::new(printer);
    let outcome = runtime.block_on(async {
        let work = async {
            let mut client = HostClient::connect(config, &progress).await?;
            let result = send(&mut client, config, action, &progress).await;
            client.close().await;
            result.map_err(CallFailure::into_error)
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
