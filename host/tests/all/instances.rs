//! Plugins with several instances, or with one for each call, as agents and operators meet them.

use crate::bundle::{Plugin, bundle};
use crate::host::{Host, Site};
use crate::neighbour::{beside, settle, stats_of};
use crate::swaps::under_load;
use crate::until;
use futures_util::future::join_all;
use serde_json::{Value, json};

fn pooled(instances: Value) -> Plugin {
    Plugin::of("pooled", "behave").with("limits", json!({"instances": instances}))
}

async fn stats(host: &Host<'_>) -> Value {
    stats_of(host, "pooled").await
}

async fn has_instances(host: &Host<'_>, count: u64) {
    until("as many instances as expected", async || stats(host).await["instances"] == count).await;
}

/// Limit: `instances`.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_compute_have_instances_of_their_own_and_the_count_is_told() {
    let site = Site::on_nats();
    settle(&site);
    let host = site.start().await;
    host.wait_for_loaded(&["neighbour"]).await;
    host.install(&pooled(json!(3))).await;
    assert_eq!(stats(&host).await["instances"], 1);
    let busy = json!({"ms": 3000});
    let calls = join_all((0..6).map(|_| host.call("busy_ms", busy.clone())));
    let counting = async {
        until("three compute", async || stats(&host).await["queue"]["running"] == 3).await;
        let stats = stats(&host).await;
        assert_eq!((&stats["instances"], &stats["limits"]["instances"]), (&json!(3), &json!(3)), "{stats}");
        assert_eq!(stats["queue"]["waiting"], 3, "{stats}");
    };
    beside(&host, async { tokio::join!(calls, counting) }).await;
    let single = host.succeed("get_plugin_stats", json!({"plugin_id": "neighbour"})).await;
    assert_eq!(single["plugins"]["neighbour"]["instances"], 1);

    // The same plugin, with an instance for each call: no call finds what another has counted.
    host.install(&pooled(json!("per-call"))).await;
    has_instances(&host, 0).await;
    for counted in join_all((0..20).map(|_| host.call("counters", json!({})))).await {
        assert_eq!(counted["calls"], 1, "{counted}");
    }
    has_instances(&host, 0).await;
    let stats = stats(&host).await;
    assert_eq!((&stats["limits"]["instances"], &stats["limits"]["concurrency"]), (&json!("per-call"), &json!(4)));
    assert_eq!((&stats["memory"]["bytes"], &stats["losses"], &stats["refused"]), (&json!(0), &json!({}), &json!({})));
    until("its routine ticks", async || stats_of(&host, "pooled").await["ticks"]["answered"].as_u64() > Some(2)).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_of_several_instances_lose_no_call() {
    let site = Site::on_nats();
    let host = site.start().await;
    for instances in [json!(3), json!("per-call")] {
        host.install(&pooled(instances)).await;
        let reloads = async {
            for _ in 0..50 {
                host.succeed("reload_plugin", json!({"plugin_id": "pooled"})).await;
            }
        };
        // Some of them wait, so that every swap has old calls to drain.
        let answered = under_load(&host, "sleep_ms", json!({"ms": 5}), |slept| slept == 5, reloads).await;
        assert!(answered >= 50, "{answered} calls were no load");
        let stats = stats(&host).await;
        assert_eq!((&stats["calls"]["failed"], &stats["losses"]), (&json!(0), &json!({})), "{stats}");
    }
    host.succeed("unload_plugin", json!({"plugin_id": "pooled"})).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_traps_takes_no_call_of_another_instance_with_it() {
    let site = Site::on_nats();
    let host = site.start().await;
    for (losses, instances) in [(1, json!(2)), (2, json!("per-call"))] {
        host.install(&pooled(instances)).await;
        let computing = host.call("busy_ms", json!({"ms": 2000}));
        let trapping = async {
            until("one computes", async || stats(&host).await["queue"]["running"] == 1).await;
            assert_eq!(host.fail("panic", json!({})).await["data"]["code"], "trap");
            assert_eq!(host.call("echo", json!({"message": 1})).await, 1);
        };
        tokio::join!(computing, trapping);
        assert_eq!(stats(&host).await["losses"], json!({"trap": losses}));
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_many_instances_there_may_be_is_judged_at_the_install() {
    let site = Site::on_nats();
    let host = site.start().await;
    let refused = async |limits: Value| {
        let plugin = Plugin::of("pooled", "behave").with("limits", limits);
        host.refuse("install_plugin_from_bundle", bundle(&plugin.tarball())).await
    };
    let near = refused(json!({"instances": "per_call"})).await;
    assert_eq!(
        (&near["code"], &near["hint"]),
        (&json!("limit_invalid"), &json!("did you mean \"per-call\"?")),
        "{near}"
    );
    for limits in [json!({"instances": 5}), json!({"instances": "per-call", "concurrency": 5})] {
        let raised = refused(limits).await;
        assert_eq!(raised["code"], "limit_raised", "{raised}");
        assert!(raised["hint"].as_str().unwrap().contains("at most 4"), "{raised}");
    }
    let plan = host.succeed("plan_plugin_install", bundle(&pooled(json!("per-call")).tarball())).await;
    assert!(plan.to_string().contains("per-call"), "it is shown as it was written: {plan}");
    host.stop().await;

    site.policy("profile = 'development'\n[[plugin]]\nid = 'pooled'\nlimits = {instances = 6}");
    let host = site.start().await;
    host.install(&pooled(json!(6))).await;
    host.install(&pooled(json!("per-call"))).await;
    assert_eq!(stats(&host).await["limits"]["concurrency"], 6);
    host.stop().await;
}
