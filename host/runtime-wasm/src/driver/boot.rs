//! How instances begin and end: proven, lost, replaced, stopped.

use super::{Driver, Entry, never_begun};
use crate::backoff::Backoff;
use crate::bindings::mortise::plugin::types as wit;
use crate::describe;
use crate::desk::Break;
use crate::guest::Guest;
use crate::ledger::{Creditor, OpenCall};
use crate::loss::{Loss, TurnLimit};
use crate::outcome;
use mortise_model::{Description, Failure, cut, one_line};
use mortise_rpc::CallChain;
use std::sync::Arc;
use tokio::time::Instant;

/// How much of a plugin's own words is a reason, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// Why a fresh instance is of no use.
#[derive(Debug)]
pub(crate) enum Refusal {
    Instantiate(Loss),
    Description(String),
    Hook {
        hook: &'static str,
        failure: Failure,
    },
    /// The preparation itself was given up.
    Interrupted(Break),
}

impl Driver {
    /// Instantiates, asks for the description and runs hooks, all within `limits.start_timeout`.
    pub(super) async fn boot(&mut self, hooks: &[Hook]) -> Result<(Guest, Description), Refusal> {
        let limits = &self.shared.limits;
        self.now = Instant::now();
        let span = limits.start_timeout;
        self.hook_limit = Some(TurnLimit { name: "limits.start_timeout", span, end: self.now + span });
        (self.run_due, self.entries_since_run, self.wake_at) = (false, 0, None);

        let limit = self.turn_limit();
        let instantiate = Guest::instantiate(&self.code, Arc::clone(&self.shared), Arc::clone(&self.engine), limit);
        let mut guest = self.desk.turn(limit, instantiate).await.map_err(|why| match why {
            Break::Lost(loss) => Refusal::Instantiate(loss),
            other => Refusal::Interrupted(other),
        })?;

        self.now = Instant::now();
        let limit = self.begin_turn(&mut guest);
        let described = self.desk.turn(limit, guest.describe()).await;
        let described = described.map_err(|why| Refusal::of_hook("describe", why))?;
        let described = described.map_err(|failure| Refusal::Hook {
            hook: "describe",
            failure: self.shared.services.marked(outcome::failed(failure, &self.shared.limits)),
        })?;
        let description = describe::check(described, &guest.take_warned()).map_err(Refusal::Description)?;

        for hook in hooks {
            if *hook == Hook::Migrate {
                self.migrate(&mut guest).await?;
                continue;
            }
            let outcome = self.hook(&mut guest, *hook, "{}").await;
            let outcome = outcome.map_err(|why| Refusal::of_hook(hook.name(), why))?;
            outcome.map_err(|failure| Refusal::Hook { hook: hook.name(), failure })?;
        }
        self.hook_limit = None;
        // What the start hook left behind may want to run.
        self.run_due = true;
        Ok((guest, description))
    }

    /// Has what another version kept migrated, where the guest knows how.
    async fn migrate(&mut self, guest: &mut Guest) -> Result<(), Refusal> {
        let services = Arc::clone(&self.shared.services);
        while let Some(versions) = services.migration() {
            let outcome = self.hook(guest, Hook::Migrate, versions.as_str()).await;
            match outcome.map_err(|why| Refusal::of_hook("migrate", why))? {
                Ok(()) => services.migrated(),
                Err(failure) if failure.code == "unknown_function" => break,
                Err(failure) => return Err(Refusal::Hook { hook: "migrate", failure }),
            }
        }
        Ok(())
    }

    async fn hook(&mut self, guest: &mut Guest, hook: Hook, parameters: &str) -> Result<Result<(), Failure>, Break> {
        self.now = Instant::now();
        let limit = self.hook_limit.unwrap_or_else(|| self.turn_limit());
        let call = OpenCall {
            creditor: Creditor::Hook { limit },
            deadline: limit.end,
            trace: None,
            chain: CallChain::default(),
        };
        let (kind, name) = (hook.kind(), hook.name());
        self.hand_over(guest, call, Entry { kind, name, parameters, caller: None }).await?;
        loop {
            let outcome = self.shared.ledger().take_hook();
            if let Some(outcome) = outcome {
                return Ok(outcome.map_err(|failure| self.shared.services.marked(failure)));
            }
            self.step(guest).await?;
        }
    }

    /// The instance ends, through no fault of its own. What it was given is answered with an error and never tried again.
    pub(super) fn withdraw(&mut self) {
        self.shared.services.count_withdrawn();
        let message = "the plugin's instance ended during the call: a folder or a variable that it had was taken back";
        self.end_of_instance(|| Failure::new("withdrawn", message));
    }

    /// The instance is gone. What it was given is answered with an error and never tried again.
    pub(super) fn lose(&mut self, loss: &Loss) {
        tracing::warn!(plugin = %self.shared.plugin, code = loss.code, reason = loss.reason, "the instance was lost");
        let (functions, answered) = {
            let mut ledger = self.shared.ledger();
            (ledger.functions(), ledger.take_answered())
        };
        self.not_before = Some(self.shared.count_loss(loss, functions, answered));
        self.end_of_instance(|| loss.failure());
    }

    fn end_of_instance(&mut self, failure: impl Fn() -> Failure) {
        // What follows is waiting.
        self.desk.settle_turn(Instant::now());
        let mut ledger = self.shared.ledger();
        ledger.fail_all(|_| failure());
        // A hook's outcome concerned the instance that is gone.
        ledger.take_hook();
        drop(ledger);
        self.shared.give_answers();
        self.desk.forget_cancelled();
        if let Some(member) = self.post.member() {
            member.lost();
        }
    }

    /// A fresh instance, sooner or later.
    pub(super) async fn revive(&mut self, description: &Description) -> Result<Guest, Break> {
        // One that fails to start waits longer and longer, whatever others answer meanwhile.
        let mut starts = Backoff::default();
        loop {
            let now = Instant::now();
            // What it computes while it starts counts as well.
            let exhausted = self.desk.exhausted_until(now);
            self.note_waiting(exhausted.is_some());
            let pauses = [Some(now + starts.next()), self.not_before, exhausted];
            self.desk.wait(pauses.into_iter().flatten().max().unwrap_or(now)).await?;
            let loss = match self.boot(&[Hook::Start]).await {
                Ok((guest, fresh)) if fresh.equals_but_for_defaults(description) => return Ok(guest),
                Ok(_) => Loss { code: "trap", reason: "a fresh instance describes itself differently".to_owned() },
                Err(refusal) => refusal.into_loss()?,
            };
            self.lose(&loss);
        }
    }

    pub(super) async fn stop(&mut self, guest: &mut Guest) {
        let Some(limit) = self.desk.stop else {
            return;
        };
        self.stopping = true;
        self.desk.outlive_call();
        if guest.is_outdated(Instant::now()) {
            return self.withdraw();
        }
        self.hook_limit = Some(limit);
        self.desk.dismiss_waiting(never_begun);
        // A turn that outlasted the limit was cut, and its guest cannot be entered.
        if Instant::now() >= limit.end {
            return;
        }
        let outcome = match self.hook(guest, Hook::Stop, "{}").await {
            Ok(outcome) => outcome.map_err(|failure| failure.message),
            Err(Break::Lost(loss)) => Err(loss.reason),
            Err(Break::Stop) => {
                let TurnLimit { name, span, .. } = self.desk.stop.unwrap_or(limit);
                Err(format!("it did not end within `{name}` ({span:?})"))
            }
            Err(Break::Abandoned | Break::Overdue | Break::Withdrawn) => Ok(()),
        };
        if let Err(reason) = outcome {
            self.shared.services.count_refusal("not_stopped");
            self.shared.services.log(tracing::Level::WARN, "host", &format!("the stop hook failed: {reason}"));
        }
    }
}

/// A call that the driver itself makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    Migrate,
    Start,
    SelfTest,
    Stop,
}

impl Hook {
    fn kind(self) -> wit::CallKind {
        match self {
            Self::Migrate => wit::CallKind::Migrate,
            Self::Start => wit::CallKind::Start,
            Self::SelfTest => wit::CallKind::SelfTest,
            Self::Stop => wit::CallKind::Stop,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Migrate => "migrate",
            Self::Start => "start",
            Self::SelfTest => "self_test",
            Self::Stop => "stop",
        }
    }
}

impl Refusal {
    fn of_hook(hook: &'static str, why: Break) -> Self {
        match why {
            Break::Lost(Loss { code, reason }) => Self::Hook { hook, failure: Failure::new(code, reason) },
            other => Self::Interrupted(other),
        }
    }

    /// The same as the loss of an instance that had served before.
    fn into_loss(self) -> Result<Loss, Break> {
        let reason = match self {
            Self::Instantiate(loss) => return Ok(loss),
            Self::Description(reason) => format!("describe failed: {reason}"),
            Self::Hook { hook, failure } => format!("{hook} failed: {failure}"),
            Self::Interrupted(why) => return Err(why),
        };
        // In the plugin's words, which may be many, and are told to whoever asks after it.
        Ok(Loss { code: "trap", reason: cut(&one_line(&reason), REASON_BYTES_MAX).to_owned() })
    }
}
