//! What an install would change, told before it is done, and installs that hold to it.

use crate::bundle::{Plugin, bundle, digest_of, version};
use crate::host::{Host, Site, Way};
use crate::program::{mortise, run};
use base64::Engine as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn with(mut params: Value, key: &str, value: impl Into<Value>) -> Value {
    params[key] = value.into();
    params
}

async fn plan(host: &Host<'_>, plugin: &Plugin) -> Value {
    host.succeed("plan_plugin_install", bundle(&plugin.tarball())).await
}

/// Every file of a host, without what it keeps for itself: compiled code and its database.
fn files(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let (path, metadata) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
            if metadata.is_dir() {
                if !path.ends_with("cache") {
                    folders.push(path);
                }
            } else if !path.ends_with("state.redb") {
                found.insert(path, metadata.len());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_an_install_would_change_and_changes_nothing() {
    let site = Site::on_nats();
    let host = site.start().await;
    let archive = version(1).tarball();
    let before = (files(&site.capabilities()), host.advertised().await);
    let first = host.succeed("plan_plugin_install", bundle(&archive)).await;
    assert_eq!((files(&site.capabilities()), host.advertised().await), before, "nothing is left of it");
    assert_eq!(
        (&first["plugin_id"], &first["action"], &first["type"], &first["digest"]),
        (&json!("versioned"), &json!("install"), &json!("wasm"), &json!(digest_of(&archive)))
    );
    assert_eq!(first["version"], json!({"from": null, "to": "1.0.0"}));
    let functions =
        json!({"added": ["count", "keep", "kept", "version", "version_later"], "removed": [], "changed": []});
    assert_eq!((&first["functions"], &first["breaking"]), (&functions, &json!(false)));
    assert_eq!(first["events"]["added"], json!(["ticked"]));
    assert_eq!(first["routines"]["added"], json!(["tick"]));
    assert_eq!((&first["sizes"]["archive_bytes"], &first["sizes"]["files"]), (&json!(archive.len()), &json!(2)));
    assert_eq!(first["name_conflicts"], json!([]));

    host.install(&version(1)).await;
    assert_eq!(plan(&host, &version(1)).await["action"], "unchanged");
    let upgrade = plan(&host, &version(2)).await;
    assert_eq!((&upgrade["action"], &upgrade["breaking"]), (&json!("upgrade"), &json!(false)));
    assert_eq!(upgrade["version"], json!({"from": "1.0.0", "to": "2.0.0"}));
    assert_eq!((&upgrade["replaces"]["generation"], &upgrade["replaces"]["running"]), (&json!(1), &json!(true)));
    assert_eq!(upgrade["functions"], json!({"added": ["added"], "removed": [], "changed": []}));
    host.install(&version(2)).await;
    host.succeed("unload_plugin", json!({"plugin_id": "versioned"})).await;
    let back = plan(&host, &version(1)).await;
    assert_eq!((&back["breaking"], &back["functions"]["removed"]), (&json!(true), &json!(["added"])));
    assert_eq!(back["replaces"]["running"], false, "what it brought is remembered");
    host.succeed("load_plugin", json!({"plugin_id": "versioned"})).await;

    let wanted = json!({"plugins": ["demo.*"], "mesh": {"invoke": ["camera-*"]}});
    let other = Plugin::of("other", "version-1").with("permissions", wanted.clone());
    let other = plan(&host, &other.with("limits", json!({"memory": "32MiB"}))).await;
    assert_eq!(
        other["name_conflicts"][0],
        json!({"function": "version", "owner": "plugin `versioned`", "advertised_as": "other.version"})
    );
    let added = ["mesh.invoke camera-*", "plugins demo.*"];
    let denied = ["plugins:demo.*", "mesh.invoke:camera-*"]
        .map(|lacking| json!({"permission": lacking, "command": format!("mortise deploy grant other '{lacking}'")}));
    let permissions = json!({"wanted": wanted, "added": added, "removed": [], "denied": denied});
    assert_eq!(other["permissions"], permissions);
    assert_eq!((&other["security"]["risk"], &other["refused"]), (&json!("high"), &Value::Null));
    assert_eq!(other["limits"]["added"], json!(["memory 32MiB"]));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_holds_to_the_plan_it_is_given() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    let agreed = plan(&host, &version(2)).await;
    let again = plan(&host, &version(2)).await;
    assert_eq!(agreed["plan_digest"], again["plan_digest"]);

    // Somebody else is quicker: now the install would do something else.
    host.install(&version(2).with("description", json!("quicker"))).await;
    let params = with(bundle(&version(2).tarball()), "plan_digest", agreed["plan_digest"].clone());
    let refusal = host.refuse("install_plugin_from_bundle", params).await;
    assert_eq!(refusal["code"], "plan_changed", "{refusal}");
    assert_eq!(refusal["plan"]["replaces"]["generation"], 2);
    assert_eq!(refusal["plan"]["functions"]["added"], json!([]));
    assert!(refusal["hint"].as_str().unwrap().contains("plan_digest"));
    let loaded = &host.succeed("list_plugins", json!({})).await["loaded"]["versioned"];
    assert_eq!(loaded["generation"], 2, "nothing has changed");

    let params = with(bundle(&version(2).tarball()), "plan_digest", refusal["plan_digest"].clone());
    assert_eq!(host.succeed("install_plugin_from_bundle", params).await["generation"], 3);
    let params = with(bundle(&version(2).tarball()), "plan_digest", "soon");
    assert_eq!(host.refuse("install_plugin_from_bundle", params).await["code"], "invalid_argument");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_can_be_planned_first() {
    let site = Site::on_nats();
    let host = site.start().await;
    let archive = version(1).tarball();
    let digest = plan(&host, &version(1)).await["plan_digest"].clone();
    let same = |plan: &Value| assert_eq!(plan["plan_digest"], digest, "{plan}");

    same(&host.succeed("plan_plugin_install", json!({"manifest": bundle(&archive)})).await);
    let upload = json!({"total_bytes": archive.len(), "digest": digest_of(&archive)});
    let upload = host.succeed("begin_plugin_upload", upload).await["upload_id"].clone();
    let refusal = host.refuse("plan_plugin_install", json!({"upload_id": upload})).await;
    assert_eq!(refusal["code"], "upload_incomplete", "{refusal}");
    let chunk = base64::engine::general_purpose::STANDARD.encode(&archive);
    let part = json!({"upload_id": upload, "offset": 0, "chunk_b64": chunk});
    host.succeed("append_plugin_upload", part).await;
    same(&host.succeed("plan_plugin_install", json!({"upload_id": upload})).await);
    let published = json!({"plugin_id": "versioned", "bundle_b64": chunk, "version": "1.0.0"});
    let url = host.succeed("publish_plugin_artifact", published).await["artifact"]["url"].clone();
    same(&host.succeed("plan_plugin_install", json!({"url": url})).await);
    let folder = site.path().join("source/versioned");
    version(1).put_into(folder.parent().unwrap());
    let source = json!({"source_path": folder});
    same(&host.result(Way::Control, "plan_plugin_install", source.clone()).await);
    assert_eq!(host.refuse("plan_plugin_install", source.clone()).await["code"], "not_allowed");

    for bad in [json!({}), json!({"url": url, "upload_id": upload})] {
        assert_eq!(host.refuse("plan_plugin_install", bad).await["code"], "invalid_argument");
    }
    // What was planned is what the upload installs.
    let commit = json!({"upload_id": upload, "plan_digest": digest});
    assert_eq!(host.succeed("commit_plugin_upload", commit).await["generation"], 1);
    let exists = host.result(Way::Control, "plan_plugin_install", source).await;
    assert_eq!(exists["code"], "plugin_exists", "`install_plugin` never overwrites: {exists}");
    // What no install would get past is refused here already; what only a start tells is not.
    let refusal = host.refuse("plan_plugin_install", bundle(&Plugin::of("x", "no-exports").tarball())).await;
    assert_eq!(refusal["code"], "invalid_code");
    assert!(refusal["message"].as_str().unwrap().starts_with("Failed to plan the install of plugin 'x'"));
    assert_eq!(plan(&host, &Plugin::of("bad", "bad-start")).await["functions"]["added"], json!(["ping"]));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_plans_and_holds_an_install_to_its_plan() {
    let site = Site::on_nats();
    let host = site.start().await;
    let folder = site.path().join("source");
    version(1).put_into(&folder);
    let deploy = |flags: &[&str]| {
        let mut command = mortise();
        command.args(["deploy", "install", "--json", "--state-dir"]).arg(site.state());
        command.arg(folder.join("versioned")).args(flags);
        let ended = run(&mut command);
        let document: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}", ended.err));
        (ended.code, document["result"].clone())
    };
    let (code, plan) = deploy(&["--plan"]);
    assert_eq!((code, &plan["action"]), (0, &json!("install")), "{plan}");
    assert_eq!(host.loaded().await, Vec::<String>::new());
    let agreed = plan["plan_digest"].as_str().unwrap();
    let (code, installed) = deploy(&["--plan-digest", agreed]);
    assert_eq!((code, &installed["generation"]), (0, &json!(1)), "{installed}");
    let (code, refusal) = deploy(&["--plan-digest", agreed]);
    assert_eq!((code, &refusal["code"]), (1, &json!("plan_changed")), "{refusal}");

    // Larger than a message: uploaded, and planned from there.
    version(2).put_into(&folder);
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    })
    .take(2 << 20)
    .collect();
    std::fs::write(folder.join("versioned/noise.bin"), noise).unwrap();
    let mut command = mortise();
    command.args(["deploy", "install", "--json", "--plan", "--host", &site.device, "--tenant", &site.tenant]);
    command.args(["--messaging-url", &site.broker().url()]).arg(folder.join("versioned"));
    let ended = run(&mut command);
    let document: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}", ended.err));
    assert_eq!(document["result"]["action"], "upgrade", "{document}");
    assert!(document["result"]["sizes"]["archive_bytes"].as_u64().unwrap() > 1 << 20);
    host.stop().await;
}
