//! `mortise dev`: a host follows what an author saves.

use crate::bundle::Plugin;
use crate::host::{Host, Site};
use crate::program::{mortise, run};
use crate::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running `mortise dev`, ended at the latest when this is dropped.
struct Dev {
    child: Child,
    printed: PathBuf,
}

impl Dev {
    fn start(command: &mut Command, site: &Site) -> Self {
        let printed = site.path().join("dev.log");
        let output = File::create(&printed).unwrap();
        let child = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        Self { child, printed }
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(&self.printed).unwrap()
    }

    /// Waits until it has printed `text` so many times.
    async fn prints(&mut self, text: &str, times: usize) {
        until(&format!("`{text}` is printed"), async || {
            let printed = self.printed();
            assert!(self.child.try_wait().unwrap().is_none(), "it ended: {printed}");
            printed.matches(text).count() == times
        })
        .await;
    }

    /// Ends it as an author does.
    fn interrupt(mut self) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let status = self.child.wait().unwrap();
        (status.code(), self.printed())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Where it has ended there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a file as editors do: beside, and renamed.
fn save(folder: &Path, name: &str, content: &[u8]) {
    std::fs::create_dir_all(folder).unwrap();
    let unfinished = folder.join(format!(".{name}.new"));
    std::fs::write(&unfinished, content).unwrap();
    std::fs::rename(unfinished, folder.join(name)).unwrap();
}

/// Saves the manifest of `plugin`, and its files before.
fn save_all(folder: &Path, plugin: &Plugin) {
    for (name, content) in &plugin.files {
        save(folder, name, content);
    }
    save(folder, "manifest.json", plugin.manifest.to_string().as_bytes());
}

fn talker(version: &str) -> Plugin {
    Plugin::of("talker", "behave").with("version", json!(version))
}

async fn version_of(host: &Host<'_>) -> Value {
    host.succeed("list_plugins", json!({})).await["loaded"]["talker"]["manifest"]["version"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_save_is_installed_and_one_that_fails_changes_nothing() {
    let site = Site::on_nats();
    let host = site.start().await;
    let folder = site.path().join("work/talker");
    save_all(&folder, &talker("1.0.0"));
    let mut dev = Dev::start(mortise().arg("dev").arg(&folder).arg("--state-dir").arg(site.state()), &site);
    dev.prints("installed `talker` 1.0.0: ", 1).await;
    host.call("log", json!({"message": "the author reads this"})).await;
    dev.prints("INFO behave: the author reads this", 1).await;

    save(&folder, "manifest.json", b"{\"id\": \"talker\",");
    dev.prints("`talker` 1.0.0 keeps running as it was", 1).await;
    assert!(dev.printed().contains("error: "), "{}", dev.printed());
    // What a host alone can tell.
    save_all(&folder, &talker("2.0.0"));
    dev.prints("installed `talker` 2.0.0: ", 1).await;
    let broken = Plugin::of("talker", "bad-start").with("version", json!("3.0.0"));
    save_all(&folder, &broken);
    dev.prints("`talker` 2.0.0 keeps running as it was", 1).await;
    assert!(dev.printed().contains("[hook_failed]\nhint: "), "{}", dev.printed());
    assert_eq!(version_of(&host).await, "2.0.0");
    host.call("log", json!({"message": "still here"})).await;
    dev.prints("INFO behave: still here", 1).await;

    save_all(&folder, &talker("4.0.0"));
    dev.prints("installed `talker` 4.0.0: ", 1).await;
    let (code, printed) = dev.interrupt();
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.ends_with("`talker` stays installed; `mortise deploy uninstall talker` removes it\n"), "{printed}");
    assert_eq!(version_of(&host).await, "4.0.0");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_comes_back_gets_what_was_saved_meanwhile() {
    let site = Site::on_nats();
    let host = site.start().await;
    let folder = site.path().join("work/talker");
    save_all(&folder, &talker("1.0.0"));
    // Over the mesh.
    let url = site.broker().url();
    let mut command = mortise();
    command.arg("dev").arg(&folder).args(["--host", &site.device, "--tenant", &site.tenant, "--messaging-url", &url]);
    let mut dev = Dev::start(&mut command, &site);
    dev.prints("installed `talker` 1.0.0: ", 1).await;
    host.stop().await;
    dev.prints("waiting for the host", 1).await;
    save_all(&folder, &talker("2.0.0"));
    let host = site.start().await;
    dev.prints("installed `talker` 2.0.0: ", 1).await;
    assert_eq!(version_of(&host).await, "2.0.0");
    host.call("log", json!({"message": "after the restart"})).await;
    dev.prints("INFO behave: after the restart", 1).await;
    assert_eq!(dev.interrupt().0, Some(0));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_comes_back_without_the_plugin_gets_it_again() {
    let site = Site::on_nats();
    let host = site.start().await;
    let folder = site.path().join("work/talker");
    save_all(&folder, &talker("1.0.0"));
    let mut dev = Dev::start(mortise().arg("dev").arg(&folder).arg("--state-dir").arg(site.state()), &site);
    dev.prints("installed `talker` 1.0.0: ", 1).await;
    host.call("log", json!({"message": "before the restart"})).await;
    dev.prints("INFO behave: before the restart", 1).await;
    host.succeed("uninstall_plugin", json!({"plugin_id": "talker"})).await;
    host.stop().await;
    dev.prints("waiting for the host", 1).await;
    let host = site.start().await;
    dev.prints("installed `talker` 1.0.0: ", 2).await;
    host.call("log", json!({"message": "after the restart"})).await;
    dev.prints("INFO behave: after the restart", 1).await;
    let (code, printed) = dev.interrupt();
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(printed.matches("INFO behave: before the restart").count(), 1, "{printed}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_takes_another_id_leaves_the_old_one_installed() {
    let site = Site::on_nats();
    let host = site.start().await;
    let folder = site.path().join("work/talker");
    save_all(&folder, &talker("1.0.0"));
    let mut dev = Dev::start(mortise().arg("dev").arg(&folder).arg("--state-dir").arg(site.state()), &site);
    dev.prints("installed `talker` 1.0.0: ", 1).await;
    save_all(&folder, &Plugin::of("chatter", "behave"));
    dev.prints("installed `chatter`", 1).await;
    dev.prints("`talker` stays installed; `mortise deploy uninstall talker` removes it", 1).await;
    assert_eq!(dev.interrupt().0, Some(0));
    host.stop().await;
}

#[test]
fn without_a_host_or_a_folder_there_is_nothing_to_watch() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(mortise().arg("dev").arg(folder.path()).arg("--state-dir").arg(folder.path()));
    assert_eq!(ended.code, 1);
    assert!(ended.err.starts_with("error: no host is running on"), "{}", ended.err);
    let ended = run(mortise().arg("dev").arg(folder.path().join("missing")));
    assert_eq!(ended.code, 1);
    assert!(ended.err.starts_with("error: not a directory: "), "{}", ended.err);
}
