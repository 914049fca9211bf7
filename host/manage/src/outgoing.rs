//! Requests over HTTP that plugins have sent.

use crate::authority::Authority;
use crate::blocking::blocking;
use mortise_http::{AddressClass, HttpClient, HttpError, Reach};
use mortise_model::{Failure, HttpRequest, HttpResponse, chain};
use mortise_policy::HttpPolicy;
use tokio::sync::Mutex;

/// Sends them to wherever the policy lets them go.
pub(crate) struct Outgoing {
    authority: Authority,
    /// The client, and the part of the policy that it was made for: connections of an older one end with it. Held for as
    /// long as making one takes.
    made: Mutex<Option<(HttpPolicy, HttpClient)>>,
}

impl Outgoing {
    pub(crate) fn new(authority: Authority) -> Self {
        Self { authority, made: Mutex::new(None) }
    }

    pub(crate) async fn send(&self, request: HttpRequest, body_bytes_max: usize) -> Result<HttpResponse, Failure> {
        let client = self.client().await?;
        client.send(request, body_bytes_max).await.map_err(|error| failure(&error))
    }

    async fn client(&self) -> Result<HttpClient, Failure> {
        let policy = self.authority.policy();
        let mut made = self.made.lock().await;
        if let Some((of, client)) = &*made
            && of == policy.http()
        {
            return Ok(client.clone());
        }
        let of = policy.http().clone();
        let (reach, ca_files) = (reach(&of), of.ca_files.clone());
        let client = blocking(move || HttpClient::new(reach, &ca_files).map_err(|error| failure(&error))).await?;
        *made = Some((of, client.clone()));
        Ok(client)
    }
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
