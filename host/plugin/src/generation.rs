//! One prepared incarnation of a plugin, and the gate that counts its work.

use crate::account::{Account, Ended};
use crate::job::{Job, JobKind, Ticket};
use crate::runtime::{Instance, Package};
use crate::services::{CALL_CYCLE, PLUGIN_LOG_EVENT, Services};
use mortise_model::{Description, DeviceId, EventName, Failure, Json, SubscriptionDef};
use mortise_rpc::{Admission, Call, CallChain, Handler, Heard, Origin, Outcome, Responder};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How what was begun has ended so far: calls, ticks, events.
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
        let gate = Arc::new(Gate::new(services.account()));
        Self { package, incarnation, services, instance, gate }
    }

    pub(crate) fn description(&self) -> &Description {
        self.instance.description()
    }

    /// Runs one tick of a routine to its end; none when the generation takes no more work.
    pub(crate) async fn tick(&self, routine: &Arc<str>, timeout: Duration) -> Option<Outcome> {
        let now = Instant::now();
        let in_flight = self.gate.enter(Guest::Stranger, JobKind::Routine, now)?;
        let (responder, receiver) = Responder::local(mortise_rpc::no_request_id());
        self.instance.submit(Job {
            kind: JobKind::Routine,
            name: Arc::clone(routine),
            params: empty_object(),
            caller: None,
            trace: None,
            deadline: now + timeout,
            chain: CallChain::default(),
            ticket: Ticket::counted(responder, in_flight),
        });
        // A responder answers even when it is dropped.
        receiver.await.ok()
    }

    /// Runs what the plugin does with an event to its end; none when the generation takes no more work.
    pub(crate) async fn hear(&self, heard: &Heard) -> Option<Outcome> {
        let now = Instant::now();
        let in_flight = self.gate.enter(Guest::Stranger, JobKind::Event, now)?;
        let (responder, receiver) = Responder::local(mortise_rpc::no_request_id());
        self.instance.submit(Job {
            kind: JobKind::Event,
            name: Arc::from(heard.event.as_str()),
            params: heard.params.clone(),
            caller: Some(heard.device.to_string()),
            trace: heard.trace.clone(),
            deadline: now + self.services.limits().call_timeout,
            chain: CallChain::default(),
            ticket: Ticket::counted(responder, in_flight),
        });
        // A responder answers even when it is dropped.
        receiver.await.ok()
    }

    /// Whether it wants such an event, and may hear it now.
    pub(crate) fn hears(&self, device: &DeviceId, event: &EventName) -> bool {
        let subscriptions = &self.description().subscriptions;
        subscriptions.iter().any(|subscription| subscription.wants(device, event) && is_told(subscription, event))
            && self.services.may_hear(device, event)
    }

    pub(crate) fn outcomes(&self) -> Outcomes {
        self.gate.ended.outcomes()
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
        // Whoever calls has that counted, and not this plugin.
        if call.chain.has(&self.package.id, function) {
            let path = format!("{} > {}.{function}", call.chain, self.package.id);
            let failure = Failure::new(CALL_CYCLE, format!("the function would wait for itself: {path}"));
            call.responder.respond(Err(failure.into()));
            return Admission::Taken;
        }
        let guest = if call.origin == Origin::Plugin { Guest::Neighbour } else { Guest::Stranger };
        let now = Instant::now();
        let Some(in_flight) = self.gate.enter(guest, JobKind::Function, now) else {
            return Admission::Closed(Box::new(call));
        };
        in_flight.gate.account.calls.bytes.received(call.params.as_str().len());
        let own = now + self.services.limits().call_timeout;
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

/// Whether such an event is told for that subscription. Lines of log are told to those who name them: a plugin that logs
/// all it hears would keep another host's like it talking.
fn is_told(subscription: &SubscriptionDef, event: &EventName) -> bool {
    event.as_str() != PLUGIN_LOG_EVENT || subscription.event == PLUGIN_LOG_EVENT
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
struct Gate {
    /// The highest bit says closed, the next restricted, the others count.
    state: AtomicUsize,
    emptied: Notify,
    /// Calls and ticks.
    ended: Ended,
    account: Arc<Account>,
}

const CLOSED: usize = 1 << (usize::BITS - 1);
const RESTRICTED: usize = CLOSED >> 1;
const COUNT: usize = RESTRICTED - 1;

impl Gate {
    fn new(account: Arc<Account>) -> Self {
        Self { state: AtomicUsize::new(0), emptied: Notify::new(), ended: Ended::default(), account }
    }

    fn enter(self: &Arc<Self>, guest: Guest, kind: JobKind, now: Instant) -> Option<InFlight> {
        let before = self.state.fetch_add(1, Ordering::AcqRel);
        let guard = InFlight { gate: Arc::clone(self), kind, since: now };
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
pub(crate) struct InFlight {
    gate: Arc<Gate>,
    kind: JobKind,
    /// When the job arrived.
    since: Instant,
}

impl InFlight {
    /// Counts how the job has ended, and gives the outcome as others may know it.
    pub(crate) fn ended(&self, outcome: Result<Json, Failure>) -> Result<Json, Failure> {
        let Self { gate, kind, since } = self;
        let outcome = gate.account.redaction.outcome(outcome);
        let well = outcome.is_ok();
        if let Err(failure) = &outcome {
            gate.account.count_failure(failure);
        }
        match kind {
            JobKind::Function => {
                let now = Instant::now();
                gate.account.calls.count(well, now.saturating_duration_since(*since), now);
                gate.account.calls.bytes.sent(outcome.as_ref().map_or(0, |result| result.as_str().len()));
            }
            JobKind::Routine => gate.account.ticks.count(well),
            JobKind::Event => gate.account.heard.count(well),
        }
        // Strangers send events, and what they send must not decide which version serves; nor must what the operator took back.
        let is_withdrawn = matches!(&outcome, Err(Failure { code: Cow::Borrowed("withdrawn"), .. }));
        if *kind != JobKind::Event && !is_withdrawn {
            gate.ended.count(well);
        }
        outcome
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("since", &self.since).finish_non_exhaustive()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gate.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mortise_model::PluginId;

    fn gate() -> Arc<Gate> {
        Arc::new(Gate::new(Arc::new(Account::new(PluginId::new("p").unwrap()))))
    }

    fn enter(gate: &Arc<Gate>, guest: Guest) -> Option<InFlight> {
        gate.enter(guest, JobKind::Function, Instant::now())
    }

    #[test]
    fn events_that_fail_are_counted_and_say_nothing_of_the_version() {
        let gate = gate();
        for kind in [JobKind::Event, JobKind::Function, JobKind::Routine] {
            let in_flight = gate.enter(Guest::Stranger, kind, Instant::now()).unwrap();
            let _ = in_flight.ended(Err(Failure::new("plugin_error", "no")));
        }
        assert_eq!(gate.ended.outcomes(), Outcomes { answered: 2, failed: 2 });
        assert_eq!(gate.account.stats().heard, Outcomes { answered: 1, failed: 1 });
    }

    #[tokio::test]
    async fn a_closed_gate_waits_for_those_inside_and_turns_others_away() {
        let gate = gate();
        let first = enter(&gate, Guest::Stranger).unwrap();
        let second = enter(&gate, Guest::Stranger).unwrap();
        gate.close();
        assert!(enter(&gate, Guest::Stranger).is_none() && enter(&gate, Guest::Neighbour).is_none());
        drop(first);
        assert!(tokio::time::timeout(Duration::from_millis(20), gate.idle()).await.is_err(), "one is still inside");
        let waiting = gate.idle();
        drop(second);
        tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap();
        assert!(enter(&gate, Guest::Stranger).is_none());
    }

    #[tokio::test]
    async fn a_restricted_gate_lets_neighbours_in_and_waits_for_them() {
        let gate = gate();
        let stranger = enter(&gate, Guest::Stranger).unwrap();
        gate.restrict();
        assert!(enter(&gate, Guest::Stranger).is_none());
        let neighbour = enter(&gate, Guest::Neighbour).unwrap();
        drop(stranger);
        assert!(tokio::time::timeout(Duration::from_millis(20), gate.idle()).await.is_err(), "one is still inside");
        let waiting = gate.idle();
        drop(neighbour);
        tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap();
        gate.close();
        assert!(enter(&gate, Guest::Neighbour).is_none() && gate.is_empty());
    }
}
