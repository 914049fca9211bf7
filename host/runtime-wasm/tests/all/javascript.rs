//! Plugins in JavaScript, on the runner that `cargo xtask runners` leaves in `target/runners`.

use crate::harness::{Folder, LONG, Plugin, RUNTIME, until};
use mortise_model::RuntimeKind;
use mortise_plugin::{PrepareError, Runtime as _};
use mortise_runtime_wasm::{WasmRuntime, compile_runners};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use tokio::time::Instant;

/// One runtime for all of them: the runner is compiled once.
static JAVASCRIPT: LazyLock<Arc<WasmRuntime>> = LazyLock::new(|| {
    let runners = Path::new(env!("CARGO_TARGET_TMPDIR")).join("quickjs");
    std::fs::create_dir_all(&runners).unwrap();
    std::fs::copy(quickjs(), runners.join("quickjs.wasm")).unwrap();
    compile_runners(&runners).unwrap();
    RUNTIME.with_runner(RuntimeKind::Javascript, runners).unwrap()
});

fn quickjs() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "tells the tests where runners lie, as `cargo xtask` does")]
    let folder = std::env::var_os("MORTISE_RUNNERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/runners"), PathBuf::from);
    let path = folder.join("quickjs.wasm");
    assert!(path.is_file(), "`{}` is missing: run `cargo xtask runners`", path.display());
    path
}

async fn prepare(modules: &[(&str, &str)], manifest: Value) -> Result<Plugin, PrepareError> {
    let plugin = Folder::of_modules(modules, manifest).prepare(&JAVASCRIPT).await?;
    plugin.services.activate();
    Ok(plugin)
}

/// A plugin of one module.
async fn load(source: &str, limits: Value) -> Plugin {
    prepare(&[("main.js", source)], json!({"limits": limits})).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_answered() {
    let plugin = load("export function hello({name}) { return {message: `Hello, ${name}!`}; }", json!({})).await;
    assert_eq!(plugin.ok("hello", json!({"name": "Ada"})).await, json!({"message": "Hello, Ada!"}));
    for _ in 0..3 {
        let began = Instant::now();
        for _ in 0..1000 { plugin.ok("hello", json!({"name": "Ada"})).await; }
        eprintln!("warm call {:?}", began.elapsed() / 1000);
    }
    eprintln!("{:?}", plugin.instance.health());
    let began = Instant::now();
    let plugin = load("export function hello({name}) { return {message: `Hello, ${name}!`}; }", json!({})).await;
    eprintln!("prepared in {:?}", began.elapsed());
}
