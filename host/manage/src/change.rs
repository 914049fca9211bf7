//! The one way in which another generation of a plugin comes to serve: prepare it beside the old one, write the record,
//! swap, and then tidy up. Where only one can be, the old one goes first (`exclusive.rs`).
//!
//! Until the record is written nothing has changed, and whatever fails leaves nothing behind. From the record on the new
//! generation is the plugin: a host that ends before the swap comes back with it, proven already.

use crate::authority::{NotAdmitted, grant_command};
use crate::blocking::blocking;
use crate::depot::{Depot, DepotError, Recorded, asker_of, package_of};
use crate::exclusive::Restart;
use crate::install::not_tidied;
use crate::manager::Manager;
use crate::refusal::{Refusal, chain};
use mortise_delivery::{DeliveryError, FolderError, GenerationFolder, GenerationGuard, StageError, TreeError};
use mortise_model::{Permission, PluginId};
use mortise_plugin::{ActivateError, Activated, Busy, Operation, Package, PrepareError, Prepared};
use std::path::PathBuf;
use tracing::warn;

/// Which words a failure begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Load,
    Reload,
    RollBack,
    Plan,
}

impl Verb {
    pub(crate) fn failed(self, id: &str) -> String {
        match self {
            Self::Load => format!("Failed to load plugin '{id}'"),
            Self::Reload => format!("Failed to reload plugin '{id}'"),
            Self::RollBack => format!("Failed to roll back plugin '{id}'"),
            Self::Plan => format!("Failed to plan the install of plugin '{id}'"),
        }
    }
}

/// What should serve next.
#[derive(Debug)]
pub(crate) enum Next {
    /// A generation that no record names yet.
    New(GenerationGuard),
    /// One that a record names.
    Kept(GenerationFolder),
}

/// A generation that is proven and does not serve yet.
pub(crate) struct Proven {
    next: Next,
    prepared: Prepared,
}

/// A change that happened.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) activated: Activated,
    /// Where the working copy's edits lie now that were in the way.
    pub(crate) edits: Option<PathBuf>,
    /// What could not be tidied up, one sentence each.
    pub(crate) warnings: Vec<String>,
}

/// Why nothing has changed.
#[derive(Debug)]
pub(crate) enum ChangeError {
    Prepare(PrepareError),
    Activate(ActivateError),
    Depot(DepotError),
    Policy(NotAdmitted),
    /// It failed after what served had made room for it.
    Interrupted {
        error: Box<ChangeError>,
        restart: Restart,
    },
}

impl ChangeError {
    /// As one line.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Prepare(error) => chain(error),
            Self::Activate(error) => chain(error),
            Self::Depot(error) => chain(error),
            Self::Policy(error) => chain(error),
            Self::Interrupted { error, restart: Restart::Done } => error.reason(),
            Self::Interrupted { error, restart: Restart::Failed(why) } => {
                format!("{}; and the version before could not be started again: {why}", error.reason())
            }
        }
    }
}

impl From<DepotError> for ChangeError {
    fn from(error: DepotError) -> Self {
        Self::Depot(error)
    }
}

impl Next {
    pub(crate) fn folder(&self) -> &GenerationFolder {
        match self {
            Self::New(guard) => guard.folder(),
            Self::Kept(folder) => folder,
        }
    }
}

impl Manager {
    /// Has another generation serve: proven beside the one that does, or after it where only one can be. One with other
    /// files than its predecessor is on probation from then on.
    pub(crate) async fn change(&self, operation: &Operation, next: Next) -> Result<Changed, ChangeError> {
        let next = self.admit(next).await?;
        let tree = next.folder().tree;
        let predecessor = self.running(operation.id());
        let is_same = predecessor.as_ref().is_some_and(|running| running.package().tree == tree);
        let changed = if self.is_exclusive(operation, &next) {
            self.change_exclusively(operation, next).await?
        } else {
            let proven = self.prove(operation, next).await?;
            self.adopt(operation, proven).await?
        };
        if !is_same {
            self.forget_taken_back(operation.id());
        }
        if let Some(predecessor) = predecessor.filter(|_| !is_same) {
            self.begin_probation(operation.id(), &predecessor, changed.activated.generation);
        }
        Ok(changed)
    }

    /// What the policy lets serve; the files of what it does not go.
    async fn admit(&self, next: Next) -> Result<Next, ChangeError> {
        let folder = next.folder();
        match self.authority.admit_to_serve(asker_of(folder), &folder.manifest) {
            Ok(()) => Ok(next),
            Err(error) => {
                self.drop_files(next).await?;
                Err(ChangeError::Policy(error))
            }
        }
    }

    /// Starts and proves a generation, if the policy lets it serve.
    pub(crate) async fn prove_admitted(&self, operation: &Operation, next: Next) -> Result<Proven, ChangeError> {
        let next = self.admit(next).await?;
        self.prove(operation, next).await
    }

    /// Starts and proves a generation beside the one that serves.
    pub(crate) async fn prove(&self, operation: &Operation, next: Next) -> Result<Proven, ChangeError> {
        let prepared = async {
            let package = self.package(next.folder())?;
            operation.prepare(package).await.map_err(ChangeError::Prepare)
        };
        match prepared.await {
            Ok(prepared) => Ok(Proven { next, prepared }),
            Err(error) => {
                if let ChangeError::Prepare(PrepareError::Denied { denied, .. }) = &error {
                    self.note_denied(next.folder(), denied).await;
                }
                self.drop_files(next).await?;
                Err(error)
            }
        }
    }

    /// Remembers what a plugin that is on record was denied before it served.
    async fn note_denied(&self, folder: &GenerationFolder, denied: &[Permission]) {
        let id = folder.id.clone();
        match self.on_disk(move |depot| Ok(depot.store().plugin(&id)?.is_some())).await {
            Ok(true) => denied.iter().for_each(|denied| self.authority.note_denied(asker_of(folder), denied)),
            Ok(false) => {}
            Err(error) => warn!(plugin = %folder.id, error = chain(&error), "failed to remember what it was denied"),
        }
    }

    /// What the registry is given of a generation.
    pub(crate) fn package(&self, folder: &GenerationFolder) -> Result<Package, ChangeError> {
        let limits = self.authority.limits(asker_of(folder), &folder.manifest).map_err(ChangeError::Policy)?;
        Ok(package_of(folder, limits))
    }

    /// Forgets what will not serve, with the files that nobody else has. Removing them blocks.
    pub(crate) async fn drop_files(&self, next: Next) -> Result<(), DepotError> {
        self.on_disk(move |_| {
            drop(next);
            Ok(())
        })
        .await
    }

    /// Makes a proven generation the plugin's, on disk and in the routes.
    pub(crate) async fn adopt(&self, operation: &Operation, proven: Proven) -> Result<Changed, ChangeError> {
        let Proven { next, prepared } = proven;
        let description = prepared.description().to_json();
        let recorded = self
            .on_disk(move |depot| match next {
                Next::New(guard) => depot.record(guard, Some(description), Some(mortise_store::Desired::Loaded)),
                Next::Kept(folder) => depot.choose(folder, description),
            })
            .await;
        let recorded = match recorded {
            Ok(recorded) => recorded,
            Err(error) => {
                prepared.end().await;
                return Err(error.into());
            }
        };
        match operation.activate(prepared).await {
            Ok(activated) => {
                let mut changed = Changed { activated, edits: None, warnings: Vec::new() };
                match self.settle(recorded).await {
                    Ok(edits) => changed.edits = edits,
                    Err(error) => {
                        warn!(plugin = %operation.id(), error = chain(&error), "failed to tidy up after a change");
                        changed.warnings.push(not_tidied(&error));
                    }
                }
                Ok(changed)
            }
            Err(error) => {
                if let Err(error) = self.on_disk(move |depot| depot.withdraw(&recorded)).await {
                    warn!(plugin = %operation.id(), error = chain(&error), "failed to take a record back");
                }
                Err(ChangeError::Activate(error))
            }
        }
    }

    /// Has the working copy show a generation, and forgets what is kept no longer.
    pub(crate) async fn settle(&self, recorded: Recorded) -> Result<Option<PathBuf>, DepotError> {
        let registry = self.registry.clone();
        self.on_disk(move |depot| depot.settle(&recorded, || registry.names().as_ref().clone())).await
    }

    /// Runs what blocks on a thread that may.
    pub(crate) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Depot) -> Result<T, DepotError> + Send + 'static,
    ) -> Result<T, DepotError> {
        let depot = self.depot.clone();
        blocking(move || work(&depot)).await
    }
}

/// What a failed change is answered with.
pub(crate) fn change_refusal(id: &PluginId, error: &ChangeError, verb: Verb) -> Refusal {
    match error {
        ChangeError::Prepare(error) => prepare_refusal(id, error, verb),
        ChangeError::Activate(error) => activate_refusal(id, error, verb),
        ChangeError::Depot(error) => depot_refusal(id, error, verb),
        ChangeError::Policy(error) => not_admitted(id, error),
        ChangeError::Interrupted { error: inner, restart } => {
            let mut refusal = change_refusal(id, inner, verb);
            match restart {
                Restart::Done => refusal
                    .with("restarted", true)
                    .hint("correct it and try again; the version before was started again"),
                Restart::Failed(_) => {
                    refusal.message = format!("{}: {}", verb.failed(id.as_str()), error.reason());
                    refusal
                        .with("restarted", false)
                        .detail(error.reason())
                        .hint("nothing of the plugin serves: `load_plugin` starts the version before, once it can")
                }
            }
        }
    }
}

pub(crate) fn not_admitted(id: &PluginId, error: &NotAdmitted) -> Refusal {
    Refusal::new(error.code(), error.to_string()).with("plugin_id", id.as_str()).hint(error.hint())
}

/// The reference says no more than that it failed when the folder or the manifest is missing; anything else it raises
/// with the reason, and so the reason is in the message.
pub(crate) fn depot_refusal(id: &PluginId, error: &DepotError, verb: Verb) -> Refusal {
    let message = verb.failed(id.as_str());
    let detail = chain(error);
    let missing = matches!(
        error,
        DepotError::Delivery(DeliveryError::Stage(StageError::Folder(
            FolderError::NoManifest
                | FolderError::NoEntryPoint { .. }
                | FolderError::Tree(TreeError::NotFound { .. } | TreeError::NotAFolder { .. })
        )))
    );
    let message = if missing { message } else { format!("{message}: {detail}") };
    Refusal::new(error.code(), message).with("plugin_id", id.as_str()).detail(detail).hint(error.hint())
}

fn prepare_refusal(id: &PluginId, error: &PrepareError, verb: Verb) -> Refusal {
    let message = format!("{}: {}", verb.failed(id.as_str()), chain(error));
    let refusal = Refusal::new(prepare_code(error), message).with("plugin_id", id.as_str()).detail(chain(error));
    match error {
        PrepareError::Code { hint: Some(hint), .. } | PrepareError::Runner { hint, .. } => refusal.hint(hint.clone()),
        PrepareError::Refused(error) => refusal.hint(activate_hint(error)),
        PrepareError::Denied { denied, error } => {
            let commands = denied.iter().map(|denied| format!("`{}`", grant_command(id, denied))).collect::<Vec<_>>();
            let otherwise = match &**error {
                PrepareError::Code { hint: Some(hint), .. } => hint,
                error => prepare_hint(error),
            };
            refusal.with("denied", denied.iter().map(ToString::to_string).collect::<Vec<_>>()).hint(format!(
                "if it cannot do without, install it with `load` false, grant it that with {}, and load it; otherwise {otherwise}",
                commands.join(" and ")
            ))
        }
        _ => refusal.hint(prepare_hint(error)),
    }
}

fn activate_refusal(id: &PluginId, error: &ActivateError, verb: Verb) -> Refusal {
    let message = format!("{}: {error}", verb.failed(id.as_str()));
    Refusal::new(activate_code(error), message)
        .with("plugin_id", id.as_str())
        .detail(error.to_string())
        .hint(activate_hint(error))
}

pub(crate) fn busy(error: &Busy) -> Refusal {
    Refusal::new("busy", error.to_string()).with("plugin_id", error.plugin.as_str()).hint("try again in a moment")
}

pub(crate) fn stopping(error: &ActivateError) -> Refusal {
    Refusal::new(activate_code(error), error.to_string()).hint(activate_hint(error))
}

fn prepare_code(error: &PrepareError) -> &'static str {
    match error {
        PrepareError::NoRuntime(_) => "no_runtime",
        PrepareError::Runner { .. } => "no_runner",
        PrepareError::Read { .. } | PrepareError::State(_) => "disk",
        PrepareError::Code { .. } => "invalid_code",
        PrepareError::Description(_) => "invalid_description",
        PrepareError::Hook { .. } => "hook_failed",
        PrepareError::Unsupported { .. } => "unsupported",
        PrepareError::Refused(error) => activate_code(error),
        PrepareError::Limit { .. } => "limit_reached",
        PrepareError::Denied { error, .. } => prepare_code(error),
    }
}

fn prepare_hint(error: &PrepareError) -> &'static str {
    match error {
        PrepareError::NoRuntime(_) => {
            "this host runs plugins of type `wasm`, `python` and `javascript`: write it in one of them"
        }
        PrepareError::Runner { .. } => "give the host the runners of its release",
        PrepareError::Read { .. } => "see that the file is in the plugin's folder and can be read",
        PrepareError::State(_) => "see that the host's state folder can be read, and try again",
        PrepareError::Code { .. } => "build the plugin against the world that this host serves",
        PrepareError::Description(_) => "correct what the plugin describes of itself; nothing was changed",
        PrepareError::Hook { .. } => "correct the plugin and try again; nothing was changed",
        PrepareError::Unsupported { .. } => "leave it out of the plugin",
        PrepareError::Refused(error) => activate_hint(error),
        PrepareError::Limit { .. } => "unload a plugin, or raise the limit",
        PrepareError::Denied { error, .. } => prepare_hint(error),
    }
}

fn activate_code(error: &ActivateError) -> &'static str {
    match error {
        ActivateError::AdvertisementFull { .. } => "advertisement_full",
        ActivateError::Busy(_) => "busy",
        ActivateError::Stopping => "stopping",
    }
}

fn activate_hint(error: &ActivateError) -> &'static str {
    match error {
        ActivateError::AdvertisementFull { .. } => {
            "unload a plugin, or shorten the descriptions and schemas of its functions"
        }
        ActivateError::Busy(_) => "try again when the calls under way have ended",
        ActivateError::Stopping => "call again when the host is back",
    }
}
