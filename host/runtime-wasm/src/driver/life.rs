//! The lives that a driver may lead: to describe, to serve alone or beside others, to serve one call.

use super::boot::{Hook, Refusal};
use super::{Driver, never_begun};
use crate::desk::Break;
use crate::guest::Guest;
use mortise_model::Description;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

impl Driver {
    /// Asks a first instance what it brings, and ends. No hook runs, and the guest is not entered again.
    pub(crate) async fn describe(mut self, described: oneshot::Sender<Result<Description, Refusal>>) {
        let description = self.boot(&[]).await.map(|(guest, description)| {
            drop(guest);
            description
        });
        // Nobody may be waiting any more; then nobody has to know.
        let _ = described.send(description);
        self.end().await;
    }

    /// Proves a first instance, says so, and serves until the end.
    pub(crate) async fn drive(mut self, proven: oneshot::Sender<Result<Description, Refusal>>) {
        let (guest, description) = match self.boot(&[Hook::Migrate, Hook::Start, Hook::SelfTest]).await {
            Ok(booted) => booted,
            Err(refusal) => {
                // Nobody may be waiting any more; then nobody has to know.
                let _ = proven.send(Err(refusal));
                return self.end().await;
            }
        };
        if proven.send(Ok(description.clone())).is_ok() {
            // To start has a limit of its own.
            self.desk.renew_processor();
            match self.post.member() {
                Some(member) if member.is_for_one_call() => self.retire(guest).await,
                _ => self.live(guest, &description).await,
            }
        }
        self.end().await;
    }

    /// Serves beside others that were proven, once it has begun and brings what they do.
    pub(crate) async fn join(mut self, description: Arc<Description>) {
        if let Ok(guest) = self.revive(&description).await {
            match self.post.member() {
                Some(member) if member.is_for_one_call() => self.serve_once(guest).await,
                _ => self.live(guest, &description).await,
            }
        }
        self.end().await;
    }

    /// Serves through one instance after the other. At the end none is left.
    async fn live(&mut self, mut guest: Guest, description: &Description) {
        loop {
            match self.serve(&mut guest).await {
                Break::Lost(loss) => {
                    drop(guest);
                    self.lose(&loss);
                }
                Break::Withdrawn => {
                    drop(guest);
                    self.withdraw();
                }
                Break::Stop => return self.stop(&mut guest).await,
                Break::Abandoned | Break::Overdue => return,
            }
            match self.revive(description).await {
                Ok(fresh) => guest = fresh,
                Err(_) => return,
            }
        }
    }

    /// Serves one call, and ends the instance with it: by its `stop` hook if it has answered, at once if it is overdue.
    async fn serve_once(&mut self, mut guest: Guest) {
        match self.one_call(&mut guest).await {
            Ok(()) => self.retire(guest).await,
            Err(Break::Lost(loss)) => {
                drop(guest);
                self.lose(&loss);
            }
            Err(Break::Withdrawn) => {
                drop(guest);
                self.withdraw();
            }
            Err(Break::Stop) => self.stop(&mut guest).await,
            Err(Break::Abandoned | Break::Overdue) => {}
        }
    }

    async fn one_call(&mut self, guest: &mut Guest) -> Result<(), Break> {
        // Taken back while it began: the call is another's.
        if guest.is_outdated(Instant::now()) {
            return Err(Break::Withdrawn);
        }
        if guest.has_news_of_folders(Instant::now()) {
            guest.open_folders().await;
        }
        // The one that it was begun for may be overdue, or another may have taken it.
        let Some(job) = self.post.member().and_then(|member| member.take(0)) else { return Ok(()) };
        self.now = Instant::now();
        self.desk.for_one_call = true;
        self.call(guest, job).await?;
        loop {
            let running = self.shared.ledger().standing().running;
            if running == 0 {
                break;
            }
            self.step(guest).await?;
        }
        self.desk.outlive_call();
        self.give_answers();
        Ok(())
    }

    /// Ends an instance that is not needed any more.
    async fn retire(&mut self, mut guest: Guest) {
        if let Some(member) = self.post.member() {
            member.leaves();
        }
        self.desk.told_to_stop(self.shared.limits.stop_timeout);
        self.stop(&mut guest).await;
    }

    async fn end(mut self) {
        // The last slice of a hook, which no further event accounts for.
        self.desk.settle_turn(Instant::now());
        self.desk.close(never_begun).await;
        // What the guest was given is answered as `self` goes.
    }
}
