//! A call's whole way through the host but for the mesh, and the guest alone with nothing around it.

use crate::harness::{FakeHost, Folder};
use mortise_model::{DeviceId, PluginId, Tenant};
use mortise_plugin::{NameClaims, Registry, RegistryConfig, RegistryParts, StateChanges, StateStore, StateStoreError};
use mortise_rpc::{DeviceCard, Dispatcher, Routes};
use mortise_runtime_wasm::WasmRuntime;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

mod bindings {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, reason = "generated code")]
    wasmtime::component::bindgen!({ path: "../../wit/0.1.0", world: "plugin" });
}

struct NoDisk;

impl StateStore for NoDisk {
    fn load(&self, _: &PluginId) -> Result<Vec<(String, Vec<u8>)>, StateStoreError> {
        Ok(Vec::new())
    }

    fn save(&self, _: &[StateChanges]) -> Result<(), StateStoreError> {
        Ok(())
    }
}

/// Decode, route, permit, count, call, account, encode: nanoseconds a call, the best of several rounds.
pub(crate) async fn whole(runtime: Arc<WasmRuntime>, function: &str, rounds: u32, calls: u32) -> u128 {
    let card = DeviceCard {
        id: DeviceId::new("host-1").unwrap(),
        tenant: Tenant::new("lab").unwrap(),
        availability: "idle".into(),
        ttl: Duration::from_secs(15),
        version: "0".into(),
    };
    let routes = Routes::new();
    routes.install_host(Vec::new(), Vec::new(), |_| true);
    let host = Arc::new(FakeHost::default());
    let (_bytes, message_bytes_max) = watch::channel(usize::MAX);
    let registry = Registry::start(RegistryParts {
        device: card.id.clone(),
        tenant: card.tenant.clone(),
        routes: routes.clone(),
        runtimes: vec![runtime],
        backend: Arc::<FakeHost>::clone(&host),
        authority: host,
        states: Arc::new(NoDisk),
        message_bytes_max,
        names: NameClaims::default(),
        config: RegistryConfig::default(),
    });
    let dispatcher = Dispatcher::new(Arc::new(card), routes);
    let folder = Folder::of("raw", serde_json::json!({}));
    let package = folder.package();
    let operation = registry.begin(&package.id).await.unwrap();
    let prepared = operation.prepare(package).await.unwrap();
    operation.activate(prepared).await.unwrap();
    let request = format!(r#"{{"jsonrpc":"2.0","id":"1","method":"{function}","params":{{"message":"hello"}}}}"#);
    let mut best = u128::MAX;
    for _ in 0..rounds {
        let begin = Instant::now();
        for _ in 0..calls {
            let reply = dispatcher.serve(request.as_bytes()).await.unwrap();
            assert!(reply.ends_with(b"\"result\":true}"), "{}", String::from_utf8_lossy(&reply));
        }
        best = best.min(begin.elapsed().as_nanos() / u128::from(calls));
    }
    registry.shutdown(Duration::from_secs(1)).await;
    best
}

/// The guest's export alone: no limit, no permission, no count and no task around it.
pub(crate) fn bare(code: &[u8], function: &str, rounds: u32, calls: u32) -> u128 {
    use bindings::mortise::plugin::types::{CallContext, CallKind};
    let mut config = Config::new();
    config.concurrency_support(false);
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, code).unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker.define_unknown_imports_as_traps(&component).unwrap();
    let mut store = Store::new(&engine, ());
    let plugin = bindings::Plugin::instantiate(&mut store, &component, &linker).unwrap();
    let guest = plugin.mortise_plugin_guest();
    let mut best = u128::MAX;
    for _ in 0..rounds {
        let begin = Instant::now();
        for id in 0..calls {
            let context = CallContext { caller: None, trace_parent: None, trace_state: None, remaining_ns: 1 };
            let parameters = r#"{"message":"hello"}"#.to_owned();
            let outcome = guest
                .call_call(&mut store, u64::from(id), CallKind::Function, function, &parameters, &context)
                .unwrap();
            assert!(matches!(outcome, Some(Ok(json)) if json == "true"));
        }
        best = best.min(begin.elapsed().as_nanos() / u128::from(calls));
    }
    best
}
