//! What plugins keep: over restarts, crashes and versions, as far as they may and no further than there is room.

use crate::bundle::{Plugin, bundle, version};
use crate::host::{Host, Site, Way};
use crate::program::{mortise, run};
use crate::swaps::under_load;
use crate::until;
use serde_json::{Value, json};

/// A plugin that asks to keep something.
fn keeper() -> Plugin {
    Plugin::of("keeper", "behave").with("permissions", json!({"state": true}))
}

/// Another version of it, that does this as it starts.
fn next(config: Value) -> Plugin {
    keeper().with("version", json!("2.0.0")).with("config", config)
}

/// A site where plugins get what they ask for.
fn generous() -> Site {
    let site = Site::on_nats();
    site.policy("profile = 'development'");
    site
}

async fn set(host: &Host<'_>, key: &str, value: Value) {
    host.call("state_set", json!({"key": key, "value": value})).await;
}

async fn get(host: &Host<'_>, key: &str) -> Value {
    host.call("state_get", json!({"key": key})).await
}

async fn stats(host: &Host<'_>) -> Value {
    host.succeed("get_plugin_stats", json!({"plugin_id": "keeper"})).await["plugins"]["keeper"]["state"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_keeps_outlives_its_instance_its_loading_and_the_host() {
    let site = generous();
    let host = site.start().await;
    host.install(&keeper()).await;
    set(&host, "a", json!({"n": 1})).await;
    set(&host, "b", json!("gone soon")).await;
    host.call("state_delete", json!({"key": "b"})).await;
    host.fail("panic", json!({})).await;
    assert_eq!(get(&host, "a").await, json!({"n": 1}), "after a trap");
    host.succeed("reload_plugin", json!({"plugin_id": "keeper"})).await;
    assert_eq!(get(&host, "a").await, json!({"n": 1}), "after a reload");
    host.succeed("unload_plugin", json!({"plugin_id": "keeper"})).await;
    host.succeed("load_plugin", json!({"plugin_id": "keeper"})).await;
    assert_eq!(host.call("state_keys", json!({})).await, json!(["a"]));
    set(&host, "last", json!(true)).await;
    host.stop().await;

    let host = site.start().await;
    host.wait_for_loaded(&["keeper"]).await;
    assert_eq!(
        host.call("state_keys", json!({})).await,
        json!(["a", "last"]),
        "a host that stops saves what was written"
    );
    assert_eq!(get(&host, "a").await, json!({"n": 1}));
    let error = host.fail("state_set", json!({"key": "a\n", "value": 1})).await;
    assert_eq!(error["data"]["code"], "invalid_key", "{error}");
    host.stop().await;
}

/// Killed at whatever moment: what was flushed is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_flushed_outlives_a_kill() {
    let site = generous();
    let host = site.start().await;
    host.install(&keeper()).await;
    host.kill().await;
    let mut flushed = 0;
    for round in 0..5 {
        let host = site.start().await;
        host.wait_for_loaded(&["keeper"]).await;
        let kept = get(&host, "n").await.as_u64().unwrap_or(0);
        assert!((flushed..=flushed + 1).contains(&kept), "{flushed} was flushed, and {kept} is there");
        for n in 0..10 * round + 1 {
            flushed = kept + n + 1;
            set(&host, "n", json!(flushed)).await;
            host.call("state_flush", json!({})).await;
        }
        // Written, and perhaps not saved.
        set(&host, "n", json!(flushed + 1)).await;
        host.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_may_not_keep_anything_is_told_what_would_let_it() {
    let site = Site::on_nats();
    let host = site.start().await;
    let installed = host.install(&keeper()).await;
    let command = "mortise deploy grant keeper state";
    assert_eq!(installed["load_result"]["denied"], json!([{"permission": "state", "command": command}]), "{installed}");
    for (function, params) in [
        ("state_get", json!({"key": "a"})),
        ("state_set", json!({"key": "a", "value": 1})),
        ("state_delete", json!({"key": "a"})),
        ("state_keys", json!({})),
        ("state_flush", json!({})),
    ] {
        let error = host.fail(function, params).await;
        assert_eq!(error["data"]["code"], "permission_denied", "{error}");
        let told = format!("the plugin may not keep state: `{command}` would let it");
        assert!(error["message"].as_str().unwrap().ends_with(&told), "{error}");
    }
    let permissions = host.succeed("get_plugin_permissions", json!({"plugin_id": "keeper"})).await;
    let pending = &permissions["pending"][0];
    assert_eq!(
        (&pending["permission"], &pending["command"], &pending["tried"]),
        (&json!("state"), &json!(command), &json!(5))
    );

    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let granted = run(mortise().args(words).arg("--state-dir").arg(site.state()));
    assert_eq!(granted.code, 0, "{}", granted.err);
    set(&host, "a", json!(1)).await;
    host.call("state_flush", json!({})).await;
    let listed = host.succeed("list_plugins", json!({})).await["loaded"]["keeper"].take();
    assert_eq!((&listed["incarnation"], &listed["security"]["risk"]), (&installed["incarnation"], &json!("low")));
    let told = host.succeed("get_plugin_stats", json!({"plugin_id": "keeper"})).await;
    assert_eq!(told["plugins"]["keeper"]["limits"]["state"], "1MiB", "{told}");

    let once = json!({"plugin_id": "keeper", "permission": "state"});
    host.result(Way::Control, "revoke_plugin_permission", once.clone()).await;
    host.fail("state_get", json!({"key": "a"})).await;
    let mut grant = once;
    grant["once"] = json!(true);
    host.result(Way::Control, "grant_plugin_permission", grant).await;
    assert_eq!(get(&host, "a").await, 1, "what was written is there for who may read it");
    host.fail("state_get", json!({"key": "a"})).await;
    host.stop().await;
}

/// Limit: `state`.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_keys_are_refused_from_the_limit_on_and_the_neighbour_notices_nothing() {
    let site = generous();
    let host = site.start().await;
    host.install(&keeper()).await;
    host.install(&Plugin::of("neighbour", "version-1")).await;
    let room = (1 << 20) / (64 + "fill/00000".len() + 100);
    let fill = async {
        let filled = host.call("state_fill", json!({"count": 10_000, "bytes": 100})).await;
        assert_eq!(filled, json!({"kept": room, "code": "state_full"}));
        host.call("state_flush", json!({})).await;
    };
    under_load(&host, "version", json!({}), |answer| answer == "1.0.0", fill).await;
    let error = host.fail("state_set", json!({"key": "one-more", "value": "x".repeat(100)})).await;
    assert_eq!(error["data"]["code"], "state_full");
    assert!(error["message"].as_str().unwrap().contains("more than `limits.state` (1MiB)"), "{error}");
    let state = stats(&host).await;
    assert_eq!(
        (&state["entries"], &state["writes"], &state["refused"]),
        (&json!(room), &json!(room), &json!(2)),
        "{state}"
    );
    assert!(state["bytes"].as_u64().is_some_and(|bytes| bytes <= 1 << 20), "{state}");
    assert_eq!(host.call("state_keys", json!({"prefix": "fill/"})).await.as_array().unwrap().len(), room);
    let shown = run(mortise().args(["deploy", "stats", "keeper"]).arg("--state-dir").arg(site.state()));
    assert!(shown.out.contains(&format!("\"entries\":{room}")), "{}", shown.out);
    // What makes room may always be done.
    host.call("state_delete", json!({"key": "fill/00000"})).await;
    set(&host, "one-more", json!("x")).await;
    host.stop().await;

    let host = site.start().await;
    host.wait_for_loaded(&["keeper", "neighbour"]).await;
    assert_eq!(stats(&host).await["entries"], json!(room));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_version_keeps_that_never_serves_is_gone_and_what_others_keep_stays() {
    let site = generous();
    let host = site.start().await;
    for swap in [None, Some("exclusive")] {
        let with_swap = |plugin: Plugin| match swap {
            Some(swap) => plugin.with("swap", json!(swap)),
            None => plugin,
        };
        host.install(&with_swap(keeper())).await;
        set(&host, "mine", json!(1)).await;
        let refused = with_swap(next(json!({"keep": "two", "start": "fail"})));
        let refusal = host.refuse("install_plugin_from_bundle", bundle(&refused.tarball())).await;
        assert_eq!(refusal["code"], "hook_failed", "{refusal}");
        assert_eq!((get(&host, "mine").await, get(&host, "kept_at_start").await), (json!(1), Value::Null), "{swap:?}");
        let waits = with_swap(next(json!({"flush": true})));
        let refusal = host.refuse("install_plugin_from_bundle", bundle(&waits.tarball())).await;
        assert!(refusal["message"].as_str().unwrap().contains("comes to disk once it serves"), "{refusal}");

        host.install(&with_swap(next(json!({"keep": "three"})))).await;
        assert_eq!((get(&host, "mine").await, get(&host, "kept_at_start").await), (json!(1), json!("three")));
        set(&host, "mine", json!(2)).await;
        host.succeed("rollback_plugin", json!({"plugin_id": "keeper"})).await;
        assert_eq!((get(&host, "mine").await, get(&host, "kept_at_start").await), (json!(2), json!("three")));
        host.succeed("uninstall_plugin", json!({"plugin_id": "keeper"})).await;
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uninstall_leaves_nothing_for_the_next_of_that_name() {
    let site = generous();
    let host = site.start().await;
    host.install(&keeper()).await;
    set(&host, "secret", json!("mine")).await;
    host.call("state_flush", json!({})).await;
    set(&host, "unsaved", json!("mine")).await;
    host.succeed("uninstall_plugin", json!({"plugin_id": "keeper"})).await;
    host.install(&keeper()).await;
    assert_eq!(host.call("state_keys", json!({})).await, json!([]));
    set(&host, "secret", json!("other")).await;
    // Also of one that is not loaded when it goes.
    host.succeed("unload_plugin", json!({"plugin_id": "keeper"})).await;
    host.succeed("uninstall_plugin", json!({"plugin_id": "keeper"})).await;
    host.kill().await;
    let host = site.start().await;
    host.install(&keeper()).await;
    assert_eq!(host.call("state_keys", json!({})).await, json!([]));
    host.stop().await;
}

/// A plan runs no code that could keep anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_that_state_is_asked_for_and_keeps_nothing() {
    let site = generous();
    let host = site.start().await;
    host.install(&Plugin::of("keeper", "behave")).await;
    let plan = host.succeed("plan_plugin_install", bundle(&next(json!({"keep": 1})).tarball())).await;
    assert!(plan["permissions"].to_string().contains("state"), "{plan}");
    until("it is settled", async || stats(&host).await["entries"] == 0).await;
    host.stop().await;
}

/// Of a version of the plugin `versioned` that may keep something.
fn keeping(number: usize) -> Plugin {
    version(number).with("permissions", json!({"state": true}))
}

/// The first version keeps a number, the second a list.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_migrates_what_the_old_one_kept_and_the_old_one_gets_it_back() {
    let site = generous();
    let host = site.start().await;
    host.install(&keeping(1)).await;
    host.call("keep", json!({"number": 13})).await;
    let refusal = host.refuse("install_plugin_from_bundle", bundle(&keeping(2).tarball())).await;
    assert_eq!(refusal["code"], "hook_failed", "{refusal}");
    assert!(refusal["message"].as_str().unwrap().contains("migrate failed: 13 cannot be kept"), "{refusal}");
    assert_eq!(
        (host.call("version", json!({})).await, host.call("kept", json!({})).await),
        (json!("1.0.0"), json!(13))
    );

    host.call("keep", json!({"number": 7})).await;
    host.install(&keeping(2)).await;
    assert_eq!(host.call("kept", json!({})).await, json!([7]));
    let logs = host.succeed("get_plugin_logs", json!({"plugin_id": "versioned"})).await;
    assert!(logs["lines"].to_string().contains("migrating from 1.0.0 to 2.0.0"), "{logs}");
    host.call("keep", json!({"number": 8})).await;
    host.stop().await;

    let host = site.start().await;
    host.wait_for_loaded(&["versioned"]).await;
    assert_eq!(host.call("kept", json!({})).await, json!([8]), "it is migrated once");
    let back = host.succeed("rollback_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!(back["version"], "1.0.0", "{back}");
    assert_eq!(host.call("kept", json!({})).await, json!(7), "as it was before the migration");
    // Saved by then, or not: a crash in between leaves the one or the other, and each is brought to where it belongs.
    host.kill().await;

    let host = site.start().await;
    host.wait_for_loaded(&["versioned"]).await;
    assert_eq!((host.call("version", json!({})).await, host.call("kept", json!({})).await), (json!("1.0.0"), json!(7)));
    host.install(&keeping(2)).await;
    assert_eq!(host.call("kept", json!({})).await, json!([7]), "and forward again");
    host.stop().await;
}
