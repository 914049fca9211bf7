//! One file for each command: `run(args, printer)` does the work and returns how it ended.

pub(super) mod artifact;
pub(super) mod config;
pub(super) mod deploy;
pub(super) mod dev;
pub(super) mod new;
pub(super) mod pack;
pub(super) mod run;
pub(super) mod runners;
pub(super) mod validate;

use super::output::CommandError;
use tokio::runtime::{Builder, Runtime};

/// The runtime of commands that talk to a host.
fn client_runtime() -> Result<Runtime, CommandError> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
