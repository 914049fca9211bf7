//! Routines of one generation: started when it serves, ended with it (wire contract 8.4).

use crate::generation::Generation;
use mortise_model::{Cadence, RoutineDef};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Level;

/// The routines of one generation at work. Dropped, they end after their current tick.
#[derive(Debug, Default)]
pub(crate) struct Routines {
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Routines {
    /// Empty once the last ticks have ended, of this and of every earlier generation.
    pub(crate) fn ticks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Starts every routine of `generation`; their first ticks wait until the last ticks of earlier generations, told
    /// by `before`, have ended, so that ticks of one plugin never overlap.
    pub(crate) fn start(generation: &Arc<Generation>, before: &TaskTracker) -> Self {
        let routines = Self::default();
        before.close();
        let earlier = before.clone();
        // Also where this generation has no routines: the next one waits for everything before it.
        routines.tasks.spawn(async move { earlier.wait().await });
        for routine in &generation.description().routines {
            let (generation, routine, before) = (Arc::clone(generation), routine.clone(), before.clone());
            routines.tasks.spawn(run(generation, routine, before, routines.cancel.clone()));
        }
        routines
    }
}

impl Drop for Routines {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// For how long no tick begins after one that the host refused, twice as long each time: what is refused costs the plugin
/// nothing, and the host a little.
const REFUSED_MIN: Duration = Duration::from_millis(10);
const REFUSED_MAX: Duration = Duration::from_secs(1);

async fn run(generation: Arc<Generation>, routine: RoutineDef, before: TaskTracker, cancel: CancellationToken) {
    before.wait().await;
    let name = routine.name.shared();
    let timeout = generation.services.limits().routine_timeout;
    let mut refused_for = Duration::ZERO;
    while !cancel.is_cancelled() {
        let began = Instant::now();
        match generation.tick(&name, timeout).await {
            Some(Ok(_)) => refused_for = Duration::ZERO,
            Some(Err(error)) => {
                let is_refused = matches!(error.code, Cow::Borrowed("queue_full" | "deadline_exceeded"));
                refused_for =
                    if is_refused { (refused_for * 2).clamp(REFUSED_MIN, REFUSED_MAX) } else { Duration::ZERO };
                // In the plugin's log, which has limits: it says what and how often.
                let line = format!("routine `{name}` failed: {error}");
                generation.services.log(Level::WARN, "host", &line);
            }
            None => return,
        }
        let next = match routine.cadence {
            Cadence::FixedRate => began + routine.interval,
            Cadence::FixedDelay => Instant::now() + routine.interval,
        };
        let next = next.max(began + refused_for);
        // In the past where the tick overran: then the next one begins at once. Only the pause is cut short: a tick
        // is finished, and its successor in the next generation waits for it.
        cancel.run_until_cancelled(tokio::time::sleep_until(next)).await;
    }
}
