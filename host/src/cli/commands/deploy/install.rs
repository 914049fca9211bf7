//! `mortise deploy install`: what is sent.

use super::Action;
use crate::cli::args::InstallArgs;
use crate::cli::output::{CommandError, ExitStatus, Printer};
use crate::cli::package::Package;
use crate::cli::progress::Progress;
use crate::config::env::ProcessEnvironment;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mortise_model::{Digest, PluginId};
use serde_json::{Map, json};

pub(super) fn action(args: &InstallArgs, printer: &mut Printer) -> Result<Action, CommandError> {
    let usage = |error: CommandError| CommandError { status: ExitStatus::Usage, ..error };
    let id = args.plugin_id.as_ref().map(PluginId::new).transpose().map_err(|error| usage(error.into()))?;
    let pinned = args.digest.as_deref().map(Digest::parse).transpose().map_err(|error| usage(error.into()))?;
    let package = {
        let progress = Progress::new(printer);
        Package::make(&args.path, id, args.skip_validate, &ProcessEnvironment, &progress)?
    };
    for warning in &package.warnings {
        printer.note(&format!("warning: {warning}"));
    }
    // A pinned digest is sent as it is: the host compares, and its refusal is the answer.
    let digest = pinned.unwrap_or(package.digest).to_string();
    let load = !args.no_load;
    let mut params = Map::from_iter([
        ("bundle_b64".to_owned(), json!(STANDARD.encode(&package.bytes))),
        ("digest".to_owned(), json!(digest)),
        ("load".to_owned(), json!(load)),
    ]);
    if let Some(id) = &package.plugin_id {
        params.insert("plugin_id".to_owned(), json!(id.as_str()));
    }
    let summary = Map::from_iter([
        ("plugin_id".to_owned(), json!(package.plugin_id.as_ref().map(PluginId::as_str))),
        ("digest".to_owned(), json!(digest)),
        ("archive_bytes".to_owned(), json!(package.bytes.len())),
        ("load".to_owned(), json!(load)),
    ]);
    Ok(Action { params, summary, ..Action::plain("install_plugin_from_bundle") })
}
