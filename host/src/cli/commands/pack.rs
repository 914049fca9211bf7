//! `mortise pack`.

use crate::cli::args::PackArgs;
use crate::cli::output::{CommandError, ExitStatus, OutputFormat, Printer};
use crate::cli::package::Package;
use crate::cli::progress::Progress;
use crate::config::env::ProcessEnvironment;
use anyhow::Context as _;
use serde_json::json;
use std::io::Write as _;

pub(in crate::cli) fn run(args: &PackArgs, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    if !args.path.is_dir() {
        return Err(CommandError::failed(anyhow::anyhow!("not a directory: {}", args.path.display())));
    }
    let package = {
        let progress = Progress::new(printer);
        Package::make(&args.path, None, false, &ProcessEnvironment, &progress)?
    };
    for warning in &package.warnings {
        printer.note(&format!("warning: {warning}"));
    }
    // Written beside and renamed: whoever reads the archive finds the old one or the new one, never a part.
    let folder = args.output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let failed = || format!("failed to write `{}`", args.output.display());
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder.unwrap_or(std::path::Path::new(".")))
        .with_context(failed)?;
    file.write_all(&package.bytes).with_context(failed)?;
    file.persist(&args.output).with_context(failed)?;
    let plugin_id = package.plugin_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let output = args.output.display().to_string();
    let digest = package.digest.to_string();
    match printer.format() {
        OutputFormat::Json => printer.document(&json!({
            "plugin_id": plugin_id, "path": output, "digest": digest, "archive_bytes": package.bytes.len(),
        })),
        OutputFormat::Text => {
            printer.line(&format!("{output}  {plugin_id}  {} bytes  {digest}", package.bytes.len()));
        }
    }
    Ok(ExitStatus::Success)
}
