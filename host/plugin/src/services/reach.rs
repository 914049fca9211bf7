//! What a plugin calls and asks for: functions here and elsewhere, the web.

use super::{
    CALL_CYCLE, CALL_DEPTH_MAX, Invocation, NAME_BYTES_SHOWN, PERMISSION_DENIED, RATE_LIMITED, Services, too_many,
};
use mortise_model::{Failure, HttpAccess, HttpRequest, HttpResponse, Json, Permission, cut};
use std::borrow::Cow;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

impl Services {
    /// Calls a function of this host or of another device, also before the generation is active: a start hook may need the
    /// answer. Cancel safe.
    ///
    /// # Errors
    /// `permission_denied` when the plugin is not granted it, `rate_limited` beyond `limits.mesh_calls_per_second`,
    /// `call_depth` when plugins call one another more than [`CALL_DEPTH_MAX`] deep, `call_cycle` when the function waits for this
    /// call already, `deadline_exceeded`, or the
    /// function's own failure.
    pub async fn invoke(&self, mut invocation: Invocation) -> Result<Json, Failure> {
        // This device by its own name is still this device: other permissions hold for it.
        if invocation.device.as_deref() == Some(self.device.as_str()) {
            invocation.device = None;
        }
        let (access, what) = access_of(&invocation);
        invocation.may_wait &= self.active.load(Ordering::Acquire);
        if invocation.chain.depth() > CALL_DEPTH_MAX {
            self.account.count_refusal("call_depth");
            return Err(Failure::new(
                "call_depth",
                format!("calls between plugins may not be more than {CALL_DEPTH_MAX} deep"),
            ));
        }
        let calls = match invocation.device {
            None => &self.account.plugin_calls,
            Some(_) => {
                self.use_mesh()?;
                &self.account.mesh_calls
            }
        };
        let deadline = invocation.deadline;
        if deadline <= Instant::now() {
            return Err(late("invocation"));
        }
        let call = async {
            self.permit_now(&access, &what).await?;
            if invocation.device.is_none() {
                calls.count();
            }
            calls.bytes.sent(invocation.params.as_str().len());
            let outcome = self.backend.invoke(&self.plugin, invocation).await;
            let received = |result: &Json| calls.bytes.received(result.as_str().len());
            outcome.inspect(received).inspect_err(|failure| {
                // In the host's words, and not in those of a plugin further down.
                if matches!(failure.code, Cow::Borrowed(CALL_CYCLE)) {
                    self.account.count_refusal(CALL_CYCLE);
                }
            })
        };
        tokio::time::timeout_at(deadline, call).await.unwrap_or_else(|_| Err(late("invocation")))
    }

    /// The devices seen now, as a JSON array of presence records. Cancel safe.
    ///
    /// # Errors
    /// `permission_denied` when the plugin is not granted `mesh.discover`, `rate_limited` beyond
    /// `limits.mesh_calls_per_second`, `result_too_large` where the devices' records are too long to be told.
    pub async fn discover(&self) -> Result<Json, Failure> {
        let what = "list the devices on the mesh";
        self.use_mesh()?;
        self.permit_now(&Permission::MeshDiscover, what).await?;
        self.backend.discover().inspect(|devices| self.account.mesh_calls.bytes.received(devices.as_str().len()))
    }

    /// Sends a request over HTTP and reads its answer, of which the body may have at most `body_bytes_max`. Redirects are
    /// not followed: where they lead is another request. Beyond `limits.http_requests` under way it waits. Cancel safe.
    ///
    /// # Errors
    /// `invalid_request`, `permission_denied` when the plugin is not granted it, `rate_limited` beyond
    /// `limits.http_requests_per_second`, `deadline_exceeded`, or why there was no answer.
    pub async fn http(
        &self,
        request: HttpRequest,
        deadline: Instant,
        body_bytes_max: usize,
    ) -> Result<HttpResponse, Failure> {
        let outcome = self.exchange(request, deadline, body_bytes_max).await;
        outcome.inspect_err(|failure| {
            // Those two are counted where they are judged.
            if ![RATE_LIMITED, PERMISSION_DENIED].contains(&&*failure.code) {
                self.account.count_failure(failure);
            }
        })
    }

    async fn exchange(
        &self,
        request: HttpRequest,
        deadline: Instant,
        body_bytes_max: usize,
    ) -> Result<HttpResponse, Failure> {
        let per_second = self.limits().http_requests_per_second;
        if !self.account.http.admit(per_second) {
            return Err(too_many("requests over HTTP", "http_requests_per_second", per_second));
        }
        let access = HttpAccess::of_request(&request.method, &request.url)
            .map_err(|reason| Failure::new("invalid_request", format!("the URL of the request: {reason}")))?;
        let what = format!("send `{}`", cut(&access.to_string(), NAME_BYTES_SHOWN));
        if deadline <= Instant::now() {
            return Err(late("request"));
        }
        let exchange = async {
            // The semaphore is never closed.
            let _place = self.http_places.acquire().await;
            self.permit_now(&Permission::Http(access), &what).await?;
            self.account.http.bytes.sent(request.bytes());
            let response = self.backend.http(&self.plugin, request, body_bytes_max).await?;
            self.account.http.bytes.received(response.bytes());
            Ok(response)
        };
        tokio::time::timeout_at(deadline, exchange).await.unwrap_or_else(|_| Err(late("request")))
    }

    fn use_mesh(&self) -> Result<(), Failure> {
        let per_second = self.limits().mesh_calls_per_second;
        let admitted = self.account.mesh_calls.admit(per_second);
        if admitted { Ok(()) } else { Err(too_many("calls over the mesh", "mesh_calls_per_second", per_second)) }
    }
}

/// What an invocation needs, as a permission and in words.
fn access_of(invocation: &Invocation) -> (Permission, String) {
    let functions = invocation.function.clone();
    let shown = cut(&invocation.function, NAME_BYTES_SHOWN);
    match invocation.device.clone() {
        None => (Permission::Plugins(functions), format!("call `{shown}`")),
        Some(devices) => {
            let what = format!("call `{shown}` of device `{}`", cut(&devices, NAME_BYTES_SHOWN));
            (Permission::MeshInvoke { devices, functions }, what)
        }
    }
}

fn late(what: &str) -> Failure {
    Failure::retryable("deadline_exceeded", format!("the {what} was not answered in time"))
}
