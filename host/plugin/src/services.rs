//! What the host does for a running plugin.

mod events;
mod reach;
mod state;
mod surroundings;

use crate::account::Account;
use crate::authority::{Asker, Authority, Denied, Leave};
use crate::losses::{InstanceLoss, Series};
use crate::runtime::Package;
use crate::state::{KeyValue, Of, StateView};
use crate::usage::Usage;
use async_trait::async_trait;
use mortise_model::{
    DeviceId, Digest, EmittedName, EventName, Failure, FileAccess, HttpRequest, HttpResponse, Json, Limits, Manifest,
    Permission, PluginId, Provenance, SubscriptionDef, Tenant, VariableName, cut,
};
use mortise_rpc::{CallChain, Emitter, Listener, Listening, TraceContext};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tracing::Level;

/// What a call is told that leads back to a function which waits for it.
pub(crate) const CALL_CYCLE: &str = "call_cycle";

/// How many plugin-to-plugin calls may lead from one to the next.
pub const CALL_DEPTH_MAX: u8 = 8;

/// The event by which the host tells those who follow a plugin's log of its lines.
pub const PLUGIN_LOG_EVENT: &str = "plugin_log";

/// The host's own events, which no plugin emits.
pub const HOST_EVENTS: [&str; 3] = ["plugin_loaded", PLUGIN_LOG_EVENT, "plugin_unloaded"];

/// Different things that are remembered of what one generation was denied before it was activated.
const DENIED_EARLY_MAX: usize = 64;

/// How much of a name that cannot be is told in an error, in bytes.
const NAME_BYTES_SHOWN: usize = 128;

/// The word for what is beyond a rate; the rates count it themselves.
const RATE_LIMITED: &str = "rate_limited";

/// The word for what it may not do; `denied` counts it.
const PERMISSION_DENIED: &str = "permission_denied";

/// The longest source of a log line, in bytes; what is over is cut.
const LOG_SOURCE_BYTES_MAX: usize = 256;

/// A function that a plugin wants called.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// None: on this host.
    pub device: Option<String>,
    /// Bare or namespaced.
    pub function: String,
    /// A JSON object.
    pub params: Json,
    /// The answer is of no use after this.
    pub deadline: Instant,
    /// Of the call on whose behalf it is made.
    pub trace: Option<Arc<TraceContext>>,
    /// The calls between plugins that lead to it, itself included.
    pub chain: CallChain,
    /// Whether it may wait for a plugin that is about to serve: not as long as the caller is about to itself. It may wait for
    /// the mesh then.
    pub may_wait: bool,
}

/// The host as its plugins reach it; implemented where mesh and routes meet.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Calls a function of this host or of another device. Cancel safe.
    async fn invoke(&self, plugin: &PluginId, invocation: Invocation) -> Result<Json, Failure>;

    /// The devices seen now, as a JSON array of presence records.
    ///
    /// # Errors
    /// `result_too_large` where their records are too long to be told.
    fn discover(&self) -> Result<Json, Failure>;

    /// Queues an event of this device for publication: a plugin's, or of the host itself. Must not block.
    fn emit(&self, emitter: Option<&Arc<Emitter>>, event: EmittedName, payload: Json);

    /// Has `listener` hear events of other devices, and of this one as the mesh brings them back; none until it is told which.
    fn listen(&self, listener: Arc<dyn Listener>) -> Box<dyn Listening>;

    /// Sends a request to wherever the operator lets plugins' requests go, and reads its answer, of which the body may
    /// have at most `body_bytes_max`. Cancel safe.
    async fn http(
        &self,
        plugin: &PluginId,
        request: HttpRequest,
        body_bytes_max: usize,
    ) -> Result<HttpResponse, Failure>;

    /// An environment variable of those that are not the host's own; none where it is not set.
    fn env(&self, name: &VariableName) -> Option<String>;

    /// Whether a folder may be opened for a plugin that was granted it: it is there, no link leads to it, and nothing of
    /// the host's own lies in it or around it. Blocks for a look.
    fn check_folder(&self, access: &FileAccess) -> Result<(), Failure>;

    /// A secret of the operator's; none where there is none of that name.
    async fn secret(&self, name: &VariableName) -> Result<Option<String>, Failure>;
}

/// One generation's way to the host.
///
/// Until the generation is activated its events are held, and nobody else sees what it writes into its state; both are
/// dropped if it never is. What it is denied until then is remembered as a wish once it is.
pub struct Services {
    plugin: PluginId,
    generation: u64,
    device: DeviceId,
    tenant: Tenant,
    tree: Digest,
    provenance: Arc<Provenance>,
    manifest: Arc<Manifest>,
    limits: Limits,
    backend: Arc<dyn Backend>,
    authority: Arc<dyn Authority>,
    account: Arc<Account>,
    state: StateView,
    /// Events emitted before activation; none once it is active. The std mutex is held for a push only.
    held: Mutex<Option<Held>>,
    active: AtomicBool,
    /// What it was denied before it was activated. The std mutex is held for a push only.
    denied_early: Mutex<Vec<Permission>>,
    /// One for each request over HTTP that may be under way.
    http_places: Semaphore,
    /// The std mutex is held for a look.
    losses: Mutex<Losses>,
}

#[derive(Default)]
struct Losses {
    series: Series,
    /// Why they are too many.
    too_many: Option<String>,
}

#[derive(Default)]
struct Held {
    events: Vec<(EmittedName, Json)>,
    bytes: usize,
}

impl Services {
    /// Services for one generation, not yet activated. `account` is the plugin's. What it writes into its state is kept as
    /// long as they are.
    #[must_use]
    pub fn new(
        package: &Package,
        device: DeviceId,
        tenant: Tenant,
        backend: Arc<dyn Backend>,
        authority: Arc<dyn Authority>,
        account: Arc<Account>,
    ) -> Self {
        Self {
            plugin: package.id.clone(),
            generation: package.generation,
            device,
            tenant,
            tree: package.tree,
            provenance: Arc::clone(&package.provenance),
            manifest: Arc::clone(&package.manifest),
            limits: package.limits.clone(),
            backend,
            authority,
            account,
            state: StateView::new(Arc::new(KeyValue::apart(package.id.clone())), Of::default()),
            held: Mutex::new(Some(Held::default())),
            active: AtomicBool::new(false),
            denied_early: Mutex::default(),
            http_places: Semaphore::new(package.limits.http_requests as usize),
            losses: Mutex::default(),
        }
    }

    /// With a state that others share and that is saved.
    pub(crate) fn with_state(mut self, state: Arc<KeyValue>) -> Self {
        let version = self.manifest.version.as_deref().unwrap_or_default();
        self.state = StateView::new(state, Of { version: Arc::from(version), generation: self.generation });
        self
    }

    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &PluginId {
        &self.plugin
    }

    /// This device.
    #[must_use]
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// This device's tenant.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The plugin's settings, a JSON object.
    #[must_use]
    pub fn config(&self) -> &Json {
        &self.manifest.config
    }

    /// What the plugin may use.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn account(&self) -> Arc<Account> {
        Arc::clone(&self.account)
    }

    /// Where its runtime counts what its instances use.
    #[must_use]
    pub fn usage(&self) -> &Arc<Usage> {
        &self.account.usage
    }

    /// Takes one line of the plugin's log. Lines longer than `limits.log_line` are cut, and those beyond
    /// `limits.log_lines_per_second` dropped and counted. Never blocks.
    pub fn log(&self, level: Level, source: &str, line: &str) {
        // Marked first: a cut would leave a part of a secret that nobody knows again.
        self.write_log(level, source, &self.account.redaction.text(line));
    }

    /// The same with the beginning of a line that was too long to be kept: what may be a part of a secret, at its end, is
    /// left out.
    pub fn log_beginning(&self, level: Level, source: &str, line: &str) {
        self.write_log(level, source, &self.account.redaction.beginning(line));
    }

    /// A text in the plugin's words, as others may know it.
    #[must_use]
    pub fn marked_text(&self, text: &str) -> String {
        self.account.redaction.text(text).into_owned()
    }

    /// The same of the beginning of a text: what may be a part of a secret, at its end, is left out.
    #[must_use]
    pub fn marked_beginning(&self, text: &str) -> String {
        self.account.redaction.beginning(text).into_owned()
    }

    fn write_log(&self, level: Level, source: &str, line: &str) {
        let limits = self.limits();
        let line_bytes_max = usize::try_from(limits.log_line.0).unwrap_or(usize::MAX);
        let source = self.account.redaction.text(source);
        let (source, line) = (cut(&source, LOG_SOURCE_BYTES_MAX), cut(line, line_bytes_max));
        self.account.log.write(self.generation, level, source, line, limits.log_lines_per_second);
    }

    /// A failure in the plugin's words, as others may know it.
    #[must_use]
    pub fn marked(&self, failure: Failure) -> Failure {
        self.account.redaction.failure(failure)
    }

    /// Counts an instance that was lost. Where they are too many the host takes the plugin out of service.
    pub fn count_loss(&self, loss: InstanceLoss) {
        self.account.count_loss(loss.code);
        let mut losses = self.losses();
        if let Some(reason) = losses.series.note(loss, self.limits.instances_at_once(), Instant::now()) {
            losses.too_many = Some(reason);
            // With each: nobody may have looked for one that did not serve yet.
            self.account.too_many_losses.notify_one();
        }
    }

    /// Counts what the plugin asked for and was refused, by a stable word. What this type refuses it counts itself.
    pub fn count_refusal(&self, code: &'static str) {
        self.account.count_refusal(code);
    }

    /// Why the generation has to be taken out of service, if that is so.
    pub(crate) fn too_many_losses(&self) -> Option<String> {
        self.losses().too_many.clone()
    }

    /// Whether it has lost an instance not long ago.
    pub(crate) fn is_degraded(&self) -> bool {
        self.losses().series.is_recent(Instant::now())
    }

    fn losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes what it wrote into its state the plugin's, lets held events out, in order, and invocations go. Called once, at
    /// the swap.
    pub fn activate(&self) {
        self.state.activate();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for (event, payload) in held.take().into_iter().flat_map(|held| held.events) {
            self.account.events.count();
            self.account.events.bytes.sent(payload.as_str().len());
            self.backend.emit(Some(&self.account.emitter), event, payload);
        }
        self.active.store(true, Ordering::Release);
        for access in self.denied_early() {
            self.authority.note_denied(self.asker(), &access);
        }
    }

    /// What it was denied before it was activated, each once; a plugin that did not come up may have lacked it.
    pub(crate) fn denied_early(&self) -> Vec<Permission> {
        self.denied_early.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn has_lasting(&self, access: &Permission) -> bool {
        self.authority.judge(self.asker(), access) == Ok(Leave::Lasting)
    }

    /// Whether it may hear that event now. What the host says of a plugin's log is for others.
    pub(crate) fn may_hear(&self, device: &DeviceId, event: &EventName) -> bool {
        let (devices, events) = (device.as_str().to_owned(), event.as_str().to_owned());
        (*device != self.device || event.as_str() != PLUGIN_LOG_EVENT)
            && self.has_lasting(&Permission::MeshSubscribe { devices, events })
    }

    /// Whether it might hear anything of a subscription now.
    pub(crate) fn may_hear_some(&self, subscription: &SubscriptionDef) -> bool {
        self.authority.leaves_something(self.asker(), &subscription.permission())
    }

    /// Whether there is anything of a subscription that it may not hear now.
    pub(crate) fn lacks(&self, subscription: &SubscriptionDef) -> bool {
        !self.has_lasting(&subscription.permission())
    }

    /// Has it remembered as a wish what a subscription lacks, if it does.
    ///
    /// # Errors
    /// `permission_denied`, with the cure.
    pub(crate) async fn ask_to_hear(&self, subscription: &SubscriptionDef) -> Result<(), Failure> {
        let permission = subscription.permission();
        self.permit(&permission, &format!("hear all of `{permission}`")).await
    }

    /// Changes whenever what plugins may do does.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.authority.changes()
    }

    /// For what is done at once, also before the generation serves.
    async fn permit_now(&self, access: &Permission, what: &str) -> Result<(), Failure> {
        if self.active.load(Ordering::Acquire) {
            return self.permit(access, what).await;
        }
        match self.judge(access, what)? {
            Leave::Lasting => Ok(()),
            Leave::Once => {
                let cure = "what was granted for a single time counts once it serves".to_owned();
                Err(self.denied(what, &Denied { cure }))
            }
        }
    }

    /// Before the generation serves.
    fn judge(&self, access: &Permission, what: &str) -> Result<Leave, Failure> {
        self.authority.judge(self.asker(), access).map_err(|denied| {
            if access.is_concrete() {
                let wish = access.as_wish();
                let mut early = self.denied_early.lock().unwrap_or_else(PoisonError::into_inner);
                if early.len() < DENIED_EARLY_MAX && !early.contains(&wish) {
                    early.push(wish);
                }
            }
            self.denied(what, &denied)
        })
    }

    async fn permit(&self, access: &Permission, what: &str) -> Result<(), Failure> {
        self.authority.permit(self.asker(), access).await.map_err(|denied| self.denied(what, &denied))
    }

    fn asker(&self) -> Asker<'_> {
        Asker {
            plugin: &self.plugin,
            tree: &self.tree,
            provenance: &self.provenance,
            wanted: &self.manifest.permissions,
        }
    }

    fn denied(&self, what: &str, denied: &Denied) -> Failure {
        self.account.denied.fetch_add(1, Ordering::Relaxed);
        Failure::new(PERMISSION_DENIED, format!("the plugin may not {what}: {}", denied.cure))
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.account.log.settle();
    }
}

/// What is refused beyond a rate.
fn too_many(what: &str, limit: &str, per_second: u32) -> Failure {
    Failure::retryable(RATE_LIMITED, format!("more than {per_second} {what} a second (`limits.{limit}`)"))
}
