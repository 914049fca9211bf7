//! A generation with several instances: each has a driver of its own, and takes calls from one queue when it is free.
//!
//! A `Keeper` begins instances when calls wait for want of one and ends those that were idle for a while. The first is proven
//! as the only one of another plugin would be; ticks of routines and subscribed events enter that one alone, so that what a
//! plugin does once is done once. With an instance for each call every one of them, ticks included, has a fresh one, and the
//! first is ended as soon as it is proven (decision 0027).

mod keeper;
mod queue;

pub(crate) use keeper::{Keeper, Supply};
pub(crate) use queue::{Member, Queue};

use crate::instance::admit;
use crate::view::Shared;
use async_trait::async_trait;
use mortise_model::Description;
use mortise_plugin::{Health, Instance, Job};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// The handle of a generation with several instances. Dropping it ends them all.
pub(crate) struct Pool {
    pub(crate) description: Arc<Description>,
    pub(crate) queue: Arc<Queue>,
    /// Of the first instance.
    pub(crate) shared: Arc<Shared>,
    /// Tells the keeper how long stop hooks may take; dropped, there are none. The std mutex is held to take it.
    pub(crate) stop: Mutex<Option<oneshot::Sender<Duration>>>,
    /// Closed when the keeper has ended, and every instance before it.
    pub(crate) ended: watch::Receiver<()>,
}

#[async_trait]
impl Instance for Pool {
    fn description(&self) -> &Description {
        &self.description
    }

    fn submit(&self, job: Job) {
        if let Some(job) = admit(job, &self.shared, self.queue.backlog()) {
            self.queue.push(job);
        }
    }

    async fn shutdown(&self, stop_timeout: Duration) {
        if let Some(stop) = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A keeper that is gone has ended all of them.
            let _ = stop.send(stop_timeout);
        }
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    fn health(&self) -> Health {
        let (instances, running) = self.queue.at_work();
        Health { queued: self.queue.backlog().jobs(), instances, running, ..self.shared.health() }
    }
}
