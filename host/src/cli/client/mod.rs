//! Talking to a running host: over its control socket, or over the mesh.

mod control;
mod discover;
mod mesh;

pub(super) use control::ControlClient;
pub(super) use mesh::MeshClient;

use super::output::CommandError;
use super::progress::Progress;
use crate::config::ClientConfig;
use anyhow::Context as _;
use mortise_manage::ControlSocket;
use mortise_model::DeviceId;
use rand::Rng as _;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Between two attempts to reach a host that has gone.
const RECONNECT: Duration = Duration::from_secs(1);

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum CallFailure {
    /// Nobody knows whether the host got the request: it may be sent again, if that does no harm.
    Lost(CommandError),
    /// The connection is gone, or there was no request: it cannot be sent again here.
    Final(CommandError),
    /// The host answered with an error.
    Answered(CommandError),
}

impl CallFailure {
    /// What the user reads.
    pub(super) fn into_error(self) -> CommandError {
        match self {
            Self::Lost(error) | Self::Final(error) | Self::Answered(error) => error,
        }
    }
}

/// The host that a command is meant for.
pub(super) enum HostClient {
    /// On this machine, as its operator.
    Local(ControlClient),
    /// Anywhere, as any other client of the mesh.
    Remote { mesh: MeshClient, host: DeviceId },
}

impl HostClient {
    /// Has whoever connects again find this host, and no other that can be found.
    pub(super) fn pin(&self, config: &mut ClientConfig) {
        match self {
            Self::Local(_) => config.state_dir_named = true,
            Self::Remote { host, .. } => config.host = Some(host.clone()),
        }
    }

    /// Finds the host: the one named, else the local one, else the only one on the mesh.
    pub(super) async fn connect(config: &ClientConfig, progress: &Progress) -> Result<Self, CommandError> {
        if let Some(host) = &config.host {
            progress.stage(format!("looking for `{host}`"));
            let mesh = MeshClient::connect(config).await?;
            mesh.await_peer(host).await?;
            return Ok(Self::Remote { mesh, host: host.clone() });
        }
        if let Some(local) = ControlClient::connect(&config.state_dir).await? {
            return Ok(Self::Local(local));
        }
        if config.state_dir_named {
            let error = anyhow::anyhow!("no host is running on `{}`", config.state_dir.display());
            return Err(CommandError::failed(error).hint("start it with `mortise run` and the same flags"));
        }
        progress.stage("looking for hosts on the mesh".to_owned());
        let mesh = MeshClient::connect(config).await?;
        let host = match discover::only_host(mesh.mesh(), &config.tenant).await {
            Ok(host) => host,
            Err(error) => {
                mesh.close().await;
                return Err(error);
            }
        };
        Ok(Self::Remote { mesh, host })
    }

    /// Tries until the host that has gone is there again.
    pub(super) async fn reconnect(config: &ClientConfig) -> Self {
        loop {
            tokio::time::sleep(RECONNECT).await;
            let Ok(mut client) = Self::connect(config, &Progress::none()).await else { continue };
            // A broker is there without the host.
            let answer = client.call("get_status", Map::new(), config.timeout, &Progress::none()).await;
            if let Ok(_) | Err(CallFailure::Answered(_)) = answer {
                return client;
            }
        }
    }

    /// The longest request that can be sent, in bytes.
    pub(super) fn request_bytes_max(&self) -> usize {
        match self {
            Self::Local(_) => usize::try_from(ControlSocket::LINE_BYTES_MAX).unwrap_or(usize::MAX),
            Self::Remote { mesh, .. } => mesh.mesh().payload_bytes_max().unwrap_or(usize::MAX),
        }
    }

    /// Calls `method` and waits for its result, for at most `timeout`.
    ///
    /// # Errors
    /// [`CallFailure::Answered`] with the host's own code and hint when it answers with an error.
    pub(super) async fn call(
        &mut self,
        method: &str,
        params: Map<String, Value>,
        timeout: Duration,
        progress: &Progress,
    ) -> Result<Value, CallFailure> {
        let request = json!({"jsonrpc": "2.0", "id": request_id(), "method": method, "params": params});
        let reply = match self {
            Self::Local(client) => {
                let exchange = client.exchange(&request, progress);
                // A socket loses nothing; and behind half a request no other can follow.
                let reply = tokio::time::timeout(timeout, exchange).await.map_err(|_| {
                    let error = anyhow::anyhow!("the host did not answer within {timeout:?}");
                    CallFailure::Final(CommandError::failed(error).hint("allow more with `--timeout`"))
                })?;
                reply.map_err(CallFailure::Final)?
            }
            Self::Remote { mesh, host } => mesh.request(host, &request, timeout).await?,
        };
        result_of(reply).map_err(CallFailure::Answered)
    }

    /// Ends the connection in good order.
    pub(super) async fn close(self) {
        match self {
            Self::Local(_) => {}
            Self::Remote { mesh, .. } => mesh.close().await,
        }
    }
}

/// `d2d-` and 12 hex digits (wire contract 10.11).
fn request_id() -> String {
    format!("d2d-{:012x}", rand::rng().next_u64() >> 16)
}

/// The result of a JSON-RPC reply (wire contract 3.1), or its error with what our hosts add to it.
fn result_of(mut reply: Value) -> Result<Value, CommandError> {
    let Some(reply) = reply.as_object_mut() else { return Err(no_reply()) };
    let Some(error) = reply.get("error").filter(|error| !error.is_null()) else {
        return reply
            .remove("result")
            .context("the host's reply has neither a result nor an error")
            .map_err(Into::into);
    };
    let message =
        error.get("message").and_then(Value::as_str).unwrap_or("the host answered with an error without a message");
    let mut failure = CommandError::failed(anyhow::Error::msg(message.to_owned()));
    let data = error.get("data");
    let text = |key: &str| data.and_then(|data| data.get(key)).and_then(Value::as_str).map(str::to_owned);
    failure.code = text("code");
    failure.hints.extend(text("hint"));
    Err(failure)
}

fn no_reply() -> CommandError {
    CommandError::failed(anyhow::anyhow!("the host's reply is no JSON object"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_have_the_form_that_hosts_know() {
        let id = request_id();
        let digits = id.strip_prefix("d2d-").unwrap();
        assert_eq!(digits.len(), 12);
        assert!(digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{id}");
    }

    #[test]
    fn replies_become_results_or_errors() {
        let ok = result_of(json!({"jsonrpc": "2.0", "id": "x", "result": {"error": 1}}));
        assert_eq!(ok.unwrap(), json!({"error": 1}));
        assert_eq!(result_of(json!({"id": "x", "result": null})).unwrap(), Value::Null);

        let data = json!({"code": "unknown_method", "hint": "try `list`"});
        let error =
            result_of(json!({"id": "x", "error": {"code": -32601, "message": "Unknown method: f", "data": data}}));
        let error = error.unwrap_err();
        assert_eq!(error.chain(), "Unknown method: f");
        assert_eq!((error.code.as_deref(), error.hints), (Some("unknown_method"), vec!["try `list`".to_owned()]));

        for bad in [json!([]), json!({}), json!({"id": "x", "error": null})] {
            assert!(result_of(bad).is_err());
        }
    }
}
