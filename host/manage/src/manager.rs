//! What the host's functions work with.

use crate::authority::Authority;
use crate::depot::Depot;
use crate::follow::{Followed, Telling};
use crate::function;
use crate::probation::{ProbationConfig, Probations};
use crate::repeat::Repeats;
use crate::told::OwnFolders;
use mortise_artifact::ArtifactStore;
use mortise_delivery::{DependencyConfig, FetchConfig, FetchError, Fetcher, UploadLimits, Uploads};
use mortise_model::{IdError, PluginId};
use mortise_plugin::Registry;
use mortise_rpc::{Client, Outbox, Routes};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The operator's settings for managing plugins.
#[derive(Debug, Clone)]
pub struct ManageConfig {
    /// Where plugins lie, one folder each; absolute.
    pub capabilities_dir: PathBuf,
    /// Whether every plugin there is loaded at start.
    pub auto_load: bool,
    /// The largest bundle that is taken, decoded.
    pub bundle_bytes_max: u64,
    /// Whether a bundle must come with a digest, whatever the policy says.
    pub digest_required: bool,
    /// The folders from which callers on the mesh may have plugins installed, beside those of the policy; the operator
    /// may from anywhere.
    pub source_roots: Vec<PathBuf>,
    /// Whether dependencies of Python plugins are installed, whatever the policy says.
    pub install_dependencies: bool,
    /// How they are; the policy says from where and which.
    pub dependencies: DependencyConfig,
    /// Whether the artifact store is served over HTTP.
    pub artifacts_served: bool,
    /// When a new version is taken back by itself.
    pub probation: ProbationConfig,
    /// Where the documents that the authoring guide names can be read; without a trailing slash.
    pub docs_base_url: String,
}

/// Manages plugins. Cheap to clone through its `Arc`.
pub struct Manager {
    pub(crate) config: ManageConfig,
    pub(crate) registry: Registry,
    pub(crate) depot: Depot,
    pub(crate) authority: Authority,
    pub(crate) artifacts: ArtifactStore,
    fetcher: OnceCell<Fetcher>,
    fetch: FetchConfig,
    pub(crate) uploads: Uploads,
    pub(crate) client: Client,
    pub(crate) outbox: Outbox,
    message_bytes_max: watch::Receiver<usize>,
    pub(crate) followed: Followed,
    routes: Routes,
    /// Whether everything that is loaded at the start was tried.
    pub(crate) auto_loaded: watch::Sender<bool>,
    /// Told of each policy that is put in force.
    pub(crate) policy_changed: watch::Sender<()>,
    /// What is wrong with the policy file as it is now.
    policy_fault: Mutex<Option<String>>,
    pub(crate) probations: Probations,
    /// Which generation of a plugin failed its probation last, and why.
    taken_back: Mutex<HashMap<PluginId, (u64, String)>>,
    /// Installs that may unpack and check at once.
    pub(crate) staging_places: Semaphore,
    /// Objects that are read at once: each is in memory.
    pub(crate) object_reads: Semaphore,
    /// Calls of the host's functions that may be under way at once, for callers on the mesh.
    pub(crate) mesh_places: Arc<Semaphore>,
    /// The same for plugins: they keep nobody else out.
    pub(crate) plugin_places: Arc<Semaphore>,
    repeats: Repeats,
    /// Whose paths are nobody's business elsewhere.
    pub(crate) folders: OwnFolders,
    tasks: TaskTracker,
    /// Cancelled when calls are to wait no longer.
    stopping: CancellationToken,
    /// Itself, for tasks that outlive the call that began them.
    own: Weak<Self>,
}

/// What a manager works with.
pub struct ManagerParts {
    /// The operator's settings.
    pub config: ManageConfig,
    /// The plugins at work.
    pub registry: Registry,
    /// The plugins on disk.
    pub depot: Depot,
    /// What plugins may do, and who may call what.
    pub authority: Authority,
    /// Archives that this host gives to others.
    pub artifacts: ArtifactStore,
    /// How archives are fetched.
    pub fetch: FetchConfig,
    /// To other devices.
    pub client: Client,
    /// Events on their way.
    pub outbox: Outbox,
    /// The most bytes that the mesh carries in one message; may change with the mesh.
    pub message_bytes_max: watch::Receiver<usize>,
}

const STAGING_MAX: usize = 4;

/// Objects of an object store that are read at once.
const OBJECT_READS_MAX: usize = 2;

/// Calls of the host's functions that may be under way at once, for callers on the mesh and for plugins.
const MESH_CALLS_MAX: usize = 256;
const PLUGIN_CALLS_MAX: usize = 64;

impl Manager {
    /// A manager, whose functions become routes.
    ///
    /// # Errors
    /// Never in a build that passes its tests: the names of the host's functions are legal.
    pub fn install(parts: ManagerParts, routes: &Routes) -> Result<Arc<Self>, IdError> {
        let ManagerParts { config, registry, depot, authority, artifacts, fetch, client, outbox, message_bytes_max } =
            parts;
        let uploads = Uploads::new(depot.staging().clone(), UploadLimits::new(config.bundle_bytes_max));
        let folders = OwnFolders::new([
            (&config.capabilities_dir, "capabilities_dir"),
            (depot.state_dir(), "state_dir"),
            (artifacts.dir(), "artifact_dir"),
        ]);
        let manager = Arc::new_cyclic(|own| Self {
            config,
            registry,
            depot,
            authority,
            artifacts,
            fetcher: OnceCell::new(),
            fetch,
            uploads,
            client,
            outbox,
            message_bytes_max,
            followed: Followed::default(),
            routes: routes.clone(),
            auto_loaded: watch::Sender::new(false),
            policy_changed: watch::Sender::new(()),
            policy_fault: Mutex::default(),
            probations: Probations::default(),
            taken_back: Mutex::default(),
            own: Weak::clone(own),
            staging_places: Semaphore::new(STAGING_MAX),
            object_reads: Semaphore::new(OBJECT_READS_MAX),
            mesh_places: Arc::new(Semaphore::new(MESH_CALLS_MAX)),
            plugin_places: Arc::new(Semaphore::new(PLUGIN_CALLS_MAX)),
            repeats: Repeats::default(),
            folders,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        });
        let offers = {
            let (authority, has_roots) = (manager.authority.clone(), !manager.config.source_roots.is_empty());
            move |name: &str| function::is_offered(name, &authority.policy(), has_roots)
        };
        routes.install_host(function::routes(&manager)?, function::events()?, offers);
        Ok(manager)
    }

    /// What it takes to tell of lines of logs.
    pub(crate) fn telling(&self) -> Telling {
        let message_bytes_max = self.message_bytes_max.clone();
        Telling { registry: self.registry.clone(), outbox: self.outbox.clone(), message_bytes_max }
    }

    /// Waits until every function that was called has been answered. Cancel safe.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Gives up every function that is still under way, and those that come later and would wait: they are answered
    /// that the host is stopping. Returns once they are. Work on the disk that was begun ends by itself. Cancel safe.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.drained().await;
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(crate) fn repeats(&self) -> &Repeats {
        &self.repeats
    }

    /// Made when it is first needed: most hosts never fetch, and reading the system's authorities takes a while.
    pub(crate) async fn fetcher(&self) -> Result<&Fetcher, FetchError> {
        let make = || async {
            let config = self.fetch.clone();
            tokio::task::spawn_blocking(move || Fetcher::new(config)).await.unwrap_or_else(|error| {
                // Only a panic within it, which the log has.
                std::panic::resume_unwind(error.into_panic())
            })
        };
        self.fetcher.get_or_try_init(make).await
    }

    pub(crate) fn fetch_config(&self) -> &FetchConfig {
        &self.fetch
    }

    /// Itself; none once nobody else holds it.
    pub(crate) fn own(&self) -> Option<Arc<Self>> {
        self.own.upgrade()
    }

    pub(crate) fn note_taken_back(&self, id: PluginId, generation: u64, reason: String) {
        self.taken_back.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (generation, reason));
    }

    /// Another version serves now.
    pub(crate) fn forget_taken_back(&self, id: &PluginId) {
        self.taken_back.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Which generation of a plugin failed its probation and made room for the one that serves, and why.
    pub(crate) fn taken_back(&self, id: &PluginId) -> Option<(u64, String)> {
        self.taken_back.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// What is offered has changed.
    pub(crate) fn refresh_routes(&self) {
        self.routes.refresh();
    }

    /// What is wrong with the policy file, if anything is.
    pub(crate) fn note_policy_fault(&self, fault: Option<String>) {
        *self.policy_fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    pub(crate) fn policy_fault(&self) -> Option<String> {
        self.policy_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
