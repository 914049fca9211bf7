//! A change of a plugin that owns what only one can have: the old generation is stopped first, and started again if the
//! new one fails (decision 0016).

use crate::change::{ChangeError, Changed, Next};
use crate::manager::Manager;
use crate::refusal::chain;
use mortise_model::Swap;
use mortise_plugin::{Operation, Package, PrepareError};
use tracing::{info, warn};

/// What became of the version that had made room for one that failed.
#[derive(Debug)]
pub(crate) enum Restart {
    /// It serves again, with its memory new.
    Done,
    /// It does not, and nothing of the plugin serves.
    Failed(String),
}

impl Manager {
    /// Whether `next` may be started only once what serves is gone. Either of the two can want that: it takes both to
    /// share.
    pub(crate) fn is_exclusive(&self, operation: &Operation, next: &Next) -> bool {
        let serving = self.running(operation.id());
        let old = serving.is_some_and(|running| running.package().manifest.swap == Swap::Exclusive);
        old || next.folder().manifest.swap == Swap::Exclusive
    }

    /// Stops what serves, then proves and adopts `next`. If that fails, what served is started again. Meanwhile the plugin
    /// stays advertised, and its calls wait.
    ///
    /// The record is written where it always is, after the proof: a host that ends before comes back with the old version,
    /// and one that ends after with the new one.
    pub(crate) async fn change_exclusively(&self, operation: &Operation, next: Next) -> Result<Changed, ChangeError> {
        let vacated = async { self.make_room(operation, &self.package(next.folder())?).await };
        let old = match vacated.await {
            Ok(old) => old,
            Err(error) => {
                self.drop_files(next).await?;
                return Err(error);
            }
        };
        let changed = async {
            let proven = self.prove(operation, next).await?;
            self.adopt(operation, proven).await
        };
        match (changed.await, old) {
            (Err(error), Some(old)) => Err(self.restart(operation, old, error).await),
            (changed, _) => changed,
        }
    }

    /// Returns what served.
    pub(crate) async fn make_room(
        &self,
        operation: &Operation,
        next: &Package,
    ) -> Result<Option<Package>, ChangeError> {
        if self.running(operation.id()).is_some() {
            // Whatever can be told of the new version without starting it is told while the old one serves.
            match self.registry.describe(next.clone()).await {
                // Nobody grants anything to one that is only asked, so it may do better when it is started.
                Ok(_) | Err(PrepareError::Denied { .. }) => {}
                Err(error) => return Err(ChangeError::Prepare(error)),
            }
        }
        operation.vacate().await.map_err(ChangeError::Activate)
    }

    /// Has the old version serve again after `error`. Nothing on disk has changed: its record and its files are there.
    pub(crate) async fn restart(&self, operation: &Operation, old: Package, error: ChangeError) -> ChangeError {
        let (id, generation) = (operation.id(), old.generation);
        let restarted = match operation.prepare(old).await {
            Ok(prepared) => operation.activate(prepared).await.map_err(|error| chain(&error)),
            Err(error) => Err(chain(&error)),
        };
        let restart = match restarted {
            Ok(_) => {
                info!(plugin = %id, generation, "started the old version again, since the new one failed");
                Restart::Done
            }
            Err(reason) => {
                warn!(plugin = %id, generation, reason, "failed to start the old version again");
                Restart::Failed(reason)
            }
        };
        let error = ChangeError::Interrupted { error: Box::new(error), restart };
        if let ChangeError::Interrupted { restart: Restart::Failed(_), .. } = &error {
            operation.fail(Some(error.reason())).await;
        }
        error
    }
}
