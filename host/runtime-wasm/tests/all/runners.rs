//! Plugins whose source a runner reads. The runner here is a component that knows nothing of Python and reads files.

use crate::harness::{Folder, Plugin, RUNTIME, guest};
use mortise_model::RuntimeKind;
use mortise_plugin::{PrepareError, Runtime as _};
use mortise_runtime_wasm::{WasmRuntime, check_runners, compile_runners};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A folder of runners as a release has it.
fn release() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(guest("wasi"), dir.path().join("python.wasm")).unwrap();
    compile_runners(dir.path()).unwrap();
    dir
}

fn runtime(dir: &Path) -> Arc<WasmRuntime> {
    RUNTIME.with_runner(RuntimeKind::Python, dir.to_owned()).unwrap()
}

async fn load(folder: &Folder, runners: &Path) -> Result<Plugin, PrepareError> {
    let plugin = folder.prepare(&runtime(runners)).await?;
    plugin.services.activate();
    Ok(plugin)
}

/// Why the runner is of no use, and the cure.
async fn unusable(runners: &Path) -> String {
    match load(&Folder::of_source("", json!({})), runners).await {
        Err(PrepareError::Runner { kind: RuntimeKind::Python, reason, hint }) => {
            assert!(hint.contains("--runners-dir") && hint.contains("cargo xtask runners"), "{hint}");
            reason
        }
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it was loaded"),
    }
}

fn compiled(runners: &Path) -> PathBuf {
    let files = fs::read_dir(runners).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "cwasm")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_reads_the_plugins_own_folder_and_nothing_else() {
    let runners = release();
    let (folder, neighbour) = (Folder::of_source("mine", json!({})), Folder::of_source("its", json!({})));
    let plugin = load(&folder, runners.path()).await.unwrap();
    let read = async |path: &str| plugin.begin("read_file", json!({"path": path})).outcome().await;
    assert_eq!(plugin.ok("folders", json!({})).await, json!(1));
    assert_eq!(read("/plugin/capability.py").await.unwrap().to_value(), json!("mine"));
    for path in ["/etc/hostname", "/plugin/../etc/hostname", "capability.py", neighbour.dir.path().to_str().unwrap()] {
        assert_eq!(read(path).await.unwrap_err().code, "io", "{path}");
    }
    assert_eq!(plugin.err("write_file", json!({"path": "/plugin/new"})).await.code, "io");
    assert!(!folder.dir.path().join("new").exists());
    // Two plugins of one runner have nothing in common.
    let other = load(&neighbour, runners.path()).await.unwrap();
    assert_eq!(other.ok("read_file", json!({"path": "/plugin/capability.py"})).await, json!("its"));
    plugin.ok("count", json!({})).await;
    assert_eq!(other.ok("count", json!({})).await, json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_in_the_plugins_folder_leads_nowhere() {
    let (runners, folder) = (release(), Folder::of_source("", json!({})));
    std::os::unix::fs::symlink("/etc/hostname", folder.dir.path().join("link")).unwrap();
    let plugin = load(&folder, runners.path()).await.unwrap();
    assert_eq!(plugin.err("read_file", json!({"path": "/plugin/link"})).await.code, "io");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_release_compiled_is_never_compiled_again() {
    let runners = release();
    // Without it nothing could be compiled.
    fs::remove_file(runners.path().join("python.wasm")).unwrap();
    let plugin = load(&Folder::of_source("", json!({})), runners.path()).await.unwrap();
    assert_eq!(plugin.ok("count", json!({})).await, json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_nobody_compiled_for_this_engine_is_compiled_here() {
    let runners = release();
    assert!(runtime(runners.path()).is_available());
    let list = runners.path().join("runners.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&list).unwrap()).unwrap();
    index["runners"]["python"]["compiled"][0]["engine"] = json!("0000000000000000");
    fs::write(&list, index.to_string()).unwrap();
    fs::remove_file(compiled(runners.path())).unwrap();
    let plugin = load(&Folder::of_source("", json!({})), runners.path()).await.unwrap();
    assert_eq!(plugin.ok("count", json!({})).await, json!(1));
}

#[test]
fn what_was_compiled_for_other_architectures_stays_listed_as_long_as_the_runner_is_the_same() {
    let runners = release();
    let list = runners.path().join("runners.json");
    let read = || serde_json::from_slice::<Value>(&fs::read(&list).unwrap()).unwrap();
    let files = || {
        let index = read();
        let compiled = index["runners"]["python"]["compiled"].as_array().unwrap().clone();
        compiled.iter().map(|compiled| compiled["file"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let own = files();
    let mut index = read();
    let compiled = index["runners"]["python"]["compiled"].as_array_mut().unwrap();
    for name in ["python-other-linux.cwasm", "python-lost-linux.cwasm"] {
        let mut other = compiled[0].clone();
        (other["file"], other["engine"]) = (json!(name), json!("0000000000000000"));
        compiled.push(other);
    }
    fs::write(&list, index.to_string()).unwrap();
    fs::write(runners.path().join("python-other-linux.cwasm"), "code").unwrap();
    compile_runners(runners.path()).unwrap();
    assert_eq!(files(), ["python-other-linux.cwasm", own[0].as_str()]);
    fs::copy(guest("behave"), runners.path().join("python.wasm")).unwrap();
    compile_runners(runners.path()).unwrap();
    assert_eq!(files(), own);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_not_whole_is_refused_with_the_cure() {
    let empty = tempfile::tempdir().unwrap();
    assert!(!runtime(empty.path()).is_available());
    assert!(unusable(empty.path()).await.contains("failed to access `"), "no list");
    assert!(unusable(&empty.path().join("nowhere")).await.contains("failed to access `"), "no folder");
    assert!(compile_runners(empty.path()).unwrap_err().to_string().contains("no runner for plugins of type `python`"));

    let runners = release();
    let list = runners.path().join("runners.json");
    let whole: Value = serde_json::from_slice(&fs::read(&list).unwrap()).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut index = whole.clone();
        change(&mut index);
        fs::write(&list, index.to_string()).unwrap();
    };
    with(&|index| index["release"] = json!("0.0.0"));
    assert!(unusable(runners.path()).await.contains("are of release 0.0.0, and this host is "));
    assert!(!runtime(runners.path()).is_available(), "of another release");
    let wrong = check_runners(runners.path()).unwrap_err();
    assert_eq!((wrong.code(), wrong.hint().contains("--runners-dir")), ("no_runner", true));
    with(&|index| index["runners"] = json!({}));
    assert!(!runtime(runners.path()).is_available(), "none of its kind");
    assert!(check_runners(runners.path()).is_err());
    assert!(unusable(runners.path()).await.contains("has no runner for plugins of type `python`"));
    with(&|index| index["runners"]["python"]["component"]["file"] = json!("../python.wasm"));
    assert!(unusable(runners.path()).await.contains("`../python.wasm` is no file of the folder"));
    fs::write(&list, "{").unwrap();
    assert!(unusable(runners.path()).await.contains("is no list of runners"));
    assert_eq!(check_runners(runners.path()).unwrap_err().code(), "bad_runner");
    with(&|_| {});
    assert!(check_runners(runners.path()).is_ok() && runtime(runners.path()).is_available());
    assert!(load(&Folder::of_source("", json!({})), runners.path()).await.is_ok(), "whole again");

    let mut bytes = fs::read(compiled(runners.path())).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    // A file of its own: what is mapped must not change below those who use it.
    let path = compiled(runners.path());
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    assert!(unusable(runners.path()).await.contains("and the list of runners says sha256:"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runners_stack_is_what_its_manifest_says_or_the_plugin_is_refused() {
    let runners = release();
    assert!(load(&Folder::of_source("", json!({"stack": "32MiB"})), runners.path()).await.is_ok());
    match load(&Folder::of_source("", json!({"stack": "1MiB"})), runners.path()).await {
        Err(PrepareError::Unsupported { what }) => {
            assert_eq!(what, "`limits.stack` of 1MiB (every plugin of type `python` has 32MiB)");
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}
