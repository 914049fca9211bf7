//! A guest built for `wasm32-wasip2`, whose `std` asks WASI for everything and is granted next to nothing.

use crate::harness::{Folder, LONG, Plugin, RUNTIME, guest, load, until};
use crate::log;
use mortise_plugin::PrepareError;
use serde_json::json;
use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_imports_what_std_needs_and_loads() {
    let code = std::fs::read(guest("wasi")).unwrap();
    for import in
        ["cli/stdout@0.2.", "clocks/", "filesystem/preopens@0.2.", "io/poll@0.2.", "random/", "sockets/tcp@0.2."]
    {
        let import = format!("wasi:{import}");
        assert!(code.windows(import.len()).any(|window| window == import.as_bytes()), "it does not import `{import}`");
    }
    let plugin = load("wasi", json!({})).await;
    let described = plugin.instance.description().functions.iter().any(|function| function.name.as_str() == "print");
    assert!(described, "{:?}", plugin.instance.description());
    assert_eq!(plugin.ok("count", json!({})).await, json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_prints_is_logged_line_by_line() {
    log::record();
    let plugin = load("wasi", json!({"limits": {"log_line": "64B"}})).await;
    plugin.ok("print", json!({"out": "printed: one\nprinted: t", "err": "printed: warning\n"})).await;
    plugin.ok("print", json!({"out": format!("wo\nprinted: {}\n\n", "x".repeat(100)), "err": "printed: end"})).await;
    // A line that has no end is told when the instance ends. (`std` itself holds it back on standard output.)
    plugin.instance.shutdown(LONG).await;
    let long = format!("INFO stdout printed: {}", "x".repeat(64 - "printed: ".len()));
    let expected = [
        "INFO stdout printed: one",
        "WARN stderr printed: warning",
        "INFO stdout printed: two",
        &long,
        "WARN stderr printed: end",
    ];
    assert_eq!(log::lines_with("printed: "), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_told_nothing_of_the_process_it_runs_in() {
    let plugin = load("wasi", json!({})).await;
    let expected = json!({"variables": {}, "arguments": [], "input": ""});
    assert_eq!(plugin.ok("environment", json!({})).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_denied() {
    let plugin = load("wasi", json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let (there, new) = (folder.path().join("there"), folder.path().join("new"));
    std::fs::write(&there, "untouched").unwrap();
    assert_eq!(plugin.ok("folders", json!({})).await, json!(0));
    for path in [there.to_str().unwrap(), "there", "/", "../plugin.wasm", "/etc/hostname"] {
        assert_eq!(plugin.err("read_file", json!({"path": path})).await.code, "io", "{path}");
    }
    for path in [&there, &new] {
        assert_eq!(plugin.err("write_file", json!({"path": path})).await.code, "io");
    }
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "untouched");
    assert!(!new.exists());
    assert_eq!(plugin.instance.health().traps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_network_is_denied() {
    let plugin = load("wasi", json!({})).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for (function, params, code) in [
        ("connect", json!({"port": port}), "access_denied"),
        ("listen", json!({}), "access_denied"),
        ("datagrams", json!({}), "access_denied"),
        ("look_up", json!({"name": "localhost"}), "permanent_resolver_failure"),
        // What needs no name server is denied as well.
        ("look_up", json!({"name": "127.0.0.1"}), "permanent_resolver_failure"),
    ] {
        assert_eq!(plugin.err(function, params).await.code, code, "{function}");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody came");
    assert_eq!(plugin.instance.health().traps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_and_random_numbers_are_the_hosts() {
    let plugin = load("wasi", json!({})).await;
    let epoch_s = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let before_s = epoch_s();
    let clocks = plugin.ok("clocks", json!({})).await;
    assert!((before_s..=epoch_s()).contains(&clocks["now_s"].as_u64().unwrap()), "{clocks}");
    assert!((20..60_000).contains(&clocks["slept_ms"].as_u64().unwrap()), "{clocks}");
    // Two instances: `std` draws its keys once in a process.
    let other = load("wasi", json!({})).await;
    assert_ne!(plugin.ok("random", json!({})).await, other.ok("random", json!({})).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_wait_costs_the_instance_at_the_turn_limit() {
    let plugin = load("wasi", json!({"limits": {"turn": "300ms"}})).await;
    let neighbour = load("wasi", json!({})).await;
    assert_eq!(neighbour.ok("count", json!({})).await, json!(1));
    plugin.ok("count", json!({})).await;

    let begin = Instant::now();
    let open = plugin.begin("sleep_ms", json!({"ms": 600_000}));
    plugin.running(1).await;
    let mut blocked = std::pin::pin!(plugin.begin("block_ms", json!({"ms": 600_000})).err());
    plugin.running(2).await;
    let queued = plugin.begin("count", json!({}));
    let mut answered: u32 = 0;
    let blocked = loop {
        tokio::select! {
            biased;
            error = &mut blocked => break error,
            _ = neighbour.ok("count", json!({})) => answered += 1,
        }
    };
    assert!((300..2000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    assert!(answered > 20, "{answered}");
    for error in [blocked, open.err().await] {
        assert_eq!((error.code.as_ref(), error.retryable), ("turn_limit", false));
        assert!(error.message.contains("`limits.turn` (300ms)"), "{error}");
    }
    assert_eq!(queued.ok().await, json!(1), "a fresh instance took it");
    assert_eq!((plugin.instance.health().traps, neighbour.instance.health().traps), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_caller_of_a_blocking_wait_is_answered_at_its_own_deadline() {
    let plugin = load("wasi", json!({"limits": {"turn": "2s"}})).await;
    let begin = Instant::now();
    let error = plugin.begin_within("block_ms", json!({"ms": 600_000}), Duration::from_millis(50)).err().await;
    assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
    assert_eq!((error.code.as_ref(), error.retryable), ("deadline_exceeded", true));
    assert_eq!(plugin.ok("count", json!({})).await, json!(1));
    until("the blocked instance was counted", || plugin.instance.health().traps == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_wait_within_the_turn_limit_is_only_a_long_turn() {
    let plugin = load("wasi", json!({})).await;
    plugin.ok("count", json!({})).await;
    plugin.ok("block_ms", json!({"ms": 50})).await;
    assert_eq!(plugin.ok("count", json!({})).await, json!(2), "the instance was kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_process_is_the_end_of_the_instance_only() {
    let (plugin, neighbour) = (load("wasi", json!({})).await, load("wasi", json!({})).await);
    neighbour.ok("count", json!({})).await;
    for (traps, (code, seen)) in (1..).zip([(0, 0), (3, 1)]) {
        plugin.ok("count", json!({})).await;
        let error = plugin.err("exit", json!({"code": code})).await;
        assert_eq!(error.code, "trap");
        // WASI 0.2 tells success from failure, not one failure from another.
        let reason = format!("the plugin called exit({seen})");
        assert!(error.message.ends_with(&reason), "{error}");
        assert_eq!(plugin.ok("count", json!({})).await, json!(1), "a fresh instance took it");
        let health = plugin.instance.health();
        assert_eq!((health.traps, health.last_trap), (traps, Some(reason)));
    }
    assert_eq!(neighbour.ok("count", json!({})).await, json!(2), "the neighbour was left alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_and_secrets_are_read_through_wasi_config() {
    let config = json!({"unit": "C", "every": 1.5, "on": true, "none": null, "list": [1, "a"], "secret.token": "mine"});
    let manifest = json!({"config": config, "permissions": {"secrets": ["token", "missing"]}});
    let plugin = load("wasi", manifest).await;
    for (key, expected) in [
        ("unit", json!("C")),
        ("every", json!("1.5")),
        ("on", json!("true")),
        ("list", json!("[1,\"a\"]")),
        ("none", json!(null)),
        ("other", json!(null)),
        ("", json!(null)),
        ("secret.token", json!("s3cret-token")),
        ("secret.missing", json!(null)),
    ] {
        assert_eq!(plugin.ok("setting", json!({"key": key})).await, expected, "{key}");
    }
    let settings = json!({"unit": "C", "every": "1.5", "on": "true", "list": "[1,\"a\"]"});
    assert_eq!(plugin.ok("settings", json!({})).await, settings, "secrets are not listed");
    // What was told as a secret is marked from then on.
    let error = plugin.err("setting", json!({"key": "secret.door"})).await;
    assert_eq!(error.code, "upstream");
    assert!(error.message.contains("permission_denied: the plugin may not read the secret `door`"), "{error}");
    assert!(error.message.contains("its manifest does not ask for it"), "the cure: {error}");
    let error = plugin.err("setting", json!({"key": "secret.a b"})).await;
    assert!(error.code == "upstream" && error.message.contains("invalid_name"), "{error}");
}

fn keeper(limits: serde_json::Value) -> serde_json::Value {
    json!({"permissions": {"state": true}, "limits": limits})
}

async fn keep(plugin: &Plugin, key: &str, value: impl Into<Option<&str>>) {
    plugin.ok("keep", json!({"key": key, "value": value.into()})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plugins_state_is_one_bucket_of_wasi_keyvalue() {
    let plugin = load("wasi", keeper(json!({}))).await;
    let kept = async |key: &str| plugin.ok("kept", json!({"key": key})).await;
    assert_eq!(kept("a").await, json!(null));
    keep(&plugin, "a", "one").await;
    assert_eq!(kept("a").await, json!("one"));
    // The same as what the contract of our own shows.
    assert_eq!(plugin.services.state_get("a").await.unwrap().as_deref(), Some(&b"one"[..]));
    plugin.services.state_set("b", b"two").await.unwrap();
    assert_eq!(kept("b").await, json!("two"));
    keep(&plugin, "a", None).await;
    keep(&plugin, "a", None).await;
    assert_eq!(kept("a").await, json!(null));
    plugin.ok("keep", json!({"key": "c", "value": "x", "bucket": "default"})).await;
    let error = plugin.err("keep", json!({"key": "c", "value": "x", "bucket": "others"})).await;
    assert_eq!(error.code, "no_such_store");
    let error = plugin.err("keep", json!({"key": "", "value": "x"})).await;
    assert!(error.code == "other" && error.message.contains("invalid_key"), "{error}");

    for number in 0..2500 {
        plugin.services.state_set(&format!("page-{number}"), b"").await.unwrap();
    }
    assert_eq!(plugin.ok("pages", json!({})).await, json!([1000, 1000, 502]));
    assert_eq!(plugin.err("page_after", json!({"cursor": 99})).await.code, "other");
    assert_eq!(plugin.ok("in_bulk", json!({"count": 20, "bytes": 100})).await, json!(2000));
    assert_eq!(plugin.services.state_keys("bulk-", None, 10).await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_added_to_and_nothing_is_lost_between_instances() {
    let plugin = load("wasi", keeper(json!({"instances": 4}))).await;
    let add = |delta: u64| plugin.begin("add", json!({"key": "sum", "delta": delta}));
    let calls: Vec<_> = (0..200).map(|_| add(1)).collect();
    for call in calls {
        call.ok().await;
    }
    assert_eq!(add(0).ok().await, json!(200));
    assert_eq!(plugin.ok("kept", json!({"key": "sum"})).await, json!("200"), "decimal text");
    for odd in ["x", "-1", "", "18446744073709551615"] {
        keep(&plugin, "sum", odd).await;
        let error = add(1).err().await;
        assert!(error.code == "other" && error.message.contains("not_a_number"), "{odd}: {error}");
        assert_eq!(plugin.ok("kept", json!({"key": "sum"})).await, json!(odd), "left alone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wasi_keyvalue_has_the_permission_and_the_limits_of_the_plugins_state() {
    log::record();
    let without = load("wasi", json!({})).await;
    for (function, params) in [
        ("kept", json!({"key": "a"})),
        ("keep", json!({"key": "a", "value": "denied"})),
        ("pages", json!({})),
        ("add", json!({"key": "a", "delta": 1})),
        ("in_bulk", json!({"count": 1, "bytes": 1})),
    ] {
        assert_eq!(without.err(function, params).await.code, "access_denied", "{function}");
    }
    let told = log::lines_with("may not keep state");
    assert!(told.iter().any(|line| line.contains("wasi:keyvalue") && line.contains("its manifest")), "{told:?}");

    let plugin = load("wasi", keeper(json!({"state": "4KiB"}))).await;
    let error = plugin.err("keep", json!({"key": "a", "value": "x".repeat(5000)})).await;
    assert!(error.code == "other" && error.message.contains("state_full"), "{error}");
    let error = plugin.err("in_bulk", json!({"count": 100, "bytes": 100})).await;
    assert!(error.message.contains("`limits.state` (4KiB)"), "{error}");
    assert_eq!(plugin.account.stats().state.refused, 2);

    // What a guest asks for in one call is bounded, however often it asks for the same.
    let large = load("wasi", keeper(json!({}))).await;
    large.services.state_set("large", &vec![0; 1 << 19]).await.unwrap();
    assert_eq!(large.ok("read_often", json!({"key": "large", "times": 10})).await, json!(10));
    let error = large.err("read_often", json!({"key": "large", "times": 100})).await;
    assert!(error.message.contains("this plugin can be given at once"), "{error}");
    let error = large.err("read_often", json!({"key": "none", "times": 1001})).await;
    assert!(error.message.contains("the batch has 1001 entries"), "{error}");
    let error = large.err("open_often", json!({"times": 1001})).await;
    assert!(error.message.contains("the bucket is open 1000 times"), "{error}");
    large.ok("open_often", json!({"times": 1000})).await;
    assert_eq!(large.instance.health().traps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interfaces_of_wasi_that_are_not_provided_are_named() {
    for interface in
        ["wasi:http/incoming-handler@0.2.3", "wasi:clocks/timezone@0.2.3", "wasi:keyvalue/store@0.2.0-draft2"]
    {
        let component = format!(
            r#"(component
                (import "wasi:clocks/wall-clock@0.2.3" (instance))
                (import "{interface}" (instance (export "f" (func))))
                (component $c) (instance $i (instantiate $c)) (export "mortise:plugin/guest@0.1.0" (instance $i)))"#
        );
        match Folder::new(&wat::parse_str(component).unwrap(), json!({})).prepare(&RUNTIME).await.map(|_| ()) {
            Err(PrepareError::Code { reason, hint, .. }) => {
                assert!(reason.starts_with("it imports what this host does not provide: "), "{reason}");
                assert!(reason.contains(&format!("`{interface}`")), "{reason}");
                assert!(!reason.contains("wall-clock"), "{reason}");
                assert!(hint.unwrap().contains("WASI 0.2"));
            }
            other => panic!("{other:?}"),
        }
    }
}
