//! Who had what changed: the trail that an operator reads afterwards.

use crate::bundle::{Plugin, bundle};
use crate::host::{Host, Site, Way};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

fn trail(site: &Site) -> Vec<Value> {
    let text = std::fs::read_to_string(site.state().join("audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_something_leaves_a_line_before_the_answer() {
    let site = Site::on_nats();
    site.policy("# nothing but the default");
    let host = site.start().await;
    let mut install = bundle(&Plugin::of("looker", "behave").tarball());
    install["_dc_meta"] = json!({"source_device": "agent-7"});
    let installed = host.succeed("install_plugin_from_bundle", install).await;
    let line = &trail(&site)[0];
    assert_eq!(line["digest"], installed["digest"]);
    assert_eq!(line["generation"], 1);
    for (key, expected) in [
        ("what", "install_plugin_from_bundle"),
        ("origin", "mesh"),
        ("claimed_caller", "agent-7"),
        ("plugin_id", "looker"),
        ("outcome", "success"),
    ] {
        assert_eq!(line[key], expected, "{line}");
    }
    assert!(!line.to_string().contains("bundle_b64"), "{line}");

    // What only looks leaves nothing, and what is refused does.
    host.succeed("list_plugins", json!({})).await;
    let grant = json!({"plugin_id": "looker", "permission": "mesh.discover", "once": true});
    host.refuse("grant_plugin_permission", grant.clone()).await;
    host.result(Way::Control, "grant_plugin_permission", grant).await;
    host.refuse("unload_plugin", json!({"plugin_id": "nobody"})).await;
    let lines = trail(&site);
    let told: Vec<[&Value; 4]> =
        lines[1..].iter().map(|line| [&line["what"], &line["origin"], &line["outcome"], &line["code"]]).collect();
    assert_eq!(
        json!(told),
        json!([
            ["grant_plugin_permission", "mesh", "error", "not_allowed"],
            ["grant_plugin_permission", "control", "success", null],
            ["unload_plugin", "mesh", "error", "not_loaded"],
        ])
    );
    assert_eq!((&lines[2]["permission"], &lines[2]["once"]), (&json!("mesh.discover"), &json!(true)));

    site.policy("profile = 'odd'");
    host.signal(Signal::HUP);
    crate::until("the bad policy is told of", async || trail(&site).len() > 4).await;
    let last = trail(&site).pop().unwrap();
    assert_eq!(
        (&last["what"], &last["origin"], &last["outcome"]),
        (&json!("read_policy"), &json!("host"), &json!("error"))
    );
    let mode = std::fs::metadata(site.state().join("audit.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    host.stop().await;

    site.policy("# nothing but the default");
    let before = trail(&site).len();
    let host = site.start().await;
    host.wait_for_loaded(&["looker"]).await;
    host.succeed("reload_plugin", json!({"plugin_id": "looker"})).await;
    let lines = trail(&site);
    assert_eq!(lines.len(), before + 1, "it goes on where it was");
    assert_eq!(
        (&lines[before]["what"], &lines[before]["plugin_id"], &lines[before]["generation"]),
        (&json!("reload_plugin"), &json!("looker"), &json!(1))
    );
    host.stop().await;
}

/// A grant that ends by itself has left as much behind as one that is revoked.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_used_up_or_over_leaves_a_line() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&Plugin::of("looker", "behave")).await;
    let grant = async |host: &Host<'_>, permission: &str, ends: (&str, Value)| {
        let mut params = json!({"plugin_id": "looker", "permission": permission});
        params[ends.0] = ends.1;
        host.result(Way::Control, "grant_plugin_permission", params).await;
    };
    grant(&host, "mesh.discover", ("once", json!(true))).await;
    let before = trail(&site).len();
    host.call("discover", json!({})).await;
    let told = |line: &Value| ["what", "origin", "plugin_id", "permission", "outcome"].map(|key| line[key].clone());
    let ended = |what: &str, permission: &str| [what, "host", "looker", permission, "success"].map(|text| json!(text));
    assert_eq!(told(&trail(&site)[before]), ended("use_up_grant", "mesh.discover"));

    let expired = |permission: &str| {
        let line = ended("expire_grant", permission);
        trail(&site).iter().filter(|found| told(found) == line).count()
    };
    grant(&host, "secret:a", ("expires_in", json!("1s"))).await;
    crate::until("the grant has ended", async || expired("secret:a") == 1).await;
    grant(&host, "secret:b", ("expires_in", json!("1s"))).await;
    host.stop().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let host = site.start().await;
    crate::until("what ended while the host was away is told", async || expired("secret:b") == 1).await;
    host.stop().await;
}
