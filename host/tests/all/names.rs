//! Two plugins with one name for a function: the first keeps it, both are told (wire contract 6.5).

use crate::bundle::{Plugin, bundle};
use crate::host::{Host, Site};
use serde_json::{Value, json};

async fn conflicts(host: &Host<'_>, plugin: &str) -> Value {
    host.succeed("list_plugins", json!({})).await["loaded"][plugin]["name_conflicts"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_stays_with_its_first_owner_and_passes_when_that_leaves() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&Plugin::of("first", "hello-world")).await;
    let conflict = json!([
        {"function": "hello_world", "owner": "plugin `first`", "advertised_as": "second.hello_world"},
    ]);
    let reply = host.install(&Plugin::of("second", "hello-world")).await;
    assert_eq!(reply["load_result"]["plugin"]["id"], "second");
    assert_eq!(reply["load_result"]["name_conflicts"], conflict, "{reply}");
    assert_eq!(conflicts(&host, "second").await, conflict);
    assert_eq!(conflicts(&host, "first").await, json!([]));
    let of_plugins = async || {
        let advertised = host.advertised().await;
        advertised.into_iter().filter(|name| name.contains("hello")).collect::<Vec<_>>()
    };
    assert_eq!(of_plugins().await, ["hello_world", "second.hello_world"]);
    for name in ["hello_world", "first.hello_world", "second.hello_world"] {
        assert_eq!(host.call(name, json!({})).await, json!({"message": "Hello, world!"}));
    }

    // A reload takes nothing away from anybody.
    let reply = host.succeed("reload_plugin", json!({"plugin_id": "second"})).await;
    assert_eq!(reply["name_conflicts"], conflict);
    host.succeed("reload_plugin", json!({"plugin_id": "first"})).await;
    assert_eq!(conflicts(&host, "second").await, conflict);

    let reply = host.succeed("unload_plugin", json!({"plugin_id": "first"})).await;
    assert_eq!(reply["names_passed"], json!([{"function": "hello_world", "owner": "second"}]), "{reply}");
    assert_eq!(of_plugins().await, ["hello_world"]);
    assert_eq!(conflicts(&host, "second").await, json!([]));
    assert_eq!(host.fail("first.hello_world", json!({})).await["code"], -32601);
    host.call("second.hello_world", json!({})).await;

    let reply = host.succeed("load_plugin", json!({"plugin_id": "first"})).await;
    assert_eq!(reply["name_conflicts"][0]["owner"], "plugin `second`", "{reply}");
    host.stop().await;
}

/// A name that an upgrade drops passes on as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_an_upgrade_drops_passes_to_who_waits() {
    let site = Site::on_nats();
    let host = site.start().await;
    for id in ["owner", "heir"] {
        host.install(&Plugin::of(id, "version-2")).await;
    }
    let archive = Plugin::of("owner", "version-1").tarball();
    let reply = host.succeed("install_plugin_from_bundle", bundle(&archive)).await;
    assert_eq!(reply["load_result"]["names_passed"], json!([{"function": "added", "owner": "heir"}]), "{reply}");
    assert_eq!(host.call("added", json!({})).await, true);
    assert_eq!(host.call("version", json!({})).await, "1.0.0", "what it still brings stays with its owner");
    assert_eq!(host.call("heir.version", json!({})).await, "2.0.0");
    host.stop().await;
}
