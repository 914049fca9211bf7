//! The device on the mesh: everything it serves and announces, from start to departure (wire contract 8.6).

use crate::announcer::{Announcer, Triggers};
use crate::device::DeviceCard;
use crate::dispatch::Dispatcher;
use crate::hearing::Hearing;
use crate::outbox::Outbox;
use crate::peers::Peers;
use crate::registration;
use crate::routes::Routes;
use mortise_mesh::{Link, Mesh, MeshError, Sink, Subjects, Subscription};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

/// How long events may still go out at the end. The wire contract (10.4) allows 2 s; all of a shutdown takes 5.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// What an endpoint is made of.
pub struct EndpointParts {
    /// Who the device is.
    pub card: Arc<DeviceCard>,
    /// A connected mesh.
    pub mesh: Arc<dyn Mesh>,
    /// What may be called and is advertised.
    pub routes: Routes,
    /// Takes what is called.
    pub dispatcher: Dispatcher,
    /// What goes out.
    pub outbox: Outbox,
    /// Who else is there.
    pub peers: Peers,
    /// Who listens to events of other devices.
    pub hearing: Hearing,
}

/// The running endpoint. Dropped, it falls silent without a departure; [`Endpoint::close`] is the orderly way.
pub struct Endpoint {
    card: Arc<DeviceCard>,
    mesh: Arc<dyn Mesh>,
    subjects: Subjects,
    outbox: Outbox,
    commands: Option<Subscription>,
    discovery: Vec<Subscription>,
    hearing: Option<AbortOnDropHandle<()>>,
    cancel: CancellationToken,
    announcer: Option<AbortOnDropHandle<()>>,
    heartbeat: AbortOnDropHandle<()>,
    sender: AbortOnDropHandle<()>,
}

impl Endpoint {
    /// Subscribes, then announces: the device can be called before anybody hears of it.
    ///
    /// # Errors
    /// [`MeshError`] when the mesh refuses a subscription; nothing is left subscribed then.
    pub async fn open(parts: EndpointParts) -> Result<Self, MeshError> {
        let EndpointParts { card, mesh, routes, dispatcher, outbox, peers, hearing } = parts;
        let subjects = Subjects::new(card.tenant.clone());
        let triggers = Arc::new(Triggers::default());

        let sink: Sink = Arc::new(move |message| dispatcher.accept(&message.payload, message.reply));
        let commands = mesh.serve(&subjects.command(&card.id), sink).await?;

        let (seen, known) = (Arc::clone(&triggers), peers.clone());
        let sink: Sink = Arc::new(move |message| {
            if known.observe(&message.payload, tokio::time::Instant::now()) {
                seen.peer.notify_one();
            }
        });
        let presence = mesh.subscribe(&subjects.presence_of_all(), sink).await?;
        let asked = Arc::clone(&triggers);
        let probe = mesh.subscribe(&subjects.probe(), Arc::new(move |_| asked.probe.notify_one())).await?;

        let cancel = CancellationToken::new();
        let announcer = Announcer {
            card: Arc::clone(&card),
            mesh: Arc::clone(&mesh),
            subject: subjects.presence(&card.id),
            routes,
            peers,
            triggers,
        };
        let announcer = AbortOnDropHandle::new(spawn(announcer.run(cancel.clone())));
        let heartbeat = AbortOnDropHandle::new(spawn(beat(Arc::clone(&card), Arc::clone(&mesh), subjects.clone())));
        let sender = {
            let (outbox, mesh, subjects, device) =
                (outbox.clone(), Arc::clone(&mesh), subjects.clone(), card.id.clone());
            AbortOnDropHandle::new(spawn(async move { outbox.send_to(mesh, subjects, device).await }))
        };
        let hearing = AbortOnDropHandle::new(spawn(hearing.follow(Arc::clone(&mesh))));
        let discovery = vec![presence, probe];
        Ok(Self {
            card,
            mesh,
            subjects,
            outbox,
            commands: Some(commands),
            discovery,
            hearing: Some(hearing),
            cancel,
            announcer: Some(announcer),
            heartbeat,
            sender,
        })
    }

    /// Announces the device no more and takes no further calls and events from the mesh. Calls that the mesh had handed over by
    /// then are under way when this returns, and are still answered. Takes half a second at most where the mesh hangs.
    pub async fn stop_accepting(&mut self) {
        self.cancel.cancel();
        if let Some(announcer) = self.announcer.take()
            && let Err(error) = announcer.await
        {
            warn!(%error, "the announcer failed");
        }
        self.discovery.clear();
        self.hearing = None;
        if let Some(commands) = self.commands.take() {
            commands.close().await;
        }
    }

    /// Sends what events are left for at most a second, then the departure as the last presence (wire
    /// contract 5.4), and closes the mesh.
    pub async fn close(mut self) {
        self.stop_accepting().await;
        drop(self.heartbeat);
        let up = matches!(*self.mesh.link().borrow(), Link::Up(_));
        if !up || tokio::time::timeout(FLUSH_TIMEOUT, self.outbox.drained()).await.is_err() {
            info!(events = self.outbox.len(), "events left unsent");
        }
        drop(self.sender);
        if up {
            let departure = registration::departure(&self.card, SystemTime::now());
            if let Err(error) = self.mesh.publish(&self.subjects.presence(&self.card.id), departure).await {
                warn!(%error, "failed to announce the departure");
            }
        }
        self.mesh.close().await;
    }
}

/// One heartbeat every third of the ttl, at least a second apart (wire contract 4.3). Also in device-to-device mode.
async fn beat(card: Arc<DeviceCard>, mesh: Arc<dyn Mesh>, subjects: Subjects) {
    let mut interval = tokio::time::interval((card.ttl / 3).max(Duration::from_secs(1)));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let subject = subjects.heartbeat(&card.id);
    loop {
        interval.tick().await;
        if matches!(*mesh.link().borrow(), Link::Down) {
            continue;
        }
        match mesh.publish(&subject, registration::heartbeat(&card, SystemTime::now())).await {
            Ok(()) => debug!("heartbeat"),
            Err(error) => warn!(%error, "failed to send a heartbeat"),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "every handle is held by the endpoint, which ends its task")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}
