//! What a plugin brings, asked where no host runs.

use crate::account::Account;
use crate::authority::Nobody;
use crate::runtime::{Package, PrepareError, Runtime};
use crate::services::{Backend, Invocation, Services};
use async_trait::async_trait;
use mortise_model::{
    Description, DeviceId, EmittedName, Failure, FileAccess, HttpRequest, HttpResponse, Json, PluginId, Tenant,
    VariableName,
};
use mortise_rpc::{Emitter, Listener, Listening, Topic};
use std::sync::Arc;

/// What a plugin brings, as [`Runtime::describe`] tells it, for those who are no host: nobody has granted the plugin
/// anything, and nothing it does leaves its sandbox. It is told that it is on `device` of `tenant`. Cancel safe.
///
/// # Errors
/// As [`Runtime::describe`].
pub async fn describe_alone(
    runtime: &dyn Runtime,
    package: &Package,
    device: DeviceId,
    tenant: Tenant,
) -> Result<Description, PrepareError> {
    let account = Arc::new(Account::new(package.id.clone()));
    let services = Arc::new(Services::new(package, device, tenant, Arc::new(Nowhere), Arc::new(Nobody), account));
    let description = runtime.describe(package, Arc::clone(&services)).await;
    description.map_err(|error| error.after(services.denied_early()))
}

/// No host and no mesh.
struct Nowhere;

impl Nowhere {
    fn refusal() -> Failure {
        Failure::new("no_host", "there is no host here: the plugin is only asked what it would bring")
    }
}

#[async_trait]
impl Backend for Nowhere {
    async fn invoke(&self, _: &PluginId, _: Invocation) -> Result<Json, Failure> {
        Err(Self::refusal())
    }

    fn discover(&self) -> Result<Json, Failure> {
        Ok(Json::of(&serde_json::json!([])))
    }

    fn emit(&self, _: Option<&Arc<Emitter>>, _: EmittedName, _: Json) {}

    fn listen(&self, _: Arc<dyn Listener>) -> Box<dyn Listening> {
        Box::new(Nowhere)
    }

    async fn http(&self, _: &PluginId, _: HttpRequest, _: usize) -> Result<HttpResponse, Failure> {
        Err(Self::refusal())
    }

    fn env(&self, _: &VariableName) -> Option<String> {
        None
    }

    fn check_folder(&self, _: &FileAccess) -> Result<(), Failure> {
        Err(Self::refusal())
    }

    async fn secret(&self, _: &VariableName) -> Result<Option<String>, Failure> {
        Ok(None)
    }
}

impl Listening for Nowhere {
    fn to(&self, _: Vec<Topic>) {}
}
