//! `mortise new`: a plugin from a template.

use crate::cli::args::NewArgs;
use crate::cli::output::{CommandError, ExitStatus, OutputFormat, Printer};
use crate::config::env::{self, Environment as _, ProcessEnvironment};
use anyhow::{Context as _, anyhow};
use mortise_manage::template::{self, Language, Outline};
use mortise_model::PluginId;
use serde_json::json;
use std::path::{Path, PathBuf};

pub(in crate::cli) fn run(args: &NewArgs, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let id = PluginId::new(&args.plugin_id).map_err(|error| CommandError {
        status: ExitStatus::Usage,
        ..CommandError::failed(error).hint("choose a simple name such as `garage-door`")
    })?;
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(id.as_str()));
    if !is_free(&folder) {
        let error = anyhow!("`{}` exists and is not an empty folder", folder.display());
        return Err(CommandError::failed(error).hint("choose another folder with `--dir DIR`"));
    }
    let description = args.description.clone().unwrap_or_else(|| format!("Capability plugin for {id}"));
    let class_name = template::class_name(&id);
    let outline = Outline { id: &id, class_name: &class_name, description: &description };
    let files = match sdk(args)? {
        Some(sdk) => template::render_against(&sdk, outline)?,
        None => template::render(args.language, outline)?,
    };
    for file in &files {
        let path = folder.join(file.path);
        let failed = || format!("failed to write `{}`", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(&folder)).with_context(failed)?;
        std::fs::write(&path, &file.text).with_context(failed)?;
    }
    let shown = folder.display().to_string();
    match printer.format() {
        OutputFormat::Json => {
            let paths: Vec<_> = files.iter().map(|file| file.path).collect();
            printer.document(&json!({"plugin_id": id.as_str(), "path": shown, "files": paths}));
        }
        OutputFormat::Text => {
            printer.line(&format!("created `{shown}`"));
            for file in &files {
                printer.line(&format!("  {}", file.path));
            }
            let source = args.language.source();
            printer.note(&format!("next: `mortise dev {shown}` installs it, and again whenever you save `{source}`"));
        }
    }
    Ok(ExitStatus::Success)
}

/// The SDK's folder where the plugin is to depend on one.
fn sdk(args: &NewArgs) -> Result<Option<PathBuf>, CommandError> {
    if args.language != Language::Rust {
        return match &args.sdk {
            Some(_) => Err(CommandError::usage("`--sdk` is for plugins in Rust").hint("add `--language rust`")),
            None => Ok(None),
        };
    }
    let sdk = match &args.sdk {
        Some(sdk) => sdk.clone(),
        None => match ProcessEnvironment.read(env::MORTISE_SDK.name)? {
            Some(sdk) => PathBuf::from(sdk),
            None => return Ok(None),
        },
    };
    let sdk = sdk.canonicalize().with_context(|| format!("failed to open the SDK `{}`", sdk.display()))?;
    Ok(Some(sdk))
}

/// Whether a plugin may be written there: nothing yet, or an empty folder.
fn is_free(folder: &Path) -> bool {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => std::fs::symlink_metadata(folder).is_err(),
    }
}
