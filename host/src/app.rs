//! Wires the rooms together, and takes them apart again.

use crate::config::{HostConfig, MeshConfig};
use anyhow::Context as _;
use mortise_delivery::Staging;
use mortise_manage::{ControlSocket, HostBackend, ManageConfig, Manager, StateLock};
use mortise_mesh::{Mesh, MeshError, NatsMesh, Subjects, ZenohMesh};
use mortise_plugin::{Registry, RegistryParts};
use mortise_rpc::{Client, DeviceCard, Dispatcher, Endpoint, EndpointParts, Outbox, Peers, Routes};
use mortise_runtime_wasm::{WasmConfig, WasmRuntime};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long calls may go on after the first signal.
const DRAIN_GRACE: Duration = Duration::from_millis(1_200);

/// How long calls, stop hooks and management functions may take together; the rest is for the departure.
const DRAIN_BUDGET: Duration = Duration::from_millis(2_500);

/// Signals closer together than this count as one; a later one cuts the waiting.
const SIGNAL_GAP: Duration = Duration::from_millis(500);

/// How long the last events and the departure may take. With the above, less than the 5 s of a shutdown.
const DEPART_BUDGET: Duration = Duration::from_millis(2_200);

/// Runs the host until a signal ends it.
///
/// The mesh is reached in the background: losing it, or never finding it, stops advertising and never running.
///
/// # Errors
/// Whatever keeps it from starting, and a mesh that refuses the host's credentials.
pub async fn run_host(config: HostConfig) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let app = App::build(&config)?;
    info!(
        device = %config.device_id, tenant = %config.tenant, capabilities_dir = %config.capabilities_dir.display(),
        "host started"
    );
    let loading = CancellationToken::new();
    let auto_load = {
        let (manager, loading, wanted) = (Arc::clone(&app.manager), loading.clone(), config.auto_load);
        async move {
            if wanted {
                loading.run_until_cancelled(manager.auto_load()).await;
            }
            anyhow::Ok(())
        }
    };
    let mut endpoint = None;
    let outcome = {
        let run = async {
            endpoint = Some(app.join_mesh(config.mesh).await?);
            info!("the device is on the mesh");
            std::future::pending::<anyhow::Result<std::convert::Infallible>>().await
        };
        // The host serves its control socket and loads its plugins whether or not there is a mesh.
        tokio::select! {
            signal = signals.next() => { info!(signal, "stopping"); Ok(()) }
            failed = async { tokio::try_join!(run, auto_load) } => failed.map(drop),
        }
    };
    loading.cancel();
    let second = async {
        // A process manager may signal the process and its group: that is one wish.
        tokio::time::sleep(SIGNAL_GAP).await;
        match Signals::listen() {
            Ok(mut signals) => signals.next().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = app.shut_down(endpoint) => {}
        signal = second => warn!(signal, "stopped without waiting"),
    }
    info!("stopped");
    outcome
}

struct App {
    card: Arc<DeviceCard>,
    routes: Routes,
    dispatcher: Dispatcher,
    outbox: Outbox,
    peers: Peers,
    registry: Registry,
    manager: Arc<Manager>,
    mesh: watch::Sender<Option<Arc<dyn Mesh>>>,
    message_bytes_max: watch::Sender<usize>,
    control: ControlSocket,
    /// Last: the folder is free only when everything above is gone.
    _lock: StateLock,
}

impl App {
    /// Takes hold of the state folder and puts every room in its place. Nothing is on the mesh yet.
    fn build(config: &HostConfig) -> anyhow::Result<Self> {
        let lock = StateLock::acquire(&config.state_dir, &config.device_id)?;
        let staging = Staging::open(&config.state_dir)?;
        let swept = staging.sweep()?;
        if swept > 0 {
            info!(swept, "removed what an earlier host left unfinished");
        }
        let card = Arc::new(DeviceCard {
            id: config.device_id.clone(),
            tenant: config.tenant.clone(),
            availability: config.availability.to_owned(),
            ttl: config.heartbeat_ttl,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        let routes = Routes::new();
        let dispatcher = Dispatcher::new(Arc::clone(&card), routes.clone());
        let outbox = Outbox::default();
        let peers = Peers::new(card.id.clone());
        let (mesh, mesh_watch) = watch::channel(None);
        let (message_bytes_max, bytes_watch) = watch::channel(usize::MAX);
        let client = Client::new(card.id.clone(), Subjects::new(card.tenant.clone()), mesh_watch);
        let backend = HostBackend {
            dispatcher: dispatcher.clone(),
            client: client.clone(),
            outbox: outbox.clone(),
            peers: peers.clone(),
        };
        let wasm =
            WasmRuntime::new(WasmConfig { cache_dir: Some(config.state_dir.join("cache")), ..WasmConfig::default() })?;
        let registry = Registry::start(RegistryParts {
            device: card.id.clone(),
            tenant: card.tenant.clone(),
            routes: routes.clone(),
            runtimes: vec![wasm],
            backend: Arc::new(backend),
            message_bytes_max: bytes_watch,
        });
        let manage = ManageConfig {
            capabilities_dir: config.capabilities_dir.clone(),
            auto_load: config.auto_load,
            bundle_bytes_max: config.install.plugin_bytes_max.0,
            digest_required: config.install.require_digest,
            source_roots: config.install.source_roots.clone(),
            docs_base_url: config.docs_base_url.clone(),
        };
        let manager = Manager::install(manage, registry.clone(), staging, client, outbox.clone(), &routes)?;
        let control = ControlSocket::open(&config.state_dir, dispatcher.clone())?;
        Ok(Self {
            card,
            routes,
            dispatcher,
            outbox,
            peers,
            registry,
            manager,
            mesh,
            message_bytes_max,
            control,
            _lock: lock,
        })
    }

    /// Connects, however long that takes, and serves the device.
    async fn join_mesh(&self, config: MeshConfig) -> anyhow::Result<Endpoint> {
        let mesh = connect(config).await.context("failed to join the mesh")?;
        self.message_bytes_max.send_replace(mesh.payload_bytes_max().unwrap_or(usize::MAX));
        self.mesh.send_replace(Some(Arc::clone(&mesh)));
        let parts = EndpointParts {
            card: Arc::clone(&self.card),
            mesh,
            routes: self.routes.clone(),
            dispatcher: self.dispatcher.clone(),
            outbox: self.outbox.clone(),
            peers: self.peers.clone(),
        };
        Endpoint::open(parts).await.context("failed to serve the device on the mesh")
    }

    /// Takes no more calls, lets those under way end, stops every plugin, sends the last events and departs.
    async fn shut_down(self, mut endpoint: Option<Endpoint>) {
        let drain = async {
            if let Some(endpoint) = &mut endpoint {
                endpoint.stop_accepting().await;
            }
            self.registry.shutdown(DRAIN_GRACE).await;
            self.manager.drained().await;
            self.control.close().await;
        };
        if tokio::time::timeout(DRAIN_BUDGET, drain).await.is_err() {
            warn!("some calls were left unanswered");
        }
        if let Some(endpoint) = endpoint
            && tokio::time::timeout(DEPART_BUDGET, endpoint.close()).await.is_err()
        {
            warn!("the mesh was left without waiting for it");
        }
    }
}

async fn connect(config: MeshConfig) -> Result<Arc<dyn Mesh>, MeshError> {
    Ok(match config {
        MeshConfig::Nats(config) => Arc::new(NatsMesh::connect(config).await?),
        MeshConfig::Zenoh(config) => Arc::new(ZenohMesh::open(config).await?),
    })
}

/// SIGTERM and Ctrl-C.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
