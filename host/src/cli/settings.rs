//! From what was parsed to what a command works with.

use super::args::{ConnectionArgs, RunArgs, ServeArgs};
use super::output::{CommandError, ExitStatus};
use crate::config::{ArtifactFlags, ClientFlags, ConfigErrors, HostFlags};
use mortise_model::chain;

impl From<&RunArgs> for HostFlags {
    fn from(args: &RunArgs) -> Self {
        Self {
            device_id: args.device_id.clone(),
            tenant: args.tenant.clone(),
            capabilities_dir: args.capabilities_dir.clone(),
            state_dir: args.state_dir.clone(),
            no_auto_load: args.no_auto_load,
            bundled_plugins: args.bundled_plugins.clone(),
            enable_sidecars: args.enable_sidecars,
            sidecar_network: args.sidecar_network.clone(),
            artifact_serve: args.artifact_serve,
            messaging_backend: args.messaging_backend.clone(),
            messaging_urls: args.messaging_urls.clone(),
            nats_credentials_file: args.nats_credentials_file.clone(),
            portal: args.portal,
            portal_credentials: args.portal_credentials.clone(),
            portal_credentials_glob: args.portal_credentials_glob.clone(),
            portal_credentials_dir: args.portal_credentials_dir.clone(),
            allow_insecure: args.allow_insecure,
            discovery_mode: args.discovery_mode.clone(),
            zenoh_scouting_interface: args.zenoh_scouting_interface.clone(),
            install_source_roots: args.install_source_roots.clone(),
            install_allow_http: args.install_allow_http,
            install_allow_private: args.install_allow_private,
            install_ca_files: args.install_ca_files.clone(),
            keep_versions: args.keep_versions.clone(),
            probation: args.probation.clone(),
            policy: args.policy.clone(),
            secrets_dir: args.secrets_dir.clone(),
            runners_dir: args.runners_dir.clone(),
            availability: args.availability.clone(),
            heartbeat_ttl: args.heartbeat_ttl.clone(),
            log_level: args.log.log_level.clone(),
            log_format: args.log.log_format.clone(),
        }
    }
}

impl From<&ConnectionArgs> for ClientFlags {
    fn from(args: &ConnectionArgs) -> Self {
        Self {
            host: args.host.clone(),
            tenant: args.tenant.clone(),
            credentials: args.credentials.clone(),
            messaging_urls: args.messaging_urls.clone(),
            messaging_backend: args.messaging_backend.clone(),
            zenoh_scouting_interface: args.zenoh_scouting_interface.clone(),
            capabilities_dir: args.capabilities_dir.clone(),
            state_dir: args.state_dir.clone(),
            timeout: args.timeout.clone(),
            as_reference: args.as_reference,
        }
    }
}

impl From<&ServeArgs> for ArtifactFlags {
    fn from(args: &ServeArgs) -> Self {
        Self {
            capabilities_dir: args.store.capabilities_dir.clone(),
            host: args.host.clone(),
            port: args.port.clone(),
            log_level: args.log.log_level.clone(),
            log_format: args.log.log_format.clone(),
        }
    }
}

/// Everything wrong with a configuration as one failure: exit 2 when only the call was wrong, else 64.
pub(super) fn config_failure(errors: &ConfigErrors) -> CommandError {
    let chains: Vec<_> = errors.iter().map(|error| chain(error)).collect();
    let hints = errors.iter().filter_map(crate::config::ConfigError::hint).collect();
    let status = if errors.is_usage() { ExitStatus::Usage } else { ExitStatus::Config };
    CommandError { status, error: anyhow::Error::msg(chains.join("; ")), code: None, hints }
}
