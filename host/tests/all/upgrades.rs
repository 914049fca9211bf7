//! Upgrades that are broken: the version before serves throughout, or is back before anybody has to act.

use crate::bundle::{Plugin, bundle, version};
use crate::host::{Host, Site, Way};
use crate::swaps::under_load;
use crate::until;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a new version is on probation unless the operator says otherwise.
const PROBATION: Duration = Duration::from_secs(30);

/// Another version of the same plugin, out of a guest that does not come so far as to serve.
fn broken(guest: &str, key: &str, value: Value) -> Plugin {
    Plugin::of("versioned", guest).with("version", json!("2.0.0")).with(key, value)
}

async fn generations(host: &Host<'_>) -> Vec<u64> {
    let reply = host.succeed("list_plugin_versions", json!({"plugin_id": "versioned"})).await;
    reply["versions"].as_array().unwrap().iter().map(|version| version["generation"].as_u64().unwrap()).collect()
}

/// A version that fails before the swap: no caller meets it, and no call is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_prove_itself_never_serves() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    let mut truncated = version(2);
    truncated.files[0].1.truncate(100_000);
    let hooks = |hook: &str, what: &str| broken("behave", "config", json!({hook: what}));
    let soon = json!({"start_timeout": "300ms", "turn": "300ms"});
    let upgrades = [
        ("is cut short", truncated, "invalid_code", "cannot be loaded"),
        ("fails to start", broken("bad-start", "limits", json!({})), "hook_failed", "start failed: the sensor"),
        ("traps as it starts", hooks("start", "panic"), "hook_failed", "start failed: "),
        ("never finishes starting", broken("slow-start", "limits", soon.clone()), "hook_failed", "start failed: "),
        ("loops as it starts", hooks("start", "spin").with("limits", soon), "hook_failed", "start failed: "),
        ("fails its self-test", hooks("self_test", "fail"), "hook_failed", "self_test failed: "),
        ("traps in its self-test", hooks("self_test", "panic"), "hook_failed", "self_test failed: "),
    ];
    let refusals = async {
        for (what, plugin, code, reason) in &upgrades {
            let refusal = host.refuse("install_plugin_from_bundle", bundle(&plugin.tarball())).await;
            assert_eq!(refusal["code"], *code, "{what}: {refusal}");
            assert!(refusal["message"].as_str().unwrap().contains(reason), "{what}: {refusal}");
            assert_eq!(generations(&host).await, [1], "{what}");
        }
    };
    under_load(&host, "version", json!({}), |answer| answer == "1.0.0", refusals).await;
    assert!(host.advertised().await.contains(&"version".to_owned()));
    assert_eq!(std::fs::read_dir(site.state().join("staging")).unwrap().count(), 0);
    host.kill().await;
    let host = site.start().await;
    host.wait_for_loaded(&["versioned"]).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    host.stop().await;
}

/// A version that passes its tests and then traps on one call in two: nobody acts, and the version before is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_traps_on_every_other_call_is_taken_back() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&version(1)).await;
    let done = AtomicBool::new(false);
    // How often each was the answer: of the first version, of the third, and of none.
    let caller = async || {
        let mut answers = [0_u64; 3];
        while !done.load(Ordering::Relaxed) {
            let reply = host.ask(Way::Mesh, "version", json!({})).await;
            match reply.get("result").and_then(Value::as_str) {
                Some("1.0.0") => answers[0] += 1,
                Some("3.0.0") => answers[1] += 1,
                _ => {
                    assert_eq!(reply["error"]["code"], -32000, "{reply}");
                    answers[2] += 1;
                }
            }
        }
        answers
    };
    let upgrade = async {
        host.install(&Plugin::of("versioned", "version-3").with("version", json!("3.0.0"))).await;
        let installed = Instant::now();
        until("the first version is back", async || {
            let list = host.result(Way::Control, "list_plugins", json!({})).await;
            let plugin = &list["loaded"]["versioned"];
            let reason = plugin["rolled_back"]["reason"].as_str().unwrap_or_default();
            plugin["generation"] == 1 && plugin["rolled_back"]["from_generation"] == 2 && reason.contains("times")
        })
        .await;
        let took = installed.elapsed();
        assert!(took < PROBATION, "it took {took:?}");
        done.store(true, Ordering::Relaxed);
        took
    };
    let (answers, took) = tokio::join!(join_all((0..16).map(|_| caller())), upgrade);
    let sum = |which: usize| answers.iter().map(|answers| answers[which]).sum::<u64>();
    let (first, third, lost) = (sum(0), sum(1), sum(2));
    eprintln!("back after {took:?}; answers of version 1: {first}, of version 3: {third}, none: {lost}");
    assert!(first > 0 && third > 0 && lost > 0, "{first}, {third}, {lost}");

    // From here on nothing is lost, and the next start knows of it.
    let calls = async {
        for _ in 0..100 {
            host.call("count", json!({})).await;
        }
    };
    under_load(&host, "version", json!({}), |answer| answer == "1.0.0", calls).await;
    host.kill().await;
    let host = site.start().await;
    host.wait_for_loaded(&["versioned"]).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    host.stop().await;
}
