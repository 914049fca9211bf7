//! Flags of `runners`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `runners …`.
#[derive(Debug, Args)]
pub struct RunnersArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RunnersCommand,
}

/// What to do with runners.
#[derive(Debug, Subcommand)]
pub enum RunnersCommand {
    /// Compile the runners of a folder for every processor of this machine's architecture, and list them in its runners.json: a part of making a release.
    Compile(CompileArgs),
}

/// Flags of `runners compile`.
#[derive(Debug, Args)]
pub struct CompileArgs {
    /// Folder with the runners, python.wasm and quickjs.wasm; what is compiled is written beside them
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Print JSON: files
    #[arg(long)]
    pub json: bool,
}

impl RunnersArgs {
    pub(super) fn json(&self) -> bool {
        match &self.command {
            RunnersCommand::Compile(args) => args.json,
        }
    }
}
