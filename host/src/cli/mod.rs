//! The command line: `args` parses, `settings` merges, `commands` do the work, `output` prints.

pub mod args;
mod commands;
mod output;
mod settings;

pub use output::{CommandError, ExitStatus, OutputFormat, Printer};

use args::{Cli, Command};
use clap::Parser as _;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program with `args`, the first of which is its own name, and returns its exit code: 0 done, 1 refused or
/// failed, 2 bad usage, 3 done in part, 64 bad configuration, 70 a fault of ours, 130 interrupted.
///
/// Called once, by `main`.
pub fn run<I, T>(args: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and end with 0, the rest to stderr with 2; a closed stream changes neither.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut printer = Printer::of_process(cli.format());
    let outcome = match cli.command {
        Command::Run(args) => commands::run::run(&args, &mut printer),
        Command::Deploy(args) => commands::deploy::run(&args, &mut printer),
        Command::Validate(args) => commands::validate::run(&args, &mut printer),
        Command::New(args) => commands::new::run(&args, &mut printer),
        Command::Pack(args) => commands::pack::run(&args, &mut printer),
        Command::Config(args) => commands::config::run(&args, &mut printer),
    };
    match outcome {
        Ok(status) => status.into(),
        Err(error) => {
            printer.failure(&error);
            error.status.into()
        }
    }
}
