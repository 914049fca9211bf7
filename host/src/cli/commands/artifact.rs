//! `mortise artifact …` (wire contract 10.12): publishing on this machine, with or without a host.

use crate::app::{Signals, StartError};
use crate::cli::args::{ArtifactArgs, ArtifactCommand, Cli, PublishArgs};
use crate::cli::output::{CommandError, ExitStatus, OutputFormat, Printer};
use crate::cli::package::Package;
use crate::cli::progress::Progress;
use crate::cli::settings::config_failure;
use crate::config::env::ProcessEnvironment;
use crate::config::{ArtifactConfig, ArtifactFlags, resolve_artifacts};
use clap::CommandFactory as _;
use mortise_artifact::{ArtifactError, ArtifactServer, ArtifactStore, Record, ServerLimits};
use mortise_delivery::{DiskError, Staging};
use mortise_model::PluginId;
use serde_json::{Value, json};
use std::time::Duration;

/// How long running downloads may go on after a signal.
const DRAIN_TIME: Duration = Duration::from_secs(3);

pub(in crate::cli) fn run(args: &ArtifactArgs, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let Some(command) = &args.command else {
        let mut tree = Cli::command();
        tree.build();
        if let Some(command) = tree.find_subcommand_mut("artifact") {
            command.render_long_help().to_string().trim_end().lines().for_each(|line| printer.line(line));
        }
        return Ok(ExitStatus::Success);
    };
    match command {
        ArtifactCommand::Publish(args) => publish(args, printer),
        ArtifactCommand::List(args) => {
            let flags = ArtifactFlags { capabilities_dir: args.store.capabilities_dir.clone(), ..Default::default() };
            list(&store(&resolved(&flags, printer)?)?, printer)
        }
        ArtifactCommand::Serve(args) => {
            let flags = ArtifactFlags::from(args);
            let resolution =
                resolve_artifacts(&flags, true, &ProcessEnvironment).map_err(|errors| config_failure(&errors))?;
            if let Some(log) = &resolution.log {
                mortise_telemetry::init(log)?;
            }
            for warning in &resolution.warnings {
                tracing::warn!("{warning}");
            }
            serve(&resolution.config, printer)
        }
    }
}

/// The configuration of a command that does not serve, and so has no log.
fn resolved(flags: &ArtifactFlags, printer: &mut Printer) -> Result<ArtifactConfig, CommandError> {
    let resolution = resolve_artifacts(flags, false, &ProcessEnvironment).map_err(|errors| config_failure(&errors))?;
    for warning in resolution.warnings {
        printer.note(&format!("warning: {warning}"));
    }
    Ok(resolution.config)
}

fn store(config: &ArtifactConfig) -> Result<ArtifactStore, CommandError> {
    ArtifactStore::open(&config.dir, config.url_base(config.port)?).map_err(disk)
}

fn publish(args: &PublishArgs, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let flags = ArtifactFlags { capabilities_dir: args.store.capabilities_dir.clone(), ..Default::default() };
    let config = resolved(&flags, printer)?;
    let usage = |error| CommandError { status: ExitStatus::Usage, ..CommandError::failed(error) };
    let id = args.plugin_id.as_ref().map(PluginId::new).transpose().map_err(usage)?;
    let package = {
        let progress = Progress::new(printer);
        Package::make(&args.path, id, false, &ProcessEnvironment, &progress)?
    };
    for warning in &package.warnings {
        printer.note(&format!("warning: {warning}"));
    }
    let id = match package.plugin_id {
        Some(id) => id,
        None => PluginId::new(package.told.id.unwrap_or_default())?,
    };
    // Of its own: the state folder's is swept by a host that starts.
    let scratch = tempfile::tempdir()?;
    let staging = Staging::open(scratch.path()).map_err(disk)?;
    let store = store(&config)?;
    let version = args.version.as_deref().or(package.told.version.as_deref());
    let record = store.publish_bytes(&id, &package.bytes, version, &staging).map_err(refused)?;
    match printer.format() {
        OutputFormat::Json => {
            let mut artifact = store.to_json(&record);
            artifact.insert("artifact_dir".to_owned(), json!(store.dir()));
            printer.document(&json!({"status": "success", "artifact": artifact}));
        }
        OutputFormat::Text => printer.line(&line(&store, &record)),
    }
    Ok(ExitStatus::Success)
}

fn list(store: &ArtifactStore, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    if printer.format() == OutputFormat::Json {
        let mut listing = store.listing().map_err(refused)?;
        listing.insert("status".to_owned(), "success".into());
        listing.insert("artifact_dir".to_owned(), json!(store.dir()));
        printer.document(&Value::Object(listing));
        return Ok(ExitStatus::Success);
    }
    let records = store.list().map_err(refused)?;
    if records.is_empty() {
        printer.line("No artifacts published.");
    }
    for record in &records {
        printer.line(&line(store, record));
    }
    Ok(ExitStatus::Success)
}

/// Id, digest and URL, with tabs between them (wire contract 10.12).
fn line(store: &ArtifactStore, record: &Record) -> String {
    format!("{}\t{}\t{}", record.plugin_id, record.digest, store.url(record))
}

fn serve(config: &ArtifactConfig, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let runtime = super::client_runtime()?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let server = ArtifactServer::bind(&config.host, config.port).await.map_err(|error| {
            let error = StartError::from(error);
            let (code, hint) = (error.code(), error.hint());
            CommandError::refused(error, code, hint)
        })?;
        let address = server.address();
        let store = ArtifactStore::open(&config.dir, config.url_base(address.port())?).map_err(disk)?;
        printer.line(&format!("serving `{}` at http://{address}/artifacts", config.dir.display()));
        let serving = server.serve(store, ServerLimits::default());
        signals.next().await;
        serving.close(DRAIN_TIME).await;
        Ok(ExitStatus::Success)
    })
}

fn refused(error: ArtifactError) -> CommandError {
    let (code, hint) = (error.code(), error.hint());
    CommandError::refused(error, code, hint)
}

fn disk(error: DiskError) -> CommandError {
    let hint = error.hint();
    CommandError::refused(error, "disk", hint)
}
