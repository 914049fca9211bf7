//! What the host tells of its plugins: what they log, what they do, and what is more than they may.

use crate::bundle::{Plugin, bundle};
use crate::host::{Host, Site, Way};
use crate::program::{mortise, run};
use serde_json::{Value, json};

async fn start<'a>(site: &'a Site, limits: Value) -> Host<'a> {
    site.policy("profile = 'development'");
    let host = site.start().await;
    let permissions = json!({"mesh": {"discover": true}});
    host.install(&Plugin::of("talker", "behave").with("limits", limits).with("permissions", permissions)).await;
    host
}

async fn logs(host: &Host<'_>, mut params: Value) -> Value {
    params["plugin_id"] = json!("talker");
    host.succeed("get_plugin_logs", params).await
}

async fn stats(host: &Host<'_>) -> Value {
    host.succeed("get_plugin_stats", json!({"plugin_id": "talker"})).await["plugins"]["talker"].take()
}

fn column(page: &Value, key: &str) -> Value {
    page["lines"].as_array().unwrap().iter().map(|line| line[key].clone()).collect()
}

/// Limit: `log_line`.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_from_where_it_was_left_and_outlives_its_generation() {
    let site = Site::on_nats();
    let host = start(&site, json!({"log_line": "20B"})).await;
    host.call("log", json!({"message": "first"})).await;
    let page = logs(&host, json!({"level": "info"})).await;
    assert_eq!(column(&page, "level"), json!(["error", "warn", "info"]), "{page}");
    assert_eq!(column(&page, "text"), json!(["first", "first", "first"]), "{page}");
    assert_eq!(column(&page, "generation"), json!([1, 1, 1]), "{page}");
    assert_eq!(page["dropped"], 0);
    let form: String = page["lines"][0]["ts"].as_str().unwrap().replace(|c: char| c.is_ascii_digit(), "9");
    assert_eq!(form, "9999-99-99T99:99:99.999Z");

    host.succeed("reload_plugin", json!({"plugin_id": "talker"})).await;
    for message in ["a line of more than twenty bytes", "another"] {
        host.call("log", json!({"message": message})).await;
    }
    // What else is logged, by a hook or a routine, is less serious.
    let one = logs(&host, json!({"level": "error", "since": page["next"], "limit": 1})).await;
    assert_eq!(column(&one, "text"), json!(["a line of more than "]), "{one}");
    let other = logs(&host, json!({"level": "error", "since": one["next"]})).await;
    assert_eq!((column(&other, "text"), column(&other, "generation")), (json!(["another"]), json!([1])), "{other}");
    let end = logs(&host, json!({"level": "error", "since": other["next"]})).await;
    assert_eq!((&end["lines"], &end["oldest"]), (&json!([]), &json!(1)));
    let anew = logs(&host, json!({"level": "error", "since": 1_000_000})).await;
    assert_eq!(anew["lines"].as_array().unwrap().len(), 3, "{anew}");

    host.succeed("unload_plugin", json!({"plugin_id": "talker"})).await;
    assert_eq!(logs(&host, json!({"level": "error"})).await["lines"].as_array().unwrap().len(), 3);
    for odd in [json!({"level": "loud"}), json!({"limit": 0}), json!({"limit": 1001}), json!({"since": -1})] {
        let mut params = odd;
        params["plugin_id"] = json!("talker");
        assert_eq!(host.refuse("get_plugin_logs", params).await["code"], "invalid_argument");
    }
    host.succeed("uninstall_plugin", json!({"plugin_id": "talker"})).await;
    for method in ["get_plugin_logs", "get_plugin_stats"] {
        let refusal = host.refuse(method, json!({"plugin_id": "talker"})).await;
        assert_eq!(refusal["code"], "not_loaded", "{refusal}");
    }
    host.install(&Plugin::of("talker", "behave")).await;
    assert_eq!(logs(&host, json!({"level": "error"})).await["lines"], json!([]), "it is another");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_logs_are_followed_and_no_more() {
    let site = Site::on_nats();
    let host = site.start().await;
    let ids: Vec<String> = (0..17).map(|n| format!("counter-{n}")).collect();
    let code = Plugin::assembled("counter").files.remove(0).1;
    for id in &ids {
        host.install(&Plugin::new(id, code.clone())).await;
    }
    let follow = async |id: &String| {
        let params = json!({"plugin_id": id, "follow": 60});
        host.ask(Way::Mesh, "get_plugin_logs", params).await["result"].take()
    };
    for id in &ids[..16] {
        assert_eq!(follow(id).await["status"], "success");
    }
    let refusal = follow(&ids[16]).await;
    assert_eq!(refusal["code"], "too_many_followed", "{refusal}");
    assert_eq!(follow(&ids[0]).await["status"], "success", "one that is followed may be followed on");
    host.succeed("uninstall_plugin", json!({"plugin_id": ids[3]})).await;
    crate::until("there is room again", async || follow(&ids[16]).await["status"] == "success").await;
    host.stop().await;
}

/// While the mesh is away, lines wait in the log and not as events, which would push out others.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_followed_leaves_the_queue_of_events_to_others() {
    let site = Site::on_nats();
    let host = start(&site, json!({})).await;
    let mut events = host.events().await;
    let log = async || {
        host.result(Way::Control, "log", json!({"message": "away"})).await;
    };
    let page = logs(&host, json!({"level": "error", "follow": 300})).await;
    site.broker().kill();
    let queued = async || {
        let status = host.result(Way::Control, "get_status", json!({})).await;
        status["events"]["queued"].as_u64().unwrap()
    };
    crate::until("so many wait", async || {
        log().await;
        queued().await >= 16
    })
    .await;
    for _ in 0..20 {
        log().await;
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    log().await;
    assert_eq!(queued().await, 16, "half a second is worth five events");
    site.broker().restart();
    let mut next = page["next"].as_u64().unwrap() + 1;
    let last = host.result(Way::Control, "get_plugin_logs", json!({"plugin_id": "talker", "level": "error"})).await;
    let last = last["lines"].as_array().unwrap().last().unwrap()["number"].as_u64().unwrap();
    while next <= last {
        let event = events.next_where("lines are missing", |event| event["method"] == "plugin_log").await;
        for (number, _) in lines(&event) {
            assert!(number >= next, "{event}");
            next = number + 1;
        }
    }
    host.stop().await;
}

/// The number of each line and its text.
fn lines(event: &Value) -> Vec<(u64, String)> {
    let lines = event["params"]["lines"].as_array().unwrap().iter();
    lines.map(|line| (line["number"].as_u64().unwrap(), line["text"].as_str().unwrap().to_owned())).collect()
}

/// Between what the reply holds and what the events bring no line is missing, and none comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_as_events_for_as_long_as_it_was_asked_for() {
    let site = Site::on_nats();
    let host = start(&site, json!({"log_lines_per_second": 100})).await;
    let mut events = host.events().await;
    for follow in [json!(0), json!(301)] {
        let refusal = host.refuse("get_plugin_logs", json!({"plugin_id": "talker", "follow": follow})).await;
        assert_eq!(refusal["code"], "invalid_argument");
    }
    host.call("log", json!({"message": "before"})).await;
    let page = logs(&host, json!({"level": "warn", "follow": 60})).await;
    assert_eq!(page["follow"], json!({"event": "plugin_log", "seconds": 60}));
    assert_eq!(column(&page, "text"), json!(["before", "before"]));
    let mut last = page["next"].as_u64().unwrap();
    let mut seen = Vec::new();
    for n in 0..20 {
        host.call("log", json!({"message": n.to_string()})).await;
    }
    while seen.len() < 40 {
        let event = events.next_where("no lines", |event| event["method"] == "plugin_log").await;
        assert_eq!(
            (&event["params"]["plugin_id"], &event["params"]["dropped"]),
            (&json!("talker"), &json!(0)),
            "{event}"
        );
        for (number, text) in lines(&event) {
            assert!(number > last, "{event}");
            (last, _) = (number, seen.push(text));
        }
    }
    let expected: Vec<String> = (0..20).flat_map(|n| [n.to_string(), n.to_string()]).collect();
    assert_eq!(seen, expected, "one of each level that was asked for");
    // Few events, however many lines; and what is dropped is told.
    for _ in 0..200 {
        host.call("log", json!({"message": "flood"})).await;
    }
    let told = async |event: &Value| event["params"]["dropped"].as_u64().unwrap() > 0;
    loop {
        let event = events.next_where("nothing was dropped", |event| event["method"] == "plugin_log").await;
        if told(&event).await {
            break;
        }
        host.call("log", json!({"message": "more"})).await;
    }
    host.stop().await;

    let host = site.start().await;
    host.wait_for_loaded(&["talker"]).await;
    let mut events = host.events().await;
    logs(&host, json!({"follow": 1})).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    events.arrived();
    host.call("log", json!({"message": "after"})).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    host.peer.round_trip().await;
    assert_eq!(events.arrived(), Vec::<Value>::new(), "it was for a second");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_plugin_may_in_a_second_is_refused_and_counted() {
    let site = Site::on_nats();
    let limits = json!({"events_per_second": 1, "log_lines_per_second": 1, "mesh_calls_per_second": 1});
    let host = start(&site, limits).await;
    let mut events = host.events().await;
    let emit = json!({"name": "motion", "payload": {}});
    for (function, params, limit, counted) in
        [("emit", emit, "events_per_second", "events"), ("discover", json!({}), "mesh_calls_per_second", "mesh_calls")]
    {
        let mut refused = 0;
        for _ in 0..20 {
            let reply = host.ask(Way::Mesh, function, params.clone()).await;
            if let Some(error) = reply.get("error") {
                refused += 1;
                assert_eq!(
                    (&error["data"]["code"], &error["data"]["retryable"]),
                    (&json!("rate_limited"), &json!(true)),
                    "{error}"
                );
                assert!(error["message"].as_str().unwrap().contains(limit), "{error}");
            }
        }
        let stats = stats(&host).await;
        // Two at once, and one for each second that this took.
        assert!((10..=18).contains(&refused), "{function}: {refused} refused");
        let counted = &stats[counted];
        assert_eq!((&counted["done"], &counted["refused"]), (&json!(20 - refused), &json!(refused)), "{stats}");
    }
    for _ in 0..10 {
        host.call("log", json!({"message": "flood"})).await;
    }
    let page = logs(&host, json!({})).await;
    let (lines, dropped) = (page["lines"].as_array().unwrap().len() as u64, page["dropped"].as_u64().unwrap());
    assert!(lines + dropped >= 30 && dropped >= 20, "{page}");
    let counted = stats(&host).await["log_lines"].take();
    assert_eq!(
        [&counted["done"], &counted["last_minute"], &counted["refused"]].map(Value::as_u64),
        [Some(lines), Some(lines), Some(dropped)]
    );
    assert!(counted["bytes_sent"].as_u64().unwrap() >= 5 * lines, "{counted}");
    let emitted = stats(&host).await["events"]["done"].as_u64().unwrap();
    for _ in 0..emitted {
        events.next_where("what was emitted is sent", |event| event["method"] == "motion").await;
    }
    host.peer.round_trip().await;
    assert_eq!(events.arrived(), Vec::<Value>::new(), "what was refused is not");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_does_is_counted_over_its_generations() {
    let site = Site::on_nats();
    let host = start(&site, json!({"queue": 77, "turn": "300ms"})).await;
    host.call("sleep_ms", json!({"ms": 30})).await;
    host.fail("fail", json!({"code": "x", "message": "y"})).await;
    for function in ["get_status", "list_plugins"] {
        host.fail("invoke_local", json!({"function": function})).await;
    }
    host.fail("panic", json!({})).await;
    host.fail("spin", json!({})).await;
    host.succeed("reload_plugin", json!({"plugin_id": "talker"})).await;
    host.call("echo", json!({"message": 1})).await;
    let stats = stats(&host).await;
    let calls = &stats["calls"];
    assert_eq!((crate::ended(calls), &calls["last_minute"]), ([7, 5], &json!(7)), "{stats}");
    // The parameters and the result of `echo`, which are the largest.
    assert!((30..1000).contains(&calls["bytes_received"].as_u64().unwrap()), "{stats}");
    assert!((1..1000).contains(&calls["bytes_sent"].as_u64().unwrap()), "{stats}");
    assert_eq!((&stats["losses"], &stats["denied"]), (&json!({"trap": 1, "turn_limit": 1}), &json!(2)), "{stats}");
    assert_eq!((&stats["limits"]["queue"], &stats["limits"]["turn"]), (&json!(77), &json!("300ms")), "{stats}");
    assert!(stats["ticks"]["answered"].as_u64().unwrap() >= 1, "{stats}");
    let at_least = |of: &Value, most: f64| of.as_f64().is_some_and(|used| used > 0.0 && used < most);
    assert!(at_least(&stats["memory"]["bytes"], 8e6) && at_least(&stats["cpu"]["used_ms"], 3e3), "{stats}");
    assert_eq!((&stats["cpu"]["waits"], &stats["limits"]["cpu_per_minute"]), (&json!(0), &json!("1m")), "{stats}");
    let latency = |key: &str| stats["latency_ms"][key].as_f64().unwrap();
    assert!(latency("p50") > 0.0 && latency("p50") <= latency("p99") && latency("p99") <= latency("max"), "{stats}");
    assert!(latency("max") >= 300.0, "{stats}");
    host.succeed("unload_plugin", json!({"plugin_id": "talker"})).await;
    let all = host.succeed("get_plugin_stats", json!({})).await;
    assert_eq!(all["plugins"].as_object().unwrap().keys().collect::<Vec<_>>(), ["talker"]);
    assert_eq!(all["plugins"]["talker"]["calls"], stats["calls"]);
    // What it used is told of one that has ended as well, and what it may use.
    crate::until("its memory is gone", async || self::stats(&host).await["memory"]["bytes"] == 0).await;
    let after = self::stats(&host).await;
    assert_eq!(after["limits"], stats["limits"]);
    assert!(after["memory"]["peak_bytes"].as_u64() >= stats["memory"]["bytes"].as_u64(), "{after}");
    assert!(after["cpu"]["used_ms"].as_f64() >= stats["cpu"]["used_ms"].as_f64(), "{after}");
    assert!(after["cpu"]["last_minute_ms"].as_f64() >= Some(200.0), "{after}");
    host.stop().await;
}

/// A plugin that never served is asked about all the same: why it did not is in its log.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_refused_plugin_logged_can_be_read() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.refuse("get_plugin_logs", json!({"plugin_id": "talker"})).await;
    host.refuse("install_plugin_from_bundle", bundle(&Plugin::of("talker", "bad-start").tarball())).await;
    let page = logs(&host, json!({})).await;
    assert_eq!(column(&page, "text"), json!(["asks the sensor"]), "{page}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_reads_no_log_whatever_it_asks_for() {
    let site = Site::on_nats();
    site.policy("profile = 'development'");
    let host = site.start().await;
    host.install(&Plugin::of("talker", "behave").with("permissions", json!({"plugins": ["*"]}))).await;
    let read = json!({"function": "get_plugin_logs", "params": {"plugin_id": "talker"}});
    let refusal = host.call("invoke_local", read).await;
    assert_eq!((&refusal["status"], &refusal["code"]), (&json!("error"), &json!("not_allowed")), "{refusal}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_logs_and_stats() {
    let site = Site::on_nats();
    let host = start(&site, json!({})).await;
    host.call("log", json!({"message": "is\u{1b}[31m hot"})).await;
    let deploy = |args: &[&str]| run(mortise().arg("deploy").args(args).arg("--state-dir").arg(site.state()));
    let shown = deploy(&["logs", "talker", "--level", "error", "--limit", "5"]);
    assert!(shown.out.contains(" ERROR behave: is\\u{1b}[31m hot\n"), "{}", shown.out);
    assert!(shown.err.contains("`--since "), "{}", shown.err);
    let shown = deploy(&["stats", "talker"]);
    assert!(shown.out.contains("\"answered\":1"), "{}", shown.out);
    let refused = deploy(&["stats", "nobody"]);
    assert!(refused.code == 1 && refused.err.contains("hint: "), "{}", refused.err);
    host.stop().await;
}
