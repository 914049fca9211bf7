//! What the host keeps of its plugins: versions to go back to, across restarts and crashes.

use crate::bundle::{Plugin, bundle, digest_of, version};
use crate::host::{Host, Site, Way};
use crate::until;
use base64::Engine as _;
use serde_json::{Value, json};
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

async fn versions(host: &Host<'_>) -> Vec<(u64, bool)> {
    let reply = host.succeed("list_plugin_versions", json!({"plugin_id": "versioned"})).await;
    let versions = reply["versions"].as_array().unwrap().iter();
    versions.map(|v| (v["generation"].as_u64().unwrap(), v["current"].as_bool().unwrap())).collect()
}

/// Nothing is in staging, and no generation is there that no record names.
fn assert_swept(site: &Site, kept: &[&str]) {
    let names = |path: &Path| -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&site.state().join("staging")), Vec::<String>::new());
    assert_eq!(names(&site.state().join("generations/versioned")), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_can_be_rolled_back_and_a_plugin_uninstalled() {
    let site = Site::on_nats();
    let host = site.start().await;
    let refusal = host.refuse("rollback_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!(refusal["code"], "not_installed", "{refusal}");
    host.install(&version(1)).await;
    let refusal = host.refuse("rollback_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!(
        (&refusal["code"], &refusal["message"]),
        (&json!("no_such_version"), &json!("plugin 'versioned' has no earlier version"))
    );
    let archive = version(2).tarball();
    let installed = host.succeed("install_plugin_from_bundle", bundle(&archive)).await;
    assert_eq!((&installed["generation"], &installed["digest"]), (&json!(2), &json!(digest_of(&archive))));
    assert_eq!(versions(&host).await, [(2, true), (1, false)]);
    assert_eq!(host.call("added", json!({})).await, true);

    let back = host.succeed("rollback_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!(
        (&back["generation"], &back["rolled_back_from"], &back["version"]),
        (&json!(1), &json!(2), &json!("1.0.0"))
    );
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    assert!(!host.advertised().await.contains(&"added".to_owned()));
    let copy: Value =
        serde_json::from_slice(&std::fs::read(site.capabilities().join("versioned/manifest.json")).unwrap()).unwrap();
    assert_eq!(copy["version"], "1.0.0", "the working copy shows what serves");

    // Forward again by number, and no further than there is anything.
    host.succeed("rollback_plugin", json!({"plugin_id": "versioned", "generation": 2})).await;
    assert_eq!(host.call("version", json!({})).await, "2.0.0");
    let refusal = host.refuse("rollback_plugin", json!({"plugin_id": "versioned", "generation": 9})).await;
    assert_eq!(refusal["code"], "no_such_version");

    let gone = host.succeed("uninstall_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!((&gone["was_loaded"], &gone["generations_removed"]), (&json!(true), &json!(2)));
    assert_eq!(host.fail("version", json!({})).await["code"], -32601);
    assert!(!site.capabilities().join("versioned").exists());
    assert_swept(&site, &[]);
    let refusal = host.refuse("uninstall_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!(refusal["code"], "not_installed");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_bounded() {
    let site = Site::on_nats();
    let host = site.start().await;
    for n in 0..6 {
        let plugin = version(1 + n % 2).with("description", json!(format!("take {n}")));
        host.install(&plugin).await;
    }
    assert_eq!(versions(&host).await, [(6, true), (5, false), (4, false)]);
    // One that still drained at the last change goes with the next.
    until("older generations go", async || {
        host.succeed("reload_plugin", json!({"plugin_id": "versioned"})).await;
        std::fs::read_dir(site.state().join("generations/versioned")).unwrap().count() == 3
    })
    .await;
    let archives = std::fs::read_dir(site.state().join("store/sha256")).unwrap().count();
    assert_eq!(archives, 3);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_comes_back_with_what_served_and_nothing_else() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    host.install(&version(2)).await;
    host.install(&Plugin::assembled("counter")).await;
    host.install(&Plugin::assembled("demo")).await;
    host.succeed("unload_plugin", json!({"plugin_id": "counter"})).await;
    host.kill().await;

    // Meanwhile somebody edits, and the disk loses a file of a generation.
    std::fs::write(site.capabilities().join("demo/notes.txt"), "mine").unwrap();
    let lost = site.state().join("generations/versioned/2/plugin.wasm");
    std::fs::remove_file(&lost).unwrap();
    std::fs::create_dir_all(site.state().join("generations/versioned/77")).unwrap();

    let host = site.start().await;
    host.wait_for_loaded(&["demo", "versioned"]).await;
    assert_eq!(host.call("version", json!({})).await, "2.0.0", "restored from its archive");
    assert!(lost.is_file());
    assert!(!site.capabilities().join("demo/notes.txt").exists(), "what serves is what the folder shows");
    assert_eq!(std::fs::read_to_string(site.capabilities().join(".edits/demo.1/notes.txt")).unwrap(), "mine");
    assert_eq!(host.fail("increment", json!({})).await["code"], -32601, "it was unloaded");
    assert_swept(&site, &["1", "2"]);
    host.succeed("load_plugin", json!({"plugin_id": "counter"})).await;
    host.succeed("rollback_plugin", json!({"plugin_id": "versioned"})).await;
    host.kill().await;

    let host = site.start().await;
    host.wait_for_loaded(&["counter", "demo", "versioned"]).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    host.stop().await;
}

/// Version 2 starts, and then traps whenever it is called: version 1 is back without anybody asking.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_fails_its_probation_is_taken_back() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    host.install(&Plugin::of("versioned", "behave").with("version", json!("2.0.0"))).await;
    for _ in 0..3 {
        // Its instance is back with a delay, and so is the answer.
        host.ask(Way::Mesh, "panic", json!({})).await;
    }
    until("version 1 serves again", async || {
        host.ask(Way::Mesh, "version", json!({})).await.get("result").is_some_and(|version| version == "1.0.0")
    })
    .await;
    until("it is told why", async || {
        let list = host.call("list_plugins", json!({})).await;
        let back = &list["loaded"]["versioned"]["rolled_back"];
        back["from_generation"] == 2 && back["reason"].as_str().is_some_and(|reason| reason.contains("3 times"))
    })
    .await;
    host.stop().await;
}

/// A version that was recorded and not loaded is what the next load runs, whatever the working copy still shows.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_wins_over_a_working_copy_that_nobody_edited() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    host.succeed("unload_plugin", json!({"plugin_id": "versioned"})).await;
    let old = site.path().join("old");
    let copy = site.capabilities().join("versioned");
    std::fs::rename(&copy, &old).unwrap();
    let mut params = bundle(&version(2).tarball());
    params["load"] = json!(false);
    host.succeed("install_plugin_from_bundle", params.clone()).await;
    // The same files again are no further version, and those that serve are never pruned.
    host.succeed("install_plugin_from_bundle", params).await;
    assert_eq!(versions(&host).await, [(2, true), (1, false)]);
    host.succeed("load_plugin", json!({"plugin_id": "versioned"})).await;
    for n in 0..4 {
        let mut params = bundle(&version(1).with("description", json!(format!("take {n}"))).tarball());
        params["load"] = json!(false);
        host.succeed("install_plugin_from_bundle", params).await;
    }
    let numbers: Vec<u64> = versions(&host).await.into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [6, 2, 1], "what was put there last, and two that served");
    assert_eq!(host.call("version", json!({})).await, "2.0.0");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_further_back_and_not_forth() {
    let site = Site::on_nats();
    let host = site.start().await;
    for n in 1..=3 {
        host.install(&version(1).with("version", json!(format!("{n}.0.0")))).await;
    }
    for (from, to) in [(3, 2), (2, 1)] {
        let back = host.succeed("rollback_plugin", json!({"plugin_id": "versioned"})).await;
        assert_eq!((&back["rolled_back_from"], &back["generation"]), (&json!(from), &json!(to)));
    }
    let refusal = host.refuse("rollback_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!(refusal["code"], "no_such_version", "what was rolled back is no earlier version: {refusal}");
    host.stop().await;
}

/// It was put in its place without being loaded, so nobody knew that it cannot serve.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_never_served_does_not_keep_down_the_one_that_did() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    let mut params = bundle(&Plugin::of("versioned", "bad-start").with("version", json!("2.0.0")).tarball());
    params["load"] = json!(false);
    host.succeed("install_plugin_from_bundle", params).await;
    assert_eq!(host.refuse("load_plugin", json!({"plugin_id": "versioned"})).await["code"], "hook_failed");
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    host.kill().await;
    let host = site.start().await;
    host.wait_for_loaded(&["versioned"]).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    until("it is on record", async || versions(&host).await == [(2, false), (1, true)]).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_fails_can_be_unloaded_for_good() {
    let site = Site::on_nats();
    let host = site.start().await;
    let mut params = bundle(&Plugin::of("versioned", "bad-start").tarball());
    params["load"] = json!(false);
    host.succeed("install_plugin_from_bundle", params).await;
    host.kill().await;
    let failed = async |host: &Host<'_>| {
        until("auto-load is done", async || host.log().contains("auto-load is done")).await;
        host.call("get_status", json!({})).await["failed_plugins"].as_object().unwrap().len()
    };
    let host = site.start().await;
    assert_eq!(failed(&host).await, 1);
    host.succeed("unload_plugin", json!({"plugin_id": "versioned"})).await;
    let refusal = host.refuse("unload_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!(refusal["code"], "not_loaded");
    host.kill().await;
    let host = site.start().await;
    assert_eq!(failed(&host).await, 0, "it is not tried again");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn installing_what_is_on_record_is_no_further_version() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    host.succeed("unload_plugin", json!({"plugin_id": "versioned"})).await;
    let reply = host.install(&version(1)).await;
    assert_eq!(reply["generation"], 1, "{reply}");
    assert_eq!(versions(&host).await, [(1, true)]);
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    host.stop().await;
}

/// A folder that was never loaded may be somebody's only copy.
#[tokio::test(flavor = "multi_thread")]
async fn uninstalling_what_is_not_on_record_keeps_the_folder_aside() {
    let site = Site::on_nats();
    let host = site.start().await;
    site.put(&version(1));
    let gone = host.succeed("uninstall_plugin", json!({"plugin_id": "versioned"})).await;
    let kept = gone["edits_kept_at"].as_str().unwrap();
    assert!(Path::new(kept).join("plugin.wasm").is_file(), "{gone}");
    assert!(!site.capabilities().join("versioned").exists());
    host.stop().await;
}

/// An archive larger than one message goes in parts, and each of them may be sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_uploaded_in_parts() {
    let site = Site::on_nats();
    let host = site.start().await;
    let archive = version(1).tarball();
    let begin = json!({"total_bytes": archive.len(), "digest": digest_of(&archive)});
    // A client whose answer was lost sends its request again, and has one upload all the same.
    let begin = json!({"jsonrpc": "2.0", "id": "u-1", "method": "begin_plugin_upload", "params": begin}).to_string();
    let begun = host.send(Way::Mesh, begin.clone()).await;
    assert_eq!(host.send(Way::Mesh, begin.clone()).await, begun);
    let upload = begun["result"]["upload_id"].as_str().unwrap();
    let another = host.send(Way::Mesh, begin.replace("u-1", "u-2")).await;
    assert!(another["result"]["upload_id"].is_string() && another["result"]["upload_id"] != upload, "{another}");
    let part = |offset: usize, bytes: &[u8]| {
        let chunk = base64::engine::general_purpose::STANDARD.encode(bytes);
        json!({"upload_id": upload, "offset": offset, "chunk_b64": chunk})
    };
    let mut offset = 0;
    for chunk in archive.chunks(20_000) {
        for _ in 0..2 {
            let reply = host.succeed("append_plugin_upload", part(offset, chunk)).await;
            assert_eq!(reply["next_offset"], offset + chunk.len(), "{reply}");
        }
        offset += chunk.len();
        if offset < archive.len() {
            let refusal = host.refuse("append_plugin_upload", part(offset + 1, b"x")).await;
            assert_eq!(refusal["next_offset"], offset, "a client learns where to go on: {refusal}");
            let refusal = host.refuse("commit_plugin_upload", json!({"upload_id": upload})).await;
            assert!(refusal["hint"].is_string(), "{refusal}");
        }
    }
    let reply = host.succeed("commit_plugin_upload", json!({"upload_id": upload})).await;
    assert_eq!((&reply["plugin_id"], &reply["digest"]), (&json!("versioned"), &json!(digest_of(&archive))));
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    // What was committed cannot be gone on with: whoever begins with that id again means another.
    let anew = host.send(Way::Mesh, begin).await;
    assert!(anew["result"]["upload_id"].is_string() && anew != begun, "{anew}");
    host.stop().await;
}

/// A caller that has lost the answer can ask what became of its call, even after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn the_outcome_of_a_change_can_be_asked_for_later() {
    let site = Site::on_nats();
    let host = site.start().await;
    let params = bundle(&version(1).tarball());
    let request = json!({"jsonrpc": "2.0", "id": "d2d-mine", "method": "install_plugin_from_bundle", "params": params});
    let reply = host.send(Way::Mesh, request.to_string()).await;
    assert_eq!(reply["result"]["status"], "success");
    let outcome = async |host: &Host<'_>| {
        host.call("get_plugin_operation", json!({"request_id": "d2d-mine"})).await["operation"].take()
    };
    until("it is written down", async || outcome(&host).await["status"] == "done").await;
    host.kill().await;
    let host = site.start().await;
    let operation = outcome(&host).await;
    assert_eq!(operation["outcome"]["generation"], 1, "{operation}");
    assert_eq!(operation["plugin_id"], "versioned");
    let refusal = host.refuse("get_plugin_operation", json!({"request_id": "nobody"})).await;
    assert_eq!(refusal["code"], "unknown_operation");
    host.stop().await;
}

/// Kills the host at random moments while plugins come and go: each time it comes back, every plugin is wholly one version
/// or the other, and nothing is left lying about. `MORTISE_CRASHES` says how often; the short form is for every run.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_at_any_moment_comes_back_whole() {
    let crashes: u32 = std::env::var("MORTISE_CRASHES").map_or(8, |number| number.parse().unwrap());
    let site = Site::on_nats();
    // One plugin swaps, the other makes room first; each has two versions.
    let plugins = ["versioned", "alone"].map(|id| {
        let archives = ["1.0.0", "2.0.0"].map(|number| {
            let plugin = Plugin::of(id, &format!("version-{}", &number[..1])).with("version", json!(number));
            let plugin = if id == "alone" { plugin.with("swap", json!("exclusive")) } else { plugin };
            bundle(&plugin.tarball())
        });
        (id, archives)
    });
    let (changes, calls) = (Cell::new(0_u64), Cell::new(0_u64));
    let mut present = 0_u32;
    let may_go = |crash: u32| crash.is_multiple_of(3);
    let host = site.start().await;
    for (_, archives) in &plugins {
        host.succeed("install_plugin_from_bundle", archives[0].clone()).await;
    }
    host.kill().await;
    let mut has_to_be_there = [true; 2];
    for crash in 0..crashes {
        let host = site.start().await;
        until("auto-load is done", async || host.log().contains("auto-load is done")).await;
        // Wholly the one or the other, or not there at all.
        for ((id, _), has_to_be_there) in plugins.iter().zip(&mut has_to_be_there) {
            let is_loaded = host.loaded().await.contains(&(*id).to_owned());
            assert!(is_loaded || !*has_to_be_there, "crash {crash}: nobody uninstalled {id}: {}", host.log());
            *has_to_be_there = is_loaded && !may_go(crash);
            if is_loaded {
                present += 1;
                let answer = host.call(&format!("{id}.version"), json!({})).await;
                let added = host.ask(Way::Mesh, &format!("{id}.added"), json!({})).await.get("result").is_some();
                assert!(answer == "1.0.0" && !added || answer == "2.0.0" && added, "{id} {answer}, added: {added}");
            }
        }
        let status = host.call("get_status", json!({})).await;
        assert_eq!(status["failed_plugins"], json!({}), "crash {crash}: {}", host.log());
        let staging = std::fs::read_dir(site.state().join("staging")).unwrap().count();
        assert_eq!(staging, 0, "crash {crash}: something was left in staging");
        let change = async |id: &str, archives: &[Value; 2], first: u32| {
            for step in first.. {
                let (method, params) = match step % 6 {
                    0 | 2 => ("install_plugin_from_bundle", archives[0].clone()),
                    1 | 3 => ("install_plugin_from_bundle", archives[1].clone()),
                    4 => ("rollback_plugin", json!({"plugin_id": id})),
                    _ if may_go(crash) => ("uninstall_plugin", json!({"plugin_id": id})),
                    _ => ("reload_plugin", json!({"plugin_id": id})),
                };
                host.ask(Way::Control, method, params).await;
                changes.set(changes.get() + 1);
            }
        };
        // Where nobody uninstalls, whoever calls meanwhile hears one version or the other.
        let call = async |id: &str| {
            let method = format!("{id}.version");
            loop {
                let reply = host.ask(Way::Mesh, &method, json!({})).await;
                let is_version = reply.get("result").is_some_and(|result| result == "1.0.0" || result == "2.0.0");
                assert!(is_version, "crash {crash}: {reply}: {}", host.log());
                calls.set(calls.get() + 1);
            }
        };
        let [(one, of_one), (other, of_other)] = &plugins;
        let work = async {
            tokio::join!(change(one, of_one, crash), change(other, of_other, crash + 3), async {
                if has_to_be_there == [true; 2] {
                    tokio::join!(call(one), call(other));
                }
            });
        };
        let pause = Duration::from_millis(u64::from(rand::random::<u8>()) * 2);
        let _ = tokio::time::timeout(pause, work).await;
        host.kill().await;
    }
    let (changes, calls) = (changes.get(), calls.get());
    eprintln!(
        "{crashes} crashes during {changes} changes and {calls} calls; {present} times a plugin was there afterwards"
    );
}
