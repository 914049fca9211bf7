//! What the host's functions work with.

use crate::function;
use crate::repeat::Repeats;
use mortise_delivery::Staging;
use mortise_model::IdError;
use mortise_plugin::Registry;
use mortise_rpc::{Client, Outbox, Routes};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;
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
    /// Whether a bundle must come with a digest.
    pub digest_required: bool,
    /// The folders from which callers on the mesh may have plugins installed; the operator may from anywhere.
    pub source_roots: Vec<PathBuf>,
    /// Where the documents that the authoring guide names can be read; without a trailing slash.
    pub docs_base_url: String,
}

/// Manages plugins. Cheap to clone through its `Arc`.
pub struct Manager {
    pub(crate) config: ManageConfig,
    pub(crate) registry: Registry,
    pub(crate) staging: Staging,
    pub(crate) client: Client,
    pub(crate) outbox: Outbox,
    /// Installs that may unpack and check at once.
    pub(crate) staging_places: Semaphore,
    /// Calls of the host's functions that may be under way at once.
    pub(crate) call_places: Arc<Semaphore>,
    repeats: Repeats,
    tasks: TaskTracker,
}

const STAGING_MAX: usize = 4;
const CALLS_MAX: usize = 256;

impl Manager {
    /// A manager, whose functions become routes.
    ///
    /// # Errors
    /// Never in a build that passes its tests: the names of the host's functions are legal.
    pub fn install(
        config: ManageConfig,
        registry: Registry,
        staging: Staging,
        client: Client,
        outbox: Outbox,
        routes: &Routes,
    ) -> Result<Arc<Self>, IdError> {
        let manager = Arc::new(Self {
            config,
            registry,
            staging,
            client,
            outbox,
            staging_places: Semaphore::new(STAGING_MAX),
            call_places: Arc::new(Semaphore::new(CALLS_MAX)),
            repeats: Repeats::default(),
            tasks: TaskTracker::new(),
        });
        routes.install_host(function::routes(&manager)?, function::events()?);
        Ok(manager)
    }

    /// Waits until every function that was called has been answered. Cancel safe.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(crate) fn repeats(&self) -> &Repeats {
        &self.repeats
    }

    pub(crate) fn installs_from_folders(&self) -> bool {
        !self.config.source_roots.is_empty()
    }
}
