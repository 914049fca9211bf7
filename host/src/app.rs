//! Wires the rooms together.

use crate::config::HostConfig;

/// Runs the host until a signal ends it.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn run_host(config: HostConfig) -> anyhow::Result<()> {
    anyhow::bail!("the host `{}` cannot run yet", config.device_id)
}
