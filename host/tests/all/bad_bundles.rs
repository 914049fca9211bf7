//! Bundles that are refused: each with a message of its own, with nothing left on disk and nothing changed that runs.

use crate::bundle::{Member, Plugin, bundle, digest_of, guest, tarball};
use crate::host::{Host, Site, Way};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tar::EntryType;

/// A core module: it begins as a component does, and is none.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// One bad bundle, and what is said of it.
struct Bad {
    what: &'static str,
    params: Value,
    code: &'static str,
    message: String,
}

fn bad(what: &'static str, params: Value, code: &'static str, message: impl Into<String>) -> Bad {
    Bad { what, params, code, message: message.into() }
}

/// A plugin whose code is never looked at.
fn plain() -> Plugin {
    Plugin::new("p1", b"\0asm\x0d\0\x01\0".to_vec())
}

fn archive(plugin: &Plugin) -> Value {
    bundle(&plugin.tarball())
}

/// A whole plugin, and one member more.
fn with_member(member: Member<'_>) -> Value {
    let plugin = plain();
    let manifest = plugin.manifest.to_string();
    bundle(&tarball([
        Member::file("p1/manifest.json", manifest.as_bytes()),
        Member::file("p1/plugin.wasm", &plugin.files[0].1),
        member,
    ]))
}

fn with(mut params: Value, key: &str, value: impl Into<Value>) -> Value {
    params[key] = value.into();
    params
}

fn link(kind: EntryType, link: &str) -> Member<'_> {
    Member { name: "p1/link".to_owned(), kind, link, content: b"" }
}

fn archives() -> Vec<Bad> {
    let no_archive = bundle(b"this is no archive");
    let cut_short = plain().tarball();
    let without_manifest = tarball([Member::file("p1/plugin.wasm", b"x")]);
    let dot_dot = |name| with_member(Member::file(name, b"x"));
    vec![
        bad("not base64", json!({"bundle_b64": "aGVsbG8"}), "invalid_base64", "invalid base64 bundle"),
        bad("no archive", no_archive.clone(), "archive_corrupt", "not a gzip file"),
        bad("no zip", with(no_archive, "format", "zip"), "archive_corrupt", "file is not a zip file"),
        bad("cut short", bundle(&cut_short[..cut_short.len() / 2]), "archive_corrupt", "corrupt archive: "),
        bad("wrong digest", with(archive(&plain()), "digest", digest_of(b"")), "digest_mismatch", "digest mismatch"),
        bad("no digest", with(archive(&plain()), "digest", "md5:0"), "digest_mismatch", "digest mismatch"),
        bad(
            "no manifest",
            bundle(&without_manifest),
            "missing_manifest",
            "archive must contain manifest.json at root or in a single top-level folder",
        ),
        bad("absolute", dot_dot("/etc/x"), "archive_unsafe_path", "unsafe path in archive: /etc/x"),
        bad("a way out", dot_dot("p1/../../x"), "archive_unsafe_path", "unsafe path in archive: p1/../../x"),
        bad("a way up", dot_dot("../x"), "archive_unsafe_path", "unsafe path in archive: ../x"),
        bad("twice", dot_dot("p1/plugin.wasm"), "archive_path_conflict", "duplicate path in archive: p1/plugin.wasm"),
        bad(
            "a link out",
            with_member(link(EntryType::Symlink, "/etc/passwd")),
            "archive_link",
            "symbolic link in archive: p1/link",
        ),
        bad(
            "a link within",
            with_member(link(EntryType::Link, "p1/plugin.wasm")),
            "archive_link",
            "hard link in archive: p1/link",
        ),
        bad(
            "a pipe",
            with_member(link(EntryType::Fifo, "")),
            "archive_special_file",
            "special file in archive: p1/link (",
        ),
        bad(
            "a bomb",
            with_member(Member::file("p1/zeros", &vec![0; 16 << 20])),
            "archive_too_large",
            "archive unpacks to more than ",
        ),
    ]
}

fn manifests() -> Vec<Bad> {
    let of = |key, value| archive(&plain().with(key, value));
    let without = |key: &str| {
        let mut plugin = plain();
        plugin.manifest.as_object_mut().unwrap().remove(key);
        tarball([
            Member::file("p1/manifest.json", plugin.manifest.to_string().as_bytes()),
            Member::file("p1/plugin.wasm", &plugin.files[0].1),
        ])
    };
    let mut no_code = plain();
    no_code.files.clear();
    let no_json = tarball([Member::file("p1/manifest.json", b"{"), Member::file("p1/plugin.wasm", b"x")]);
    let id = |given: &str| with(archive(&plain()), "plugin_id", given);
    let own_id = |id: &str| {
        let manifest = plain().with("id", json!(id)).manifest.to_string();
        bundle(&tarball([Member::file("manifest.json", manifest.as_bytes()), Member::file("plugin.wasm", b"x")]))
    };
    vec![
        bad("no JSON", bundle(&no_json), "manifest_not_json", "invalid manifest.json: "),
        bad("near miss", of("entrypoint", json!("x")), "manifest_unknown_key", "unknown key `entrypoint`"),
        bad("wrong type", of("version", json!(1)), "manifest_wrong_type", "`version` must be a string, got "),
        bad(
            "no entry point named",
            bundle(&without("entry_point")),
            "manifest_entry_point",
            "manifest missing entry_point",
        ),
        bad("entry point missing", archive(&no_code), "missing_entry_point", "entry point not found: plugin.wasm"),
        bad(
            "entry point outside",
            of("entry_point", json!("../plugin.wasm")),
            "manifest_entry_point",
            "invalid `entry_point`",
        ),
        bad("unknown limit", of("limits", json!({"memmory": "1MiB"})), "limit_unknown", "unknown key `limits.memmory`"),
        bad(
            "raised limit",
            of("limits", json!({"memory": "1GiB"})),
            "limit_raised",
            "plugin `p1` asks for more than it may use: `limits.memory` may be at most ",
        ),
        bad("unknown type", of("type", json!("wasn")), "manifest_type", "unknown plugin type `wasn`"),
        bad("id `.`", id("."), "invalid_plugin_id", "invalid plugin id"),
        bad("id with a path", id("../x"), "invalid_plugin_id", "invalid plugin id"),
        bad("own id `.`", own_id("."), "invalid_plugin_id", "invalid plugin id"),
        bad("own id with a path", own_id("../x"), "invalid_plugin_id", "invalid plugin id"),
        bad(
            "another id",
            id("p2"),
            "plugin_id_mismatch",
            "plugin id mismatch: expected `p2`, got `p1` from manifest.json",
        ),
    ]
}

fn codes() -> Vec<Bad> {
    let failed = |reason: &str| format!("Failed to load plugin 'p1': {reason}");
    let of = |code: &[u8]| archive(&Plugin::new("p1", code.to_vec()));
    let slow = Plugin::of("p1", "slow-start").with("limits", json!({"start_timeout": "200ms"}));
    let hook = |name: &str, what: &str| archive(&Plugin::of("p1", "behave").with("config", json!({name: what})));
    let description = |what: &str| archive(&Plugin::of("p1", "raw").with("config", json!({"describe": what})));
    let mut damaged = guest("hello-world");
    let half = damaged.len() / 2;
    damaged.truncate(half);
    vec![
        bad("no code", of(b"print('hello')"), "invalid_code", failed("`plugin.wasm` cannot be loaded: ")),
        bad("core module", of(CORE_MODULE), "invalid_code", failed("`plugin.wasm` cannot be loaded: ")),
        bad("damaged", of(&damaged), "invalid_code", failed("`plugin.wasm` cannot be loaded: ")),
        bad("no exports", of(&guest("no-exports")), "invalid_code", failed("`plugin.wasm` cannot be loaded: ")),
        bad("bad start", of(&guest("bad-start")), "hook_failed", failed("start failed: the sensor does not answer")),
        bad("slow start", archive(&slow), "hook_failed", failed("start failed: ")),
        bad("start panics", hook("start", "panic"), "hook_failed", failed("start failed: ")),
        bad("self-test fails", hook("self_test", "fail"), "hook_failed", failed("self_test failed: ")),
        bad("no description", description("fail"), "hook_failed", failed("describe failed: ")),
        bad("a description that panics", description("panic"), "hook_failed", failed("describe failed: ")),
        bad(
            "a pattern that no event matches",
            archive(&Plugin::of("p1", "version-1").with("permissions", json!({"mesh": {"emit": ["x.y"]}}))),
            "manifest_pattern",
            "invalid pattern `x.y` in `permissions.mesh.emit`: no event has a dot in its name",
        ),
    ]
}

/// Everything below the capabilities folder except the host's own state and its artifact store, with what is in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name == ".mortise" || name == ".artifacts") {
                continue;
            }
            if path.is_dir() {
                found.insert(path.clone(), Vec::new());
                folders.push(path);
            } else {
                found.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    found
}

/// What must not change.
#[derive(Debug, PartialEq)]
struct Standing {
    files: BTreeMap<PathBuf, Vec<u8>>,
    staged: usize,
    loaded: Value,
    advertised: Vec<String>,
    count: Value,
}

async fn standing(host: &Host<'_>, site: &Site) -> Standing {
    let mut list = host.succeed("list_plugins", json!({})).await;
    list["loaded"]["counter"]["health"] = Value::Null;
    Standing {
        files: files(&site.capabilities()),
        staged: std::fs::read_dir(site.state().join("staging")).unwrap().count(),
        loaded: list["loaded"].take(),
        advertised: host.advertised().await,
        count: host.call("get", json!({})).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_bundle_is_refused_and_changes_nothing() {
    let site = Site::on_nats();
    site.put(&Plugin::assembled("counter"));
    let host = site.start().await;
    host.wait_for_loaded(&["counter"]).await;
    host.call("increment", json!({"by": 7})).await;
    let before = standing(&host, &site).await;
    assert_eq!((before.staged, &before.count), (0, &json!(7)));

    let mut said = BTreeMap::<String, &str>::new();
    for Bad { what, params, code, message } in archives().into_iter().chain(manifests()).chain(codes()) {
        let refusal = host.refuse("install_plugin_from_bundle", params).await;
        let text = refusal["message"].as_str().unwrap();
        assert_eq!(refusal["code"], code, "{what}: {refusal}");
        assert!(text.starts_with(&message), "{what}: {refusal}");
        let hint = refusal["hint"].as_str().unwrap_or_else(|| panic!("{what}: no cure in {refusal}"));
        assert!(!hint.is_empty(), "{what}");
        let detail = refusal["detail"].as_str().unwrap_or_default();
        if let Some(other) = said.insert(format!("{text} {detail} {hint}"), what) {
            panic!("`{what}` and `{other}` are told the same: {refusal}");
        }
        assert_eq!(standing(&host, &site).await, before, "{what}");
    }
    host.stop().await;
    assert!(!Path::new("/etc/x").exists());
}

/// The operator's own limits.
#[tokio::test(flavor = "multi_thread")]
async fn bundles_are_as_large_and_as_pinned_as_the_operator_wants() {
    let site = Site::on_nats();
    let plugin = Plugin::assembled("hello-world");
    let archive = plugin.tarball();
    let mut command = site.command();
    command.env("DC_PLUGIN_MAX_PLUGIN_BYTES", archive.len().to_string()).env("DC_PLUGIN_INSTALL_REQUIRE_DIGEST", "1");
    let host = site.start_as(command).await;

    let mut larger = archive.clone();
    larger.push(0);
    let pinned = |archive: &[u8]| with(bundle(archive), "digest", digest_of(archive));
    let refusal = host.refuse("install_plugin_from_bundle", pinned(&larger)).await;
    assert_eq!(refusal["message"], format!("bundle exceeds max size ({} bytes)", archive.len()));
    assert_eq!(refusal["code"], "bundle_too_large");
    let refusal = host.refuse("install_plugin_from_bundle", bundle(&archive)).await;
    assert_eq!(refusal["message"], "digest is required (set DC_PLUGIN_INSTALL_REQUIRE_DIGEST=1 or pass digest=)");
    assert_eq!(refusal["code"], "digest_required");
    assert_eq!(files(&site.capabilities()), BTreeMap::new());
    assert_eq!(std::fs::read_dir(site.state().join("staging")).unwrap().count(), 0);

    host.succeed("install_plugin_from_bundle", pinned(&archive)).await;
    host.call("hello_world", json!({})).await;
    host.stop().await;
}

/// More members than a plugin may have, over the way that carries the largest requests.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_of_very_many_members_is_refused() {
    let site = Site::on_nats();
    let host = site.start().await;
    let names: BTreeSet<String> = (0..20_000).map(|n| format!("p1/{n}")).collect();
    let params = bundle(&tarball(names.iter().map(|name| Member::file(name, b""))));
    let refusal = host.result(Way::Control, "install_plugin_from_bundle", params).await;
    assert_eq!((&refusal["status"], &refusal["code"]), (&json!("error"), &json!("archive_too_large")), "{refusal}");
    let message = refusal["message"].as_str().unwrap();
    assert!(message.starts_with("archive has more than ") && message.ends_with(" members"), "{message}");
    assert_eq!(files(&site.capabilities()), BTreeMap::new());
    host.stop().await;
}
