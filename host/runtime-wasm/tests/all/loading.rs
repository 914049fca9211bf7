//! Code that can be loaded, code that cannot, and the cache.

use crate::code_file::cache_in;
use crate::harness::{Folder, LONG, RUNTIME, guest};
use mortise_plugin::PrepareError;
use mortise_runtime_wasm::{WasmConfig, WasmError, WasmRuntime};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// Limit: `stack`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_that_cannot_be_enforced_is_refused() {
    let folder = Folder::of("raw", json!({"limits": {"stack": "512KiB"}}));
    match folder.prepare(&RUNTIME).await.map(|_| ()) {
        Err(PrepareError::Unsupported { what }) => {
            assert_eq!(what, "`limits.stack` of 512KiB (every plugin of type `wasm` has 1MiB)")
        }
        other => panic!("{other:?}"),
    }
}

fn runtime(cache: &Path) -> Arc<WasmRuntime> {
    WasmRuntime::new(WasmConfig { cache: Some(cache_in(&cache.join("code"))), ..WasmConfig::default() }).unwrap()
}

fn cached(cache: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(cache.join("code")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

async fn answers(folder: &Folder, runtime: &WasmRuntime) -> Value {
    folder.prepare(runtime).await.unwrap().ok("fine", json!({})).await
}

/// What tells one writing of a file from the next: every compilation ends with new files under the old names.
#[cfg(unix)]
fn writings(cache: &Path) -> Vec<(PathBuf, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    cached(cache).into_iter().map(|path| (path.clone(), std::fs::metadata(path).unwrap().ino())).collect()
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_code_is_not_compiled_again() {
    let (cache, folder) = (tempfile::tempdir().unwrap(), Folder::of("raw", json!({})));
    assert_eq!(answers(&folder, &runtime(cache.path())).await, json!(true));
    let compiled = writings(cache.path());
    assert_eq!(compiled.len(), 1, "{compiled:?}");
    assert_eq!(answers(&folder, &runtime(cache.path())).await, json!(true));
    assert_eq!(writings(cache.path()), compiled);

    // The same measure sees a compilation.
    for (path, _) in &compiled {
        std::fs::rename(path, folder.dir.path().join(path.file_name().unwrap())).unwrap();
    }
    assert_eq!(answers(&folder, &runtime(cache.path())).await, json!(true));
    let again = writings(cache.path());
    assert_eq!(again.len(), 1);
    assert!(again.iter().all(|writing| !compiled.contains(writing)), "{again:?} against {compiled:?}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_compiled_code_is_compiled_anew() {
    let (cache, folder) = (tempfile::tempdir().unwrap(), Folder::of("raw", json!({})));
    assert_eq!(answers(&folder, &runtime(cache.path())).await, json!(true));
    let files = cached(cache.path());
    let [compiled] = files.as_slice() else { panic!("{files:?}") };
    let bytes = std::fs::read(compiled).unwrap();
    // Compiled by ourselves, for the same engine, and not what this plugin is.
    let elsewhere = tempfile::tempdir().unwrap();
    drop(Folder::of("behave", json!({})).prepare(&runtime(elsewhere.path())).await.unwrap());
    let another = std::fs::read(&cached(elsewhere.path())[0]).unwrap();
    for damaged in [&bytes[..bytes.len() / 2], b"", &another] {
        std::fs::remove_file(compiled).unwrap();
        std::fs::write(compiled, damaged).unwrap();
        assert_eq!(answers(&folder, &runtime(cache.path())).await, json!(true));
        assert_eq!(std::fs::read(compiled).unwrap(), bytes, "it was compiled anew");
    }
    // Good files of which nobody wrote down that they are ours: neither is run.
    std::fs::remove_file(cache.path().join("code.hashes")).unwrap();
    let written = writings(cache.path());
    // Kept, so that no new file can take its number.
    std::fs::hard_link(compiled, cache.path().join("kept")).unwrap();
    assert_eq!(answers(&folder, &runtime(cache.path())).await, json!(true));
    assert_ne!(writings(cache.path()), written, "it was compiled anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_in_use_needs_neither_the_cache_nor_the_compiler() {
    let (cache, folder) = (tempfile::tempdir().unwrap(), Folder::of("raw", json!({})));
    let runtime = runtime(cache.path());
    let first = folder.prepare(&runtime).await.unwrap();
    cached(cache.path()).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert_eq!(answers(&folder, &runtime).await, json!(true));
    assert!(cached(cache.path()).is_empty(), "it was taken from memory");

    first.instance.shutdown(LONG).await;
    drop(first);
    runtime.ended().await;
    assert_eq!(answers(&folder, &runtime).await, json!(true));
    assert_eq!(cached(cache.path()).len(), 1, "nobody used it any more");
}

#[cfg(unix)]
#[test]
fn a_cache_of_another_user_is_refused() {
    use std::os::unix::fs::MetadataExt as _;
    const NOBODY: u32 = 65_534;
    let own = tempfile::tempdir().unwrap();
    // Only root can give a folder away; to anybody else, root's are foreign.
    let foreign = match std::os::unix::fs::chown(own.path(), Some(NOBODY), None) {
        Ok(()) => own.path(),
        Err(_) => Path::new("/"),
    };
    let before = std::fs::metadata(foreign).unwrap().mode();
    match WasmRuntime::new(WasmConfig { cache: Some(cache_in(foreign)), ..WasmConfig::default() }).map(|_| ()) {
        Err(WasmError::CacheDir { path, source }) => {
            assert_eq!(path, foreign);
            assert_eq!(source.to_string(), "the folder belongs to another user");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::metadata(foreign).unwrap().mode(), before, "it was left alone");
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
