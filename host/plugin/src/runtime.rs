//! What a runtime gives the host: [`Runtime`] prepares, [`Instance`] serves.

use crate::authority::Asker;
use crate::job::Job;
use crate::services::Services;
use async_trait::async_trait;
use mortise_model::{Description, Digest, Failure, Limits, Manifest, Permission, PluginId, Provenance, RuntimeKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A plugin's files, checked and ready to be prepared.
#[derive(Debug, Clone)]
pub struct Package {
    /// The folder's name, and the manifest's id.
    pub id: PluginId,
    /// Parsed from the same folder.
    pub manifest: Arc<Manifest>,
    /// The folder. A runtime reads what it needs while it prepares and nothing afterwards, unless the folder is
    /// known to be immutable. An upgrade does not remove it as long as somebody
    /// has this; an uninstall does.
    pub root: Arc<Path>,
    /// Over path, mode and content of every file.
    pub tree: Digest,
    /// Where they came from.
    pub provenance: Arc<Provenance>,
    /// What it may use.
    pub limits: Limits,
    /// The number under which the plugin's files are kept: larger is newer.
    pub generation: u64,
}

impl Package {
    /// Who it is to those who say what it may do.
    #[must_use]
    pub fn asker(&self) -> Asker<'_> {
        Asker { plugin: &self.id, tree: &self.tree, provenance: &self.provenance, wanted: &self.manifest.permissions }
    }
}

/// Why a generation could not be prepared. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// No runtime of this host runs such plugins.
    #[error("no runtime for plugins of type `{}` on this host", .0.name())]
    NoRuntime(RuntimeKind),
    /// What interprets plugins of that kind is not there, or of no use. `hint` is the cure.
    #[error("no runner for plugins of type `{kind}`: {reason}")]
    Runner {
        /// Of the plugin.
        kind: RuntimeKind,
        /// One line.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// A file of the plugin cannot be read.
    #[error("failed to read `{path}`")]
    Read {
        /// Relative to the plugin's folder.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The code is not what the runtime runs. `hint` is the cure.
    #[error("`{path}` cannot be loaded: {reason}")]
    Code {
        /// Relative to the plugin's folder.
        path: String,
        /// One line.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The plugin's own description is unusable.
    #[error("the plugin describes itself wrongly: {0}")]
    Description(String),
    /// A hook refused, trapped or took too long.
    #[error("{hook} failed")]
    Hook {
        /// `describe`, `migrate`, `start` or `self_test`.
        hook: &'static str,
        /// In the plugin's words, or the host's.
        #[source]
        failure: Failure,
    },
    /// It did not come up, and was denied something on the way, which may be why.
    #[error("it was denied {}", list(.denied))]
    Denied {
        /// What, each once.
        denied: Vec<Permission>,
        /// Why it did not come up.
        #[source]
        error: Box<PrepareError>,
    },
    /// Accepting it would promise what this runtime does not keep.
    #[error("{what} is not supported by this version")]
    Unsupported {
        /// A limit, permission or declaration.
        what: String,
    },
    /// What earlier versions of the plugin kept cannot be read.
    #[error("failed to read the plugin's state")]
    State(#[source] crate::StateStoreError),
    /// It is sound, and yet may not serve.
    #[error(transparent)]
    Refused(#[from] crate::ActivateError),
    /// The host is at a limit of its own.
    #[error("limit `{limit}` reached: {reason}")]
    Limit {
        /// Its name.
        limit: &'static str,
        /// With figures.
        reason: String,
    },
}

impl PrepareError {
    /// With what the plugin was denied, if it was.
    pub(crate) fn after(self, denied: Vec<Permission>) -> Self {
        if denied.is_empty() { self } else { Self::Denied { denied, error: Box::new(self) } }
    }
}

fn list(denied: &[Permission]) -> String {
    denied.iter().map(|permission| format!("`{permission}`")).collect::<Vec<_>>().join(", ")
}

/// Executes plugins of one kind.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Which plugins it runs.
    fn kind(&self) -> RuntimeKind;

    /// Whether what it takes to run them is there now: a runtime may need more than the host itself. Cheap to ask for.
    fn is_available(&self) -> bool {
        true
    }

    /// Compiles, instantiates, describes, migrates, starts and self-tests one generation, beside any older one.
    ///
    /// Called once per generation. Dropping the future, and any error, leaves nothing running. Heavy work runs on
    /// the runtime's own bounded pool, never on the threads that serve calls.
    ///
    /// # Errors
    /// [`PrepareError`] says what is wrong with the plugin.
    async fn prepare(&self, package: &Package, services: Arc<Services>) -> Result<Arc<dyn Instance>, PrepareError>;

    /// Compiles, instantiates and asks what the plugin would bring. None of its hooks runs and nothing is left running.
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`Runtime::prepare`], apart from its hooks.
    async fn describe(&self, package: &Package, services: Arc<Services>) -> Result<Description, PrepareError>;
}

/// What the host wants to know of a generation at work. Cheap to ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// How often an instance was lost to a trap or a turn over its limit.
    pub traps: u64,
    /// Why the last one was lost, as one line.
    pub last_trap: Option<String>,
    /// Calls waiting in the host.
    pub queued: usize,
    /// Calls under way in the guest.
    pub running: usize,
    /// Outcomes for unknown or answered calls, dropped.
    pub stray_outcomes: u64,
    /// How many instances there are now.
    pub instances: usize,
}

/// One prepared generation at work, with one instance or several. Dropping the last handle ends it without a `stop` hook.
#[async_trait]
pub trait Instance: Send + Sync + 'static {
    /// What the plugin brings; it does not change.
    fn description(&self) -> &Description;

    /// Queues a job. Never blocks; a full queue, or a generation that has ended, answers the job itself with an error.
    fn submit(&self, job: Job);

    /// Runs the `stop` hook, of each instance, for at most `stop_timeout`, answers every job that is left with an error, and ends.
    /// Further calls return at once.
    async fn shutdown(&self, stop_timeout: Duration);

    /// A snapshot.
    fn health(&self) -> Health;
}
