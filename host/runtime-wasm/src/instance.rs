//! The handle of a generation at work.

use crate::backlog::{Backlog, Full, QUEUE_BYTES_MAX};
use crate::desk::Message;
use crate::driver::never_begun;
use crate::view::Shared;
use async_trait::async_trait;
use mortise_model::{Description, Failure};
use mortise_plugin::{Health, Instance, Job};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{mpsc, watch};

/// Dropping it closes the inbox, and that ends the driver.
pub(crate) struct WasmInstance {
    pub(crate) description: Description,
    /// What it holds is bounded by the backlog.
    pub(crate) inbox: mpsc::UnboundedSender<Message>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) stopping: AtomicBool,
    /// Closed when the driver has ended.
    pub(crate) ended: watch::Receiver<()>,
    pub(crate) shared: Arc<Shared>,
}

#[async_trait]
impl Instance for WasmInstance {
    fn description(&self) -> &Description {
        &self.description
    }

    fn submit(&self, job: Job) {
        let (size, bytes_max) = (job.params.as_str().len(), self.shared.entry_bytes_max());
        if size > bytes_max {
            let message =
                format!("the parameters have {size} bytes, and `{}` can be given {bytes_max}", self.shared.plugin);
            return job.ticket.answer(Err(Failure::new("params_too_large", message)));
        }
        if let Err(full) = self.backlog.admit(&job) {
            let (plugin, queue_max) = (&self.shared.plugin, self.shared.limits.queue);
            let message = match full {
                Full::Jobs => format!("`{plugin}` has {queue_max} calls waiting, the limit of `limits.queue`"),
                Full::Bytes => {
                    format!("the calls that wait for `{plugin}` would have more than {QUEUE_BYTES_MAX} bytes")
                }
            };
            return job.ticket.answer(Err(Failure::retryable("queue_full", message)));
        }
        if let Err(SendError(Message::Job(job))) = self.inbox.send(Message::Job(job)) {
            self.backlog.release(&job);
            job.ticket.answer(Err(never_begun()));
        }
    }

    async fn shutdown(&self, stop_timeout: Duration) {
        if !self.stopping.swap(true, Ordering::Relaxed) {
            // A closed inbox has ended already.
            let _ = self.inbox.send(Message::Stop(stop_timeout));
        }
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    fn health(&self) -> Health {
        let (traps, last_trap) = self.shared.losses();
        let (ledger, usage) = (self.shared.ledger(), &self.shared.usage);
        Health {
            traps,
            last_trap,
            queued: self.backlog.jobs(),
            running: ledger.standing().running,
            stray_outcomes: ledger.stray(),
            memory_bytes: usage.memory_bytes.load(Ordering::Relaxed),
            memory_peak_bytes: usage.memory_peak_bytes.load(Ordering::Relaxed),
            cpu: Duration::from_nanos(usage.cpu_nanos.load(Ordering::Relaxed)),
            cpu_waits: usage.cpu_waits.load(Ordering::Relaxed),
        }
    }
}
