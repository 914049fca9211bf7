//! The end of a generation that serves no longer.

use crate::generation::Generation;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{Level, warn};

/// How long a stop hook may take once the host is stopping.
const STOPPING_HOOK: Duration = Duration::from_millis(700);

/// How much longer than its stop hook an instance may take to end.
const STOP_MARGIN: Duration = Duration::from_millis(300);

/// Ends a generation whose successor is started only once it is gone. For at most `patience` it still takes work from
/// plugins of this host: what it has to answer may need that.
pub(super) async fn vacate(
    generation: Arc<Generation>,
    patience: Duration,
    stopping: watch::Receiver<Option<Instant>>,
) {
    generation.restrict();
    let mut told = stopping.clone();
    tokio::select! {
        () = generation.drained() => {}
        () = tokio::time::sleep(patience) => {}
        // The sender lives as long as the owner task, which waits for this at its end.
        _ = told.wait_for(Option::is_some) => {}
    }
    drain(generation, Leave::InOrder { grace: None }, stopping).await;
}

/// How a generation that serves no longer ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Leave {
    /// Its calls first, for at most `grace` and `limits.drain_timeout` and until the host stops, then its stop hook.
    InOrder { grace: Option<Duration> },
    /// Without a stop hook, its calls being answered in its place: two older ones have not ended, and who loads and unloads
    /// again and again must not have ever more of them at work.
    AtOnce,
}

/// Ends a generation that serves no longer. What still runs then is answered by the instance's shutdown.
pub(super) async fn drain(generation: Arc<Generation>, leave: Leave, mut stopping: watch::Receiver<Option<Instant>>) {
    generation.close();
    let Leave::InOrder { grace } = leave else {
        generation.services.count_refusal("not_stopped");
        generation.services.log(Level::WARN, "host", "it ended without its stop hook: two older ones have not ended");
        return stop(&generation, Duration::ZERO).await;
    };
    let patience = async {
        match grace.into_iter().chain(generation.services.limits().drain_timeout).min() {
            Some(grace) => tokio::time::sleep(grace).await,
            None => std::future::pending().await,
        }
    };
    let cut = async {
        // The sender lives as long as the owner task, which waits for this at its end.
        let cut = stopping.wait_for(Option::is_some).await.ok().and_then(|cut| *cut);
        match cut {
            Some(cut) => tokio::time::sleep_until(cut).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = generation.drained() => {}
        () = patience => {}
        () = cut => {}
    }
    let stop_timeout = generation.services.limits().stop_timeout;
    let stop_timeout = if stopping.borrow().is_some() { stop_timeout.min(STOPPING_HOOK) } else { stop_timeout };
    stop(&generation, stop_timeout).await;
}

/// Runs a generation's stop hook for at most `stop_timeout`, and sees to it that it ends.
pub(crate) async fn stop(generation: &Generation, stop_timeout: Duration) {
    // A turn under way may keep the instance from looking up: dropped, it ends all the same.
    if tokio::time::timeout(stop_timeout + STOP_MARGIN, generation.instance.shutdown(stop_timeout)).await.is_err() {
        warn!(plugin = %generation.package.id, generation = generation.package.generation, "a plugin was ended without its stop hook");
    }
}
