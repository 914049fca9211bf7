//! The handle of a generation with one instance.

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
        if let Some(job) = admit(job, &self.shared, &self.backlog)
            && let Err(SendError(Message::Job(job))) = self.inbox.send(Message::Job(job))
        {
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
        let running = self.shared.ledger().standing().running;
        // Closed when the driver has ended.
        let instances = usize::from(!self.inbox.is_closed());
        Health { instances, queued: self.backlog.jobs(), running, ..self.shared.health() }
    }
}

/// Counts a job in, or answers it: it is too large, or too much waits already.
pub(crate) fn admit(job: Job, shared: &Shared, backlog: &Backlog) -> Option<Job> {
    let (size, bytes_max) = (job.params.as_str().len(), shared.entry_bytes_max());
    if size > bytes_max {
        let message = format!("the parameters have {size} bytes, and `{}` can be given {bytes_max}", shared.plugin);
        job.ticket.answer(Err(Failure::new("params_too_large", message)));
        return None;
    }
    if let Err(full) = backlog.admit(&job) {
        let (plugin, queue_max) = (&shared.plugin, shared.limits.queue);
        let message = match full {
            Full::Jobs => format!("`{plugin}` has {queue_max} calls waiting, the limit of `limits.queue`"),
            Full::PluginJobs => {
                format!(
                    "`{plugin}` has as many calls of other plugins waiting as may be: half of `limits.queue` ({queue_max})"
                )
            }
            Full::Bytes => {
                format!("the calls that wait for `{plugin}` would have more than {QUEUE_BYTES_MAX} bytes")
            }
            Full::PluginBytes => {
                let half = QUEUE_BYTES_MAX / 2;
                format!("the calls of other plugins that wait for `{plugin}` would have more than {half} bytes")
            }
        };
        job.ticket.answer(Err(Failure::retryable("queue_full", message)));
        return None;
    }
    Some(job)
}
