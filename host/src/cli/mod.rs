//! The command line: `args` parses, `settings` merges, `commands` do the work, `output` prints.

pub mod args;
mod client;
mod commands;
mod drop_in;
mod guest;
mod output;
mod package;
mod progress;
mod sandbox;
mod settings;

pub use output::{CommandError, ExitStatus, OutputFormat, Printer};

use args::{Cli, Command};
use clap::Parser as _;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program with `args`, the first of which is its own name, and returns its exit code: 0 done, 1 refused or
/// failed, 2 bad usage, 3 done in part, 64 bad configuration, 70 a fault of ours, 130 interrupted. Under one of the
/// reference's names the rest is one of the reference's command lines.
///
/// Called once, by `main`.
pub fn run<I, T>(args: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString>,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let parsed = drop_in::parse(&args).unwrap_or_else(|| Cli::try_parse_from(&args));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and end with 0, the rest to stderr with 2; a closed stream changes neither.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut printer = Printer::of_process(cli.format());
    match guarded(|| perform(cli.command, &mut printer)) {
        Ok(status) => status.into(),
        Err(error) => {
            printer.failure(&error);
            error.status.into()
        }
    }
}

fn perform(command: Command, printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    match command {
        Command::Run(args) => commands::run::run(&args, printer),
        Command::Deploy(args) => commands::deploy::run(&args, printer),
        Command::Validate(args) => commands::validate::run(&args, printer),
        Command::New(args) => commands::new::run(&args, printer),
        Command::Dev(args) => commands::dev::run(&args, printer),
        Command::Pack(args) => commands::pack::run(&args, printer),
        Command::Artifact(args) => commands::artifact::run(&args, printer),
        Command::Runners(args) => commands::runners::run(&args, printer),
        Command::Config(args) => commands::config::run(&args, printer),
    }
}

/// A panic is a fault of ours and ends with 70. Its own message went to stderr already.
fn guarded(work: impl FnOnce() -> Result<ExitStatus, CommandError>) -> Result<ExitStatus, CommandError> {
    // What `work` borrowed is only printed to afterwards.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(CommandError {
            status: ExitStatus::Fault,
            ..CommandError::failed(anyhow::anyhow!("a fault of this program; please report the lines above"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_with_70() {
        let error = guarded(|| panic!("played")).unwrap_err();
        assert_eq!(error.status.number(), 70);
        assert_eq!(guarded(|| Ok(ExitStatus::Partial)).unwrap().number(), 3);
    }
}
