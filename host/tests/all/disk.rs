//! Folders and files that are not as the host needs them: it says which and what to do, and changes nothing.

use crate::bundle::{Plugin, bundle, version};
use crate::host::{Host, Site, Way};
use crate::program::{held_to_modes, told_of_full_files};
use crate::{LONG, until};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A folder of which nothing can be changed, until this is dropped.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn new(folder: PathBuf) -> Self {
        std::fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
        Self(folder)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        std::fs::set_permissions(&self.0, Permissions::from_mode(0o755)).unwrap();
    }
}

fn restricted(site: &Site) -> Command {
    let mut command = held_to_modes();
    command.arg("run");
    site.flags_for(command)
}

/// It ends by itself, and says in two lines which path is at fault and what to do.
fn refuses_to_start(command: &mut Command, path: &Path, reason: &str) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + LONG;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("`{}`: the host runs", path.display());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = child.wait_with_output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{err}");
    let lines: Vec<&str> = err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "{}", err);
    assert!(lines[0].contains(&format!("`{}`", path.display())), "`{}`: {}", path.display(), err);
    assert!(lines[0].contains(reason), "{}", err);
    assert!(err.lines().any(|line| line.starts_with("hint: ")), "no cure: {}", err);
    assert!(!err.contains("panicked"), "{}", err);
}

/// A file lies where a folder should, or a folder where a file should.
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_way_keeps_the_host_from_starting_and_is_named() {
    for name in ["", ".mortise", "staging", "generations", "store", "cache", ".artifacts"] {
        let site = Site::on_nats();
        let path = match name {
            "" | ".mortise" | ".artifacts" => site.capabilities().join(name),
            name => site.state().join(name),
        };
        if name.is_empty() {
            std::fs::remove_dir(site.capabilities()).unwrap();
        }
        let path = PathBuf::from(path.to_str().unwrap().trim_end_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "precious").unwrap();
        refuses_to_start(&mut site.command(), &path, "");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious", "`{name}`");
        std::fs::remove_file(&path).unwrap();
        site.start().await.stop().await;
    }
    for name in ["lock", "state.redb", "control.sock"] {
        let site = Site::on_nats();
        let path = site.state().join(name);
        std::fs::create_dir_all(path.join("precious")).unwrap();
        refuses_to_start(&mut site.command(), &path, "");
        assert!(path.join("precious").is_dir(), "`{name}`");
        std::fs::remove_dir_all(&path).unwrap();
        site.start().await.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_may_not_be_written_keeps_the_host_from_starting_and_is_named() {
    let site = Site::on_nats();
    {
        let _read_only = ReadOnly::new(site.capabilities());
        refuses_to_start(&mut restricted(&site), &site.state(), "Permission denied");
    }
    {
        let below = Site::on_nats().with_missing_folders("read-only/capabilities", None);
        std::fs::create_dir(below.path().join("read-only")).unwrap();
        let _read_only = ReadOnly::new(below.path().join("read-only"));
        refuses_to_start(&mut restricted(&below), &below.capabilities(), "Permission denied");
    }
    let host = site.start_as(restricted(&site)).await;
    host.install(&version(1)).await;
    host.stop().await;
    {
        // Its own folder it makes writable again: whoever runs the host owns it.
        let file = site.state().join("state.redb");
        std::fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
        refuses_to_start(&mut restricted(&site), &file, "Permission denied");
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    }
    let host = site.start_as(restricted(&site)).await;
    host.wait_for_loaded(&["versioned"]).await;
    host.stop().await;
}

/// What an earlier host left in staging and nobody may remove is told of, and keeps nothing else from going on.
#[tokio::test(flavor = "multi_thread")]
async fn a_leftover_that_cannot_be_removed_keeps_no_host_from_starting() {
    let site = Site::on_nats();
    let stuck = site.state().join("staging/stuck");
    std::fs::create_dir_all(&stuck).unwrap();
    std::fs::write(stuck.join("file"), "").unwrap();
    std::fs::write(site.state().join("staging/loose"), "").unwrap();
    let read_only = ReadOnly::new(stuck.clone());
    let host = site.start_as(restricted(&site)).await;
    assert!(host.log().contains(&stuck.display().to_string()), "{}", host.log());
    assert!(!site.state().join("staging/loose").exists(), "the others are removed all the same");
    host.install(&version(1)).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    host.stop().await;
    drop(read_only);
}

/// What a caller on the mesh is told names the thing, and no path of this machine.
async fn told_without_paths(host: &Host<'_>, site: &Site, method: &str, params: Value) -> Value {
    let answer = host.call(method, params).await;
    for key in ["message", "detail", "hint"] {
        let text = answer[key].to_string();
        assert!(!text.contains(site.path().to_str().unwrap()), "{method}: {answer}");
    }
    answer
}

/// While it runs: the change is refused, what serves goes on, and it works again when the folder may be written.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_may_no_longer_be_written_refuses_changes_and_nothing_else() {
    let site = Site::on_nats();
    let host = site.start_as(restricted(&site)).await;
    host.install(&version(1)).await;
    host.install(&version(2)).await;
    let upgrade = || bundle(&version(1).with("description", json!("newer")).tarball());
    for (folder, named) in [
        ("staging", "`staging"),
        ("store/sha256", "`store/sha256"),
        ("generations/versioned", "`generations/versioned/"),
    ] {
        let _read_only = ReadOnly::new(site.state().join(folder));
        let refusal = told_without_paths(&host, &site, "install_plugin_from_bundle", upgrade()).await;
        assert_eq!((&refusal["status"], &refusal["code"]), (&json!("error"), &json!("disk")), "{folder}: {refusal}");
        let message = refusal["message"].as_str().unwrap();
        assert!(message.contains(named) && message.contains("Permission denied"), "{folder}: {refusal}");
        assert_eq!(refusal["hint"], "let the host's user write there");
        assert_eq!(host.call("version", json!({})).await, "2.0.0", "{folder}");
        // The operator is told where, now and in the log.
        let path = site.state().join(folder).display().to_string();
        assert!(host.log().contains(&path), "{folder}: {}", host.log());
        let refusal = host.result(Way::Control, "install_plugin_from_bundle", upgrade()).await;
        assert!(refusal["message"].as_str().unwrap().contains(&path), "{folder}: {refusal}");
    }
    let versions = host.succeed("list_plugin_versions", json!({"plugin_id": "versioned"})).await;
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2, "{versions}");
    {
        // Nothing runs from a working copy, so that it is no reason to refuse.
        let _read_only = ReadOnly::new(site.capabilities());
        let reply = host.install(&version(1).with("description", json!("unseen"))).await;
        let warning = reply["load_result"]["warnings"][0].as_str().unwrap();
        assert!(warning.starts_with("the working copy could not be put right: "), "{reply}");
        assert!(!warning.contains(site.path().to_str().unwrap()), "{reply}");
        assert_eq!(host.call("version", json!({})).await, "1.0.0");
    }
    host.install(&version(2).with("description", json!("seen"))).await;
    let manifest = std::fs::read_to_string(site.capabilities().join("versioned/manifest.json")).unwrap();
    assert!(manifest.contains("seen"), "{manifest}");
    assert_eq!(std::fs::read_dir(site.state().join("staging")).unwrap().count(), 0);
    host.stop().await;
}

/// How far the files of a host may grow.
fn bound_files(host: &Host<'_>, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap());
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

/// What plugins keep is in memory, and comes to disk once there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_what_plugins_keep_nothing_but_time() {
    let site = Site::on_nats();
    site.policy("profile = 'development'");
    let mut command = told_of_full_files();
    command.arg("run");
    let host = site.start_as(site.flags_for(command)).await;
    host.install(&Plugin::of("keeper", "behave").with("permissions", json!({"state": true}))).await;
    host.call("state_fill", json!({"count": 1, "bytes": 10})).await;
    host.call("state_flush", json!({})).await;
    // Enough for the log.
    bound_files(&host, Some(host.log().len() as u64 + (256 << 10)));
    assert_eq!(host.call("state_fill", json!({"count": 9, "bytes": 100_000})).await, json!({"kept": 9}));
    for _ in 0..2 {
        let error = host.fail("state_flush", json!({})).await;
        assert_eq!((&error["data"]["code"], &error["data"]["retryable"]), (&json!("state_not_saved"), &json!(true)));
        assert!(!error.to_string().contains(site.path().to_str().unwrap()), "{error}");
    }
    assert_eq!(host.call("state_keys", json!({})).await.as_array().unwrap().len(), 9);
    assert_eq!(host.log().matches("failed to save the state of plugins").count(), 1, "{}", host.log());
    bound_files(&host, None);
    until("it is saved", async || host.ask(Way::Mesh, "state_flush", json!({})).await.get("result").is_some()).await;
    assert!(host.log().contains("the state of plugins is saved again"));
    host.kill().await;
    let host = site.start().await;
    host.wait_for_loaded(&["keeper"]).await;
    assert_eq!(host.call("state_keys", json!({})).await.as_array().unwrap().len(), 9);
    host.stop().await;
}

/// A file in the place of a plugin's folder is nobody's to replace.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_a_plugins_place_is_kept_and_told_of() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    let copy = site.capabilities().join("versioned");
    std::fs::remove_dir_all(&copy).unwrap();
    std::fs::write(&copy, "precious").unwrap();
    let params = || bundle(&version(2).tarball());
    let refusal = told_without_paths(&host, &site, "install_plugin_from_bundle", params()).await;
    assert_eq!((&refusal["code"], &refusal["message"]), (&json!("not_a_folder"), &json!("not a directory: versioned")));
    for method in ["reload_plugin", "uninstall_plugin"] {
        let refusal = told_without_paths(&host, &site, method, json!({"plugin_id": "versioned"})).await;
        assert_eq!((&refusal["status"], &refusal["code"]), (&json!("error"), &json!("not_a_folder")), "{refusal}");
        assert_eq!(host.call("version", json!({})).await, "1.0.0", "{method}");
    }
    host.kill().await;
    let host = site.start().await;
    host.wait_for_loaded(&["versioned"]).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0", "the record and its generation are the truth");
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), "precious");
    std::fs::remove_file(&copy).unwrap();
    host.succeed("install_plugin_from_bundle", params()).await;
    assert!(copy.join("plugin.wasm").is_file());
    host.stop().await;
}
