//! What the host does for a running plugin.

mod state;

use crate::account::Account;
use crate::authority::{Asker, Authority, Denied, Leave};
use crate::losses::{InstanceLoss, Series};
use crate::runtime::Package;
use crate::state::{KeyValue, Of, StateView};
use async_trait::async_trait;
use mortise_model::{
    DeviceId, Digest, EmittedName, EventName, Failure, FileAccess, Folder, HttpAccess, HttpRequest, HttpResponse, Json,
    Limits, Manifest, Permission, PluginId, Provenance, SubscriptionDef, Tenant, VariableName, cut, glob,
};
use mortise_rpc::{Emitter, Listener, Listening, TraceContext};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tracing::Level;

/// How many plugin-to-plugin calls may lead from one to the next.
pub const CALL_DEPTH_MAX: u8 = 8;

/// The event by which the host tells those who follow a plugin's log of its lines.
pub const PLUGIN_LOG_EVENT: &str = "plugin_log";

/// The host's own events, which no plugin emits.
pub const HOST_EVENTS: [&str; 3] = ["plugin_loaded", PLUGIN_LOG_EVENT, "plugin_unloaded"];

/// How many events one generation may emit before it is activated, and how many bytes they may have.
const HELD_EVENTS_MAX: usize = 1000;
const HELD_BYTES_MAX: usize = 1 << 20;

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
    /// Of the call on whose behalf it is made.
    pub depth: u8,
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
    fn discover(&self) -> Json;

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

    /// Publishes an event of this device, or holds it until activation. Never blocks. What precedes the first `/` of
    /// `event` stays in the message's `method` and is no part of the subject (wire contract 8.1).
    ///
    /// # Errors
    /// A [`Failure`] for a name whose rest is not one subject token, one of [`HOST_EVENTS`], an event that the manifest binds it not to emit, a
    /// payload that is no object, one over `limits.event`,
    /// for more than 1,000 events or 1 MiB of them before activation, and after it for more than
    /// `limits.events_per_second`.
    pub fn emit(&self, event: &str, payload: Json) -> Result<(), Failure> {
        self.publish(event, payload).inspect_err(|failure| {
            if failure.code != RATE_LIMITED {
                self.account.count_failure(failure);
            }
        })
    }

    fn publish(&self, event: &str, payload: Json) -> Result<(), Failure> {
        let event = EmittedName::new(event).map_err(|error| Failure::new("invalid_event", error.to_string()))?;
        if !payload.is_object() {
            return Err(Failure::new("invalid_event", format!("the payload of event `{event}` is not a JSON object")));
        }
        if HOST_EVENTS.contains(&event.event().as_str()) {
            return Err(Failure::new(
                "reserved_event",
                format!("the plugin may not emit `{event}`: that event is the host's own, choose another name"),
            ));
        }
        let (size, limit) = (payload.as_str().len(), self.limits().event);
        if size as u64 > limit.0 {
            return Err(Failure::new(
                "event_too_large",
                format!("the payload of event `{event}` has {size} bytes, more than `limits.event` ({limit})"),
            ));
        }
        let own = self.manifest.emits.as_ref();
        if own.is_some_and(|own| !own.iter().any(|pattern| glob(pattern, event.event().as_str()))) {
            return Err(Failure::new(
                "not_declared",
                format!("the plugin may not emit `{event}`: list it in `permissions.mesh.emit` of its manifest"),
            ));
        }
        self.account.redaction.name(event.as_str())?;
        let payload = self.account.redaction.json(payload)?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_mut() {
            None => {
                let per_second = self.limits().events_per_second;
                if !self.account.events.admit(per_second) {
                    return Err(too_many("events", "events_per_second", per_second));
                }
                self.backend.emit(Some(&self.account.emitter), event, payload);
            }
            Some(held) if held.events.len() < HELD_EVENTS_MAX && held.bytes + size <= HELD_BYTES_MAX => {
                held.bytes += size;
                held.events.push((event, payload));
            }
            Some(_) => {
                return Err(Failure::new(
                    "too_many_events",
                    format!(
                        "more than {HELD_EVENTS_MAX} events, or {HELD_BYTES_MAX} bytes, before the plugin is active"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Calls a function of this host or of another device, also before the generation is active: a start hook may need the
    /// answer. Cancel safe.
    ///
    /// # Errors
    /// `permission_denied` when the plugin is not granted it, `rate_limited` beyond `limits.mesh_calls_per_second`,
    /// `call_depth` when plugins call one another more than [`CALL_DEPTH_MAX`] deep, `deadline_exceeded`, or the
    /// function's own failure.
    pub async fn invoke(&self, mut invocation: Invocation) -> Result<Json, Failure> {
        // This device by its own name is still this device: other permissions hold for it.
        if invocation.device.as_deref() == Some(self.device.as_str()) {
            invocation.device = None;
        }
        let (access, what) = access_of(&invocation);
        invocation.may_wait &= self.active.load(Ordering::Acquire);
        if invocation.depth >= CALL_DEPTH_MAX {
            self.account.count_refusal("call_depth");
            return Err(Failure::new(
                "call_depth",
                format!("calls between plugins may not be more than {CALL_DEPTH_MAX} deep"),
            ));
        }
        if invocation.device.is_some() {
            self.use_mesh()?;
        }
        let deadline = invocation.deadline;
        if deadline <= Instant::now() {
            return Err(late("invocation"));
        }
        let call = async {
            self.permit_now(&access, &what).await?;
            self.backend.invoke(&self.plugin, invocation).await
        };
        tokio::time::timeout_at(deadline, call).await.unwrap_or_else(|_| Err(late("invocation")))
    }

    /// The devices seen now, as a JSON array of presence records. Cancel safe.
    ///
    /// # Errors
    /// `permission_denied` when the plugin is not granted `mesh.discover`, `rate_limited` beyond
    /// `limits.mesh_calls_per_second`.
    pub async fn discover(&self) -> Result<Json, Failure> {
        let what = "list the devices on the mesh";
        self.use_mesh()?;
        self.permit_now(&Permission::MeshDiscover, what).await?;
        Ok(self.backend.discover())
    }

    /// Sends a request over HTTP and reads its answer, of which the body may have at most `body_bytes_max`. Redirects are
    /// not followed: where they lead is another request. Beyond `limits.http_requests` under way it waits. Cancel safe.
    ///
    /// # Errors
    /// `invalid_request`, `permission_denied` when the plugin is not granted it, `rate_limited` beyond
    /// `limits.http_requests_per_second`, `deadline_exceeded`, or why there was no answer.
    pub async fn http(
        &self,
        request: HttpRequest,
        deadline: Instant,
        body_bytes_max: usize,
    ) -> Result<HttpResponse, Failure> {
        let outcome = self.exchange(request, deadline, body_bytes_max).await;
        outcome.inspect_err(|failure| {
            // Those two are counted where they are judged.
            if ![RATE_LIMITED, PERMISSION_DENIED].contains(&&*failure.code) {
                self.account.count_failure(failure);
            }
        })
    }

    async fn exchange(
        &self,
        request: HttpRequest,
        deadline: Instant,
        body_bytes_max: usize,
    ) -> Result<HttpResponse, Failure> {
        let per_second = self.limits().http_requests_per_second;
        if !self.account.http.requests.admit(per_second) {
            return Err(too_many("requests over HTTP", "http_requests_per_second", per_second));
        }
        let access = HttpAccess::of_request(&request.method, &request.url)
            .map_err(|reason| Failure::new("invalid_request", format!("the URL of the request: {reason}")))?;
        let what = format!("send `{}`", cut(&access.to_string(), NAME_BYTES_SHOWN));
        if deadline <= Instant::now() {
            return Err(late("request"));
        }
        let exchange = async {
            // The semaphore is never closed.
            let _place = self.http_places.acquire().await;
            self.permit_now(&Permission::Http(access), &what).await?;
            self.account.http.sent.fetch_add(request.bytes() as u64, Ordering::Relaxed);
            let response = self.backend.http(&self.plugin, request, body_bytes_max).await?;
            self.account.http.received.fetch_add(response.bytes() as u64, Ordering::Relaxed);
            Ok(response)
        };
        tokio::time::timeout_at(deadline, exchange).await.unwrap_or_else(|_| Err(late("request")))
    }

    /// One of the host's environment variables, as JSON: a string, or null where it is not set. Cancel safe.
    ///
    /// # Errors
    /// `invalid_name`, or `permission_denied` when the plugin is not granted it.
    pub async fn env(&self, name: &str) -> Result<Json, Failure> {
        let name = variable_name(name)?;
        self.permit_now(&Permission::Env(name.clone()), &format!("read the environment variable `{name}`")).await?;
        Ok(Json::of(&self.backend.env(&name).into()))
    }

    /// One of the operator's secrets, as JSON: a string, or null where there is none of that name. From here on it is marked
    /// wherever the plugin tells it: in its log, its events, its results and failures. Cancel safe.
    ///
    /// # Errors
    /// `invalid_name`, `permission_denied` when the plugin is not granted it, or why it cannot be read.
    pub async fn secret(&self, name: &str) -> Result<Json, Failure> {
        let name = variable_name(name)?;
        self.permit_now(&Permission::Secret(name.clone()), &format!("read the secret `{name}`")).await?;
        let secret = self.backend.secret(&name).await?;
        if let Some(secret) = &secret {
            self.account.redaction.told(&name, secret);
        }
        Ok(Json::of(&secret.into()))
    }

    /// The environment of a fresh instance: what the manifest asks for, the plugin is granted for more than a single time,
    /// and is set.
    #[must_use]
    pub fn environment(&self) -> Vec<(VariableName, String)> {
        let granted = self.manifest.permissions.iter().filter(|wanted| self.has_lasting(wanted));
        let set = granted.filter_map(|wanted| match wanted {
            Permission::Env(name) => self.backend.env(name).map(|value| (name.clone(), value)),
            _ => None,
        });
        set.collect()
    }

    /// Counts that an instance ended because something it had was taken back, and tells so in the plugin's log.
    pub fn count_withdrawn(&self) {
        self.account.count_refusal("withdrawn");
        self.log(Level::INFO, "host", "an instance ended: a folder or a variable that it had was taken back");
    }

    /// Whether the manifest asks for folders.
    #[must_use]
    pub fn wants_folders(&self) -> bool {
        !self.manifest.folders.is_empty()
    }

    /// The folders of a fresh instance: those that the manifest asks for and the plugin is granted for more than a single
    /// time.
    ///
    /// # Errors
    /// `folder` for one that is not there, that links lead to, or that holds what is the host's own. Blocks for a look.
    pub fn folders(&self) -> Result<Vec<&Folder>, Failure> {
        let folders = self.manifest.folders.iter();
        let granted: Vec<_> =
            folders.filter(|folder| self.has_lasting(&Permission::Files(folder.access.clone()))).collect();
        granted.iter().try_for_each(|folder| self.backend.check_folder(&folder.access))?;
        Ok(granted)
    }

    /// Whether it has all of these for more than a single time, still.
    #[must_use]
    pub fn has_still(&self, held: &[Permission]) -> bool {
        held.iter().all(|access| self.has_lasting(access))
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
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.authority.changes()
    }

    fn use_mesh(&self) -> Result<(), Failure> {
        let per_second = self.limits().mesh_calls_per_second;
        let admitted = self.account.mesh_calls.admit(per_second);
        if admitted { Ok(()) } else { Err(too_many("calls over the mesh", "mesh_calls_per_second", per_second)) }
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

fn variable_name(name: &str) -> Result<VariableName, Failure> {
    VariableName::new(name)
        .map_err(|reason| Failure::new("invalid_name", format!("`{}`: {reason}", cut(name, NAME_BYTES_SHOWN))))
}

/// What an invocation needs, as a permission and in words.
fn access_of(invocation: &Invocation) -> (Permission, String) {
    let functions = invocation.function.clone();
    let shown = cut(&invocation.function, NAME_BYTES_SHOWN);
    match invocation.device.clone() {
        None => (Permission::Plugins(functions), format!("call `{shown}`")),
        Some(devices) => {
            let what = format!("call `{shown}` of device `{}`", cut(&devices, NAME_BYTES_SHOWN));
            (Permission::MeshInvoke { devices, functions }, what)
        }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.account.log.settle();
    }
}

fn late(what: &str) -> Failure {
    Failure::retryable("deadline_exceeded", format!("the {what} was not answered in time"))
}

fn too_many(what: &str, limit: &str, per_second: u32) -> Failure {
    Failure::retryable(RATE_LIMITED, format!("more than {per_second} {what} a second (`limits.{limit}`)"))
}
