//! What ops do, apart from sleeping: for those that are delivered and for those that the guest stands still for.

use super::plugin::NAME_BYTES_MAX;
use crate::bindings::mortise::plugin::host::{HttpRequest, Invocation, Op};
use crate::ops::OpOutcome;
use crate::view::HostView;
use futures_util::future::BoxFuture;
use mortise_model::{Failure, Json, cut};
use mortise_rpc::{CallChain, TraceContext};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How much of what others say of a failure a guest is told, in bytes.
const FAILURE_BYTES_MAX: usize = 16 << 10;

/// What an op does.
pub(super) struct Work {
    /// How many it holds in the host meanwhile.
    pub(super) bytes: usize,
    /// Nothing is begun before its first poll.
    pub(super) outcome: BoxFuture<'static, OpOutcome>,
}

/// On what terms an op is made, by what it says and by the call on whose behalf it is made.
struct Terms {
    /// Of no use after this.
    deadline: Instant,
    trace: Option<Arc<TraceContext>>,
    /// What leads to it, itself included.
    chain: CallChain,
}

impl HostView {
    /// What an op does, unless it is refused before it has begun.
    pub(super) fn work(&self, op: Op) -> Result<Work, Failure> {
        let services = Arc::clone(&self.shared.services);
        Ok(match op {
            Op::Sleep(ns) => Work::done(0, async move {
                tokio::time::sleep(Duration::from_nanos(ns)).await;
                Ok(())
            }),
            Op::Invoke(invocation) => return self.invoke(invocation),
            Op::Http(request) => return self.request(request),
            Op::Discover => self.value(0, async move { services.discover().await }),
            Op::Env(name) => self.value(name.len(), async move { services.env(&name).await }),
            Op::Secret(name) => self.value(name.len(), async move { services.secret(&name).await }),
            Op::StateFlush => Work::done(0, async move { services.state_flush().await }),
        })
    }

    fn invoke(&self, invocation: Invocation) -> Result<Work, Failure> {
        let Invocation { device, function, parameters, timeout_ns, on_behalf_of } = invocation;
        let bytes = parameters.len() + function.len() + device.as_ref().map_or(0, String::len);
        let limit = self.shared.limits.result;
        if bytes as u64 > limit.0 {
            let message = format!("the invocation has {bytes} bytes, more than `limits.result` ({limit})");
            return Err(Failure::new("params_too_large", message));
        }
        let params = Json::new(parameters).ok().filter(Json::is_object).ok_or_else(|| {
            let message = format!("the parameters of `{}` are no JSON object", cut(&function, NAME_BYTES_MAX));
            Failure::new("invalid_params", message)
        })?;
        let Terms { deadline, trace, chain } = self.terms(timeout_ns, on_behalf_of);
        let services = Arc::clone(&self.shared.services);
        let invocation =
            mortise_plugin::Invocation { device, function, params, deadline, trace, chain, may_wait: true };
        Ok(self.value(bytes, async move { services.invoke(invocation).await }))
    }

    fn request(&self, request: HttpRequest) -> Result<Work, Failure> {
        let HttpRequest { method, url, headers, body, timeout_ns, on_behalf_of } = request;
        let request = mortise_model::HttpRequest { method, url, headers, body };
        let (bytes, bytes_max) = (request.bytes(), self.shared.entry_bytes_max());
        if bytes > bytes_max {
            let message = format!("the request has {bytes} bytes, and this plugin can send {bytes_max} at once");
            return Err(Failure::new("request_too_large", message));
        }
        // One that no call waits for ends as well.
        let latest = Instant::now() + self.shared.limits.call_timeout;
        let deadline = self.terms(timeout_ns, on_behalf_of).deadline.min(latest);
        let services = Arc::clone(&self.shared.services);
        Ok(Work::done(bytes, async move { services.http(request, deadline, bytes_max).await }))
    }

    fn terms(&self, timeout_ns: Option<u64>, on_behalf_of: Option<u64>) -> Terms {
        let timeout = timeout_ns.map_or(self.shared.limits.call_timeout, Duration::from_nanos);
        let now = Instant::now();
        let deadline = now.checked_add(timeout).unwrap_or(now + self.shared.limits.call_timeout);
        let ledger = self.shared.ledger();
        match on_behalf_of.and_then(|call| ledger.under_way(call)) {
            Some(call) => {
                let chain = match call.function() {
                    Some(function) => call.chain.by(self.shared.plugin.clone(), function),
                    None => call.chain.by_unknown(),
                };
                Terms { deadline: deadline.min(call.deadline), trace: call.trace.clone(), chain }
            }
            // Plugins that call each other in a circle are stopped even if they do not say for whom they call.
            None => Terms { deadline, trace: None, chain: ledger.longest_chain().by_unknown() },
        }
    }

    /// What ends with a value, unless that is more than the guest can be given.
    fn value(&self, bytes: usize, value: impl Future<Output = Result<Json, Failure>> + Send + 'static) -> Work {
        let bytes_max = self.shared.entry_bytes_max();
        Work::done(bytes, async move {
            let json = value.await?;
            let size = json.as_str().len();
            if size > bytes_max {
                let message = format!("the result has {size} bytes, and this plugin can be given {bytes_max} at once");
                return Err(Failure::new("result_too_large", message));
            }
            Ok(json)
        })
    }
}

/// A failure may be told in the words of whoever was called, who is nobody to fill this guest's memory.
fn failed(mut failure: Failure) -> OpOutcome {
    failure.message.truncate(failure.message.floor_char_boundary(FAILURE_BYTES_MAX));
    OpOutcome::Failed(failure)
}

impl Work {
    fn done<T: Into<OpOutcome>>(
        bytes: usize,
        outcome: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Self {
        let outcome = async move { outcome.await.map_or_else(failed, Into::into) };
        Self { bytes, outcome: Box::pin(outcome) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_words_of_a_failure_are_cut() {
        let words = "é".repeat(FAILURE_BYTES_MAX);
        let work = Work::done::<()>(0, async move { Err(Failure::new("own", format!("x{words}"))) });
        let OpOutcome::Failed(failure) = work.outcome.await else { panic!("it failed") };
        assert_eq!(
            (failure.message.len(), &*failure.code),
            (FAILURE_BYTES_MAX - 1, "own"),
            "a whole number of letters"
        );
    }
}
