//! What the disk, or somebody, did to the host's own files: whatever can be had of the plugins is had, and nothing that
//! may be of use is removed.

use crate::bundle::{Plugin, bundle, digest_of, version};
use crate::host::{Host, Site, Way};
use crate::until;
use redb::TableDefinition;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Everything in a folder, sorted.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// The one thing in the state folder whose name begins so.
fn set_aside(site: &Site, beginning: &str) -> PathBuf {
    let is_it = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(beginning);
    let found: Vec<PathBuf> = entries(&site.state()).into_iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "`{beginning}`: {found:?}");
    found.into_iter().next().unwrap()
}

/// Writes over a file that may be sealed.
fn replace(path: &Path, content: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, content).unwrap();
}

async fn started<'a>(site: &'a Site, plugins: &[&str]) -> Host<'a> {
    let host = site.start().await;
    host.wait_for_loaded(plugins).await;
    until("auto-load is done", async || host.log().contains("auto-load is done")).await;
    host
}

async fn failed(host: &Host<'_>, plugin: &str) -> String {
    let failed = host.call("get_status", json!({})).await["failed_plugins"].take();
    failed[plugin].as_str().unwrap_or_else(|| panic!("{failed}")).to_owned()
}

/// Records that hold nonsense are set aside with a message, and everybody else's plugins are loaded as they were.
#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_record_costs_nobody_else_anything() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    host.install(&version(2)).await;
    host.install(&Plugin::assembled("counter")).await;
    host.install(&Plugin::assembled("demo")).await;
    host.succeed("unload_plugin", json!({"plugin_id": "demo"})).await;
    host.stop().await;
    {
        let store = redb::Database::open(site.state().join("state.redb")).unwrap();
        let tables = store.begin_write().unwrap();
        let nonsense = b"\x01{\"desired\":\"loa".as_slice();
        let plugins: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("plugins");
        tables.open_table(plugins).unwrap().insert("counter", nonsense).unwrap();
        let generations: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("generations");
        tables.open_table(generations).unwrap().insert(("versioned", 1), nonsense).unwrap();
        tables.commit().unwrap();
    }
    // A plugin without its record is one whose folder was found, and comes after those on record.
    let host = started(&site, &["versioned", "counter"]).await;
    for warning in
        ["record `counter` of `plugins` was set aside: ", "record `versioned/1` of `generations` was set aside: "]
    {
        assert!(host.log().contains(warning), "{warning}: {}", host.log());
    }
    assert_eq!(host.call("increment", json!({})).await, 1);
    assert_eq!(host.call("version", json!({})).await, "2.0.0");
    let list = host.call("list_plugins", json!({})).await;
    assert_eq!(list["loaded"]["counter"]["generation"], 2, "no number is given twice");
    let back = host.succeed("rollback_plugin", json!({"plugin_id": "counter"})).await;
    assert_eq!(back["generation"], 1, "its versions are there still: {back}");
    let refusal = host.refuse("rollback_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!(refusal["code"], "no_such_version", "{refusal}");
    // They can be changed like any other.
    host.install(&version(1)).await;
    host.install(&Plugin::assembled("counter").with("description", json!("Counts on"))).await;
    host.kill().await;
    let host = started(&site, &["counter", "versioned"]).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    assert!(!host.log().contains("was set aside"), "it is said once");
    host.stop().await;
}

/// A state store that cannot be read, or is gone: the plugins come back from their folders, an operator is told what to
/// do, and everything that was there before can be put back.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_store_that_is_lost_takes_no_plugin_and_no_version_with_it() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    host.install(&version(2)).await;
    host.install(&Plugin::assembled("counter")).await;
    host.succeed("unload_plugin", json!({"plugin_id": "counter"})).await;
    host.stop().await;
    let store = site.state().join("state.redb");
    let sound = std::fs::read(&store).unwrap();
    let is_kept = |folder: &str, within: &str| {
        let kept = set_aside(&site, folder);
        assert!(kept.join(within).exists(), "`{}`", kept.display());
        kept
    };
    let archive = format!("sha256/{}", digest_of(&version(1).tarball()).trim_start_matches("sha256:"));
    for (what, left) in [("cut", &sound[..sound.len() / 2]), ("nonsense", b"nonsense".as_slice()), ("gone", b"")] {
        match what {
            "gone" => std::fs::remove_file(&store).unwrap(),
            _ => std::fs::write(&store, left).unwrap(),
        }
        let host = started(&site, &["counter", "versioned"]).await;
        assert_eq!(host.call("version", json!({})).await, "2.0.0", "{what}");
        let generations = is_kept("generations.", "versioned/1/plugin.wasm");
        let archives = is_kept("store.", &archive);
        let mut told = vec!["plugins are loaded from their folders".to_owned(), "when nothing is missed".to_owned()];
        told.extend([&generations, &archives].map(|kept| format!("`{}`", kept.display())));
        let old = (what != "gone").then(|| set_aside(&site, "state.redb."));
        if let Some(old) = &old {
            assert_eq!(std::fs::metadata(old).unwrap().len(), left.len() as u64, "{what}");
            told.push(format!("kept as `{}`", old.display()));
        }
        for told in told {
            assert!(host.log().contains(&told), "{what}: `{told}` is not in the log: {}", host.log());
        }
        // What it begins with is its own, and is not set aside again.
        host.install(&version(1)).await;
        host.kill().await;
        let host = started(&site, &["counter", "versioned"]).await;
        host.succeed("rollback_plugin", json!({"plugin_id": "versioned"})).await;
        assert!(!host.log().contains("the state store"), "{}", host.log());
        host.stop().await;

        // An operator who has a sound store puts everything back.
        old.iter().for_each(|old| std::fs::remove_file(old).unwrap());
        std::fs::write(&store, &sound).unwrap();
        for (folder, kept) in [("generations", generations), ("store", archives)] {
            std::fs::remove_dir_all(site.state().join(folder)).unwrap();
            std::fs::rename(kept, site.state().join(folder)).unwrap();
        }
        let host = started(&site, &["versioned"]).await;
        host.succeed("rollback_plugin", json!({"plugin_id": "versioned"})).await;
        assert_eq!(host.call("version", json!({})).await, "1.0.0", "{what}");
        host.succeed("rollback_plugin", json!({"plugin_id": "versioned", "generation": 2})).await;
        host.stop().await;
    }
}

/// Compiled code that is damaged, cut, of another plugin or of another engine is a miss and nothing worse.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_compiled_code_is_a_miss() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    host.install(&Plugin::assembled("counter")).await;
    host.stop().await;
    let cache = site.state().join("cache");
    let flipped = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        bytes
    };
    let of_another_engine = |path: &Path| {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let last = if stem.ends_with('0') { '1' } else { '0' };
        let name = format!("{}{last}.{}", &stem[..stem.len() - 1], path.extension().unwrap().to_str().unwrap());
        std::fs::rename(path, path.with_file_name(name)).unwrap();
    };
    for damage in ["cut", "empty", "flipped", "swapped", "of another engine", "gone"] {
        let files = entries(&cache);
        assert!(files.len() >= 2, "{damage}: nothing is cached: {files:?}");
        let contents: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
        for (number, path) in files.iter().enumerate() {
            let bytes = contents[number].clone();
            match damage {
                "cut" => replace(path, &bytes[..bytes.len() / 2]),
                "empty" => replace(path, b""),
                "flipped" => replace(path, &flipped(bytes)),
                "swapped" => replace(path, &contents[(number + 1) % contents.len()]),
                "of another engine" => of_another_engine(path),
                _ => std::fs::remove_file(path).unwrap(),
            }
        }
        let host = started(&site, &["counter", "versioned"]).await;
        assert_eq!(host.call("version", json!({})).await, "1.0.0", "{damage}");
        assert_eq!(host.call("increment", json!({})).await, 1, "{damage}");
        host.stop().await;
    }
}

/// A generation that is gone or was altered is made anew: from its archive, else from the working copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_is_lost_or_altered_is_put_right() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    host.install(&version(2)).await;
    host.stop().await;
    let generation = site.state().join("generations/versioned/2");
    let code = std::fs::read(generation.join("plugin.wasm")).unwrap();
    let archives = site.state().join("store/sha256");
    for (damage, has_archive) in [
        ("altered", true),
        ("a file more", true),
        ("a link", true),
        ("gone", true),
        ("all gone", true),
        ("altered", false),
        ("gone", false),
    ] {
        let file = generation.join("plugin.wasm");
        match damage {
            "altered" => replace(&file, &Plugin::assembled("demo").files[0].1),
            "a file more" => std::fs::write(generation.join("more"), "x").unwrap(),
            "a link" => {
                std::fs::rename(&file, site.path().join("elsewhere.wasm")).unwrap();
                std::os::unix::fs::symlink(site.path().join("elsewhere.wasm"), &file).unwrap();
            }
            "gone" => std::fs::remove_dir_all(&generation).unwrap(),
            _ => std::fs::remove_dir_all(site.state().join("generations")).unwrap(),
        }
        if !has_archive {
            // One is gone, and the other is not what its name says.
            let files = entries(&archives);
            files.iter().for_each(|path| replace(path, b"altered"));
            std::fs::remove_file(&files[0]).unwrap();
        }
        let host = started(&site, &["versioned"]).await;
        assert_eq!(host.call("version", json!({})).await, "2.0.0", "{damage}");
        assert_eq!(std::fs::read(&file).unwrap(), code, "{damage}");
        assert_eq!(entries(&generation).len(), 2, "{damage}");
        host.install(&version(2)).await;
        host.stop().await;
    }
}

/// A plugin of which nothing is left fails with its reason, alone, and installing it again is the cure.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_of_which_nothing_is_left_fails_alone() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    host.install(&version(2)).await;
    host.install(&Plugin::assembled("counter")).await;
    host.stop().await;
    std::fs::remove_dir_all(site.state().join("generations/versioned")).unwrap();
    std::fs::remove_dir_all(site.state().join("store/sha256")).unwrap();
    std::fs::remove_dir_all(site.capabilities().join("versioned")).unwrap();
    let host = started(&site, &["counter"]).await;
    assert_eq!(failed(&host, "versioned").await, "generation 2 of `versioned` is missing");
    assert!(host.log().contains("generation 2 of `versioned` is missing"), "{}", host.log());
    let refusal = host.refuse("load_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!(
        (&refusal["code"], &refusal["hint"]),
        (&json!("generation_missing"), &json!("install the plugin again"))
    );
    let refusal = host.refuse("rollback_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!(refusal["code"], "generation_missing", "{refusal}");
    host.install(&version(2)).await;
    assert_eq!(host.call("version", json!({})).await, "2.0.0");
    assert_eq!(host.call("get_status", json!({})).await["failed_plugins"], json!({}));
    host.stop().await;
}

/// Without its archives a host has all of its plugins and versions; an archive that is sent again is kept again.
#[tokio::test(flavor = "multi_thread")]
async fn archives_that_are_missing_cost_no_version() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    host.install(&version(2)).await;
    let archives = site.state().join("store/sha256");
    // While it runs, and for the next start.
    entries(&archives).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    host.succeed("rollback_plugin", json!({"plugin_id": "versioned"})).await;
    host.kill().await;
    std::fs::remove_dir_all(site.state().join("store")).unwrap();
    let host = started(&site, &["versioned"]).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    host.succeed("rollback_plugin", json!({"plugin_id": "versioned", "generation": 2})).await;
    assert_eq!(host.call("version", json!({})).await, "2.0.0");
    let archive = version(2).tarball();
    let reply = host.result(Way::Mesh, "install_plugin_from_bundle", bundle(&archive)).await;
    assert_eq!((&reply["status"], &reply["unchanged"]), (&json!("success"), &Value::Bool(true)), "{reply}");
    let kept = archives.join(digest_of(&archive).trim_start_matches("sha256:"));
    assert_eq!(std::fs::read(kept).unwrap(), archive);
    host.stop().await;
}
