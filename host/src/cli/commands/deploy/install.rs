//! `mortise deploy install`: what is sent.

use super::{Action, Bundle, INSTALL_DEPENDENCIES};
use crate::cli::args::InstallArgs;
use crate::cli::output::{CommandError, ExitStatus, Printer};
use crate::cli::package::Package;
use crate::cli::progress::Progress;
use crate::config::env::ProcessEnvironment;
use anyhow::Context as _;
use mortise_delivery::SIGNATURE_BYTES_MAX;
use mortise_model::{Digest, PluginId};
use serde_json::{Map, json};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

pub(super) fn action(args: &InstallArgs, printer: &mut Printer) -> Result<Action, CommandError> {
    let usage = |error: CommandError| CommandError { status: ExitStatus::Usage, ..error };
    let id = args.plugin_id.as_ref().map(PluginId::new).transpose().map_err(|error| usage(error.into()))?;
    let pinned = args.digest.as_deref().map(Digest::parse).transpose().map_err(|error| usage(error.into()))?;
    let agreed = args.plan_digest.as_deref().map(Digest::parse).transpose().map_err(|error| usage(error.into()))?;
    let signature = args.signature.as_deref().map(read_signature).transpose().map_err(usage)?;
    let mut action = match (&args.path, &args.url) {
        (Some(path), _) => from_path(path, id, pinned, args, printer)?,
        (None, Some(url)) => from_url(url, id.as_ref(), pinned, args),
        // Exit 1 and these words: wire contract 10.11.
        (None, None) => return Err(CommandError::failed(anyhow::anyhow!("plugin path or --url required"))),
    };
    if let Some(signature) = signature {
        action.params.insert("signature".to_owned(), json!(signature));
    }
    Ok(match agreed {
        _ if args.plan => planned(action),
        Some(agreed) => held_to(action, &agreed),
        None => action,
    })
}

/// The host verifies it; what is too long to be one is not sent.
fn read_signature(path: &Path) -> Result<String, CommandError> {
    let read = File::open(path).and_then(|file| {
        let mut text = String::new();
        file.take(SIGNATURE_BYTES_MAX + 1).read_to_string(&mut text).map(|_| text)
    });
    let text = read.with_context(|| format!("failed to read the signature `{}`", path.display()))?;
    if text.len() as u64 > SIGNATURE_BYTES_MAX {
        return Err(CommandError::failed(anyhow::anyhow!("`{}` is no signature: it is too long", path.display()))
            .hint("name the `.minisig` file that `minisign -Sm <archive>` wrote"));
    }
    Ok(text)
}

/// The same, told and not done.
fn planned(mut action: Action) -> Action {
    for object in [&mut action.params, &mut action.summary] {
        object.remove("load");
    }
    Action { method: "plan_plugin_install".to_owned(), ..action }
}

fn held_to(mut action: Action, agreed: &Digest) -> Action {
    for object in [&mut action.params, &mut action.summary] {
        object.insert("plan_digest".to_owned(), json!(agreed.to_string()));
    }
    action
}

/// Sends only what was given, and `load` (wire contract 10.11).
fn from_url(url: &str, id: Option<&PluginId>, pinned: Option<Digest>, args: &InstallArgs) -> Action {
    let mut params = Map::from_iter([("url".to_owned(), json!(url)), ("load".to_owned(), json!(!args.no_load))]);
    if let Some(id) = id {
        params.insert("plugin_id".to_owned(), json!(id.as_str()));
    }
    if let Some(digest) = pinned {
        params.insert("digest".to_owned(), json!(digest.to_string()));
    }
    if args.install_dependencies {
        params.insert(INSTALL_DEPENDENCIES.to_owned(), json!(true));
    }
    Action { summary: params.clone(), params, ..Action::plain("install_plugin_from_url") }
}

fn from_path(
    path: &Path,
    id: Option<PluginId>,
    pinned: Option<Digest>,
    args: &InstallArgs,
    printer: &mut Printer,
) -> Result<Action, CommandError> {
    let package = {
        let progress = Progress::new(printer);
        Package::make(path, id, args.skip_validate, &ProcessEnvironment, &progress)?
    };
    for warning in &package.warnings {
        printer.note(&format!("warning: {warning}"));
    }
    // A pinned digest is sent as it is: the host compares, and its refusal is the answer.
    let digest = pinned.unwrap_or(package.digest);
    Ok(of_package(package, &digest, !args.no_load, args.install_dependencies))
}

/// Sends the archive that was made, asking for its dependencies where `install_dependencies` says so.
pub(in crate::cli::commands) fn of_package(
    package: Package,
    digest: &Digest,
    load: bool,
    install_dependencies: bool,
) -> Action {
    let digest = digest.to_string();
    let mut params = Map::from_iter([("load".to_owned(), json!(load))]);
    if let Some(id) = &package.plugin_id {
        params.insert("plugin_id".to_owned(), json!(id.as_str()));
    }
    if install_dependencies {
        params.insert(INSTALL_DEPENDENCIES.to_owned(), json!(true));
    }
    let summary = Map::from_iter([
        ("plugin_id".to_owned(), json!(package.plugin_id.as_ref().map(PluginId::as_str))),
        ("digest".to_owned(), json!(digest)),
        ("archive_bytes".to_owned(), json!(package.bytes.len())),
        ("load".to_owned(), json!(load)),
    ]);
    let bundle = Some(Bundle { bytes: package.bytes, digest });
    Action { params, summary, bundle, ..Action::plain("install_plugin_from_bundle") }
}
