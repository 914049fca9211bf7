//! What plugins may hold in the folders that they may change.

use crate::bundle::Plugin;
use crate::host::{Host, Site, Way};
use crate::neighbour::{self, beside};
use crate::outgoing::{grant, stats};
use crate::until;
use rustix::fs::{CWD, FileType, Mode};
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

/// What fills no memory of the guest's fills none of the host's, and none of its threads waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_holds_of_folders_for_a_plugin_is_bounded() {
    let site = Site::on_nats();
    site.policy("profile = 'development'");
    let out = folder(&site, "out");
    std::fs::create_dir(out.join("many")).unwrap();
    for number in 0..3000 {
        std::fs::write(out.join(format!("many/{number:0>200}")), "").unwrap();
    }
    neighbour::settle(&site);
    let host = site.start().await;
    host.wait_for_loaded(&["neighbour"]).await;
    host.install(&writer("writer", &out, json!({"memory": "16MiB"}))).await;
    // A quarter of its memory, and each listing takes some 800 KB.
    assert_eq!(host.call("list_often", json!({"path": "many", "times": 4})).await, 4 * 3000);
    let error = beside(&host, host.fail("list_often", json!({"path": "many", "times": 100}))).await;
    assert_eq!((&error["data"]["code"], &error["message"]), (&json!("at_5"), &json!("insufficient-memory")), "{error}");
    assert_eq!(stats(&host, "writer").await["refused"], json!({"listing_too_large": 1}));
    assert_eq!(host.call("list_often", json!({"path": "many", "times": 4})).await, 4 * 3000, "it has room again");

    rustix::fs::mknodat(CWD, out.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    for function in ["read_file", "write_file"] {
        let error = host.fail(function, json!({"path": "/out/pipe"})).await;
        assert!(error["message"].as_str().unwrap().contains("not permitted"), "{function}: {error}");
    }

    let piece = json!({"path": "large", "at": 0, "bytes": 65 << 10, "dropped": true});
    let error = beside(&host, host.fail("write_at", piece)).await;
    assert_eq!(error["data"]["code"], "trap", "{error}");
    assert!(error["message"].as_str().unwrap().contains("check-write allows nothing, or less than that"), "{error}");
    assert_eq!(stats(&host, "writer").await["losses"], json!({"trap": 1}));
    host.stop().await;
}

/// What is moved about while folders are measured is found all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_moves_its_files_about_holds_no_more() {
    let site = Site::on_nats();
    site.policy("profile = 'development'");
    let out = folder(&site, "out");
    let host = site.start().await;
    host.install(&writer("writer", &out, json!({"disk": "3MiB"}))).await;
    std::fs::create_dir(out.join("a")).unwrap();
    for number in 0..300 {
        std::fs::create_dir(out.join(format!("a/{number}"))).unwrap();
        std::fs::write(out.join(format!("a/{number}/file")), "x").unwrap();
    }
    for call in 0..10 {
        host.call("dodge", json!({"call": call, "rounds": 5, "bytes": 15 * BLOCK})).await;
    }
    let (bytes, refused) = used(&host, "writer").await;
    assert!(bytes <= 3 * MIB && refused > 0, "{bytes} {refused}");
    let files = std::fs::read_dir(&out).unwrap().filter_map(|file| file.unwrap().metadata().ok());
    let held: u64 = files.filter(|file| file.is_file()).map(|file| file.len()).sum();
    assert!(held <= 3 * MIB - 600 * BLOCK, "{held} bytes beside 600 files and folders");
    host.stop().await;
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
    for what in ["folder", "file", "symlink", "link"] {
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

    // By the interface's own way to write, which `std` does not take.
    host.call("write_at", json!({"path": "raw", "at": 0, "bytes": 14 * BLOCK})).await;
    let error = host.fail("write_at", json!({"path": "raw", "at": 14 * BLOCK, "bytes": 2 * BLOCK})).await;
    assert_eq!(error["message"], "insufficient-space", "{error}");
    assert_eq!(std::fs::metadata(out.join("raw")).unwrap().len(), 14 * BLOCK);
    host.call("remove", json!({"path": "/out/raw"})).await;
    // What a stream took before it was dropped is written, here after a look at what there is by now.
    host.call("write_at", json!({"path": "left", "at": 0, "bytes": 14 * BLOCK, "dropped": true})).await;
    assert_eq!(std::fs::metadata(out.join("left")).unwrap().len(), 14 * BLOCK);
    host.call("write_at", json!({"path": "left", "at": 14 * BLOCK, "bytes": 2 * BLOCK, "dropped": true})).await;
    assert_eq!(std::fs::metadata(out.join("left")).unwrap().len(), 14 * BLOCK, "there was no room for it");
    host.call("remove", json!({"path": "/out/left"})).await;

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

/// A folder that opens while an instance runs counts together with those that it has.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_later_is_under_the_same_limit() {
    let site = Site::on_nats();
    let (out, more) = (folder(&site, "out"), folder(&site, "more"));
    let host = site.start().await;
    let asked = [(&out, "/out"), (&more, "/more")].map(|(path, name)| json!({"path": path, "as": name, "mode": "rw"}));
    let plugin = Plugin::of("writer", "wasi").with("permissions", json!({"files": asked}));
    host.install(&plugin.with("limits", json!({"disk": "1MiB"}))).await;
    let fill = |path: &str| host.ask(Way::Mesh, "writer.fill", json!({"path": path, "bytes": 600_000}));
    let closed = fill("/out/a").await;
    assert_eq!(closed["error"]["data"]["code"], "io", "{closed}");
    for (path, name, written) in [(&out, "/out/a", true), (&more, "/more/a", false)] {
        grant(&host, "writer", &format!("files.rw:{}", path.display())).await;
        let reply = fill(name).await;
        assert_eq!(reply.get("error").is_none(), written, "{name}: {reply}");
        if !written {
            assert_eq!(reply["error"]["message"], "StorageFull");
        }
    }
    host.stop().await;
}

/// Taken back, a folder is out of reach at once, although an instance that has it open cannot forget it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_ends_the_instances_that_have_it() {
    let site = Site::on_nats();
    let out = folder(&site, "out");
    let mut command = site.command();
    command.env("STATION", "north");
    let host = site.start_as(command).await;
    let asked = json!({"files": [{"path": out, "as": "/out", "mode": "rw"}], "env": ["STATION"]});
    host.install(&Plugin::of("writer", "wasi").with("permissions", asked)).await;
    let (folder, variable) = (format!("files.rw:{}", out.display()), "env:STATION");
    grant(&host, "writer", &folder).await;
    grant(&host, "writer", variable).await;
    // Of the environment an instance has what it began with.
    host.succeed("reload_plugin", json!({"plugin_id": "writer"})).await;
    assert_eq!(host.call("count", json!({})).await, 1);
    host.call("write_file", json!({"path": "/out/a"})).await;

    // A call that is under way ends with its instance, at the next turn of that.
    let waiting = host.ask(Way::Mesh, "sleep_ms", json!({"ms": 3000}));
    let revoked = async {
        until("it sleeps", async || stats(&host, "writer").await["queue"]["running"] == 1).await;
        let params = json!({"plugin_id": "writer", "permission": folder});
        host.result(Way::Control, "revoke_plugin_permission", params).await
    };
    let (reply, revoked) = tokio::join!(waiting, revoked);
    assert!(revoked["hint"].as_str().unwrap().contains("end before their next turn"), "{revoked}");
    assert_eq!(reply["error"]["data"]["code"], "withdrawn", "{reply}");
    let error = host.fail("write_file", json!({"path": "/out/b"})).await;
    assert_eq!(error["data"]["code"], "io", "{error}");
    assert!(!out.join("b").exists());
    assert_eq!(host.call("count", json!({})).await, 1, "of a fresh instance");
    let environment = host.call("environment", json!({})).await;
    assert_eq!(environment["variables"], json!({"STATION": "north"}), "the rest is as it was");

    let params = json!({"plugin_id": "writer", "permission": variable});
    host.result(Way::Control, "revoke_plugin_permission", params).await;
    assert_eq!(host.call("environment", json!({})).await["variables"], json!({}));
    let counted = stats(&host, "writer").await;
    assert_eq!((&counted["losses"], &counted["refused"]), (&json!({}), &json!({"withdrawn": 2})), "{counted}");

    // Nor does a stop hook have it any more.
    grant(&host, "writer", &folder).await;
    host.call("write_file", json!({"path": "/out/d"})).await;
    let params = json!({"plugin_id": "writer", "permission": folder});
    host.result(Way::Control, "revoke_plugin_permission", params).await;
    host.succeed("reload_plugin", json!({"plugin_id": "writer"})).await;
    until("the one that was replaced ends", async || stats(&host, "writer").await["refused"]["withdrawn"] == 3).await;

    // A grant that ends ends like one that is taken back.
    let params = json!({"plugin_id": "writer", "permission": folder, "expires_in": "5s"});
    let granted = host.result(Way::Control, "grant_plugin_permission", params).await;
    assert_eq!(granted["status"], "success", "{granted}");
    host.call("write_file", json!({"path": "/out/c"})).await;
    until("the grant ends", async || {
        host.ask(Way::Mesh, "write_file", json!({"path": "/out/c"})).await["error"]["data"]["code"] == "io"
    })
    .await;
    assert_eq!(stats(&host, "writer").await["refused"], json!({"withdrawn": 4}));
    host.stop().await;
}
