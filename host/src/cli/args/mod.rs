//! What the command line may say. Parsing only: nothing here reads the environment or decides.
#![allow(rustdoc::invalid_html_tags, reason = "these comments are help texts, printed as they are")]

mod artifact;
mod author;
mod deploy;
mod run;
mod runners;
#[cfg(test)]
mod tests;

pub use artifact::{ArtifactArgs, ArtifactCommand, ListArgs, PublishArgs, ServeArgs, StoreArgs};
pub use author::{DevArgs, NewArgs, PackArgs, ValidateArgs};
pub use deploy::{ConnectionArgs, DeployArgs, DeployCommand, GrantArgs, InstallArgs, InvokeArgs, PluginLogsArgs};
pub use run::{ConfigArgs, ConfigCommand, LogArgs, RunArgs};
pub use runners::{CompileArgs, RunnersArgs, RunnersCommand};

use super::output::OutputFormat;
use clap::{Parser, Subcommand};

/// The same under every name of the program.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    refused or failed
  2    called wrongly, or a feature was asked for that is not built yet
  3    done in part: installed, but not loaded
  64   bad configuration
  70   a fault of this program
  130  interrupted

Environment variables are listed in docs/reference/environment.md; a flag wins over its variable.";

/// A plugin host for the Device Connect mesh: one device whose functions are plugins that come and go while it runs.
#[derive(Debug, Parser)]
#[command(name = "mortise", version, propagate_version = true, after_help = EXIT_CODES, args_override_self = true)]
#[command(max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the plugin host until SIGTERM or Ctrl-C.
    Run(Box<RunArgs>),
    /// Install, load, call and remove plugins of a running host.
    Deploy(Box<DeployArgs>),
    /// Check a plugin, and ask it in the sandbox what it brings.
    Validate(ValidateArgs),
    /// Create a plugin from a template.
    New(NewArgs),
    /// Install a plugin at each save, and show what it logs, until Ctrl-C.
    Dev(Box<DevArgs>),
    /// Pack a plugin into the archive that `deploy install` sends; a Rust crate is built first.
    Pack(PackArgs),
    /// Publish plugins for hosts to fetch, and serve them.
    Artifact(ArtifactArgs),
    /// Prepare the runners that interpret source plugins.
    Runners(RunnersArgs),
    /// Show what the configuration amounts to.
    Config(Box<ConfigArgs>),
}

impl Cli {
    /// How results are to be printed.
    #[must_use]
    pub fn format(&self) -> OutputFormat {
        let json = match &self.command {
            Command::Run(_) | Command::Dev(_) => false,
            Command::Deploy(args) => args.json,
            Command::Validate(args) => args.json,
            Command::New(args) => args.json,
            Command::Pack(args) => args.json,
            Command::Artifact(args) => args.json(),
            Command::Runners(args) => args.json(),
            Command::Config(args) => args.command.json(),
        };
        if json { OutputFormat::Json } else { OutputFormat::Text }
    }
}
