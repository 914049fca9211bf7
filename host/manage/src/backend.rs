//! What plugins reach of the host: its functions, other devices, its events.

use crate::authority::Authority;
use crate::outgoing::Outgoing;
use crate::surroundings::Surroundings;
use async_trait::async_trait;
use mortise_model::{
    DeviceId, EmittedName, Failure, FileAccess, HttpRequest, HttpResponse, Json, PluginId, VariableName,
};
use mortise_plugin::{Backend, Invocation};
use mortise_rpc::{
    Client, ClientError, Dispatcher, Emitter, Hearing, Listener, Listening, LocalCall, Outbox, Peers, ReplyFault,
};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::time::Instant;

/// The host behind every plugin's services.
pub struct HostBackend {
    dispatcher: Dispatcher,
    client: Client,
    outbox: Outbox,
    peers: Peers,
    hearing: Hearing,
    outgoing: Outgoing,
    surroundings: Surroundings,
}

/// What plugins' services need.
pub struct BackendParts {
    /// Takes calls to functions of this host.
    pub dispatcher: Dispatcher,
    /// Calls other devices.
    pub client: Client,
    /// Takes events.
    pub outbox: Outbox,
    /// Who else is there.
    pub peers: Peers,
    /// Brings events of other devices.
    pub hearing: Hearing,
    /// Says where requests may go.
    pub authority: Authority,
    /// What they may read of the host's surroundings.
    pub surroundings: Surroundings,
}

#[async_trait]
impl Backend for HostBackend {
    async fn invoke(&self, _plugin: &PluginId, invocation: Invocation) -> Result<Json, Failure> {
        match &invocation.device {
            Some(device) => self.invoke_remote(device, &invocation).await,
            None => self.invoke_local(invocation).await,
        }
    }

    fn discover(&self) -> Result<Json, Failure> {
        let bytes_max = Peers::LISTING_BYTES_MAX;
        let too_large =
            || Failure::new("result_too_large", format!("the devices' records have over {bytes_max} bytes"));
        self.peers.list().ok_or_else(too_large)
    }

    fn emit(&self, emitter: Option<&Arc<Emitter>>, event: EmittedName, payload: Json) {
        self.outbox.push(emitter, event, &payload);
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> Box<dyn Listening> {
        self.hearing.listen(listener)
    }

    async fn http(
        &self,
        plugin: &PluginId,
        request: HttpRequest,
        body_bytes_max: usize,
    ) -> Result<HttpResponse, Failure> {
        self.outgoing.send(plugin, request, body_bytes_max).await
    }

    fn env(&self, name: &VariableName) -> Option<String> {
        self.surroundings.env.get(name.as_str()).cloned()
    }

    fn check_folder(&self, access: &FileAccess) -> Result<(), Failure> {
        self.surroundings.check_folder(access)
    }

    async fn secret(&self, name: &VariableName) -> Result<Option<String>, Failure> {
        self.surroundings.secret(name).await
    }
}

impl HostBackend {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: BackendParts) -> Self {
        let BackendParts { dispatcher, client, outbox, peers, hearing, authority, surroundings } = parts;
        Self { dispatcher, client, outbox, peers, hearing, outgoing: Outgoing::new(authority), surroundings }
    }

    async fn invoke_local(&self, invocation: Invocation) -> Result<Json, Failure> {
        let outcome = self
            .dispatcher
            .invoke(LocalCall {
                method: invocation.function,
                params: invocation.params,
                trace: invocation.trace,
                deadline: invocation.deadline,
                chain: invocation.chain,
                may_wait: invocation.may_wait,
            })
            .await;
        outcome.map_err(|error| Failure { code: error.code, message: error.message, retryable: error.retryable })
    }

    async fn invoke_remote(&self, device: &str, invocation: &Invocation) -> Result<Json, Failure> {
        let device = DeviceId::new(device).map_err(|error| Failure::new("invalid_device", error.to_string()))?;
        if !invocation.may_wait {
            // At the start plugins and the mesh come side by side.
            self.client.joined(invocation.deadline).await;
        }
        let left = invocation.deadline.saturating_duration_since(Instant::now());
        self.client
            .call(&device, &invocation.function, &invocation.params, invocation.trace.as_deref(), left)
            .await
            .map_err(failure)
    }
}

fn failure(error: ClientError) -> Failure {
    match error {
        ClientError::Reply(ReplyFault::Failed { code, message }) => {
            let code = if code == -32601 { "unknown_method" } else { "remote_error" };
            Failure { code: Cow::Borrowed(code), message, retryable: false }
        }
        ClientError::Reply(fault @ ReplyFault::Malformed(_)) => Failure::new("malformed_reply", fault.to_string()),
        ClientError::NotConnected => Failure::retryable("not_connected", error.to_string()),
        ClientError::Mesh(_) if error.is_timeout() => Failure::retryable("deadline_exceeded", error.to_string()),
        ClientError::Mesh(error) => Failure::retryable("mesh", error.to_string()),
    }
}
