//! A runtime whose plugins do what the test says.

use async_trait::async_trait;
use mortise_model::{
    Cadence, Description, DeviceId, Digest, EmittedName, Failure, FileAccess, FunctionDef, FunctionName, HttpRequest,
    HttpResponse, Json, Limits, Manifest, Permission, PluginId, PluginState, RoutineDef, RuntimeKind, SubscriptionDef,
    Tenant, VariableName,
};
use mortise_plugin::{
    Announced, Asker, Authority, Backend, Denied, Health, Instance, Invocation, Job, JobKind, Leave, NameClaims,
    Package, PrepareError, Registry, RegistryConfig, RegistryParts, Runtime, Services, StateChanges, StateStore,
    StateStoreError,
};
use mortise_rpc::{
    Call, CallChain, DeviceCard, Dispatcher, Emitter, Heard, Listener, Listening, Origin, Outcome, Responder, Routes,
    Topic,
};
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// What the next prepared instance is like.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    pub(crate) functions: Vec<&'static str>,
    pub(crate) routines: Vec<(&'static str, Duration)>,
    /// Pairs of device and event.
    pub(crate) subscriptions: Vec<(&'static str, &'static str)>,
    /// Emitted while it is prepared.
    pub(crate) emits: Vec<&'static str>,
    /// Kept while it is prepared.
    pub(crate) keeps: Vec<(&'static str, &'static str)>,
    /// It may keep nothing.
    pub(crate) denied: bool,
    /// Prepared only to fail.
    pub(crate) fails: bool,
    /// Jobs are answered in the host's place.
    pub(crate) refuses: bool,
    /// Jobs wait until `release`; otherwise they are answered at once with the plan's name.
    pub(crate) holds: bool,
    pub(crate) name: &'static str,
}

#[derive(Default)]
pub(crate) struct FakeRuntime {
    pub(crate) plans: Mutex<VecDeque<Plan>>,
    pub(crate) instances: Mutex<Vec<Arc<FakeState>>>,
}

pub(crate) struct FakeState {
    pub(crate) services: Arc<Services>,
    pub(crate) plan: Plan,
    pub(crate) held: Mutex<Vec<Job>>,
    /// Events, each as device, name and parameters.
    pub(crate) heard: Mutex<Vec<String>>,
    pub(crate) submitted: watch::Sender<usize>,
    pub(crate) shut_down: watch::Sender<bool>,
    /// What its stop hook was given when it was shut down.
    pub(crate) stop_timeout: Mutex<Option<Duration>>,
    pub(crate) dropped: watch::Sender<bool>,
}

struct FakeInstance {
    state: Arc<FakeState>,
    description: Description,
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Wasm
    }

    async fn prepare(&self, _: &Package, services: Arc<Services>) -> Result<Arc<dyn Instance>, PrepareError> {
        let plan = self.plans.lock().unwrap().pop_front().expect("a plan for every prepare");
        for (key, value) in &plan.keeps {
            assert_eq!(services.state_set(key, value.as_bytes()).await.is_err(), plan.denied);
        }
        if plan.fails {
            return Err(PrepareError::Hook { hook: "start", failure: Failure::new("error", "will not") });
        }
        for event in &plan.emits {
            services.emit(event, json("{}")).unwrap();
        }
        let routine = |(name, interval): &(&str, Duration)| RoutineDef {
            name: FunctionName::new(name).unwrap(),
            interval: *interval,
            cadence: Cadence::FixedRate,
        };
        let subscription = |(device, event): &(&str, &str)| SubscriptionDef {
            name: format!("on_{event}").replace('*', "all"),
            device: (*device).to_owned(),
            event: (*event).to_owned(),
        };
        let description = Description {
            routines: plan.routines.iter().map(routine).collect(),
            subscriptions: plan.subscriptions.iter().map(subscription).collect(),
            ..describing(&plan.functions)
        };
        let state = Arc::new(FakeState {
            services,
            plan,
            held: Mutex::default(),
            heard: Mutex::default(),
            submitted: watch::Sender::new(0),
            shut_down: watch::Sender::new(false),
            stop_timeout: Mutex::default(),
            dropped: watch::Sender::new(false),
        });
        self.instances.lock().unwrap().push(Arc::clone(&state));
        Ok(Arc::new(FakeInstance { state, description }))
    }

    async fn describe(&self, package: &Package, services: Arc<Services>) -> Result<Description, PrepareError> {
        Ok(self.prepare(package, services).await?.description().clone())
    }
}

#[async_trait]
impl Instance for FakeInstance {
    fn description(&self) -> &Description {
        &self.description
    }

    fn submit(&self, job: Job) {
        if job.kind == JobKind::Event {
            let caller = job.caller.as_deref().unwrap_or_default();
            self.state.heard.lock().unwrap().push(format!("{caller} {} {}", job.name, job.params.as_str()));
        }
        self.state.submitted.send_modify(|count| *count += 1);
        if self.state.plan.holds {
            self.state.held.lock().unwrap().push(job);
        } else {
            answer(&self.state.plan, job);
        }
    }

    async fn shutdown(&self, stop_timeout: Duration) {
        self.state.stop_timeout.lock().unwrap().get_or_insert(stop_timeout);
        for job in self.state.held.lock().unwrap().drain(..) {
            job.ticket.answer(Err(Failure::retryable("stopped", "the plugin was stopped")));
        }
        self.state.shut_down.send_replace(true);
    }

    fn health(&self) -> Health {
        Health::default()
    }
}

impl Drop for FakeInstance {
    fn drop(&mut self) {
        self.state.dropped.send_replace(true);
    }
}

/// A description with these functions.
pub(crate) fn describing(functions: &[&str]) -> Description {
    let function = |name: &&str| FunctionDef {
        name: FunctionName::new(name).unwrap(),
        description: "x".repeat(100),
        parameters: json(r#"{"type":"object","properties":{},"required":[]}"#),
        labels: None,
        tags: Vec::new(),
    };
    Description { functions: functions.iter().map(function).collect(), ..Description::default() }
}

fn answer(plan: &Plan, job: Job) {
    let kind = if job.kind == JobKind::Routine { "routine " } else { "" };
    if plan.refuses {
        return job.ticket.answer(Err(Failure::retryable("queue_full", "there is no room")));
    }
    job.ticket.answer(Ok(Json::of(&serde_json::json!(format!("{kind}{} {}", plan.name, job.name)))));
}

impl FakeState {
    /// Answers everything that is held.
    pub(crate) fn release(&self) {
        for job in self.held.lock().unwrap().drain(..) {
            answer(&self.plan, job);
        }
    }
}

/// A host without a mesh.
pub(crate) struct Host {
    pub(crate) registry: Registry,
    pub(crate) runtime: Arc<FakeRuntime>,
    pub(crate) routes: Routes,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) events: Arc<Events>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) message_bytes_max: watch::Sender<usize>,
}

#[derive(Default)]
pub(crate) struct Events {
    pub(crate) seen: Mutex<Vec<(String, serde_json::Value)>>,
    changed: Notify,
    /// What plugins may not.
    pub(crate) forbidden: Mutex<Vec<Permission>>,
    /// What they were told that they may not.
    pub(crate) wishes: Mutex<Vec<String>>,
    permissions: watch::Sender<u64>,
    ears: Mutex<Vec<Ear>>,
}

/// Somebody who listens, and to what.
type Ear = (Weak<dyn Listener>, Arc<Mutex<Vec<Topic>>>);

struct FakeListening {
    _listener: Arc<dyn Listener>,
    topics: Arc<Mutex<Vec<Topic>>>,
}

impl Listening for FakeListening {
    fn to(&self, topics: Vec<Topic>) {
        *self.topics.lock().unwrap() = topics;
    }
}

/// A disk that keeps what plugins keep, and fails as told.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) rows: Mutex<BTreeMap<(PluginId, String), Vec<u8>>>,
    pub(crate) saves: AtomicU64,
    pub(crate) fails: AtomicBool,
}

impl StateStore for Disk {
    fn load(&self, plugin: &PluginId) -> Result<Vec<(String, Vec<u8>)>, StateStoreError> {
        let rows = self.rows.lock().unwrap();
        let own = rows.iter().filter(|((owner, _), _)| owner == plugin);
        Ok(own.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn save(&self, changes: &[StateChanges]) -> Result<(), StateStoreError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err("no space left".into());
        }
        self.saves.fetch_add(1, Ordering::Relaxed);
        let mut rows = self.rows.lock().unwrap();
        for StateChanges { plugin, clear, entries } in changes {
            rows.retain(|(owner, _), _| !clear || owner != plugin);
            for (key, value) in entries {
                let key = (plugin.clone(), key.to_string());
                match value {
                    Some(value) => drop(rows.insert(key, value.to_vec())),
                    None => drop(rows.remove(&key)),
                }
            }
        }
        Ok(())
    }
}

/// Plugins may do everything that is not forbidden.
#[async_trait]
impl Authority for Events {
    fn judge(&self, _: Asker<'_>, access: &Permission) -> Result<Leave, Denied> {
        let forbidden = self.forbidden.lock().unwrap();
        if forbidden.iter().any(|forbidden| forbidden.covers(access)) {
            return Err(Denied { cure: "no".into() });
        }
        Ok(Leave::Lasting)
    }

    async fn permit(&self, asker: Asker<'_>, access: &Permission) -> Result<(), Denied> {
        let judged = self.judge(asker, access).map(drop);
        if judged.is_err() {
            self.wishes.lock().unwrap().push(access.to_string());
        }
        judged
    }

    fn note_denied(&self, _: Asker<'_>, access: &Permission) {
        self.wishes.lock().unwrap().push(access.to_string());
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.permissions.subscribe()
    }
}

#[async_trait]
impl Backend for Events {
    async fn invoke(&self, _: &PluginId, invocation: Invocation) -> Result<Json, Failure> {
        Ok(invocation.params)
    }

    fn discover(&self) -> Result<Json, Failure> {
        Ok(json("[]"))
    }

    fn emit(&self, _: Option<&Arc<Emitter>>, event: EmittedName, payload: Json) {
        self.seen.lock().unwrap().push((event.to_string(), payload.to_value()));
        self.changed.notify_waiters();
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> Box<dyn Listening> {
        let topics = Arc::new(Mutex::new(Vec::new()));
        self.ears.lock().unwrap().push((Arc::downgrade(&listener), Arc::clone(&topics)));
        Box::new(FakeListening { _listener: listener, topics })
    }

    async fn http(&self, _: &PluginId, _: HttpRequest, _: usize) -> Result<HttpResponse, Failure> {
        std::future::pending().await
    }

    fn env(&self, _: &VariableName) -> Option<String> {
        None
    }

    fn check_folder(&self, _: &FileAccess) -> Result<(), Failure> {
        Ok(())
    }

    async fn secret(&self, name: &VariableName) -> Result<Option<String>, Failure> {
        Ok((name.as_str() == "token").then(|| "s3cret-token".to_owned()))
    }
}

impl Events {
    /// What plugins may not from now on.
    pub(crate) fn forbid(&self, permissions: &[&str]) {
        let permissions = permissions.iter().map(|text| text.parse().unwrap()).collect();
        *self.forbidden.lock().unwrap() = permissions;
        self.permissions.send_modify(|count| *count += 1);
    }

    /// The topics of everybody who listens now.
    pub(crate) fn topics(&self) -> Vec<Vec<Topic>> {
        let ears = self.ears.lock().unwrap();
        let alive = ears.iter().filter(|(listener, _)| listener.strong_count() > 0);
        alive.map(|(_, topics)| topics.lock().unwrap().clone()).collect()
    }

    /// Has everybody who wants it hear event `name` of `device`, as the mesh does. Returns how many took it.
    pub(crate) fn hear(&self, device: &str, name: &str, params: &str) -> usize {
        let (device, event) = (DeviceId::new(device).unwrap(), EmittedName::new(name).unwrap());
        let ears = self.ears.lock().unwrap();
        let listeners = ears.iter().filter_map(|(listener, _)| listener.upgrade());
        let takers: Vec<_> = listeners.filter(|listener| listener.wants(&device, event.event())).collect();
        for taker in &takers {
            let (device, event) = (device.clone(), event.clone());
            taker.hear(Arc::new(Heard { device, event, params: json(params), trace: None }));
        }
        takers.len()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }
}

pub(crate) fn host() -> Host {
    host_with(RegistryConfig::default())
}

pub(crate) fn host_with(config: RegistryConfig) -> Host {
    let card = DeviceCard {
        id: DeviceId::new("host-1").unwrap(),
        tenant: Tenant::new("lab").unwrap(),
        availability: "idle".into(),
        ttl: Duration::from_secs(15),
        version: "0".into(),
    };
    let routes = Routes::new();
    routes.install_host(Vec::new(), Vec::new(), |_| true);
    let runtime = Arc::new(FakeRuntime::default());
    let (events, disk) = (Arc::new(Events::default()), Arc::new(Disk::default()));
    let (message_bytes_max, bytes) = watch::channel(usize::MAX);
    let registry = Registry::start(RegistryParts {
        device: card.id.clone(),
        tenant: card.tenant.clone(),
        routes: routes.clone(),
        runtimes: vec![Arc::<FakeRuntime>::clone(&runtime)],
        backend: Arc::<Events>::clone(&events),
        authority: Arc::<Events>::clone(&events),
        states: Arc::<Disk>::clone(&disk),
        message_bytes_max: bytes,
        names: NameClaims::default(),
        config,
    });
    let dispatcher = Dispatcher::new(Arc::new(card), routes.clone());
    Host { registry, runtime, routes, dispatcher, events, disk, message_bytes_max }
}

impl Host {
    /// Says what the next prepared instance is like.
    pub(crate) fn plan(&self, plan: Plan) {
        self.runtime.plans.lock().unwrap().push_back(plan);
    }

    pub(crate) fn instance(&self, index: usize) -> Arc<FakeState> {
        Arc::clone(&self.runtime.instances.lock().unwrap()[index])
    }

    /// Loads `id` as planned.
    pub(crate) async fn load(&self, id: &str, plan: Plan) -> mortise_plugin::Activated {
        self.plan(plan);
        let operation = self.registry.begin(&plugin(id)).await.unwrap();
        let prepared = operation.prepare(package(id)).await.unwrap();
        operation.activate(prepared).await.unwrap()
    }

    /// Announces `id` as it described itself when it served last.
    pub(crate) async fn announce(&self, id: &str, functions: &[&str], limits: Limits) {
        let description = describing(functions);
        self.registry.announce(vec![Announced { id: plugin(id), description, limits }]).await;
    }

    /// What is said of `id`, if anything is.
    pub(crate) fn state(&self, id: &str) -> Option<PluginState> {
        let snapshot = self.registry.snapshot();
        snapshot.iter().find(|status| status.id == plugin(id)).map(|status| status.state.clone())
    }

    /// Calls `method` and waits for the answer.
    pub(crate) async fn call(&self, method: &str) -> Outcome {
        self.begin_call(method).await.unwrap()
    }

    /// Calls `method` without waiting.
    pub(crate) fn begin_call(&self, method: &str) -> tokio::sync::oneshot::Receiver<Outcome> {
        let (responder, receiver) = Responder::local(mortise_rpc::no_request_id());
        let (params, origin) = (json("{}"), Origin::Control);
        let call = Call {
            params,
            caller: None,
            trace: None,
            origin,
            deadline: None,
            chain: CallChain::default(),
            may_wait: true,
            responder,
        };
        self.dispatcher.dispatch(method, call);
        receiver
    }

    /// The text that `method` answers with.
    pub(crate) async fn text(&self, method: &str) -> String {
        self.call(method).await.unwrap().to_value().as_str().unwrap().to_owned()
    }

    pub(crate) fn advertised(&self) -> Vec<String> {
        let capabilities = self.routes.load().capabilities().to_value();
        let functions = capabilities["functions"].as_array().unwrap();
        functions.iter().map(|function| function["name"].as_str().unwrap().to_owned()).collect()
    }
}

pub(crate) fn json(text: &str) -> Json {
    Json::new(text.to_owned()).unwrap()
}

pub(crate) fn plugin(id: &str) -> PluginId {
    PluginId::new(id).unwrap()
}

pub(crate) fn package(id: &str) -> Package {
    let manifest = format!(r#"{{"id": "{id}", "version": "1", "entry_point": "plugin.wasm"}}"#);
    let manifest = Manifest::parse(manifest.as_bytes(), None).unwrap();
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Package {
        id: plugin(id),
        manifest: Arc::new(manifest),
        root: Path::new("").into(),
        tree: Digest::of(b""),
        provenance: Arc::default(),
        limits: Limits::default(),
        generation: NEXT.fetch_add(1, Ordering::Relaxed),
    }
}

/// Waits for `condition`, for at most five seconds.
pub(crate) async fn until<T>(watch: &watch::Sender<T>, condition: impl FnMut(&T) -> bool) {
    let mut receiver = watch.subscribe();
    tokio::time::timeout(Duration::from_secs(5), receiver.wait_for(condition))
        .await
        .expect("the condition within five seconds")
        .expect("the sender is held");
}
