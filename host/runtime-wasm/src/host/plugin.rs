//! `mortise:plugin/host`: every function returns at once; what takes time is an op.

use crate::bindings::mortise::plugin::host::{Host, Invocation, Level, Op, PluginIdentity};
use crate::bindings::mortise::plugin::types::{self, Failure};
use crate::host::log_line;
use crate::ops::{OPS_MAX, OpOutcome};
use crate::outcome;
use crate::view::HostView;
use mortise_model::Json;
use rand::Rng as _;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The most bytes that one `random` gives; the contract names the number.
const RANDOM_BYTES_MAX: u32 = 65_536;

/// The longest `target` of a log line, in bytes.
const LOG_TARGET_BYTES_MAX: usize = 256;

/// Where the monotonic clock of guests begins: some moment of this process.
static CLOCK_START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

impl types::Host for HostView {}

impl Host for HostView {
    fn log(&mut self, level: Level, target: String, message: String) {
        let level = match level {
            Level::Trace => tracing::Level::TRACE,
            Level::Debug => tracing::Level::DEBUG,
            Level::Info => tracing::Level::INFO,
            Level::Warn => tracing::Level::WARN,
            Level::Error => tracing::Level::ERROR,
        };
        let bytes_max = usize::try_from(self.shared.limits.log_line.0).unwrap_or(usize::MAX);
        log_line(&self.shared.plugin, level, cut(&target, LOG_TARGET_BYTES_MAX), cut(&message, bytes_max));
    }

    fn emit(&mut self, event: String, payload: String) -> Result<(), Failure> {
        Json::new(payload)
            .map_err(|error| {
                mortise_model::Failure::new("invalid_event", format!("the payload of event `{event}`: {error}"))
            })
            .and_then(|payload| self.shared.services.emit(&event, payload))
            .map_err(outcome::to_guest)
    }

    fn config(&mut self) -> String {
        self.shared.services.config().as_str().to_owned()
    }

    fn identity(&mut self) -> PluginIdentity {
        let services = &self.shared.services;
        PluginIdentity {
            plugin: services.plugin().to_string(),
            device: services.device().to_string(),
            tenant: services.tenant().to_string(),
        }
    }

    fn wall_time_ns(&mut self) -> u64 {
        // A clock before 1970 or after 2554 is nobody's real time.
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
    }

    fn monotonic_time_ns(&mut self) -> u64 {
        u64::try_from(CLOCK_START.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn random(&mut self, length: u32) -> Vec<u8> {
        let mut bytes = vec![0; length.min(RANDOM_BYTES_MAX) as usize];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    }

    fn start_op(&mut self, id: u64, op: Op) -> wasmtime::Result<()> {
        if self.ops.contains(id) {
            // Whichever of the two were delivered, the guest would take it for the other.
            return Err(wasmtime::Error::msg(format!("op {id} is under way already")));
        }
        if self.ops.is_full() {
            let message = format!("more than {OPS_MAX} ops under way");
            self.ops.finished(id, OpOutcome::Failed(mortise_model::Failure::retryable("too_many_ops", message)));
            return Ok(());
        }
        match op {
            Op::Sleep(ns) => {
                let now = Instant::now();
                // A sleep of centuries ends when the instance does.
                let until = now.checked_add(Duration::from_nanos(ns)).unwrap_or(now + Duration::from_secs(1 << 32));
                self.ops.sleep(id, until);
            }
            Op::Invoke(invocation) => self.invoke(id, invocation),
            Op::Discover => self.ops.finished(id, self.shared.services.discover().into()),
        }
        Ok(())
    }

    fn cancel_op(&mut self, id: u64) {
        self.ops.cancel(id);
    }

    fn complete(&mut self, id: u64, outcome: types::Outcome) {
        let outcome = outcome::judge(outcome, &self.shared.limits);
        // Answered now, not at the end of the turn: the guest may go on computing for another call. The lock is
        // released first.
        let answer = self.shared.ledger().complete(id, outcome);
        if let Some(answer) = answer {
            answer.give();
        }
    }
}

impl HostView {
    fn invoke(&mut self, id: u64, invocation: Invocation) {
        let Invocation { device, function, parameters, timeout_ns, on_behalf_of } = invocation;
        let params = match Json::new(parameters) {
            Ok(params) if params.is_object() => params,
            _ => {
                let message = format!("the parameters of `{function}` are no JSON object");
                self.ops.finished(id, OpOutcome::Failed(mortise_model::Failure::new("invalid_params", message)));
                return;
            }
        };
        let timeout = timeout_ns.map_or(self.shared.limits.call_timeout, Duration::from_nanos);
        let now = Instant::now();
        let mut deadline = now.checked_add(timeout).unwrap_or(now + self.shared.limits.call_timeout);
        let ledger = self.shared.ledger();
        let (trace, depth) = match on_behalf_of.and_then(|call| ledger.under_way(call)) {
            Some(call) => {
                deadline = deadline.min(call.deadline);
                (call.trace.as_deref().cloned().unwrap_or_default(), call.depth)
            }
            // Plugins that call each other in a circle are stopped even if they do not say for whom they call.
            None => (Default::default(), ledger.depth_max()),
        };
        drop(ledger);
        let services = Arc::clone(&self.shared.services);
        let invocation = mortise_plugin::Invocation { device, function, params, deadline, trace, depth };
        self.ops.invoke(id, Box::pin(async move { services.invoke(invocation).await }));
    }
}

/// The beginning of `text`, at most `bytes_max` long.
fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}
