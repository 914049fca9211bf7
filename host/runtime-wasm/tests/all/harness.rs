//! A runtime, plugins from `sdk/fixtures`, and a host that remembers what they asked of it.

use crate::code_file::cache_in;
use async_trait::async_trait;
use mortise_model::{
    Description, DeviceId, Digest, EmittedName, Failure, FileAccess, HttpRequest, HttpResponse, Json, Manifest,
    Permission, PluginId, Tenant, VariableName,
};
use mortise_plugin::{
    Account, Asker, Authority, Backend, CpuStats, Denied, Health, Instance, Invocation, Job, JobKind, Leave,
    MemoryStats, Package, PrepareError, Runtime as _, Services, Ticket,
};
use mortise_rpc::{CallChain, CallError, Emitter, Outcome, TraceContext};
use mortise_runtime_wasm::{WasmConfig, WasmRuntime};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Longer than anything takes that works.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// One runtime for most tests: a component is compiled once.
pub(crate) static RUNTIME: LazyLock<Arc<WasmRuntime>> = LazyLock::new(|| {
    let cache = Some(cache_in(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("runtime-wasm-code")));
    WasmRuntime::new(WasmConfig { cache, ..WasmConfig::default() }).unwrap()
});

/// The component of a fixture.
pub(crate) fn guest(name: &str) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "tells the tests where guests lie, as `cargo xtask guests` does")]
    let folder = std::env::var_os("MORTISE_GUESTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/out"), PathBuf::from);
    let path = folder.join(format!("{name}.wasm"));
    assert!(path.is_file(), "`{}` is missing: run `cargo xtask guests`", path.display());
    path
}

/// A plugin folder.
pub(crate) struct Folder {
    pub(crate) dir: TempDir,
    manifest: Arc<Manifest>,
}

impl Folder {
    pub(crate) fn new(code: &[u8], mut manifest: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plugin.wasm"), code).unwrap();
        let fields = manifest.as_object_mut().unwrap();
        fields.insert("id".into(), json!("under-test"));
        fields.insert("version".into(), json!("1"));
        fields.insert("entry_point".into(), json!("plugin.wasm"));
        let id = PluginId::new("under-test").unwrap();
        let manifest = Manifest::parse_installed(manifest.to_string().as_bytes(), &id).unwrap();
        Self { dir, manifest: Arc::new(manifest) }
    }

    /// A plugin that is source.
    pub(crate) fn of_source(source: &str, limits: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("capability.py"), source).unwrap();
        let manifest = json!({
            "id": "under-test", "version": "1", "entry_point": "capability.py", "class_name": "C", "limits": limits,
        });
        let id = PluginId::new("under-test").unwrap();
        let manifest = Manifest::parse_installed(manifest.to_string().as_bytes(), &id).unwrap();
        Self { dir, manifest: Arc::new(manifest) }
    }

    /// A plugin of several modules; `main.js` is its own.
    pub(crate) fn of_modules(modules: &[(&str, &str)], mut manifest: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, source) in modules {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, source).unwrap();
        }
        let fields = manifest.as_object_mut().unwrap();
        fields.extend(
            [("id", "under-test"), ("version", "1"), ("entry_point", "main.js")].map(|(k, v)| (k.into(), json!(v))),
        );
        let id = PluginId::new("under-test").unwrap();
        let manifest = Manifest::parse_installed(manifest.to_string().as_bytes(), &id).unwrap();
        Self { dir, manifest: Arc::new(manifest) }
    }

    pub(crate) fn of(guest_name: &str, manifest: Value) -> Self {
        Self::new(&std::fs::read(guest(guest_name)).unwrap(), manifest)
    }

    pub(crate) async fn prepare(&self, runtime: &WasmRuntime) -> Result<Plugin, PrepareError> {
        let (package, services, host, account) = self.parts();
        let instance = runtime.prepare(&package, Arc::clone(&services)).await?;
        Ok(Plugin { instance, host, services, account })
    }

    pub(crate) async fn describe(&self, runtime: &WasmRuntime) -> Result<(Description, Arc<FakeHost>), PrepareError> {
        let (package, services, host, _) = self.parts();
        let description = runtime.describe(&package, Arc::clone(&services)).await?;
        services.activate();
        Ok((description, host))
    }

    pub(crate) fn package(&self) -> Package {
        Package {
            id: PluginId::new("under-test").unwrap(),
            manifest: Arc::clone(&self.manifest),
            root: self.dir.path().into(),
            tree: Digest::of(b"tree"),
            provenance: Arc::default(),
            limits: self.manifest.limits.clone(),
            generation: 1,
        }
    }

    fn parts(&self) -> (Package, Arc<Services>, Arc<FakeHost>, Arc<Account>) {
        let package = self.package();
        let host = Arc::new(FakeHost::default());
        let account = Arc::new(Account::new(package.id.clone()));
        let (device, tenant) = (DeviceId::new("test-device").unwrap(), Tenant::new("default").unwrap());
        let authority = Arc::<FakeHost>::clone(&host);
        let backend = Arc::<FakeHost>::clone(&host);
        let services = Services::new(&package, device, tenant, backend, authority, Arc::clone(&account));
        (package, Arc::new(services), host, account)
    }
}

/// A prepared plugin.
pub(crate) struct Plugin {
    pub(crate) instance: Arc<dyn Instance>,
    pub(crate) host: Arc<FakeHost>,
    pub(crate) services: Arc<Services>,
    pub(crate) account: Arc<Account>,
}

/// A fixture at work.
pub(crate) async fn load(guest_name: &str, manifest: Value) -> Plugin {
    let plugin = Folder::of(guest_name, manifest).prepare(&RUNTIME).await.unwrap();
    plugin.services.activate();
    plugin
}

/// A call under way.
pub(crate) struct Calling(oneshot::Receiver<Outcome>);

impl Plugin {
    /// How it fares, however many instances it has.
    pub(crate) fn mishaps(&self) -> Health {
        Health { instances: 0, ..self.instance.health() }
    }

    pub(crate) fn cpu(&self) -> CpuStats {
        self.account.stats().cpu
    }

    pub(crate) fn memory(&self) -> MemoryStats {
        self.account.stats().memory
    }

    pub(crate) fn begin(&self, name: &str, params: Value) -> Calling {
        self.begin_within(name, params, LONG)
    }

    pub(crate) fn begin_within(&self, name: &str, params: Value, time: Duration) -> Calling {
        self.submit(JobKind::Function, name, params, time)
    }

    pub(crate) fn submit(&self, kind: JobKind, name: &str, params: Value, time: Duration) -> Calling {
        self.submit_for(Some("caller-1"), kind, name, params, time)
    }

    /// A call of a function by that caller.
    pub(crate) fn submit_as(&self, caller: Option<&str>, name: &str, params: Value) -> Calling {
        self.submit_for(caller, JobKind::Function, name, params, LONG)
    }

    fn submit_for(&self, caller: Option<&str>, kind: JobKind, name: &str, params: Value, time: Duration) -> Calling {
        let (ticket, receiver) = Ticket::uncounted();
        self.instance.submit(Job {
            kind,
            name: name.into(),
            params: Json::of(&params),
            caller: caller.map(Into::into),
            trace: Some(Arc::new(TraceContext { parent: Some("00-trace".into()), state: None })),
            deadline: Instant::now() + time,
            chain: CallChain::default(),
            ticket,
        });
        Calling(receiver)
    }

    pub(crate) async fn ok(&self, name: &str, params: Value) -> Value {
        self.begin(name, params).ok().await
    }

    pub(crate) async fn err(&self, name: &str, params: Value) -> CallError {
        self.begin(name, params).err().await
    }

    /// Waits until as many calls are under way in the guest.
    pub(crate) async fn running(&self, count: usize) {
        until(&format!("{count} calls run"), || self.instance.health().running == count).await;
    }
}

impl Calling {
    pub(crate) async fn outcome(self) -> Outcome {
        tokio::time::timeout(LONG, self.0).await.expect("no answer within a minute").expect("the ticket was dropped")
    }

    pub(crate) async fn ok(self) -> Value {
        self.outcome().await.unwrap_or_else(|error| panic!("{error:?}")).to_value()
    }

    pub(crate) async fn err(self) -> CallError {
        self.outcome().await.map(|json| panic!("succeeded with {json:?}")).unwrap_err()
    }

    pub(crate) fn is_answered(&mut self) -> bool {
        !matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    /// As a caller that no longer waits.
    pub(crate) fn abandon(self) {}
}

/// Waits for a condition, with a limit.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The host as the plugin reaches it.
#[derive(Default)]
pub(crate) struct FakeHost {
    pub(crate) events: Mutex<Vec<(String, Value)>>,
    pub(crate) invocations: Mutex<Vec<Invocation>>,
    pub(crate) requests: Mutex<Vec<HttpRequest>>,
    /// `emit` panics, and with it the task that drives the plugin.
    pub(crate) panics: AtomicBool,
}

/// Plugins have what their manifests ask for.
#[async_trait]
impl Authority for FakeHost {
    fn judge(&self, asker: Asker<'_>, access: &Permission) -> Result<Leave, Denied> {
        if asker.wanted.cover(access) {
            Ok(Leave::Lasting)
        } else {
            Err(Denied { cure: "its manifest does not ask for it".into() })
        }
    }

    async fn permit(&self, asker: Asker<'_>, access: &Permission) -> Result<(), Denied> {
        self.judge(asker, access).map(drop)
    }
}

#[async_trait]
impl Backend for FakeHost {
    /// Answers with the parameters; `fail` fails, `hang` never answers.
    async fn invoke(&self, _: &PluginId, invocation: Invocation) -> Result<Json, Failure> {
        let (function, params) = (invocation.function.clone(), invocation.params.clone());
        self.invocations.lock().unwrap().push(invocation);
        match function.rsplit('.').next() {
            Some("fail") => Err(Failure::retryable("out_of_paper", "no paper left")),
            Some("hang") => std::future::pending().await,
            _ => Ok(params),
        }
    }

    fn discover(&self) -> Result<Json, Failure> {
        Ok(Json::of(&json!([{"device_id": "camera-1"}])))
    }

    fn emit(&self, _: Option<&Arc<Emitter>>, event: EmittedName, payload: Json) {
        assert!(!self.panics.load(Ordering::Relaxed), "played: the host breaks");
        self.events.lock().unwrap().push((event.to_string(), payload.to_value()));
    }

    fn listen(&self, _: Arc<dyn mortise_rpc::Listener>) -> Box<dyn mortise_rpc::Listening> {
        unreachable!("only the registry listens")
    }

    /// Answers `/echo` with the body and the headers, and fails at `/refused`; others are never answered.
    async fn http(&self, _: &PluginId, request: HttpRequest, _: usize) -> Result<HttpResponse, Failure> {
        self.requests.lock().unwrap().push(request.clone());
        let HttpRequest { url, headers, body, .. } = request;
        match url.rsplit('/').next() {
            Some("echo") => Ok(HttpResponse { status: 201, headers, body }),
            Some("refused") => Err(Failure::new("permission_denied", "played: not allowed")),
            _ => std::future::pending().await,
        }
    }

    fn env(&self, name: &VariableName) -> Option<String> {
        Some(format!("the value of {name}"))
    }

    fn check_folder(&self, _: &FileAccess) -> Result<(), Failure> {
        Ok(())
    }

    async fn secret(&self, name: &VariableName) -> Result<Option<String>, Failure> {
        Ok((name.to_string() == "token").then(|| "s3cret-token".to_owned()))
    }
}
