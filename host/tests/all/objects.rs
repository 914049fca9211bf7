//! Archives in a JetStream object store: installed from there, pinned, and what is refused.

use crate::bundle::{Plugin, digest_of, version};
use crate::host::Site;
use async_nats::jetstream;
use async_nats::jetstream::object_store::{Config, ObjectStore};
use serde_json::{Value, json};

fn manifest(name: &str, archive: &[u8]) -> Value {
    json!({"manifest": {"type": "wasm", "object": {"bucket": "plugins", "name": name}, "digest": digest_of(archive)}})
}

async fn bucket(site: &Site) -> ObjectStore {
    let client = async_nats::connect(site.broker().url()).await.unwrap();
    let config = Config { bucket: "plugins".to_owned(), ..Config::default() };
    jetstream::new(client).create_object_store(config).await.unwrap()
}

async fn put(bucket: &ObjectStore, name: &str, archive: &[u8]) {
    bucket.put(name, &mut &archive[..]).await.unwrap();
}

/// Larger than a message.
fn large(archive: &Plugin) -> Vec<u8> {
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    });
    let mut plugin = archive.clone();
    plugin.files.push(("noise.bin".to_owned(), noise.take(3 << 20).collect()));
    plugin.tarball()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_installed_planned_and_held_to_its_digest() {
    let site = Site::on_nats_with_jetstream();
    let bucket = bucket(&site).await;
    let host = site.start().await;
    let archive = large(&Plugin::of("versioned", "version-1"));
    assert!(archive.len() > 2 << 20);
    put(&bucket, "versioned.tgz", &archive).await;
    let plan = host.succeed("plan_plugin_install", manifest("versioned.tgz", &archive)).await;
    assert_eq!(plan["source"], json!({"type": "object", "bucket": "plugins", "name": "versioned.tgz"}), "{plan}");
    let installed = host.succeed("install_plugin_from_manifest", manifest("versioned.tgz", &archive)).await;
    assert_eq!(installed["digest"], digest_of(&archive));
    assert_eq!(host.call("version", json!({})).await, "1.0.0");

    // Replaced by somebody: not what was pinned.
    put(&bucket, "versioned.tgz", &version(2).tarball()).await;
    let pinned = manifest("versioned.tgz", &version(1).tarball());
    assert_eq!(host.refuse("install_plugin_from_manifest", pinned).await["code"], "digest_mismatch");
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    host.succeed("install_plugin_from_manifest", manifest("versioned.tgz", &version(2).tarball())).await;
    assert_eq!(host.call("version", json!({})).await, "2.0.0");
    // What is here already needs no object.
    bucket.delete("versioned.tgz").await.unwrap();
    let again = host.succeed("install_plugin_from_manifest", manifest("versioned.tgz", &version(2).tarball())).await;
    assert_eq!(again["unchanged"], true);

    let refused = async |manifest: Value| host.refuse("install_plugin_from_manifest", manifest).await["code"].clone();
    assert_eq!(refused(manifest("versioned.tgz", b"gone")).await, "object_not_found");
    for bucket in ["nobody", "no bucket", ""] {
        let mut elsewhere = manifest("a.tgz", b"gone");
        elsewhere["manifest"]["object"]["bucket"] = bucket.into();
        assert_eq!(refused(elsewhere).await, "object_not_found", "{bucket}");
    }
    let mut unpinned = manifest("versioned.tgz", b"");
    unpinned["manifest"]["digest"].take();
    assert_eq!(refused(unpinned).await, "digest_required");
    let nameless = json!({"manifest": {"object": {"bucket": "plugins"}, "digest": digest_of(b"")}});
    assert_eq!(refused(nameless).await, "invalid_argument");
    let huge = vec![0_u8; (10 << 20) + 1];
    put(&bucket, "huge", &huge).await;
    assert_eq!(refused(manifest("huge", &huge)).await, "artifact_too_large");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_object_store_the_caller_hears_how_to_send_it() {
    let site = Site::on_nats();
    let host = site.start().await;
    let refusal = host.refuse("install_plugin_from_manifest", manifest("a.tgz", b"gone")).await;
    assert!(refusal["hint"].as_str().unwrap().contains("begin_plugin_upload"), "{refusal}");
    host.stop().await;
    let site = Site::on_zenoh();
    let host = site.start().await;
    let refusal = host.refuse("install_plugin_from_manifest", manifest("a.tgz", b"gone")).await;
    assert_eq!(refusal["code"], "object_store_unsupported", "{refusal}");
    host.stop().await;
}
