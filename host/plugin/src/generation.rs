//! One prepared incarnation of a plugin, and the gate that counts its work.

use crate::job::{Job, JobKind, Ticket};
use crate::runtime::{Instance, Package};
use crate::services::Services;
use mortise_model::{Description, Json};
use mortise_rpc::{Admission, Call, Handler, Outcome, Responder, TraceContext};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A prepared version of a plugin: its package, its instance, and who is inside.
pub(crate) struct Generation {
    pub(crate) package: Package,
    /// Never used twice in one process; larger is newer.
    pub(crate) sequence: u64,
    pub(crate) services: Arc<Services>,
    pub(crate) instance: Arc<dyn Instance>,
    gate: Arc<Gate>,
}

impl Generation {
    pub(crate) fn new(package: Package, sequence: u64, services: Arc<Services>, instance: Arc<dyn Instance>) -> Self {
        Self { package, sequence, services, instance, gate: Arc::default() }
    }

    pub(crate) fn description(&self) -> &Description {
        self.instance.description()
    }

    /// Runs one tick of a routine to its end; none when the generation takes no more work.
    pub(crate) async fn tick(&self, routine: &Arc<str>, timeout: Duration) -> Option<Outcome> {
        let in_flight = self.gate.enter()?;
        let (responder, receiver) = Responder::local(mortise_rpc::no_request_id());
        self.instance.submit(Job {
            kind: JobKind::Routine,
            name: Arc::clone(routine),
            params: empty_object(),
            caller: None,
            trace: TraceContext::default(),
            deadline: Instant::now() + timeout,
            depth: 0,
            ticket: Ticket::counted(responder, in_flight),
        });
        // A responder answers even when it is dropped.
        receiver.await.ok()
    }

    /// Takes no more work. What has been taken is finished.
    pub(crate) fn close(&self) {
        self.gate.close();
    }

    /// Waits until everything that was taken has been answered. Cancel safe.
    pub(crate) async fn drained(&self) {
        self.gate.idle().await;
    }
}

impl Handler for Generation {
    fn handle(&self, function: &Arc<str>, call: Call) -> Admission {
        let Some(in_flight) = self.gate.enter() else {
            return Admission::Closed(Box::new(call));
        };
        let own = Instant::now() + self.services.limits().call_timeout;
        let deadline = call.deadline.map_or(own, |deadline| deadline.min(own));
        self.instance.submit(Job::function(function, call, deadline, in_flight));
        Admission::Taken
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generation({} #{})", self.package.id, self.sequence)
    }
}

fn empty_object() -> Json {
    Json::of(&serde_json::Value::Object(serde_json::Map::new()))
}

/// Counts who is inside, and lets nobody in once it is closed.
///
/// One atomic holds both: a call that enters while the gate is being closed is either counted before the close, and
/// waited for, or sees it and is turned away. There is no moment between the two.
#[derive(Debug, Default)]
struct Gate {
    /// The highest bit says closed, the others count.
    state: AtomicUsize,
    emptied: Notify,
}

const CLOSED: usize = 1 << (usize::BITS - 1);

impl Gate {
    fn enter(self: &Arc<Self>) -> Option<InFlight> {
        let before = self.state.fetch_add(1, Ordering::AcqRel);
        let guard = InFlight(Arc::clone(self));
        if before & CLOSED == 0 { Some(guard) } else { None }
    }

    fn close(&self) {
        let before = self.state.fetch_or(CLOSED, Ordering::AcqRel);
        if before & !CLOSED == 0 {
            self.emptied.notify_waiters();
        }
    }

    fn leave(&self) {
        let before = self.state.fetch_sub(1, Ordering::AcqRel);
        if before == CLOSED | 1 {
            self.emptied.notify_waiters();
        }
    }

    async fn idle(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // Registered before looking, so that a departure between the two is not missed.
            emptied.as_mut().enable();
            if self.state.load(Ordering::Acquire) & !CLOSED == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// Counts one job of a generation until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Gate>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_gate_waits_for_those_inside_and_turns_others_away() {
        let gate = Arc::new(Gate::default());
        let first = gate.enter().unwrap();
        let second = gate.enter().unwrap();
        gate.close();
        assert!(gate.enter().is_none());
        drop(first);
        assert!(tokio::time::timeout(Duration::from_millis(20), gate.idle()).await.is_err(), "one is still inside");
        let waiting = gate.idle();
        drop(second);
        tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap();
        assert!(gate.enter().is_none());
    }
}
