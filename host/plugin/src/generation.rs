//! One prepared incarnation of a plugin, and the gate that counts its work.

use crate::job::{Job, JobKind, Ticket};
use crate::runtime::{Instance, Package};
use crate::services::Services;
use mortise_model::{Description, Json};
use mortise_rpc::{Admission, Call, Handler, Origin, Outcome, Responder};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How the calls, ticks and events of one generation have ended so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// All of them.
    pub answered: u64,
    /// Those that ended with an error, the plugin's own or the host's in its place.
    pub failed: u64,
}

/// A prepared version of a plugin: its package, its instance, and who is inside.
pub(crate) struct Generation {
    pub(crate) package: Package,
    /// Never used twice in one process; larger is newer.
    pub(crate) incarnation: u64,
    pub(crate) services: Arc<Services>,
    pub(crate) instance: Arc<dyn Instance>,
    gate: Arc<Gate>,
}

impl Generation {
    pub(crate) fn new(
        package: Package,
        incarnation: u64,
        services: Arc<Services>,
        instance: Arc<dyn Instance>,
    ) -> Self {
        Self { package, incarnation, services, instance, gate: Arc::default() }
    }

    pub(crate) fn description(&self) -> &Description {
        self.instance.description()
    }

    /// Runs one tick of a routine to its end; none when the generation takes no more work.
    pub(crate) async fn tick(&self, routine: &Arc<str>, timeout: Duration) -> Option<Outcome> {
        let in_flight = self.gate.enter(Guest::Stranger)?;
        let (responder, receiver) = Responder::local(mortise_rpc::no_request_id());
        self.instance.submit(Job {
            kind: JobKind::Routine,
            name: Arc::clone(routine),
            params: empty_object(),
            caller: None,
            trace: None,
            deadline: Instant::now() + timeout,
            depth: 0,
            ticket: Ticket::counted(responder, in_flight),
        });
        // A responder answers even when it is dropped.
        receiver.await.ok()
    }

    pub(crate) fn outcomes(&self) -> Outcomes {
        Outcomes {
            answered: self.gate.answered.load(Ordering::Relaxed),
            failed: self.gate.failed.load(Ordering::Relaxed),
        }
    }

    /// Takes work from plugins of this host only: what they have begun may need it.
    pub(crate) fn restrict(&self) {
        self.gate.restrict();
    }

    /// Takes no more work. What has been taken is finished.
    pub(crate) fn close(&self) {
        self.gate.close();
    }

    /// Whether everything that was taken has been answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.gate.is_empty()
    }

    /// Waits until everything that was taken has been answered, once restricted or closed. Cancel safe.
    pub(crate) async fn drained(&self) {
        self.gate.idle().await;
    }
}

impl Handler for Generation {
    fn handle(&self, function: &Arc<str>, call: Call) -> Admission {
        let guest = if call.origin == Origin::Plugin { Guest::Neighbour } else { Guest::Stranger };
        let Some(in_flight) = self.gate.enter(guest) else {
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
        write!(f, "Generation({} #{})", self.package.id, self.package.generation)
    }
}

fn empty_object() -> Json {
    Json::of(&serde_json::Value::Object(serde_json::Map::new()))
}

/// Who wants to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guest {
    /// A plugin of this host.
    Neighbour,
    Stranger,
}

/// Counts who is inside, and lets nobody in once it is closed, nor strangers once it is restricted.
///
/// One atomic holds all of it: a call that enters while the gate is being closed is either counted before the close, and
/// waited for, or sees it and is turned away. There is no moment between the two.
#[derive(Debug, Default)]
struct Gate {
    /// The highest bit says closed, the next restricted, the others count.
    state: AtomicUsize,
    emptied: Notify,
    answered: AtomicU64,
    failed: AtomicU64,
}

const CLOSED: usize = 1 << (usize::BITS - 1);
const RESTRICTED: usize = CLOSED >> 1;
const COUNT: usize = RESTRICTED - 1;

impl Gate {
    fn enter(self: &Arc<Self>, guest: Guest) -> Option<InFlight> {
        let before = self.state.fetch_add(1, Ordering::AcqRel);
        let guard = InFlight(Arc::clone(self));
        let shut = if guest == Guest::Neighbour { CLOSED } else { CLOSED | RESTRICTED };
        if before & shut == 0 { Some(guard) } else { None }
    }

    fn restrict(&self) {
        self.shut(RESTRICTED);
    }

    fn close(&self) {
        self.shut(CLOSED);
    }

    fn shut(&self, bit: usize) {
        let before = self.state.fetch_or(bit, Ordering::AcqRel);
        if before & COUNT == 0 {
            self.emptied.notify_waiters();
        }
    }

    fn leave(&self) {
        let before = self.state.fetch_sub(1, Ordering::AcqRel);
        // Nobody waits while the gate is open.
        if before & COUNT == 1 && before & !COUNT != 0 {
            self.emptied.notify_waiters();
        }
    }

    fn is_empty(&self) -> bool {
        self.state.load(Ordering::Acquire) & COUNT == 0
    }

    async fn idle(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // Registered before looking, so that a departure between the two is not missed.
            emptied.as_mut().enable();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

/// Counts one job of a generation until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Gate>);

impl InFlight {
    /// Counts how the job has ended.
    pub(crate) fn ended(&self, well: bool) {
        let Self(gate) = self;
        gate.answered.fetch_add(1, Ordering::Relaxed);
        if !well {
            gate.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

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
        let first = gate.enter(Guest::Stranger).unwrap();
        let second = gate.enter(Guest::Stranger).unwrap();
        gate.close();
        assert!(gate.enter(Guest::Stranger).is_none() && gate.enter(Guest::Neighbour).is_none());
        drop(first);
        assert!(tokio::time::timeout(Duration::from_millis(20), gate.idle()).await.is_err(), "one is still inside");
        let waiting = gate.idle();
        drop(second);
        tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap();
        assert!(gate.enter(Guest::Stranger).is_none());
    }

    #[tokio::test]
    async fn a_restricted_gate_lets_neighbours_in_and_waits_for_them() {
        let gate = Arc::new(Gate::default());
        let stranger = gate.enter(Guest::Stranger).unwrap();
        gate.restrict();
        assert!(gate.enter(Guest::Stranger).is_none());
        let neighbour = gate.enter(Guest::Neighbour).unwrap();
        drop(stranger);
        assert!(tokio::time::timeout(Duration::from_millis(20), gate.idle()).await.is_err(), "one is still inside");
        let waiting = gate.idle();
        drop(neighbour);
        tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap();
        gate.close();
        assert!(gate.enter(Guest::Neighbour).is_none() && gate.is_empty());
    }
}
