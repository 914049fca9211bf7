//! Flags of `artifact` (wire contract 10.12).

use super::LogArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `artifact …`.
#[derive(Debug, Args)]
pub struct ArtifactArgs {
    /// What to do; without any, the help is printed.
    #[command(subcommand)]
    pub command: Option<ArtifactCommand>,
}

/// What to do with published plugins.
#[derive(Debug, Subcommand)]
pub enum ArtifactCommand {
    /// Publish a plugin: pack it and put it into the artifact folder.
    #[command(disable_version_flag = true)]
    Publish(PublishArgs),
    /// List published plugins.
    List(ListArgs),
    /// Serve published plugins over HTTP until SIGTERM or Ctrl-C. There is no authentication.
    Serve(ServeArgs),
}

/// Flags of `artifact publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// A plugin folder, a Rust plugin crate (built first), or an archive (.tar.gz, .tgz)
    pub path: PathBuf,

    /// Publish under this id [default: the manifest's, else the folder's name]
    #[arg(long, value_name = "ID")]
    pub plugin_id: Option<String>,

    /// Publish as this version [default: the manifest's; without any, the file is named by its digest]
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,

    /// Which folder.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Print JSON: the record with its URL, and artifact_dir
    #[arg(long)]
    pub json: bool,
}

/// Flags of `artifact list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which folder.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Print JSON: artifacts, artifact_dir
    #[arg(long)]
    pub json: bool,
}

/// Flags of `artifact serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Which folder.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Address or name of this machine to listen on [env: DC_PLUGIN_ARTIFACT_HOST] [default: 127.0.0.1]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,

    /// Port to listen on; 0 lets the system choose [env: DC_PLUGIN_ARTIFACT_PORT] [default: 8790]
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,

    /// How it logs.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Where published plugins lie.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Capabilities folder; published plugins lie in its .artifacts unless DC_PLUGIN_ARTIFACT_DIR says where [env: DC_PLUGIN_CAPABILITIES_DIR, CAPABILITIES_DIR] [default: capabilities]
    #[arg(long, value_name = "DIR")]
    pub capabilities_dir: Option<String>,
}

impl ArtifactArgs {
    pub(super) fn json(&self) -> bool {
        match &self.command {
            Some(ArtifactCommand::Publish(args)) => args.json,
            Some(ArtifactCommand::List(args)) => args.json,
            Some(ArtifactCommand::Serve(_)) | None => false,
        }
    }
}
