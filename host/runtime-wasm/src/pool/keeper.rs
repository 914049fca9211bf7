//! Begins and ends the instances of one generation, and answers calls that waited for one in vain.

use super::Queue;
use crate::code::Code;
use crate::desk::{Message, deadline_exceeded};
use crate::driver::{Driver, Post};
use crate::engine::Engine;
use crate::pool::queue::MemberId;
use crate::processor::Processor;
use crate::view::Shared;
use mortise_model::Description;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// How much longer than its time to stop an instance may take before it is ended outright.
const GRACE: Duration = Duration::from_secs(1);

/// What every instance of one generation is made of.
pub(crate) struct Supply {
    pub(crate) code: Arc<Code>,
    pub(crate) engine: Arc<Engine>,
    /// Of the first instance.
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: Arc<Queue>,
    /// They draw on it together.
    pub(crate) processor: Arc<Mutex<Processor>>,
    pub(crate) drivers: TaskTracker,
    /// The generation's, also while it has no instance: whoever was loaded can go on.
    pub(crate) place: Arc<OwnedSemaphorePermit>,
    /// As many as the host may have instances.
    pub(crate) places: Arc<Semaphore>,
    /// How long an instance besides the first may be idle before it ends.
    pub(crate) idle: Duration,
}

impl Supply {
    /// A driver that is not yet begun, and the way to tell it to stop.
    pub(crate) fn driver(&self, shared: Arc<Shared>) -> (Driver, MemberId, mpsc::UnboundedSender<Message>) {
        let member = self.queue.join(Arc::clone(&shared));
        let id = member.id();
        let place = Arc::clone(&self.place);
        let post = Post::Member { _place: place, processor: Arc::clone(&self.processor), member };
        let (driver, inbox) = Driver::new(Arc::clone(&self.code), shared, Arc::clone(&self.engine), post);
        (driver, id, inbox)
    }
}

/// The task of one generation with several instances. It ends when they have, and they end when it does.
pub(crate) struct Keeper {
    supply: Supply,
    /// What the first instance brings; a further one that brings something else is of no use.
    description: Arc<Description>,
    /// Of each instance; without it, it ends.
    inboxes: HashMap<MemberId, mpsc::UnboundedSender<Message>>,
    /// One for each instance that there may be now besides one, which has that of the generation.
    places: Vec<OwnedSemaphorePermit>,
    /// There is no place for a further one that is wanted.
    crowded: bool,
    /// So it was before, and the log says so.
    was_crowded: bool,
    stop: oneshot::Receiver<Duration>,
    /// Dropped last.
    _ended: watch::Sender<()>,
}

impl Keeper {
    /// Of a generation whose first instance was proven.
    pub(crate) fn new(
        supply: Supply,
        description: Arc<Description>,
        first: (MemberId, mpsc::UnboundedSender<Message>),
        stop: oneshot::Receiver<Duration>,
        ended: watch::Sender<()>,
    ) -> Self {
        let inboxes = HashMap::from([first]);
        Self {
            supply,
            description,
            inboxes,
            places: Vec::new(),
            crowded: false,
            was_crowded: false,
            stop,
            _ended: ended,
        }
    }

    pub(crate) async fn keep(mut self) {
        let queue = Arc::clone(&self.supply.queue);
        let stopped = loop {
            let alarm = self.look(Instant::now());
            let ring = async {
                match alarm {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let place = async {
                match self.crowded {
                    true => Arc::clone(&self.supply.places).acquire_owned().await.ok(),
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                stopped = &mut self.stop => break stopped,
                () = queue.keeper.notified() => {}
                place = place => self.places.extend(place),
                () = ring => {}
            }
        };
        queue.close();
        if let Ok(timeout) = stopped {
            self.inboxes.values().for_each(|inbox| stop(inbox, timeout));
            // Every one cuts its hook by itself. What has not ended by then is ended outright.
            if tokio::time::timeout(timeout.saturating_add(GRACE), left(&queue)).await.is_ok() {
                return;
            }
        }
        self.inboxes.clear();
        left(&queue).await;
    }

    /// Does what is to be done now. Returns when there may be something again.
    fn look(&mut self, now: Instant) -> Option<Instant> {
        let Supply { shared, queue, .. } = &self.supply;
        let (overdue, due) = queue.expire(now);
        for job in overdue {
            job.ticket.answer(Err(deadline_exceeded(job.kind, &job.name, &shared.limits)));
        }
        let mut crowded = false;
        while !crowded && self.supply.queue.wants_another() {
            match self.has_place() {
                true => self.begin(),
                false => crowded = true,
            }
        }
        if crowded && !self.crowded {
            let Supply { shared, .. } = &self.supply;
            shared.services.count_refusal("instances_max");
            if !std::mem::replace(&mut self.was_crowded, true) {
                // Once: from here on the counts tell.
                tracing::warn!(plugin = %shared.plugin, "limit `instances_max` reached: calls wait for the instances there are");
            }
        }
        self.crowded = crowded;
        let Supply { shared, queue, idle, .. } = &self.supply;
        // Those that have just begun may be idle next.
        let (retired, next) = if queue.is_per_call() { (Vec::new(), None) } else { queue.retire_idle(now, *idle) };
        for id in retired {
            if let Some(inbox) = self.inboxes.get(&id) {
                stop(inbox, shared.limits.stop_timeout);
            }
        }
        let members = self.supply.queue.members();
        self.inboxes.retain(|id, _| members.contains(id));
        // What is not needed is others'.
        self.places.truncate(members.len().saturating_sub(1));
        [due, next].into_iter().flatten().min()
    }

    /// Whether the host may have an instance more.
    fn has_place(&mut self) -> bool {
        if self.places.len() < self.supply.queue.members().len() {
            self.places.extend(Arc::clone(&self.supply.places).try_acquire_owned());
        }
        self.places.len() >= self.supply.queue.members().len()
    }

    /// Begins a further instance.
    fn begin(&mut self) {
        let (driver, id, inbox) = self.supply.driver(Arc::new(self.supply.shared.beside()));
        self.inboxes.insert(id, inbox);
        // A driver gives way by itself.
        self.supply.drivers.spawn(unconstrained(driver.join(Arc::clone(&self.description))));
    }
}

impl Drop for Keeper {
    /// Whatever has ended it, nobody is left to take a call.
    fn drop(&mut self) {
        self.supply.queue.close();
    }
}

/// Waits until every instance has ended.
async fn left(queue: &Queue) {
    loop {
        let mut left = pin!(queue.keeper.notified());
        left.as_mut().enable();
        if queue.members().is_empty() {
            return;
        }
        left.await;
    }
}

fn stop(inbox: &mpsc::UnboundedSender<Message>, timeout: Duration) {
    // One that has ended has nothing to stop.
    let _ = inbox.send(Message::Stop(timeout));
}
