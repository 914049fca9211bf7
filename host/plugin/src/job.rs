//! One entry into a plugin, and the ticket that stands for its answer.

use crate::generation::InFlight;
use mortise_model::{Failure, Json};
use mortise_rpc::{Call, CallChain, Outcome, Responder, TraceContext};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Why a plugin is entered. `start`, `stop` and the self-test are the runtime's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// A function.
    Function,
    /// One tick of a routine.
    Routine,
    /// A subscribed event.
    Event,
}

/// One job for an instance.
#[derive(Debug)]
pub struct Job {
    /// Why.
    pub kind: JobKind,
    /// The function or routine, as the plugin names it; or the event, as its device does.
    pub name: Arc<str>,
    /// A JSON object.
    pub params: Json,
    /// The device that claims to be calling, or by whose subject the event came.
    pub caller: Option<String>,
    /// Of the caller.
    pub trace: Option<Arc<TraceContext>>,
    /// When the caller is answered at the latest.
    pub deadline: Instant,
    /// The calls between plugins that led here.
    pub chain: CallChain,
    /// Takes the outcome.
    pub ticket: Ticket,
}

/// Proof that one answer is owed. Keeps its generation from being drained until it is given.
#[derive(Debug)]
pub struct Ticket {
    responder: Responder,
    in_flight: Option<InFlight>,
}

impl Ticket {
    /// A ticket for a caller, counted by its generation.
    pub(crate) fn counted(responder: Responder, in_flight: InFlight) -> Self {
        Self { responder, in_flight: Some(in_flight) }
    }

    /// A ticket that nothing counts, for runtimes' own tests and for hooks; the answer arrives at the receiver.
    #[must_use]
    pub fn uncounted() -> (Self, oneshot::Receiver<Outcome>) {
        let (responder, receiver) = Responder::local(mortise_rpc::no_request_id());
        (Self { responder, in_flight: None }, receiver)
    }

    /// Gives the answer.
    pub fn answer(self, outcome: Result<Json, Failure>) {
        let outcome = match &self.in_flight {
            Some(in_flight) => in_flight.ended(outcome),
            None => outcome,
        };
        self.responder.respond(outcome.map_err(Into::into));
    }

    /// Whether a caller within the process has stopped waiting.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.responder.is_abandoned()
    }
}

impl Job {
    pub(crate) fn function(name: &Arc<str>, call: Call, deadline: Instant, in_flight: InFlight) -> Self {
        Self {
            kind: JobKind::Function,
            name: Arc::clone(name),
            params: call.params,
            caller: call.caller,
            trace: call.trace,
            deadline,
            chain: call.chain,
            ticket: Ticket::counted(call.responder, in_flight),
        }
    }
}
