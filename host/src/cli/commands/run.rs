//! `mortise run`.

use crate::cli::args::RunArgs;
use crate::cli::output::{CommandError, ExitStatus, Printer};
use crate::cli::settings::config_failure;
use crate::config::{HostFlags, env::ProcessEnvironment, resolve_host};

pub(in crate::cli) fn run(args: &RunArgs, _printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let resolution =
        resolve_host(&HostFlags::from(args), &ProcessEnvironment).map_err(|errors| config_failure(&errors))?;
    let config = resolution.config;
    mortise_telemetry::init(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(crate::app::run_host(config));
    // Whatever still blocks a thread of the pool must not keep a stopped host from ending.
    runtime.shutdown_background();
    outcome?;
    Ok(ExitStatus::Success)
}
