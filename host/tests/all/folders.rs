//! What plugins may hold in the folders that they may change.

use crate::bundle::Plugin;
use crate::host::{Host, Site, Way};
use crate::outgoing::stats;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What a file or folder takes at least.
const BLOCK: u64 = 4096;

const MIB: u64 = 1 << 20;

/// A folder on this machine.
fn folder(site: &Site, name: &str) -> PathBuf {
    let folder = site.path().canonicalize().unwrap().join(name);
    std::fs::create_dir(&folder).unwrap();
    folder
}

/// A plugin that may change a folder, in which it may have a mebibyte.
fn writer(id: &str, folder: &Path, limits: Value) -> Plugin {
    let files = json!([{"path": folder, "as": "/out", "mode": "rw"}]);
    Plugin::of(id, "wasi").with("permissions", json!({"files": files})).with("limits", limits)
}

async fn used(host: &Host<'_>, plugin: &str) -> (u64, u64) {
    let disk = stats(host, plugin).await["disk"].take();
    (disk["bytes"].as_u64().unwrap(), disk["refused"].as_u64().unwrap())
}

/// What it is told where there is no space.
async fn full(host: &Host<'_>, function: &str, params: Value) {
    let error = host.fail(function, params.clone()).await;
    assert_eq!(
        (&error["data"]["code"], &error["message"]),
        (&json!("io"), &json!("StorageFull")),
        "{function} {params}"
    );
}

/// Limit: `disk`.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_holds_as_much_as_its_limit_lets_it_and_may_make_room() {
    let site = Site::on_nats();
    site.policy("profile = 'development'");
    let out = folder(&site, "out");
    let host = site.start().await;
    host.install(&writer("writer", &out, json!({"disk": "1MiB"}))).await;
    let counted = stats(&host, "writer").await;
    assert_eq!(counted["disk"], json!({"bytes": null, "refused": 0}), "nobody has looked");

    let fill = |name: &str, bytes: u64, append: bool| json!({"path": format!("/out/{name}"), "bytes": bytes, "append": append});
    host.call("fill", fill("a", MIB - 2 * BLOCK, false)).await;
    full(&host, "fill", fill("b", 2 * BLOCK + 1, false)).await;
    full(&host, "fill", fill("a", 3 * BLOCK, true)).await;
    full(&host, "set_len", json!({"path": "/out/a", "bytes": 2 * MIB})).await;
    assert!(std::fs::metadata(out.join("a")).unwrap().len() <= MIB);
    let line = "the folders that it may change would hold more than `limits.disk` (1MiB)";
    assert!(host.succeed("get_plugin_logs", json!({"plugin_id": "writer"})).await.to_string().contains(line));
    let (bytes, refused) = used(&host, "writer").await;
    assert!(bytes <= MIB && refused == 3, "{bytes} {refused}");

    // What is replaced, cut off or removed makes room, as often as that may be.
    for name in ["a", "b"] {
        host.ask(Way::Mesh, "remove", json!({"path": format!("/out/{name}")})).await;
    }
    for _ in 0..5 {
        host.call("fill", fill("a", MIB - BLOCK, false)).await;
    }
    host.call("set_len", json!({"path": "/out/a", "bytes": 0})).await;
    host.call("fill", fill("b", MIB - 2 * BLOCK, false)).await;
    full(&host, "fill", fill("a", 2 * BLOCK + 1, false)).await;
    assert_eq!(stats(&host, "writer").await["losses"], json!({}));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_takes_room_is_left_out() {
    let site = Site::on_nats();
    site.policy("profile = 'development'");
    let out = folder(&site, "out");
    let host = site.start().await;
    host.install(&writer("writer", &out, json!({"disk": "64KiB"}))).await;
    // Sixteen blocks: one is the first file's.
    host.call("fill", json!({"path": "/out/first", "bytes": 1})).await;
    for what in ["folder", "file", "link"] {
        let error = host.fail("make", json!({"what": what, "folder": "/out", "count": 100})).await;
        assert_eq!((&error["data"]["code"], &error["message"]), (&json!("at_15"), &json!("StorageFull")), "{what}");
        for number in 0..15 {
            let made = out.join(format!("{what}-{number}"));
            if what == "folder" { std::fs::remove_dir(made) } else { std::fs::remove_file(made) }.unwrap();
        }
    }
    // A hole counts as what it can be filled with.
    host.call("set_len", json!({"path": "/out/hole", "bytes": 14 * BLOCK})).await;
    full(&host, "fill", json!({"path": "/out/more", "bytes": 2 * BLOCK})).await;
    host.ask(Way::Mesh, "remove", json!({"path": "/out/more"})).await;
    host.call("remove", json!({"path": "/out/hole"})).await;

    // What was removed is on the disk as long as it is open.
    host.call("fill_removed", json!({"path": "/out/gone", "bytes": 14 * BLOCK})).await;
    full(&host, "fill_removed", json!({"path": "/out/gone", "bytes": 14 * BLOCK})).await;
    host.call("close_removed", json!({})).await;
    host.call("fill", json!({"path": "/out/gone", "bytes": 14 * BLOCK})).await;

    // What others put there counts.
    std::fs::write(out.join("theirs"), vec![0; 1 << 20]).unwrap();
    full(&host, "fill", json!({"path": "/out/gone", "bytes": 15 * BLOCK})).await;
    std::fs::remove_file(out.join("theirs")).unwrap();
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_and_generations_share_one_limit_which_a_policy_may_raise() {
    let site = Site::on_nats();
    let (out, large) = (folder(&site, "out"), folder(&site, "large"));
    let rule =
        format!("[[plugin]]\nid = 'large'\ngrant = ['files.rw:{}']\nlimits = {{disk = '200MiB'}}", large.display());
    site.policy(&format!("profile = 'development'\n{rule}"));
    let host = site.start().await;
    host.install(&writer("writer", &out, json!({"disk": "1MiB", "instances": 4}))).await;
    let fill =
        |name: usize| host.ask(Way::Mesh, "writer.fill", json!({"path": format!("/out/{name}"), "bytes": 200_000}));
    let replies = futures_util::future::join_all((0..40).map(fill)).await;
    let written = replies.iter().filter(|reply| reply.get("error").is_none()).count();
    assert!((1..=5).contains(&written), "{written}");
    let held: u64 = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    // What others are writing at the moment when one measures may be missed: a piece of each.
    assert!(held <= MIB + 4 * (64 << 10), "{held}");
    host.succeed("reload_plugin", json!({"plugin_id": "writer"})).await;
    assert_eq!(fill(99).await["error"]["message"], "StorageFull");

    let over = writer("writer", &out, json!({"disk": "101MiB"}));
    let refusal = host.refuse("install_plugin_from_bundle", crate::bundle::bundle(&over.tarball())).await;
    assert_eq!(refusal["code"], "limit_raised", "{refusal}");
    host.install(&writer("large", &large, json!({"disk": "200MiB"}))).await;
    assert_eq!(stats(&host, "large").await["limits"]["disk"], "200MiB");
    host.stop().await;
}
