//! Any client's way in: a request on the host's `cmd` subject.

use super::{CallFailure, discover};
use crate::cli::output::CommandError;
use crate::config::{ClientConfig, MeshConfig};
use bytes::Bytes;
use mortise_mesh::{Mesh, MeshError, NatsMesh, Subjects, ZenohMesh};
use mortise_model::{DeviceId, Tenant};
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What this connection is called in a broker's lists.
const CONNECTION_NAME: &str = "mortise-deploy";

/// A connection on its way.
type Connecting = Pin<Box<dyn Future<Output = Result<Arc<dyn Mesh>, MeshError>> + Send>>;

/// A connection to the mesh.
pub(in crate::cli) struct MeshClient {
    mesh: Arc<dyn Mesh>,
    tenant: Tenant,
    /// Whether devices are reached without a broker and must find one another first.
    scouts: bool,
}

impl MeshClient {
    /// Connects, for as long as the answer may take at most.
    pub(in crate::cli) async fn connect(config: &ClientConfig) -> Result<Self, CommandError> {
        let (scouts, connecting): (bool, Connecting) = match config.mesh.clone() {
            MeshConfig::Nats(mut nats) => {
                nats.name = CONNECTION_NAME.to_owned();
                (false, Box::pin(async { Ok(Arc::new(NatsMesh::connect(nats).await?) as Arc<dyn Mesh>) }))
            }
            MeshConfig::Zenoh(zenoh) => {
                let scouts = crate::config::is_peer_mode(&zenoh);
                (scouts, Box::pin(async { Ok(Arc::new(ZenohMesh::open(zenoh).await?) as Arc<dyn Mesh>) }))
            }
        };
        match tokio::time::timeout(config.timeout, connecting).await {
            Ok(Ok(mesh)) => Ok(Self { mesh, tenant: config.tenant.clone(), scouts }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                let target = config.mesh.target();
                let error = anyhow::anyhow!("failed to connect to {target} within {:?}", config.timeout);
                Err(CommandError::failed(error).hint("check the broker's URL and that it is running"))
            }
        }
    }

    pub(super) fn mesh(&self) -> &Arc<dyn Mesh> {
        &self.mesh
    }

    /// Without a broker, waits a little until `host` has been found: a request before that reaches nobody.
    pub(super) async fn await_peer(&self, host: &DeviceId) -> Result<(), CommandError> {
        if self.scouts {
            discover::await_device(&self.mesh, &self.tenant, host).await?;
        }
        Ok(())
    }

    /// Sends one request to `host` and waits for its reply.
    pub(super) async fn request(
        &self,
        host: &DeviceId,
        request: &Value,
        timeout: Duration,
    ) -> Result<Value, CallFailure> {
        let subject = Subjects::new(self.tenant.clone()).command(host);
        let payload = serde_json::to_vec(request).map_err(|error| CallFailure::Final(error.into()))?;
        match self.mesh.request(&subject, Bytes::from(payload), timeout).await {
            Ok(reply) => serde_json::from_slice(&reply).map_err(|error| {
                let error = anyhow::Error::new(error).context("the host's reply is not JSON");
                CallFailure::Final(CommandError::failed(error))
            }),
            Err(error) => {
                let lost = match &error {
                    MeshError::NoResponders(_) | MeshError::Timeout { .. } | MeshError::Transport(_) => true,
                    MeshError::TooLarge { .. }
                    | MeshError::Connect { .. }
                    | MeshError::Setting { .. }
                    | MeshError::Closed => false,
                };
                let hint = hint(&error, host, &self.tenant);
                let failure = CommandError::failed(error);
                let failure = match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                };
                Err(if lost { CallFailure::Lost(failure) } else { CallFailure::Final(failure) })
            }
        }
    }

    /// Closes the connection.
    pub(super) async fn close(self) {
        self.mesh.close().await;
    }
}

fn hint(error: &MeshError, host: &DeviceId, tenant: &Tenant) -> Option<String> {
    match error {
        MeshError::NoResponders(_) => Some(format!(
            "is `{host}` running, in tenant `{tenant}` and on this mesh? Without `--host` the hosts that can be found are listed"
        )),
        MeshError::Timeout { .. } => Some("allow more with `--timeout`".to_owned()),
        MeshError::TooLarge { .. } => Some(
            "install it on the host's own machine without `--host`, or raise the broker's message limit".to_owned(),
        ),
        MeshError::Connect { .. } | MeshError::Setting { .. } | MeshError::Closed | MeshError::Transport(_) => None,
    }
}
