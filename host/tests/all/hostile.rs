//! Plugins that take as much of the host as they can get: each is refused or stopped by a limit that says its name, the
//! host counts it, and the plugin next door never notices.

use crate::bundle::{Plugin, bundle};
use crate::host::{Host, Site};
use crate::neighbour::{self, beside, stats_of};
use crate::outgoing::is_denied_by_std;
use crate::{ended, until};
use serde_json::{Value, json};

/// A host with the neighbour, and `wild` with what its manifest says besides.
async fn start<'a>(site: &'a Site, manifest: Value) -> Host<'a> {
    site.policy("profile = 'development'");
    neighbour::settle(site);
    let host = site.start().await;
    host.wait_for_loaded(&["neighbour"]).await;
    host.install(&wild(manifest)).await;
    host
}

fn wild(manifest: Value) -> Plugin {
    let keys = manifest.as_object().unwrap().clone();
    keys.into_iter().fold(Plugin::of("wild", "hostile"), |plugin, (key, value)| plugin.with(&key, value))
}

fn count(count: u64) -> Value {
    json!({"count": count})
}

async fn stats(host: &Host<'_>) -> Value {
    stats_of(host, "wild").await
}

/// A call that must fail with this code, in words that contain `telling`.
async fn fails(host: &Host<'_>, function: &str, params: Value, code: &str, telling: &str) {
    let error = beside(host, host.fail(function, params)).await;
    assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32000), &json!(code)), "{function}: {error}");
    assert!(error["message"].as_str().unwrap().contains(telling), "{function}: {error}");
}

async fn works_again(host: &Host<'_>) {
    assert_eq!(host.call("fine", json!({"message": [1, "two"]})).await, json!([1, "two"]));
}

/// Limit: `turn`.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_ends_at_the_turn_limit_and_so_does_one_that_calls_the_host() {
    let site = Site::on_nats();
    let host = start(&site, json!({"limits": {"turn": "2s"}})).await;
    for (losses, function) in [(1, "spin"), (2, "flood_host")] {
        let telling = "the plugin's instance was lost during the call: one turn took longer than `limits.turn` (2s)";
        fails(&host, function, json!({}), "turn_limit", telling).await;
        works_again(&host).await;
        assert_eq!(stats(&host).await["losses"], json!({"turn_limit": losses}), "{function}");
    }
    let lines = stats(&host).await["log_lines"].take();
    assert!(lines["refused"].as_u64().unwrap() > 0, "{lines}");
    host.stop().await;
}

/// Limit: `memory`.
#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_of_memory_ends_at_its_limit() {
    let site = Site::on_nats();
    let host = start(&site, json!({"limits": {"memory": "16MiB"}})).await;
    fails(&host, "fill_memory", json!({}), "trap", "memory limit of 16MiB reached").await;
    works_again(&host).await;
    let stats = stats(&host).await;
    assert_eq!(stats["losses"], json!({"trap": 1}));
    assert!(stats["memory"]["peak_bytes"].as_u64().unwrap() <= 16 << 20, "{stats}");
    host.stop().await;
}

/// No compiler makes such a component: to one that is sound, a module is added whose table grows as it begins.
/// Limit: `tables`.
#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_of_tables_is_refused_at_its_limit() {
    let site = Site::on_nats();
    let host = start(&site, json!({})).await;
    // The component has tables of its own, if small ones.
    for (elements, telling) in [(10_000, None), (20_000, Some("table limit of 20000 elements reached"))] {
        let grows = format!(
            "(module (table 0 funcref) (start $begin) (func $begin
                (if (i32.eq (table.grow (ref.null func) (i32.const {elements})) (i32.const -1)) (then unreachable))))"
        );
        begins_with(&host, &grows, telling).await;
    }
    host.stop().await;
}

/// Installs a component with one module more, which begins well, or fails in words that contain `telling`.
async fn begins_with(host: &Host<'_>, module: &str, telling: Option<&str>) {
    let mut plugin = Plugin::of("bomb", "hostile");
    add_module(&mut plugin.files[0].1, module);
    let reply = beside(host, host.call("install_plugin_from_bundle", bundle(&plugin.tarball()))).await;
    let Some(telling) = telling else {
        assert_eq!(reply["status"], "success", "{reply}");
        host.succeed("uninstall_plugin", json!({"plugin_id": "bomb"})).await;
        return;
    };
    assert_eq!((&reply["status"], &reply["code"]), (&json!("error"), &json!("invalid_code")), "{reply}");
    let telling = format!("it cannot be instantiated: {telling}");
    assert!(reply["message"].as_str().unwrap().contains(&telling), "{reply}");
    assert_eq!(stats_of(host, "bomb").await["refused"], json!({"not_started": 1}));
}

/// Limit: `stack`.
#[tokio::test(flavor = "multi_thread")]
async fn deep_recursion_ends_at_the_stack_limit() {
    let site = Site::on_nats();
    let host = start(&site, json!({})).await;
    fails(&host, "recurse", json!({}), "trap", "deep recursion").await;
    works_again(&host).await;
    assert_eq!(stats(&host).await["losses"], json!({"trap": 1}));
    host.stop().await;
}

/// How large a frame is, the compiler decides. That of a call with 500 parameters has some 4,000 bytes: only a few of them
/// are in registers.
/// Limit: `stack`.
#[tokio::test(flavor = "multi_thread")]
async fn the_stack_limit_is_where_it_is_said_to_be() {
    let site = Site::on_nats();
    let host = start(&site, json!({})).await;
    let (numbers, zeros) = ("i64 ".repeat(499), "(i64.const 0) ".repeat(499));
    // Some 800 KB, where wasmtime by itself allows 512 KiB, and some 1.2 MB.
    for (depth, telling) in [(200, None), (300, Some("stack limit of 1MiB reached"))] {
        let recurses = format!(
            "(module (start $begin)
                (func $begin (call $down (i64.const {depth}) {zeros}))
                (func $down (param $depth i64) (param {numbers})
                    (if (i64.gt_u (local.get $depth) (i64.const 1))
                        (then (call $down (i64.sub (local.get $depth) (i64.const 1)) {zeros})))))"
        );
        begins_with(&host, &recurses, telling).await;
    }
    host.stop().await;
}

/// Limit: `result`, `event`.
#[tokio::test(flavor = "multi_thread")]
async fn giant_results_and_events_are_refused_and_cost_no_instance() {
    let site = Site::on_nats();
    let host = start(&site, json!({})).await;
    let mut events = host.events().await;
    for (function, size, code, telling) in [
        ("giant_result", 2 << 20, "result_too_large", "the result has 2097154 bytes, more than `limits.result` (1MiB)"),
        (
            "giant_event",
            300 << 10,
            "event_too_large",
            "the payload has 307211 bytes, more than `limits.event` (256KiB)",
        ),
    ] {
        fails(&host, function, count(size), code, telling).await;
        assert_eq!(stats(&host).await["refused"][code], 1, "{function}");
    }
    works_again(&host).await;
    assert_eq!(stats(&host).await["losses"], json!({}));
    host.peer.round_trip().await;
    assert!(!events.arrived().iter().any(|event| event["method"] == "giant"));
    host.stop().await;
}

/// Limit: `log_lines_per_second`.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_is_dropped_and_counted() {
    let site = Site::on_nats();
    let host = start(&site, json!({})).await;
    beside(&host, host.call("flood_log", count(10_000))).await;
    let lines = stats(&host).await["log_lines"].take();
    // Two hundred at once, and a hundred for each second that this took.
    assert!((200..3000).contains(&lines["done"].as_u64().unwrap()), "{lines}");
    assert_eq!(lines["done"].as_u64().unwrap() + lines["refused"].as_u64().unwrap(), 10_000, "{lines}");
    let page = host.succeed("get_plugin_logs", json!({"plugin_id": "wild"})).await;
    assert_eq!(page["dropped"], lines["refused"]);
    host.stop().await;
}

/// Limit: `events_per_second`.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_events_is_refused_and_counted() {
    let site = Site::on_nats();
    let host = start(&site, json!({})).await;
    let mut events = host.events().await;
    let told = beside(&host, host.call("flood_events", count(10_000))).await;
    assert_eq!(told["code"], "rate_limited", "{told}");
    assert_eq!(told["message"], "more than 50 events a second (`limits.events_per_second`)");
    let refused = told["refused"].as_u64().unwrap();
    assert!((8000..=9900).contains(&refused), "{told}");
    let counted = stats(&host).await["events"].take();
    assert_eq!(
        [&counted["done"], &counted["refused"], &counted["dropped"]],
        [10_000 - refused, refused, 0],
        "{counted}"
    );
    for _ in refused..10_000 {
        events.next_where("what was emitted is sent", |event| event["method"] == "flood").await;
    }
    host.peer.round_trip().await;
    assert!(!events.arrived().iter().any(|event| event["method"] == "flood"), "what was refused is not");
    host.stop().await;
}

/// Limit: `queue`. Whatever a plugin may call, it keeps nobody else from calling it.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_calls_to_a_plugin_leaves_it_places_for_others() {
    let site = Site::on_nats();
    let host = start(&site, json!({"permissions": {"plugins": ["victim.*"]}})).await;
    host.install(&Plugin::of("victim", "behave").with("limits", json!({"queue": 20}))).await;
    let queue = async || stats_of(&host, "victim").await["queue"].take();
    let flood = async {
        until("the victim is busy", async || queue().await["running"] == 1).await;
        host.call("flood_plugin", json!({"count": 1000, "function": "victim.counters"})).await;
        until("its queue has what plugins may have", async || queue().await["waiting"].as_u64() >= Some(10)).await;
        let strangers = (0..5).map(|n| host.call("victim.echo", json!({"message": n})));
        futures_util::future::join_all(strangers).await
    };
    let busy = host.call("victim.busy_ms", json!({"ms": 2000}));
    let (answers, _) = beside(&host, futures_util::future::join(flood, busy)).await;
    assert_eq!(answers, [0, 1, 2, 3, 4]);
    let told = host.call("refused", json!({})).await;
    let expected = "`victim` has as many calls of other plugins waiting as may be: half of `limits.queue` (20)";
    assert_eq!((&told["code"], &told["message"]), (&json!("queue_full"), &json!(expected)), "{told}");
    // Those that were taken later on were answered.
    let refused = told["refused"].as_u64().unwrap();
    assert!((900..=990).contains(&refused), "{told}");
    let counted = stats_of(&host, "victim").await["refused"].take();
    assert!(counted["queue_full"].as_u64().unwrap() >= refused, "{counted}");
    works_again(&host).await;
    host.stop().await;
}

/// Limit: `mesh_calls_per_second`.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_ops_that_are_given_up_costs_little_and_others_are_held_to_a_rate() {
    let site = Site::on_nats();
    let host = start(&site, json!({"permissions": {"mesh": {"discover": true}}})).await;
    beside(&host, host.call("flood_ops", count(30_000))).await;
    works_again(&host).await;
    assert_eq!(stats(&host).await["refused"], json!({}), "nothing of them is left");

    // Those that are waited for go over the mesh, and at its rate.
    let refused = async || host.call("refused", json!({})).await;
    host.call("discover", count(5_000)).await;
    let told = beside(&host, async {
        let mut told = Value::Null;
        until("what is over the rate was refused", async || {
            told = refused().await;
            told["refused"].as_u64().unwrap() >= 4_000
        })
        .await;
        told
    })
    .await;
    assert_eq!(told["message"], "more than 50 calls over the mesh a second (`limits.mesh_calls_per_second`)");
    assert!(stats(&host).await["mesh_calls"]["refused"].as_u64().unwrap() >= 4_000);
    works_again(&host).await;
    assert_eq!(stats(&host).await["losses"], json!({}));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_are_limited_and_who_goes_on_is_ended() {
    let site = Site::on_nats();
    let host = start(&site, json!({})).await;
    let hour = |count: u64| json!({"count": count, "ms": 3_600_000});
    let told = beside(&host, async {
        host.call("timers", hour(20_500)).await;
        let mut told = Value::Null;
        until("what is over the limit was refused", async || {
            told = host.call("refused", json!({})).await;
            told["refused"] == 500
        })
        .await;
        told
    })
    .await;
    assert_eq!((&told["code"], &told["message"]), (&json!("too_many_ops"), &json!("20000 ops are under way")));
    assert_eq!(stats(&host).await["refused"], json!({"too_many_ops": 500}));
    let telling = "it went on starting ops with 20000 of them under way";
    fails(&host, "timers", hour(2_000), "trap", telling).await;
    assert_eq!(stats(&host).await["losses"], json!({"trap": 1}));

    // A fresh instance has none. Twenty thousand that end all the time leave room for calls.
    beside(&host, async {
        host.call("timers", json!({"count": 20_000, "ms": 1, "again": true})).await;
        for _ in 0..10 {
            works_again(&host).await;
        }
    })
    .await;
    host.stop().await;
}

/// Limit: `start_timeout`.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_never_ends_is_refused() {
    let site = Site::on_nats();
    let host = start(&site, json!({})).await;
    for (tries, (how, telling)) in (1..).zip([
        ("never", "start failed: it did not end within `limits.start_timeout` (3s)"),
        ("spin", "start failed: one turn took longer than `limits.start_timeout` (3s)"),
        ("panic", "start failed: wasm `unreachable` instruction executed"),
    ]) {
        let plugin = wild(json!({"config": {"start": how}, "limits": {"start_timeout": "3s"}}));
        let refusal = beside(&host, host.refuse("install_plugin_from_bundle", bundle(&plugin.tarball()))).await;
        assert_eq!(refusal["code"], "hook_failed", "{refusal}");
        assert!(refusal["message"].as_str().unwrap().contains(telling), "{refusal}");
        assert_eq!(stats(&host).await["refused"], json!({"not_started": tries}));
        works_again(&host).await;
    }
    host.stop().await;
}

/// Limit: `stop_timeout`.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_never_ends_is_cut_short() {
    for how in ["never", "spin"] {
        let site = Site::on_nats();
        let host = start(&site, json!({"config": {"stop": how}, "limits": {"stop_timeout": "300ms"}})).await;
        beside(&host, async {
            host.succeed("unload_plugin", json!({"plugin_id": "wild"})).await;
            until("its end is counted", async || stats(&host).await["refused"] == json!({"not_stopped": 1})).await;
        })
        .await;
        until("why is in the log", async || {
            let log = host.log();
            let why = log.lines().find(|line| line.contains("the stop hook failed")).unwrap_or_default();
            why.contains("`limits.stop_timeout`") && why.contains("300ms")
        })
        .await;
        host.succeed("load_plugin", json!({"plugin_id": "wild"})).await;
        works_again(&host).await;
        // The host does not wait for it either.
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_is_too_large_is_refused() {
    let site = Site::on_nats();
    let host = start(&site, json!({})).await;
    for (tries, (how, telling)) in
        (1..).zip([("huge", "bytes of text, more than 524288"), ("many", "1019 functions, more than 1000")])
    {
        let plugin = wild(json!({"config": {"describe": how}}));
        let refusal = beside(&host, host.refuse("install_plugin_from_bundle", bundle(&plugin.tarball()))).await;
        assert_eq!(refusal["code"], "invalid_description", "{refusal}");
        assert!(refusal["message"].as_str().unwrap().contains(telling), "{refusal}");
        assert_eq!(stats(&host).await["refused"], json!({"not_started": tries}));
        works_again(&host).await;
    }
    host.stop().await;
}

/// What would spoil the advertisement of the whole device is left out of it, and the plugin's author told.
#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_is_partly_wrong_is_mended_with_a_warning() {
    let site = Site::on_nats();
    let host = start(&site, json!({})).await;
    host.succeed("uninstall_plugin", json!({"plugin_id": "wild"})).await;
    for (what, warning, is_odd_callable) in [
        ("twice", "second function `fine` dropped", false),
        ("name", "function dropped: invalid function name `no name`: must match ", false),
        ("schema", "schema of function `odd` replaced by an empty one: ", true),
    ] {
        let plugin = Plugin::of("raw", "raw").with("config", json!({"describe": what}));
        beside(&host, async {
            let reply = host.install(&plugin).await;
            let warnings = reply["load_result"]["warnings"].as_array().unwrap();
            assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().starts_with(warning), "{reply}");
            let listed = host.succeed("list_plugins", json!({})).await;
            assert_eq!(&listed["loaded"]["raw"]["warnings"], &reply["load_result"]["warnings"]);
            assert_eq!(host.advertised().await.iter().any(|name| name == "odd"), is_odd_callable, "{what}");
            let schema = json!({"type": "object", "properties": {}, "required": []});
            let functions = host.capabilities().await["functions"].take();
            let of_plugin = functions.as_array().unwrap().iter().filter(|function| function["name"] == "fine");
            assert_eq!(of_plugin.map(|function| &function["parameters"]).collect::<Vec<_>>(), [&schema]);
            assert_eq!(host.call("fine", json!({})).await, true);
        })
        .await;
        // It serves, so nothing was refused.
        let stats = stats_of(&host, "raw").await;
        assert_eq!((&stats["refused"], &stats["losses"]), (&json!({}), &json!({})), "{what}: {stats}");
    }
    host.stop().await;
}

/// What is advertised is what the first instance said. One that says something else does not serve, nor does any after.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_describes_itself_anew_each_time_ends_in_quarantine() {
    let site = Site::on_nats();
    let host = start(&site, json!({"config": {"describe": "changing"}})).await;
    works_again(&host).await;
    let before = host.advertised().await;
    // From the first loss to the last.
    beside(&host, async {
        fails(&host, "trap_one", json!({}), "trap", "unreachable").await;
        until("it is in quarantine", async || {
            let status = host.succeed("get_status", json!({})).await;
            let advertised = host.advertised().await;
            assert!(advertised.iter().all(|name| before.contains(name)), "{advertised:?}");
            let reason = status["quarantined_plugins"]["wild"].as_str().unwrap_or_default();
            reason.contains("a fresh instance describes itself differently")
        })
        .await;
    })
    .await;
    let stats = stats(&host).await;
    assert_eq!((&stats["losses"], ended(&stats["calls"])), (&json!({"trap": 10}), [2, 1]), "{stats}");
    let telling = "plugin `wild` is in quarantine: its instance was lost 10 times within ";
    fails(&host, "fine", json!({}), "quarantined", telling).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_would_wait_for_itself_is_refused() {
    let site = Site::on_nats();
    let host = start(&site, json!({"permissions": {"plugins": ["wild.cycle"]}})).await;
    let telling = "the function would wait for itself: wild.cycle > wild.cycle";
    fails(&host, "cycle", json!({}), "call_cycle", telling).await;
    let stats = stats(&host).await;
    assert_eq!((&stats["refused"], &stats["losses"]), (&json!({"call_cycle": 1}), &json!({})), "{stats}");
    assert_eq!(ended(&stats["calls"]), [1, 1], "{stats}");
    works_again(&host).await;
    host.stop().await;
}

/// A plugin need not say for which of its calls it makes another.
#[tokio::test(flavor = "multi_thread")]
async fn calls_in_a_circle_that_are_made_for_nobody_end_at_their_depth() {
    let site = Site::on_nats();
    let host = start(&site, json!({"permissions": {"plugins": ["wild.cycle"]}})).await;
    let telling = "calls between plugins may not be more than 8 deep";
    fails(&host, "cycle", json!({"for_nobody": true}), "call_depth", telling).await;
    let stats = stats(&host).await;
    assert_eq!((&stats["refused"], &stats["losses"]), (&json!({"call_depth": 1}), &json!({})), "{stats}");
    assert_eq!(ended(&stats["calls"]), [9, 9], "{stats}");
    works_again(&host).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_and_files_that_were_not_granted_are_not_there() {
    let site = Site::on_nats();
    neighbour::settle(&site);
    site.put(&Plugin::of("wild", "wasi"));
    let secret = site.path().join("secret");
    std::fs::write(&secret, "of the host").unwrap();
    let mut command = site.command();
    command.env("SECRET", "of the host");
    let host = site.start_as(command).await;
    host.wait_for_loaded(&["neighbour", "wild"]).await;
    let secret_path = secret.to_str().unwrap();
    let paths = [
        ("read_file", secret_path),
        ("read_file", "/etc/passwd"),
        ("read_file", "../plugin.wasm"),
        ("read_file", "/proc/self/environ"),
        ("write_file", secret_path),
    ];
    beside(&host, async {
        let found = host.call("environment", json!({})).await;
        assert_eq!(found, json!({"variables": {}, "arguments": [], "input": ""}));
        assert_eq!(host.call("folders", json!({})).await, 0);
        for (function, path) in paths {
            let error = host.fail(function, json!({"path": path})).await;
            assert!(is_denied_by_std(&error), "{function} {path}: {error}");
        }
    })
    .await;
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "of the host");
    // What is not there is asked of nobody: all that counts it is that the calls failed.
    let stats = stats(&host).await;
    let failed = paths.len() as u64;
    assert_eq!((ended(&stats["calls"]), &stats["losses"]), ([2 + failed, failed], &json!({})), "{stats}");
    host.stop().await;
}

/// Adds a core module to a component, and an instance of it.
fn add_module(component: &mut Vec<u8>, text: &str) {
    // Sections of a component: core modules and core instances.
    const MODULE: u8 = 1;
    const INSTANCE: u8 = 2;
    let (mut at, mut modules) = (8, 0_u8);
    while let Some(id) = component.get(at).copied() {
        let (size, size_bytes) = leb128(&component[at + 1..]);
        modules += u8::from(id == MODULE);
        at += 1 + size_bytes + size;
    }
    let module = wat::parse_str(text).unwrap();
    // One instance: of that module, with nothing.
    let instance = vec![1, 0, modules, 0];
    for (id, content) in [(MODULE, module), (INSTANCE, instance)] {
        // As many bytes as a size may have, so that none need be counted.
        let size = (0..5).map(|n| (content.len() >> (7 * n)) as u8 & 0x7f | if n < 4 { 0x80 } else { 0 });
        component.push(id);
        component.extend(size);
        component.extend(content);
    }
}

/// A number, and how many bytes it has.
fn leb128(bytes: &[u8]) -> (usize, usize) {
    let count = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    (bytes[..count].iter().rev().fold(0, |number, byte| number << 7 | usize::from(byte & 0x7f)), count)
}
