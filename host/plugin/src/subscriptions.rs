//! Events of other devices on their way into a plugin: one after another, in the order in which they come.
//!
//! A plugin's subscriptions go on from one generation to the next. What waits then is heard by the new one, and nothing twice.

use crate::account::Account;
use crate::generation::Generation;
use crate::services::Backend;
use mortise_model::{DeviceId, EventName};
use mortise_rpc::{CallError, Heard, Listener, Listening, Topic};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{Level, warn};

/// Bytes of all events that may wait for one plugin; how many may be says `limits.queue`.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// Between two lines in a plugin's log about events that failed in it.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What the host's own lines in a plugin's log come from.
const LOG_SOURCE: &str = "host";

/// The subscriptions of a plugin at work. Dropped, it hears nothing more; what it has begun to hear it finishes.
pub(crate) struct Subscriptions {
    mailbox: Arc<Mailbox>,
    _cancel: DropGuard,
}

/// What waits for a plugin, and for which generation of it.
struct Mailbox {
    /// The std mutex is held for a push or a pop.
    waiting: Mutex<Waiting>,
    arrived: Notify,
    /// Another generation, or the same one again.
    passed: Notify,
    account: Arc<Account>,
}

struct Waiting {
    generation: Arc<Generation>,
    /// Nothing is handed over for now.
    paused: bool,
    events: VecDeque<Arc<Heard>>,
    bytes: usize,
}

impl Subscriptions {
    /// Of a generation that serves; none where it has none.
    pub(crate) fn start(generation: &Arc<Generation>, backend: &dyn Backend) -> Option<Self> {
        if generation.description().subscriptions.is_empty() {
            return None;
        }
        let waiting = Waiting { generation: Arc::clone(generation), paused: false, events: VecDeque::new(), bytes: 0 };
        let mailbox = Arc::new(Mailbox {
            waiting: Mutex::new(waiting),
            arrived: Notify::new(),
            passed: Notify::new(),
            account: generation.services.account(),
        });
        let listener: Arc<dyn Listener> = Arc::<Mailbox>::clone(&mailbox);
        let listening = backend.listen(listener);
        let cancel = CancellationToken::new();
        let tasks = TaskTracker::new();
        let tend = cancel.clone().run_until_cancelled_owned(tend(Arc::clone(&mailbox), listening));
        tasks.spawn(tend);
        tasks.spawn(deliver(Arc::clone(&mailbox), cancel.clone()));
        Some(Self { mailbox, _cancel: cancel.drop_guard() })
    }

    /// Of the next generation, with what waits; none where that has none.
    pub(crate) fn pass_to(self, generation: &Arc<Generation>) -> Option<Self> {
        if generation.description().subscriptions.is_empty() {
            return None;
        }
        let mut waiting = self.mailbox.waiting();
        waiting.generation = Arc::clone(generation);
        waiting.paused = false;
        drop(waiting);
        self.mailbox.passed.notify_one();
        self.mailbox.arrived.notify_one();
        Some(self)
    }

    /// Hands nothing over until it is passed on: what comes waits.
    pub(crate) fn pause(&self) {
        self.mailbox.waiting().paused = true;
    }
}

impl fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscriptions of {:?}", self.mailbox.waiting().generation)
    }
}

impl Listener for Mailbox {
    fn wants(&self, device: &DeviceId, event: &EventName) -> bool {
        self.generation().hears(device, event)
    }

    fn hear(&self, heard: Arc<Heard>) {
        let bytes = bytes_of(&heard);
        let mut waiting = self.waiting();
        let queue = waiting.generation.services.limits().queue;
        if bytes > WAITING_BYTES_MAX {
            self.account.unheard.fetch_add(1, Ordering::Relaxed);
            return;
        }
        while waiting.events.len() >= queue || waiting.bytes + bytes > WAITING_BYTES_MAX {
            // The newest tell most of how things are.
            if waiting.pop().is_none() {
                break;
            }
            self.account.unheard.fetch_add(1, Ordering::Relaxed);
        }
        waiting.bytes += bytes;
        waiting.events.push_back(heard);
        drop(waiting);
        self.arrived.notify_one();
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Arc<Heard>> {
        let heard = self.events.pop_front()?;
        self.bytes -= bytes_of(&heard);
        Some(heard)
    }
}

impl Mailbox {
    fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.waiting().generation)
    }

    /// The next event, and who is to hear it. Cancel safe.
    async fn next(&self) -> (Arc<Heard>, Arc<Generation>) {
        loop {
            {
                let mut waiting = self.waiting();
                if !waiting.paused
                    && let Some(heard) = waiting.pop()
                {
                    return (heard, Arc::clone(&waiting.generation));
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Puts back what `closed` did not take. False where nobody else is to hear it.
    fn put_back(&self, heard: Arc<Heard>, closed: &Arc<Generation>) -> bool {
        let mut waiting = self.waiting();
        if Arc::ptr_eq(&waiting.generation, closed) && !waiting.paused {
            return false;
        }
        waiting.bytes += bytes_of(&heard);
        waiting.events.push_front(heard);
        true
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes_of(heard: &Heard) -> usize {
    heard.params.as_str().len() + heard.event.as_str().len() + heard.device.as_str().len()
}

/// Tells of events that failed: whoever may send them could fill the plugin's log otherwise.
#[derive(Default)]
struct Failures {
    told: Option<Instant>,
    /// Since then.
    untold: u64,
}

impl Failures {
    /// What to tell of one more; none where the last line is not long ago.
    fn line(&mut self, heard: &Heard, error: &CallError, now: Instant) -> Option<String> {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < TELL_EVERY) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        let (device, event) = (&heard.device, heard.event.as_str());
        let others = match std::mem::take(&mut self.untold) {
            0 => String::new(),
            untold => format!(" (and {untold} before it)"),
        };
        Some(format!("event `{event}` of device `{device}` failed: {error}{others}"))
    }
}

/// Hands over one event after another.
async fn deliver(mailbox: Arc<Mailbox>, cancel: CancellationToken) {
    let mut failures = Failures::default();
    while let Some((heard, generation)) = cancel.run_until_cancelled(mailbox.next()).await {
        // It may have waited for long.
        if !generation.hears(&heard.device, heard.event.event()) {
            mailbox.account.unheard.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        match generation.hear(&heard).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                if let Some(line) = failures.line(&heard, &error, Instant::now()) {
                    generation.services.log(Level::WARN, LOG_SOURCE, &line);
                }
            }
            None if mailbox.put_back(heard, &generation) => {}
            None => return,
        }
    }
}

/// Listens on the mesh to what the generation that serves describes and may hear. Ends with its listening when dropped.
async fn tend(mailbox: Arc<Mailbox>, listening: Box<dyn Listening>) {
    let mut changes = mailbox.generation().services.changes();
    // Of this generation: what it has been told that it may not hear.
    let mut told: Vec<bool> = Vec::new();
    let mut of = None;
    loop {
        changes.borrow_and_update();
        let generation = mailbox.generation();
        let subscriptions = &generation.description().subscriptions;
        if of != Some(generation.incarnation) {
            told = vec![false; subscriptions.len()];
            of = Some(generation.incarnation);
        }
        let services = &generation.services;
        let heard = subscriptions.iter().filter(|subscription| services.may_hear_some(subscription));
        listening.to(heard.filter_map(Topic::of).collect());
        for (subscription, told) in subscriptions.iter().zip(&mut told) {
            let lacks = services.lacks(subscription);
            if lacks
                && !*told
                && let Err(failure) = services.ask_to_hear(subscription).await
            {
                let (name, reason) = (&subscription.name, failure.message);
                warn!(plugin = %generation.package.id, subscription = name, reason = reason.as_str(), "a subscription is silent, wholly or in part");
            }
            *told = lacks;
        }
        tokio::select! {
            () = mailbox.passed.notified() => {}
            () = changed(&mut changes) => {}
        }
    }
}

async fn changed(changes: &mut tokio::sync::watch::Receiver<u64>) {
    if changes.changed().await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mortise_model::{EmittedName, Failure, Json};

    #[test]
    fn of_many_events_that_fail_one_line_tells() {
        let event = EmittedName::new("motion").unwrap();
        let params = Json::new("{}".to_owned()).unwrap();
        let heard = Heard { device: DeviceId::new("camera-1").unwrap(), event, params, trace: None };
        let error = CallError::from(Failure::new("plugin_error", "no"));
        let (mut failures, start) = (Failures::default(), Instant::now());
        let mut line = |after| failures.line(&heard, &error, start + after);
        assert_eq!(line(Duration::ZERO).as_deref(), Some("event `motion` of device `camera-1` failed: no"));
        for _ in 0..1000 {
            assert_eq!(line(TELL_EVERY - Duration::from_millis(1)), None);
        }
        let later = line(TELL_EVERY).unwrap();
        assert!(later.ends_with("failed: no (and 1000 before it)"), "{later}");
        assert_eq!(line(TELL_EVERY * 2).as_deref(), Some("event `motion` of device `camera-1` failed: no"));
    }
}
