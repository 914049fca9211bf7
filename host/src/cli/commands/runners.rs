//! `mortise runners …`.

use crate::cli::args::{CompileArgs, RunnersArgs, RunnersCommand};
use crate::cli::output::{CommandError, ExitStatus, OutputFormat, Printer};
use mortise_runtime_wasm::compile_runners;
use serde_json::json;

pub(in crate::cli) fn run(args: &RunnersArgs, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    match &args.command {
        RunnersCommand::Compile(args) => compile(args, printer),
    }
}

fn compile(args: &CompileArgs, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let files = compile_runners(&args.dir).map_err(|error| {
        let (code, hint) = (error.code(), error.hint());
        CommandError::refused(error, code, hint)
    })?;
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    match printer.format() {
        OutputFormat::Json => printer.document(&json!({"files": files})),
        OutputFormat::Text => files.iter().for_each(|file| printer.line(file)),
    }
    Ok(ExitStatus::Success)
}
