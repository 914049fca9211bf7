//! The process and its folder: one host at a time, and a start that copes with whatever the last one left behind.

use crate::bundle::{Plugin, bundle};
use crate::host::{Site, Way};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let site = Site::on_nats();
    site.put(&Plugin::assembled("counter"));
    let host = site.start().await;
    host.wait_for_loaded(&["counter"]).await;
    let mode = |name: &str| std::fs::metadata(site.state().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("control.sock"), mode("lock")), (0o700, 0o600, 0o600));

    let refused = crate::program::run(site.command().args(["--device-id", "second"]));
    assert_eq!(refused.code, 1, "{}", refused.err);
    let state = site.state();
    let reason = format!("`{}` is in use by the host `{}` (pid {})", state.display(), site.device, host.pid());
    assert!(refused.err.contains(&reason), "{}", refused.err);
    assert!(refused.err.contains("\nhint: stop that host, or "), "{}", refused.err);
    assert_eq!(host.result(Way::Control, "increment", json!({})).await, 1);
    host.stop().await;
}

/// Both folders are made when they are missing, wherever they lie, and only the state folder is closed to others.
#[tokio::test(flavor = "multi_thread")]
async fn missing_folders_are_created() {
    for (capabilities, state) in [("apart/plugins", Some("elsewhere/state")), ("together", None)] {
        let site = Site::on_nats().with_missing_folders(capabilities, state);
        // Made by nobody but the operating system's rules.
        let ordinary = site.path().join("ordinary");
        std::fs::create_dir(&ordinary).unwrap();
        let host = site.start().await;
        let mode = |folder: &Path| std::fs::metadata(folder).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&site.capabilities()), mode(&site.state())), (mode(&ordinary), 0o700));
        assert_eq!(host.call("list_plugins", json!({})).await["available"], json!([]));
        host.install(&Plugin::assembled("counter")).await;
        assert!(site.capabilities().join("counter/manifest.json").is_file());
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_starts_again_with_its_plugins() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&Plugin::assembled("counter")).await;
    host.install(&Plugin::assembled("hello-world")).await;
    host.kill().await;
    assert!(site.state().join("control.sock").exists(), "this is what a killed host leaves behind");
    let unfinished = site.state().join("staging/left-behind");
    std::fs::create_dir(&unfinished).unwrap();

    let host = site.start().await;
    host.wait_for_loaded(&["counter", "hello-world"]).await;
    assert_eq!(host.call("hello_world", json!({})).await, json!({"message": "Hello, world!"}));
    assert!(!unfinished.exists(), "what was left unfinished is swept");
    host.stop().await;
    let host = site.start().await;
    host.wait_for_loaded(&["counter", "hello-world"]).await;
    host.stop().await;
}

/// Killed at whatever instant of an install, the next host comes up with the old version or the new one, whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_while_it_installs_comes_up_whole() {
    let site = Site::on_nats();
    let versions = [("version-1", "1.0.0"), ("version-2", "2.0.0")]
        .map(|(guest, version)| Plugin::of("versioned", guest).with("version", json!(version)));
    // How long an install takes when the code of both versions is compiled.
    let host = site.start().await;
    host.install(&versions[0]).await;
    host.install(&versions[1]).await;
    let begun = Instant::now();
    host.install(&versions[0]).await;
    let took = begun.elapsed();
    host.stop().await;
    for round in 1..=12 {
        let host = site.start().await;
        host.wait_for_loaded(&["versioned"]).await;
        let version = host.call("version", json!({})).await;
        let mut list = host.call("list_plugins", json!({})).await;
        assert_eq!(list["loaded"]["versioned"]["manifest"]["version"], version);
        assert_eq!(list["available"].as_array().unwrap().len(), 1, "{list}");
        assert_eq!(list["available"][0]["manifest"]["version"].take(), version);
        let staged: Vec<_> = std::fs::read_dir(site.state().join("staging")).unwrap().collect();
        assert!(staged.is_empty(), "{staged:?}");

        let other = &versions[usize::from(version == "1.0.0")];
        let install = json!({"id": round, "method": "install_plugin_from_bundle", "params": bundle(&other.tarball())});
        host.tell(install.to_string()).await;
        host.peer.round_trip().await;
        // Another instant each time, from before the archive is read to after the swap.
        tokio::time::sleep(took * round / 12).await;
        host.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_plugin_fails_alone() {
    let site = Site::on_nats();
    site.put(&Plugin::of("a-broken", "bad-start"));
    site.put(&Plugin::assembled("counter"));
    site.put(&Plugin::new("d-truncated", b"\0asm\x0d\0\x01\0\xff".to_vec()));
    site.put(&Plugin::assembled("hello-world"));
    std::fs::create_dir(site.capabilities().join("no-manifest")).unwrap();
    std::fs::write(site.capabilities().join("a-file"), "no folder").unwrap();
    std::fs::create_dir(site.capabilities().join(".artifacts")).unwrap();
    let host = site.start().await;
    host.wait_for_loaded(&["counter", "hello-world"]).await;
    crate::until("the broken ones have failed", async || {
        let status = host.result(Way::Control, "get_status", json!({})).await;
        status["failed_plugins"].as_object().unwrap().len() == 3
    })
    .await;
    let failed = host.call("get_status", json!({})).await["failed_plugins"].take();
    for (id, reason) in [
        ("a-broken", "the sensor does not answer"),
        ("d-truncated", "`plugin.wasm` cannot be loaded"),
        ("no-manifest", "missing manifest.json"),
    ] {
        assert!(failed[id].as_str().unwrap().contains(reason), "{failed}");
    }
    let list = host.call("list_plugins", json!({})).await;
    let available = list["available"].as_array().unwrap();
    let ids: Vec<&str> = available.iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a-broken", "counter", "d-truncated", "hello-world", "no-manifest"]);
    assert!(available[0]["error"].as_str().unwrap().contains("the sensor does not answer"), "{list}");
    assert_eq!((&available[0]["loaded"], &available[1]["loaded"]), (&json!(false), &json!(true)));
    assert_eq!(available[4]["manifest_error"], "missing manifest.json");
    host.call("hello_world", json!({})).await;

    // Mended in place, it is loaded like any other.
    site.put(&Plugin::of("a-broken", "version-1"));
    host.succeed("load_plugin", json!({"plugin_id": "a-broken"})).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    let failed = host.call("get_status", json!({})).await["failed_plugins"].take();
    assert!(failed.get("a-broken").is_none(), "{failed}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_loaded_where_the_operator_says_so() {
    let site = Site::on_nats();
    site.put(&Plugin::assembled("counter"));
    let mut by_flag = site.command();
    by_flag.arg("--no-auto-load");
    let mut by_variable = site.command();
    by_variable.env("DC_PLUGIN_AUTO_LOAD", "0");
    for command in [by_flag, by_variable] {
        let host = site.start_as(command).await;
        let status = host.call("get_status", json!({})).await;
        assert_eq!((&status["auto_load"], &status["loaded_plugins"]), (&json!(false), &json!([])));
        let list = host.call("list_plugins", json!({})).await;
        assert_eq!((&list["available"][0]["id"], &list["available"][0]["loaded"]), (&json!("counter"), &json!(false)));
        host.succeed("load_plugin", json!({"plugin_id": "counter"})).await;
        assert_eq!(host.call("increment", json!({})).await, 1);
        host.stop().await;
    }
}

/// One plugin is still starting, another is being installed: whoever installs it gets an answer, and the host ends in
/// time all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_stops_while_plugins_are_starting() {
    let site = Site::on_nats();
    site.put(&Plugin::assembled("counter"));
    site.put(&Plugin::of("slow", "slow-start"));
    let host = site.start().await;
    host.wait_for_loaded(&["counter"]).await;
    let install = bundle(&Plugin::of("slow-too", "slow-start").tarball());
    let request = json!({"id": 1, "method": "install_plugin_from_bundle", "params": install}).to_string();
    let (peer, subject) = (host.peer.clone(), format!("device-connect.{}.{}.cmd", site.tenant, site.device));
    let installing = peer.request(&subject, request.into(), crate::LONG);
    let stop = async {
        crate::until("the install is under way", async || {
            site.state().join("generations/slow-too").exists()
                || std::fs::read_dir(site.state().join("staging")).unwrap().next().is_some()
        })
        .await;
        host.stop().await;
    };
    let (reply, ()) = tokio::join!(installing, stop);
    let reply: Value = serde_json::from_slice(&reply.unwrap()).unwrap();
    let result = &reply["result"];
    assert_eq!((&result["status"], &result["code"]), (&json!("error"), &json!("stopping")), "{reply}");
    assert!(result["hint"].is_string(), "{reply}");
    assert!(!site.capabilities().join("slow-too").exists());
}

/// A call that is under way when the host is told to stop is answered, and the host still ends in time.
#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_are_answered_at_the_end() {
    let site = Site::on_nats();
    site.put(&Plugin::of("patient", "behave"));
    let host = site.start().await;
    host.wait_for_loaded(&["patient"]).await;
    let subject = format!("device-connect.{}.{}.cmd", site.tenant, site.device);
    let call = |ms: u64| {
        let (peer, subject) = (host.peer.clone(), subject.clone());
        let request = json!({"id": ms, "method": "sleep_ms", "params": {"ms": ms}}).to_string();
        async move {
            let reply = peer.request(&subject, request.into(), crate::LONG).await.unwrap();
            serde_json::from_slice::<serde_json::Value>(&reply).unwrap()
        }
    };
    let (short, long) = (call(500), call(50_000));
    let stop = async {
        crate::until("both calls are under way", async || {
            let list = host.result(Way::Control, "list_plugins", json!({})).await;
            list["loaded"]["patient"]["health"]["running"] == 2
        })
        .await;
        host.stop().await;
    };
    let (short, long, ()) = tokio::join!(short, long, stop);
    assert_eq!(short["result"], 500);
    assert_eq!((&long["error"]["code"], &long["error"]["data"]["code"]), (&json!(-32000), &json!("stopped")), "{long}");
}

/// Whoever had sent a call when the host stopped taking calls is answered; whoever sends one later hears at once that
/// nobody is there. Nobody waits in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stops_in_a_flood_of_calls_leaves_none_unanswered() {
    const ASKING: usize = 128;
    let site = Site::on_nats();
    site.put(&Plugin::assembled("counter"));
    let host = site.start().await;
    host.wait_for_loaded(&["counter"]).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let subject = format!("device-connect.{}.{}.cmd", site.tenant, site.device);
    let asking: Vec<_> = (0..ASKING)
        .map(|id| {
            let (peer, subject, answered) = (host.peer.clone(), subject.clone(), Arc::clone(&answered));
            let request = json!({"id": id, "method": "increment"}).to_string();
            tokio::spawn(async move {
                loop {
                    match peer.request(&subject, request.clone().into(), crate::LONG).await {
                        Ok(_) => answered.fetch_add(1, Ordering::Relaxed),
                        Err(error) => return error,
                    };
                }
            })
        })
        .collect();
    crate::until("there is a flood", async || answered.load(Ordering::Relaxed) > 10 * ASKING).await;
    host.stop().await;
    for task in asking {
        let error = task.await.unwrap();
        assert!(error.contains("no responders"), "{error}");
    }
}
