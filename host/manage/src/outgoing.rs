//! Requests over HTTP that plugins have sent.

use crate::authority::Authority;
use crate::blocking::blocking;
use mortise_http::{AddressClass, HttpClient, HttpError, HttpRules, Reach};
use mortise_model::{Failure, HttpRequest, HttpResponse, PluginId, chain};
use mortise_policy::HttpPolicy;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use tokio::sync::Mutex;

/// Plugins of which clients are kept; beyond it all are made anew.
const CLIENTS_MAX: usize = 256;

/// Sends them to wherever the policy lets them go.
pub(crate) struct Outgoing {
    authority: Authority,
    /// Held for as long as making something takes.
    made: Mutex<Option<Made>>,
}

/// Made for one state of the policy: the connections of an older one end with it.
struct Made {
    policy: HttpPolicy,
    rules: HttpRules,
    clients: HashMap<PluginId, HttpClient>,
}

impl Outgoing {
    pub(crate) fn new(authority: Authority) -> Self {
        Self { authority, made: Mutex::new(None) }
    }

    pub(crate) async fn send(
        &self,
        plugin: &PluginId,
        request: HttpRequest,
        body_bytes_max: usize,
    ) -> Result<HttpResponse, Failure> {
        let client = self.client(plugin).await?;
        client.send(request, body_bytes_max).await.map_err(|error| failure(&error))
    }

    async fn client(&self, plugin: &PluginId) -> Result<HttpClient, Failure> {
        let mut made = self.made.lock().await;
        // Once the turn has come: what was in force before may be in force no longer.
        let policy = self.authority.policy();
        let mut current = match made.take().filter(|made| made.policy == *policy.http()) {
            Some(current) => current,
            None => make(policy.http().clone()).await?,
        };
        if !current.clients.contains_key(plugin) && current.clients.len() >= CLIENTS_MAX {
            current.clients.clear();
        }
        let current = made.insert(current);
        match current.clients.entry(plugin.clone()) {
            Entry::Occupied(client) => Ok(client.get().clone()),
            Entry::Vacant(place) => {
                let client = HttpClient::new(&current.rules).map_err(|error| failure(&error))?;
                Ok(place.insert(client).clone())
            }
        }
    }
}

async fn make(policy: HttpPolicy) -> Result<Made, Failure> {
    blocking(move || match HttpRules::new(reach(&policy), &policy.ca_files) {
        Ok(rules) => Ok(Made { policy, rules, clients: HashMap::new() }),
        Err(error) => Err(failure(&error.into())),
    })
    .await
}

/// The addresses that a policy lets requests go to.
fn reach(policy: &HttpPolicy) -> Reach {
    match &policy.networks {
        None => Reach::Private,
        Some(networks) if networks.is_empty() => Reach::Public,
        Some(networks) => Reach::Networks(networks.clone()),
    }
}

fn failure(error: &HttpError) -> Failure {
    let cure = match error {
        HttpError::Address { address, class, .. } if class.needs_permission() => {
            format!(
                "; the operator lets plugins reach it with `networks = [\"{address}\"]` in `[http]` of the policy file"
            )
        }
        HttpError::Address { class: AddressClass::CloudMetadata, .. } => "; nobody lets plugins reach that".to_owned(),
        HttpError::Insecure(_) => {
            "; an authority of your own goes into `ca_files` in `[http]` of the policy file".to_owned()
        }
        _ => String::new(),
    };
    let message = format!("the request brought no answer: {}{cure}", chain(error));
    Failure { code: error.code().into(), message, retryable: error.is_retryable() }
}
