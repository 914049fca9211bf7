//! `mortise run`.

use crate::app::StartError;
use crate::cli::args::RunArgs;
use crate::cli::output::{CommandError, ExitStatus, Printer};
use crate::cli::settings::config_failure;
use crate::config::{HostFlags, env::ProcessEnvironment, resolve_host};
use mortise_delivery::DiskError;
use mortise_manage::{ControlError, DepotError, LockError};
use mortise_runtime_wasm::WasmError;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Threads that serve besides one for each processor. As many instances as a plugin may have by default may compute at once;
/// with these somebody is always there for the others, whom the system then gives a processor (docs/benchmarks.md, "Beside noisy plugins").
const SPARE_THREADS: usize = 4;

pub(in crate::cli) fn run(args: &RunArgs, _printer: &mut Printer) -> Result<ExitStatus, CommandError> {
    let resolution =
        resolve_host(&HostFlags::from(args), &ProcessEnvironment).map_err(|errors| config_failure(&errors))?;
    let config = resolution.config;
    mortise_telemetry::init(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors + SPARE_THREADS;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let outcome = runtime.block_on(crate::app::run_host(config));
    // Whatever still blocks a thread of the pool must not keep a stopped host from ending.
    runtime.shutdown_background();
    outcome.map_err(with_cure)?;
    Ok(ExitStatus::Success)
}

/// As many open files as the system lets the host have: connections of many plugins, and what they have open.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// What keeps a host from starting mostly has a cure, and only the room that it comes from knows it.
fn with_cure(error: anyhow::Error) -> CommandError {
    let told = error
        .downcast_ref()
        .map(|error: &StartError| (error.code(), error.hint()))
        .or_else(|| error.downcast_ref().map(|error: &LockError| (error.code(), error.hint())))
        .or_else(|| error.downcast_ref().map(|error: &ControlError| (error.code(), error.hint())))
        .or_else(|| error.downcast_ref().map(|error: &DepotError| (error.code(), error.hint())))
        .or_else(|| error.downcast_ref().map(|error: &WasmError| (error.code(), error.hint())))
        .or_else(|| error.downcast_ref().map(|error: &DiskError| ("disk", error.hint())));
    match told {
        Some((code, hint)) => CommandError::refused(error, code, hint),
        None => CommandError::failed(error),
    }
}
