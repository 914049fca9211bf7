//! Flags of `validate`, `new` and `pack`.

use super::deploy::{ConnectionArgs, TARGETS};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use mortise_manage::template::Language;
use std::path::PathBuf;

/// Flags of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Plugin folder, or an archive of one (.tar.gz or .zip)
    #[arg(value_name = "PATH")]
    pub path: PathBuf,

    /// Folder of the runners of plugins in Python and JavaScript [env: MORTISE_RUNNERS_DIR] [default: `runners` beside the program]
    #[arg(long, value_name = "DIR")]
    pub runners_dir: Option<String>,

    /// Print JSON: ok, plugin_id, path, errors, hints, warnings, rpc_methods, manifest
    #[arg(long)]
    pub json: bool,
}

/// Flags of `new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Plugin id: 1 to 128 of A-Z a-z 0-9 _ -, for instance garage-door
    #[arg(value_name = "ID")]
    pub plugin_id: String,

    /// Language to write it in; Python and JavaScript need no compiler
    #[arg(long, value_name = "LANGUAGE", default_value = Language::Python.name(), value_parser = languages())]
    pub language: Language,

    /// Folder to create; must not exist or be empty [default: the plugin id]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// One sentence for the manifest [default: "Capability plugin for <ID>"]
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,

    /// Rust: folder of the crate `tenon` to depend on [env: MORTISE_SDK] [default: the one in the repository]
    #[arg(long, value_name = "DIR")]
    pub sdk: Option<PathBuf>,

    /// Print JSON: plugin_id, path, files
    #[arg(long)]
    pub json: bool,
}

/// Flags of `dev`.
#[derive(Debug, Args)]
#[command(after_help = TARGETS)]
pub struct DevArgs {
    /// A plugin folder, or a Rust plugin crate (built at each save)
    #[arg(value_name = "DIR")]
    pub path: PathBuf,

    /// Install under this id [default: the manifest's, else the folder's name]
    #[arg(long, value_name = "ID")]
    pub plugin_id: Option<String>,

    /// Have the host install the Python packages that the plugin declares, or refuse the plugin where its operator does not allow it
    #[arg(long)]
    pub install_dependencies: bool,

    /// Which host, and how to reach it.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

fn languages() -> impl TypedValueParser<Value = Language> {
    PossibleValuesParser::new(Language::ALL.map(Language::name))
        .try_map(|name| Language::named(&name).ok_or("there is no template for it"))
}

/// Flags of `pack`.
#[derive(Debug, Args)]
pub struct PackArgs {
    /// A plugin folder, or a Rust plugin crate (built first)
    #[arg(value_name = "DIR")]
    pub path: PathBuf,

    /// Archive to write (.tar.gz)
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,

    /// Print JSON: plugin_id, path, digest, archive_bytes
    #[arg(long)]
    pub json: bool,
}
