//! Plugins that come with the host.

use crate::bundle::{Plugin, version};
use crate::host::{Host, Site, Way};
use serde_json::json;
use std::path::{Path, PathBuf};

async fn start<'a>(site: &'a Site, bundled: &Path) -> Host<'a> {
    let mut command = site.command();
    command.arg("--bundled-plugins").arg(bundled);
    site.start_as(command).await
}

fn folder(site: &Site, plugin: &Plugin) -> PathBuf {
    let folder = site.path().join("bundled");
    plugin.put_into(&folder);
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundled_plugin_is_installed_and_follows_the_bundle() {
    let site = Site::on_nats();
    let folders = folder(&site, &version(1));
    let bundled = site.path().join("link");
    std::os::unix::fs::symlink(&folders, &bundled).unwrap();
    let host = start(&site, &bundled).await;
    host.wait_for_loaded(&["versioned"]).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    let versions = host.succeed("list_plugin_versions", json!({"plugin_id": "versioned"})).await;
    let path = folders.canonicalize().unwrap().join("versioned");
    assert_eq!(versions["versions"][0]["source"]["path"], json!(path), "rules go by where it lies");
    host.stop().await;

    folder(&site, &version(2));
    let host = start(&site, &bundled).await;
    host.wait_for_loaded(&["versioned"]).await;
    crate::until("the newer one serves", async || host.call("version", json!({})).await == "2.0.0").await;
    host.succeed("rollback_plugin", json!({"plugin_id": "versioned"})).await;
    host.stop().await;

    // What was rolled back stays so, and what was unloaded too.
    let host = start(&site, &bundled).await;
    host.wait_for_loaded(&["versioned"]).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    host.succeed("unload_plugin", json!({"plugin_id": "versioned"})).await;
    host.stop().await;

    folder(&site, &version(2).with("description", json!("newer still")));
    folder(&site, &Plugin::assembled("counter"));
    let host = start(&site, &bundled).await;
    host.wait_for_loaded(&["counter"]).await;
    crate::until("its files follow all the same", async || {
        let versions = host.succeed("list_plugin_versions", json!({"plugin_id": "versioned"})).await;
        versions["current"] == 3 && versions["desired"] == "unloaded"
    })
    .await;
    assert_eq!(host.fail("version", json!({})).await["code"], -32601);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_installed_is_left_alone() {
    let site = Site::on_nats();
    let bundled = folder(&site, &version(1));
    // One by a bundle of an agent's, one by a folder that an operator put there.
    Plugin::assembled("counter").put_into(&bundled);
    site.put(&Plugin::assembled("counter").with("description", json!("mine")));
    let host = site.start().await;
    host.wait_for_loaded(&["counter"]).await;
    host.install(&version(2)).await;
    host.stop().await;

    // A third that fails stands in nobody's way, and one that was there before is still repaired.
    Plugin::of("bad", "bad-start").put_into(&bundled);
    Plugin::assembled("demo").put_into(&bundled);
    let host = start(&site, &bundled).await;
    host.wait_for_loaded(&["counter", "versioned", "demo"]).await;
    assert_eq!(host.call("version", json!({})).await, "2.0.0");
    let list = host.succeed("list_plugins", json!({})).await;
    assert_eq!(list["loaded"]["counter"]["manifest"]["description"], "mine");
    assert!(host.log().contains("the sensor does not answer"), "{}", host.log());
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_auto_load_it_lies_ready() {
    let site = Site::on_nats();
    let bundled = folder(&site, &version(1));
    let mut command = site.command();
    command.args(["--no-auto-load", "--bundled-plugins"]).arg(&bundled);
    let host = site.start_as(command).await;
    crate::until("it is installed", async || {
        host.result(Way::Control, "list_plugin_versions", json!({"plugin_id": "versioned"})).await["current"] == 1
    })
    .await;
    assert_eq!(host.loaded().await, Vec::<String>::new());
    host.succeed("load_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_bundle_brings_the_older_version_back_and_edits_stay() {
    let site = Site::on_nats();
    let bundled = folder(&site, &version(1));
    for number in [1, 2, 1] {
        folder(&site, &version(number));
        let host = start(&site, &bundled).await;
        host.wait_for_loaded(&["versioned"]).await;
        let expected = format!("{number}.0.0");
        crate::until("the bundled version serves", async || host.call("version", json!({})).await == expected).await;
        host.stop().await;
    }
    let host = start(&site, &bundled).await;
    host.wait_for_loaded(&["versioned"]).await;
    host.succeed("unload_plugin", json!({"plugin_id": "versioned"})).await;
    host.stop().await;
    let notes = site.capabilities().join("versioned/notes.txt");
    std::fs::write(&notes, "mine").unwrap();
    folder(&site, &version(2).with("description", json!("newer")));
    // The last in the order of names.
    folder(&site, &Plugin::of("zebra", "raw"));
    let host = start(&site, &bundled).await;
    host.wait_for_loaded(&["zebra"]).await;
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "mine");
    let versions = host.succeed("list_plugin_versions", json!({"plugin_id": "versioned"})).await;
    assert_eq!(versions["current"], 3, "{versions}");
    host.stop().await;
}
