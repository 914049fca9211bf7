//! Wires the rooms together, and takes them apart again.

use crate::compiled::CompiledCode;
use crate::config::{HostConfig, MeshConfig};
use crate::policy::PolicyFile;
use anyhow::Context as _;
use mortise_artifact::{ArtifactServer, ArtifactStore, BindError, ServerLimits, Serving};
use mortise_delivery::{FetchConfig, Staging};
use mortise_manage::{
    Authority, BackendParts, ControlSocket, Depot, HostBackend, ManageConfig, Manager, ManagerParts, ProbationConfig,
    StateLock, Surroundings,
};
use mortise_mesh::{Mesh, MeshError, NatsMesh, Subjects, ZenohMesh};
use mortise_model::RuntimeKind;
use mortise_plugin::{Registry, RegistryConfig, RegistryParts};
use mortise_rpc::{Client, DeviceCard, Dispatcher, Endpoint, EndpointParts, Hearing, Outbox, Peers, Routes};
use mortise_runtime_wasm::{CacheConfig, RunnerError, WasmConfig, WasmRuntime, check_runners};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

/// How long calls may go on after the first signal.
const DRAIN_GRACE: Duration = Duration::from_millis(1_200);

/// How long the mesh, calls, stop hooks and management functions may take together; the rest is for the departure.
const DRAIN_BUDGET: Duration = Duration::from_millis(2_700);

/// How long answering may take what was given up then.
const ANSWER_BUDGET: Duration = Duration::from_millis(200);

/// Signals closer together than this count as one; a later one cuts the waiting.
const SIGNAL_GAP: Duration = Duration::from_millis(500);

/// How long the last events and the departure may take, and beside them what plugins wrote last. With the above, less than the 5 s of a shutdown.
const DEPART_BUDGET: Duration = Duration::from_millis(2_000);

/// Runs the host until a signal ends it.
///
/// The mesh is reached in the background: losing it, or never finding it, stops advertising and never running.
///
/// # Errors
/// Whatever keeps it from starting, and a mesh that refuses the host's credentials.
pub async fn run_host(config: HostConfig) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    // Without a policy file it ends the host, as it ends any program.
    let hang_up = config.policy.file.is_some().then(|| signal(SignalKind::hangup())).transpose()?;
    let app = App::build(&config).await?;
    info!(
        device = %config.device_id, tenant = %config.tenant, capabilities_dir = %config.capabilities_dir.display(),
        "host started"
    );
    let manage = {
        let (manager, auto_load) = (Arc::clone(&app.manager), config.auto_load);
        let bundled = config.bundled_plugins.clone();
        async move {
            if auto_load {
                manager.auto_load().await;
            }
            if let Some(folder) = &bundled {
                manager.install_bundled(folder).await;
            }
            manager.expire_uploads().await;
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
            failed = async { tokio::try_join!(run, manage) } => failed.map(drop),
            () = follow_policy(config.policy.file, hang_up, &app.manager) => Ok(()),
            () = app.manager.keep_to_policy() => Ok(()),
            () = app.manager.keep_quarantine() => Ok(()),
            () = app.manager.expire_grants() => Ok(()),
        }
    };
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

/// Why the host cannot start, where no room says it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no folder for plugins, and none can be made.
    #[error("failed to create the capabilities folder `{path}`")]
    CapabilitiesDir {
        /// Of the folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The artifact server cannot listen where it is told to.
    #[error(transparent)]
    Artifacts(#[from] BindError),
}

impl StartError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::CapabilitiesDir { .. } => "disk",
            Self::Artifacts(error) => error.code(),
        }
    }

    /// The cure, as one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::CapabilitiesDir { .. } => {
                "name a folder that the user who runs the host may write to with `--capabilities-dir`".to_owned()
            }
            Self::Artifacts(error) => {
                format!(
                    "{}: `DC_PLUGIN_ARTIFACT_HOST` and `DC_PLUGIN_ARTIFACT_PORT` say where it listens",
                    error.hint()
                )
            }
        }
    }
}

struct App {
    card: Arc<DeviceCard>,
    routes: Routes,
    dispatcher: Dispatcher,
    outbox: Outbox,
    peers: Peers,
    hearing: Hearing,
    registry: Registry,
    manager: Arc<Manager>,
    mesh: watch::Sender<Option<Arc<dyn Mesh>>>,
    message_bytes_max: watch::Sender<usize>,
    control: ControlSocket,
    artifacts: Option<Serving>,
    /// Last: the folder is free only when everything above is gone.
    _lock: StateLock,
}

impl App {
    /// Makes the folders, takes hold of the state folder and puts every room in its place. Nothing is on the mesh yet.
    async fn build(config: &HostConfig) -> anyhow::Result<Self> {
        // Before the state folder, which by default lies in it and closes what it creates to others.
        std::fs::create_dir_all(&config.capabilities_dir)
            .map_err(|source| StartError::CapabilitiesDir { path: config.capabilities_dir.clone(), source })?;
        let lock = StateLock::acquire(&config.state_dir, &config.device_id)?;
        // Early: whoever takes part in the mesh offers what it says it offers.
        let server = listen(config).await?;
        let staging = Staging::open(&config.state_dir)?;
        let swept = staging.sweep()?;
        if swept.removed > 0 {
            info!(swept = swept.removed, "removed what an earlier host left unfinished");
        }
        for error in swept.failed {
            warn!(error = format!("{:#}", anyhow::Error::from(error)), "failed to remove what an earlier host left");
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
        let hearing = Hearing::new(card.tenant.clone());
        let (mesh, mesh_watch) = watch::channel(None);
        let (message_bytes_max, bytes_watch) = watch::channel(usize::MAX);
        let client = Client::new(card.id.clone(), Subjects::new(card.tenant.clone()), mesh_watch);
        let capabilities_dir = config.capabilities_dir.clone();
        let (depot, recovered) =
            Depot::open(&config.state_dir, capabilities_dir, staging, config.install.keep_versions)?;
        for warning in &recovered.warnings {
            warn!("{warning}");
        }
        if recovered.swept > 0 {
            info!(swept = recovered.swept, "removed generations and archives that no record names");
        }
        let hashes = Arc::new(CompiledCode(depot.clone()));
        let cache = Some(CacheConfig { dir: config.state_dir.join("cache"), hashes });
        tell_of_runners(config);
        let wasm = WasmRuntime::new(WasmConfig { cache, ..WasmConfig::default() })?;
        let python = wasm.with_runner(RuntimeKind::Python, config.runners_dir())?;
        let javascript = wasm.with_runner(RuntimeKind::Javascript, config.runners_dir())?;
        let authority = Authority::open(config.policy.policy.clone(), depot.clone())?;
        let backend = HostBackend::new(BackendParts {
            dispatcher: dispatcher.clone(),
            client: client.clone(),
            outbox: outbox.clone(),
            peers: peers.clone(),
            hearing: hearing.clone(),
            authority: authority.clone(),
            surroundings: Surroundings { own_paths: config.own_paths(), ..config.surroundings.clone() },
        });
        let registry = Registry::start(RegistryParts {
            device: card.id.clone(),
            tenant: card.tenant.clone(),
            routes: routes.clone(),
            runtimes: vec![wasm, python, javascript],
            backend: Arc::new(backend),
            authority: Arc::new(authority.clone()),
            states: Arc::new(depot.clone()),
            message_bytes_max: bytes_watch,
            names: depot.names()?,
            config: RegistryConfig::default(),
        });
        let manage = ManageConfig {
            capabilities_dir: config.capabilities_dir.clone(),
            auto_load: config.auto_load,
            bundle_bytes_max: config.install.plugin_bytes_max.0,
            digest_required: config.install.require_digest,
            source_roots: config.install.source_roots.clone(),
            install_dependencies: config.install.dependencies,
            dependencies: config.install.pip.clone(),
            artifacts_served: config.artifacts.serve,
            probation: ProbationConfig { window: config.install.probation, ..ProbationConfig::default() },
            docs_base_url: config.docs_base_url.clone(),
        };
        let port = server.as_ref().map_or(config.artifacts.port, |server| server.address().port());
        let artifacts = ArtifactStore::open(&config.artifacts.dir, config.artifacts.url_base(port)?)?;
        let fetch = FetchConfig {
            bytes_max: config.install.plugin_bytes_max.0,
            allowlist: config.install.url_allowlist.clone(),
            allow_http: config.install.allow_http,
            allow_private: config.install.allow_private,
            ca_files: config.install.ca_files.clone(),
            ..FetchConfig::default()
        };
        let parts = ManagerParts {
            config: manage,
            registry: registry.clone(),
            depot,
            authority,
            artifacts: artifacts.clone(),
            fetch,
            client,
            outbox: outbox.clone(),
            message_bytes_max: message_bytes_max.subscribe(),
        };
        let manager = Manager::install(parts, &routes)?;
        manager.recall_quarantine().await;
        if config.auto_load {
            // Before there is a way in: nobody finds a host without the plugins that it is about to load.
            manager.announce().await;
        }
        let control = ControlSocket::open(&config.state_dir, dispatcher.clone())?;
        let artifacts = server.map(|server| server.serve(artifacts, ServerLimits::default()));
        if let Some(serving) = &artifacts {
            info!(address = %serving.address(), "serving published plugins");
        }
        Ok(Self {
            card,
            routes,
            dispatcher,
            outbox,
            peers,
            hearing,
            registry,
            manager,
            mesh,
            message_bytes_max,
            control,
            artifacts,
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
            hearing: self.hearing.clone(),
        };
        Endpoint::open(parts).await.context("failed to serve the device on the mesh")
    }

    /// Takes no more calls, lets those under way end, stops every plugin, sends the last events and departs.
    async fn shut_down(mut self, mut endpoint: Option<Endpoint>) {
        let artifacts = self.artifacts.take();
        // Beside the calls, so that neither takes time from the other.
        let downloads = async {
            if let Some(serving) = artifacts
                && !serving.close(DRAIN_GRACE).await
            {
                info!("some downloads of published plugins were cut short");
            }
        };
        let calls = async {
            if let Some(endpoint) = &mut endpoint {
                endpoint.stop_accepting().await;
            }
            self.registry.shutdown(DRAIN_GRACE).await;
            self.manager.drained().await;
        };
        let drain = async { tokio::join!(calls, downloads) };
        if tokio::time::timeout(DRAIN_BUDGET, drain).await.is_err() {
            info!("giving up what is still under way");
        }
        // Before the mesh and the socket go, over which the answers leave.
        let answers = async {
            self.manager.stop().await;
            self.control.close().await;
        };
        if tokio::time::timeout(ANSWER_BUDGET, answers).await.is_err() {
            warn!("some calls were left unanswered");
        }
        let depart = async {
            if let Some(endpoint) = endpoint
                && tokio::time::timeout(DEPART_BUDGET, endpoint.close()).await.is_err()
            {
                warn!("the mesh was left without waiting for it");
            }
        };
        let keep = async {
            match tokio::time::timeout(DEPART_BUDGET, self.registry.flush_states()).await {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => warn!(error = failure.message, "what plugins wrote last is lost"),
                Err(_) => warn!("what plugins wrote last may be lost: the disk did not take it in time"),
            }
        };
        tokio::join!(depart, keep);
    }
}

/// Follows the policy file, if there is one.
async fn follow_policy(file: Option<PolicyFile>, hang_up: Option<tokio::signal::unix::Signal>, manager: &Manager) {
    match file.zip(hang_up) {
        Some((file, mut hang_up)) => file.follow(manager, &mut hang_up).await,
        None => std::future::pending().await,
    }
}

/// Tells of a folder of runners that is of no use, before a plugin needs it.
fn tell_of_runners(config: &HostConfig) {
    match check_runners(&config.runners_dir()) {
        Ok(()) => {}
        // Nobody named one, and perhaps nobody wants one.
        Err(RunnerError::File { source, .. })
            if config.runners_dir.is_none() && source.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            let hint = error.hint();
            let error = format!("{:#}", anyhow::Error::from(error));
            warn!(error, hint, "plugins in Python and JavaScript cannot be run");
        }
    }
}

/// Takes the artifact server's address, if it is to run.
async fn listen(config: &HostConfig) -> Result<Option<ArtifactServer>, StartError> {
    if !config.artifacts.serve {
        return Ok(None);
    }
    Ok(Some(ArtifactServer::bind(&config.artifacts.host, config.artifacts.port).await?))
}

async fn connect(config: MeshConfig) -> Result<Arc<dyn Mesh>, MeshError> {
    Ok(match config {
        MeshConfig::Nats(config) => Arc::new(NatsMesh::connect(config).await?),
        MeshConfig::Zenoh(config) => Arc::new(ZenohMesh::open(config).await?),
    })
}

/// SIGTERM and Ctrl-C.
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
