//! Code that can be loaded, code that cannot, and the cache.

use crate::harness::{Folder, RUNTIME, guest};
use mortise_plugin::PrepareError;
use mortise_runtime_wasm::{WasmConfig, WasmRuntime};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

async fn unusable(code: &[u8]) -> (String, Option<String>) {
    match Folder::new(code, json!({})).prepare(&RUNTIME).await.map(|_| ()) {
        Err(PrepareError::Code { path, reason, hint }) => {
            assert_eq!(path, "plugin.wasm");
            (reason, hint)
        }
        other => panic!("{other:?}"),
    }
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_plugin_is_refused_with_the_reason() {
    let (reason, hint) = unusable(&wat("(module)")).await;
    assert_eq!(reason, "it is a core module, not a component");
    assert!(hint.unwrap().contains("mortise pack"));

    for junk in [&b""[..], b"\0asm", b"print('hello')", b"\x7fELF\x02\x01\x01\0"] {
        assert_eq!(unusable(junk).await.0, "it is not WebAssembly");
    }

    let (reason, hint) = unusable(&std::fs::read(guest("no-exports")).unwrap()).await;
    assert_eq!(reason, "it does not export `mortise:plugin/guest@0.1.0`; it exports nothing: it is an empty component");
    assert!(hint.unwrap().contains("#[tenon::plugin]"));

    let (reason, _) = unusable(&wat(r#"(component (component $c) (instance $i (instantiate $c)) (export "mortise:plugin/guest@0.2.0" (instance $i)))"#)).await;
    assert_eq!(reason, "it exports `mortise:plugin/guest@0.2.0`, and this host serves `mortise:plugin/guest@0.1.0`");

    let (reason, _) = unusable(&wat(r#"(component (component $c) (instance $i (instantiate $c)) (export "mortise:plugin/guest@0.1.0" (instance $i)))"#)).await;
    assert!(reason.starts_with("its `mortise:plugin/guest@0.1.0` is not ours: "), "{reason}");

    let foreign = r#"(component
        (import "acme:store/files@1.0.0" (instance (export "open" (func))))
        (import "wasi:clocks/wall-clock@0.2.0" (instance))
        (component $c) (instance $i (instantiate $c)) (export "mortise:plugin/guest@0.1.0" (instance $i)))"#;
    let (reason, _) = unusable(&wat(foreign)).await;
    assert_eq!(reason, "it imports what this host does not provide: `acme:store/files@1.0.0`");

    let mut truncated = std::fs::read(guest("raw")).unwrap();
    truncated.truncate(truncated.len() / 2);
    let (reason, _) = unusable(&truncated).await;
    assert!(reason.starts_with("it is no valid component: "), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_file_is_named() {
    let folder = Folder::of("raw", json!({}));
    std::fs::remove_file(folder.dir.path().join("plugin.wasm")).unwrap();
    assert!(matches!(folder.prepare(&RUNTIME).await, Err(PrepareError::Read { path, .. }) if path == "plugin.wasm"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_that_cannot_be_enforced_is_refused() {
    let folder = Folder::of("raw", json!({"limits": {"stack": "512KiB"}}));
    match folder.prepare(&RUNTIME).await.map(|_| ()) {
        Err(PrepareError::Unsupported { what }) => assert_eq!(what, "`limits.stack` of 512KiB (every plugin has 1MiB)"),
        other => panic!("{other:?}"),
    }
}

fn runtime(cache: &Path) -> Arc<WasmRuntime> {
    WasmRuntime::new(WasmConfig { cache_dir: Some(cache.to_owned()), ..WasmConfig::default() }).unwrap()
}

fn cached(cache: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

async fn answers(folder: &Folder, runtime: &WasmRuntime) -> Value {
    folder.prepare(runtime).await.unwrap().ok("fine", json!({})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compiled_code_is_kept_and_damage_is_a_miss_that_heals() {
    let (cache, folder) = (tempfile::tempdir().unwrap(), Folder::of("raw", json!({})));
    let begin = Instant::now();
    assert_eq!(answers(&folder, &runtime(cache.path())).await, json!(true));
    let cold = begin.elapsed();
    let files = cached(cache.path());
    assert_eq!(files.len(), 2, "{files:?}");

    let restarted = runtime(cache.path());
    let begin = Instant::now();
    assert_eq!(answers(&folder, &restarted).await, json!(true));
    assert!(begin.elapsed() < cold, "{:?} is not less than {cold:?}", begin.elapsed());

    let compiled = files.iter().find(|path| path.extension().is_some_and(|e| e == "cwasm")).unwrap();
    let bytes = std::fs::read(compiled).unwrap();
    for damaged in [&bytes[..bytes.len() / 2], b""] {
        std::fs::remove_file(compiled).unwrap();
        std::fs::write(compiled, damaged).unwrap();
        assert_eq!(answers(&folder, &runtime(cache.path())).await, json!(true));
        assert_eq!(std::fs::read(compiled).unwrap().len(), bytes.len(), "it was compiled anew");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_of_code_in_use_needs_no_cache() {
    let runtime = WasmRuntime::new(WasmConfig::default()).unwrap();
    let folder = Folder::of("behave", json!({}));
    let begin = Instant::now();
    let first = folder.prepare(&runtime).await.unwrap();
    let cold = begin.elapsed();
    let begin = Instant::now();
    let second = folder.prepare(&runtime).await.unwrap();
    println!("cold {cold:?}, again {:?}", begin.elapsed());
    assert!(begin.elapsed() < cold / 4, "{:?} against {cold:?}", begin.elapsed());
    drop((first, second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compiling_does_not_hold_up_calls() {
    let runtime = WasmRuntime::new(WasmConfig { compile_threads: 2, ..WasmConfig::default() }).unwrap();
    let serving = Folder::of("raw", json!({})).prepare(&runtime).await.unwrap();
    let compiling = Folder::of("behave", json!({}));
    let mut prepared = std::pin::pin!(compiling.prepare(&runtime));
    let mut answered = 0;
    loop {
        tokio::select! {
            biased;
            plugin = &mut prepared => break drop(plugin.unwrap()),
            answer = serving.ok("fine", json!({})) => {
                assert_eq!(answer, json!(true));
                answered += 1;
            }
        }
    }
    assert!(answered > 20, "{answered}");
}
