//! Presence: when the device says that it is there (wire contract 5.3).

use crate::device::DeviceCard;
use crate::peers::Peers;
use crate::registration;
use crate::routes::Routes;
use mortise_mesh::{Link, Mesh, Subject};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

const BURST_INTERVAL: Duration = Duration::from_millis(500);
const BURST_LENGTH: Duration = Duration::from_secs(10);
const STEADY_INTERVAL: Duration = Duration::from_secs(5);
/// Between two presences at least, however many ask for one.
const GAP: Duration = Duration::from_millis(50);
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);

/// What makes the announcer speak out of turn.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    /// Somebody asked: answer at once.
    pub(crate) probe: Notify,
    /// A device came that was not known before.
    pub(crate) peer: Notify,
}

/// Publishes presence until it is cancelled: at once after a trigger, then in a burst, then steadily.
pub(crate) struct Announcer {
    pub(crate) card: Arc<DeviceCard>,
    pub(crate) mesh: Arc<dyn Mesh>,
    pub(crate) subject: Subject,
    pub(crate) routes: Routes,
    pub(crate) peers: Peers,
    pub(crate) triggers: Arc<Triggers>,
}

impl Announcer {
    pub(crate) async fn run(self, cancel: CancellationToken) {
        let mut changes = self.routes.follow();
        let mut link = self.mesh.link();
        let mut burst_end = Instant::now() + BURST_LENGTH;
        let mut sweep_at = Instant::now() + SWEEP_INTERVAL;
        loop {
            // Marked first: what changes while this presence is on its way is announced again.
            changes.borrow_and_update();
            link.borrow_and_update();
            let now = Instant::now();
            if cancel.run_until_cancelled(self.announce()).await.is_none() {
                return;
            }
            if now >= sweep_at {
                self.peers.sweep(now);
                sweep_at = now + SWEEP_INTERVAL;
            }
            let next = now + if now < burst_end { BURST_INTERVAL } else { STEADY_INTERVAL };
            let triggered = tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep_until(next) => false,
                () = self.triggers.probe.notified() => false,
                () = self.triggers.peer.notified() => true,
                // Neither sender is dropped while this runs: both are held by `self`.
                _ = changes.changed() => true,
                _ = link.changed() => true,
            };
            if triggered {
                burst_end = Instant::now() + BURST_LENGTH;
            }
            if cancel.run_until_cancelled(sleep_until(now + GAP)).await.is_none() {
                return;
            }
        }
    }

    async fn announce(&self) {
        // A broker client would keep what is published while it is down, and send stale presence later.
        if matches!(*self.mesh.link().borrow(), Link::Down) {
            return;
        }
        let message = {
            let table = self.routes.load();
            registration::presence(&self.card, table.capabilities(), SystemTime::now())
        };
        match self.mesh.publish(&self.subject, message).await {
            Ok(()) => debug!("announced"),
            Err(error) => warn!(%error, "failed to announce"),
        }
    }
}
