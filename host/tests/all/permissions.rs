//! What plugins may do, who may call what, and what the operator's policy has to say to it.

use crate::bundle::{Plugin, bundle};
use crate::host::{Host, Site, Way};
use crate::program::{mortise, run};
use crate::until;
use rustix::process::Signal;
use serde_json::{Value, json};

/// A plugin that asks to list the devices.
fn looker() -> Plugin {
    Plugin::of("looker", "behave").with("permissions", json!({"mesh": {"discover": true}}))
}

async fn permissions(host: &Host<'_>) -> Value {
    host.succeed("get_plugin_permissions", json!({"plugin_id": "looker"})).await
}

/// Over the control socket, as the operator.
async fn grant(host: &Host<'_>, permission: &str, more: Value) -> Value {
    let mut params = json!({"plugin_id": "looker", "permission": permission});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.result(Way::Control, "grant_plugin_permission", params).await
}

async fn is_denied(host: &Host<'_>) -> bool {
    let reply = host.ask(Way::Mesh, "discover", json!({})).await;
    match reply.get("error") {
        Some(error) => {
            assert_eq!(error["data"]["code"], "permission_denied", "{error}");
            true
        }
        None => false,
    }
}

/// Has the policy read again, and waits until it is.
async fn reload(host: &Host<'_>, site: &Site, text: &str) {
    let told = || {
        let log = host.log();
        log.matches("the policy was read again").count() + log.matches("the policy stays as it was").count()
    };
    let before = told();
    site.policy(text);
    host.signal(Signal::HUP);
    until("the policy was read again", async || told() > before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_lacks_is_told_and_one_command_grants_it_while_it_runs() {
    let site = Site::on_nats();
    let host = site.start().await;
    let installed = host.install(&looker()).await;
    let refusal = grant(&host, "files.ro:/srv/data", json!({})).await;
    assert_eq!(refusal["code"], "not_asked_for", "it would change nothing: {refusal}");
    let command = "mortise deploy grant looker mesh.discover";
    let lacking = json!([{"permission": "mesh.discover", "command": command}]);
    assert_eq!(installed["load_result"]["denied"], lacking, "{installed}");
    let listed = host.succeed("list_plugins", json!({})).await["loaded"]["looker"].take();
    assert_eq!((&listed["denied"], &listed["security"]["risk"]), (&lacking, &json!("low")));

    let error = host.fail("discover", json!({})).await;
    assert_eq!(error["data"]["code"], "permission_denied");
    assert!(error["message"].as_str().unwrap().contains(&format!("`{command}`")), "{error}");
    // What no manifest asks for is as good a wish once it was tried.
    host.fail("invoke", json!({"device": "camera-1", "function": "zoom"})).await;
    for odd in ["camera 1", "*"] {
        let error = host.fail("invoke", json!({"device": odd, "function": "zoom"})).await;
        assert!(error["message"].as_str().unwrap().ends_with("no name is written so"), "{error}");
    }
    let before = permissions(&host).await;
    assert_eq!(before["wanted"], json!([{"permission": "mesh.discover", "granted_by": null}]));
    let pending = before["pending"].as_array().unwrap();
    let told: Vec<[&Value; 2]> = pending.iter().map(|lacking| [&lacking["permission"], &lacking["tried"]]).collect();
    assert_eq!(
        json!(told),
        json!([["mesh.invoke:camera-1/zoom", 1], ["mesh.discover", 1]]),
        "no name has a blank or a `*`"
    );
    assert_eq!(pending[1]["command"], command);

    let deploy = |args: &[&str]| run(mortise().args(args).arg("--state-dir").arg(site.state()));
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let granted = deploy(&words);
    assert_eq!(granted.code, 0, "{}", granted.err);
    assert!(!is_denied(&host).await);
    let after = permissions(&host).await;
    assert_eq!(after["wanted"], json!([{"permission": "mesh.discover", "granted_by": "grant"}]));
    assert_eq!(
        (&after["pending"][0]["permission"], &after["pending"][1]),
        (&json!("mesh.invoke:camera-1/zoom"), &Value::Null)
    );
    let listed = host.succeed("list_plugins", json!({})).await["loaded"]["looker"].take();
    assert_eq!(
        (&listed["denied"], &listed["incarnation"]),
        (&json!([]), &installed["incarnation"]),
        "nothing was restarted"
    );

    let shown = deploy(&["deploy", "permissions", "looker"]);
    assert!(shown.out.contains("mesh.discover"), "{}", shown.out);
    let revoked = deploy(&["deploy", "revoke", "looker", "mesh.discover"]);
    assert_eq!(revoked.code, 0, "{}", revoked.err);
    assert!(is_denied(&host).await);
    let nothing = deploy(&["deploy", "revoke", "looker", "mesh.discover"]);
    assert!(nothing.code == 1 && nothing.err.contains("[not_granted]"), "{}", nothing.err);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_lasts_as_long_as_it_says() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&looker()).await;
    assert_eq!(grant(&host, "mesh.discover", json!({"once": true})).await["grant"]["once"], true);
    assert!(!is_denied(&host).await);
    assert!(is_denied(&host).await, "it was for a single time");
    grant(&host, "mesh.discover", json!({"once": true})).await;
    assert!(!is_denied(&host).await);
    host.stop().await;
    let host = site.start().await;
    host.wait_for_loaded(&["looker"]).await;
    assert!(is_denied(&host).await, "used up before the host ended");

    grant(&host, "mesh.discover", json!({"expires_in": "1h"})).await;
    assert!(!is_denied(&host).await);
    grant(&host, "mesh.discover", json!({"expires_in": "2s"})).await;
    assert!(permissions(&host).await["grants"][0]["expires_at"].is_string());
    until("the grant has ended", async || permissions(&host).await["grants"] == json!([])).await;
    assert!(is_denied(&host).await);

    assert_eq!(grant(&host, "mesh.*", json!({})).await["code"], "invalid_permission");
    let endless = grant(&host, "mesh.discover", json!({"expires_in": "soon"})).await;
    assert_eq!(endless["code"], "invalid_argument", "{endless}");
    grant(&host, "mesh.discover", json!({})).await;
    host.stop().await;
    let host = site.start().await;
    host.wait_for_loaded(&["looker"]).await;
    assert!(!is_denied(&host).await, "until it is revoked");

    // Whoever comes under that name later was granted nothing.
    host.succeed("uninstall_plugin", json!({"plugin_id": "looker"})).await;
    assert_eq!(host.refuse("get_plugin_permissions", json!({"plugin_id": "looker"})).await["code"], "not_installed");
    host.install(&looker()).await;
    assert!(is_denied(&host).await);
    host.stop().await;
    let host = site.start().await;
    host.wait_for_loaded(&["looker"]).await;
    assert!(is_denied(&host).await);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_on_the_mesh_grants_unless_the_policy_names_it() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&looker()).await;
    let wish = json!({"plugin_id": "looker", "permission": "mesh.discover"});
    for function in ["grant_plugin_permission", "revoke_plugin_permission"] {
        let refusal = host.refuse(function, wish.clone()).await;
        assert_eq!(refusal["code"], "not_allowed", "{refusal}");
        assert!(!host.advertised().await.contains(&function.to_owned()));
    }
    site.policy(
        "[[mesh.caller]]\ndevice = 'ops-*'\nfunctions = ['grant_plugin_permission']\n\
         [[plugin]]\nid = 'looker'\nmax = ['mesh.discover']",
    );
    // The host was started without a policy file, and follows none.
    assert_eq!(host.refuse("grant_plugin_permission", wish.clone()).await["code"], "not_allowed");
    host.stop().await;
    let host = site.start().await;
    host.wait_for_loaded(&["looker"]).await;
    assert!(host.advertised().await.contains(&"grant_plugin_permission".to_owned()));
    assert_eq!(
        host.refuse("grant_plugin_permission", wish.clone()).await["code"],
        "not_allowed",
        "it does not say who it is"
    );
    let claimed = |permission: &str| json!({"plugin_id": "looker", "permission": permission, "_dc_meta": {"source_device": "ops-1"}});
    let refusal = host.refuse("grant_plugin_permission", claimed("mesh.invoke:*")).await;
    assert_eq!(refusal["code"], "beyond_policy", "{refusal}");
    host.succeed("grant_plugin_permission", claimed("mesh.discover")).await;
    assert!(!is_denied(&host).await);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_read_again_and_a_bad_one_changes_nothing() {
    let site = Site::on_nats();
    site.policy("profile = 'strict'");
    let host = site.start().await;
    host.install(&looker()).await;
    assert!(is_denied(&host).await);
    let before = host.advertised().await;

    reload(&host, &site, "[[plugin]]\nid = 'look*'\ngrant = ['mesh.discover']\n[mesh]\nfunctions = ['get_*']").await;
    assert!(!is_denied(&host).await);
    assert_eq!(permissions(&host).await["wanted"][0]["granted_by"], "policy");
    let fewer = host.advertised().await;
    assert!(fewer.contains(&"get_status".to_owned()) && !fewer.contains(&"install_plugin_from_bundle".to_owned()));
    assert!(fewer.contains(&"discover".to_owned()), "plugins' functions are not the host's");
    let refusal = host.refuse("install_plugin_from_bundle", bundle(&looker().tarball())).await;
    assert_eq!(refusal["code"], "not_allowed", "{refusal}");
    assert!(refusal["hint"].as_str().unwrap().contains("policy file"), "{refusal}");
    let list = host.result(Way::Control, "list_plugins", json!({})).await;
    assert_eq!(list["status"], "success", "the operator may");

    reload(&host, &site, "[mesh]\nfunctions = ['get_*']\nfunktions = []").await;
    assert!(!is_denied(&host).await, "the last good policy goes on");
    let status = host.succeed("get_status", json!({})).await;
    assert_eq!(status["policy"]["error"], "the policy file cannot be used", "what it says is the operator's business");
    let status = host.result(Way::Control, "get_status", json!({})).await;
    let fault = status["policy"]["error"].as_str().unwrap();
    assert!(fault.contains("line 3") && fault.contains("funktions"), "{fault}");

    // Without a signal, too.
    site.policy("# nothing but the default");
    until("the policy is back", async || host.advertised().await == before).await;
    assert!(is_denied(&host).await);
    let status = host.succeed("get_status", json!({})).await;
    assert_eq!(status["policy"], json!({"profile": "strict", "error": null}));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_says_which_plugins_come_and_from_where() {
    let site = Site::on_nats();
    let folder = tempfile::tempdir().unwrap();
    looker().put_into(folder.path());
    site.policy(&format!(
        "[install]\nsources = ['folder']\nsource_roots = ['{}']\n[[plugin]]\nid = 'barred'\ninstall = false",
        folder.path().canonicalize().unwrap().display()
    ));
    site.put(&Plugin::of("barred", "version-1"));
    let host = site.start().await;
    until("the barred plugin has failed", async || {
        let status = host.result(Way::Control, "get_status", json!({})).await;
        status["failed_plugins"]["barred"].as_str().is_some_and(|reason| reason.contains("policy"))
    })
    .await;

    let refusal = host.refuse("install_plugin_from_bundle", bundle(&looker().tarball())).await;
    assert!(refusal["message"].as_str().unwrap().contains("`bundle`"), "{refusal}");
    assert_eq!(refusal["code"], "not_allowed");
    let upload = json!({"total_bytes": 10, "digest": "0".repeat(64)});
    assert_eq!(host.refuse("begin_plugin_upload", upload).await["code"], "not_allowed");
    let advertised = host.advertised().await;
    for gone in ["install_plugin_from_bundle", "install_plugin_from_manifest", "begin_plugin_upload"] {
        assert!(!advertised.contains(&gone.to_owned()), "{advertised:?}");
    }
    let from = |path: &std::path::Path| json!({"source_path": path});
    assert!(host.advertised().await.contains(&"install_plugin".to_owned()));
    host.succeed("install_plugin", from(&folder.path().join("looker"))).await;
    let elsewhere = tempfile::tempdir().unwrap();
    looker().put_into(elsewhere.path());
    assert_eq!(host.refuse("install_plugin", from(&elsewhere.path().join("looker"))).await["code"], "not_allowed");
    host.stop().await;
}

/// What was there before the rule is no exception.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_barred_later_does_not_come_back_at_the_next_start() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&looker()).await;
    host.stop().await;
    for policy in ["[[plugin]]\nid = 'look*'\ninstall = false", "when_denied = 'refuse'"] {
        site.policy(policy);
        let host = site.start().await;
        until("it has failed", async || {
            let status = host.result(Way::Control, "get_status", json!({})).await;
            status["failed_plugins"]["looker"].as_str().is_some_and(|reason| reason.contains("policy"))
        })
        .await;
        assert_eq!(host.refuse("load_plugin", json!({"plugin_id": "looker"})).await["code"], "not_allowed");
        host.stop().await;
    }
    site.policy("# nothing but the default");
    let host = site.start().await;
    host.wait_for_loaded(&["looker"]).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_may_hold_for_one_version_only() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&looker()).await;
    let granted = grant(&host, "mesh.discover", json!({"this_version": true})).await;
    assert!(granted["grant"]["tree_digest"].as_str().unwrap().starts_with("sha256:"), "{granted}");
    assert!(!is_denied(&host).await);
    host.install(&looker().with("version", json!("9.9.9"))).await;
    assert!(is_denied(&host).await, "these are other files");
    assert_eq!(permissions(&host).await["grants"][0]["other_files"], true);
    host.succeed("rollback_plugin", json!({"plugin_id": "looker"})).await;
    assert!(!is_denied(&host).await);
    host.stop().await;
}

/// Whoever plans sends code, and that code is nobody here.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_uses_up_nothing() {
    let site = Site::on_nats();
    let host = site.start().await;
    host.install(&looker()).await;
    grant(&host, "mesh.discover", json!({"once": true})).await;
    let agreed = host.succeed("plan_plugin_install", bundle(&looker().with("version", json!("2")).tarball())).await;
    assert_eq!(permissions(&host).await["grants"].as_array().unwrap().len(), 1);
    // Nor does a grant change a plan.
    grant(&host, "mesh.invoke:camera-1", json!({})).await;
    let mut params = bundle(&looker().with("version", json!("2")).tarball());
    params["plan_digest"] = agreed["plan_digest"].clone();
    host.succeed("install_plugin_from_bundle", params).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_gets_less_than_it_asks_for_can_be_refused() {
    let site = Site::on_nats();
    site.policy("when_denied = 'refuse'");
    let host = site.start().await;
    let params = bundle(&looker().tarball());
    let plan = host.succeed("plan_plugin_install", params.clone()).await;
    assert!(plan["refused"].as_str().unwrap().contains("`mesh.discover`"), "{plan}");
    let refusal = host.refuse("install_plugin_from_bundle", params.clone()).await;
    assert_eq!(refusal["code"], "not_allowed", "{refusal}");
    assert!(refusal["hint"].as_str().unwrap().contains("mortise deploy grant looker mesh.discover"), "{refusal}");
    assert_eq!(host.refuse("get_plugin_permissions", json!({"plugin_id": "looker"})).await["code"], "not_installed");

    let mut unloaded = params.clone();
    unloaded["load"] = json!(false);
    host.succeed("install_plugin_from_bundle", unloaded).await;
    assert_eq!(host.refuse("load_plugin", json!({"plugin_id": "looker"})).await["code"], "not_allowed");
    assert_eq!(grant(&host, "mesh.discover", json!({})).await["status"], "success");
    host.succeed("load_plugin", json!({"plugin_id": "looker"})).await;
    assert!(!is_denied(&host).await);
    host.stop().await;
}

#[test]
fn a_policy_that_cannot_be_kept_starts_no_host() {
    let site = Site::on_zenoh();
    for (text, expected) in [
        ("[mesh]\nfunctions = ['no_such']", "`no_such` in `mesh.functions` is none of the host's functions"),
        ("profile = 'loose'", "line 1: unknown variant `loose`"),
    ] {
        site.policy(text);
        let ended = run(&mut site.command());
        assert_eq!(ended.code, 64, "{}", ended.err);
        assert!(ended.err.contains(expected) && ended.err.contains("hint: "), "{}", ended.err);
    }
    let missing = run(mortise().args(["run", "--policy", "/nowhere/policy.toml", "--device-id", "d"]));
    assert!(missing.code == 64 && missing.err.contains("failed to read the policy file"), "{}", missing.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_permissive_profile_is_asked_for_by_name_and_told_at_every_start() {
    let site = Site::on_nats();
    let mut command = site.command();
    command.args(["--policy", "development"]);
    let host = site.start_as(command).await;
    assert!(host.log().contains("profile `development`"), "{}", host.log());
    host.install(&looker()).await;
    assert!(!is_denied(&host).await);
    let status = host.succeed("get_status", json!({})).await;
    assert_eq!(status["policy"]["profile"], "development");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_may_use_more_where_the_policy_says_so() {
    let site = Site::on_nats();
    let rule = |memory: &str| format!("[[plugin]]\nid = 'looker'\nlimits = {{memory = '{memory}', queue = 5}}");
    site.policy(&rule("128MiB"));
    let host = site.start().await;
    let greedy = |memory: &str| looker().with("limits", json!({"memory": memory}));
    let refusal = host.refuse("install_plugin_from_bundle", bundle(&greedy("129MiB").tarball())).await;
    assert_eq!(refusal["code"], "limit_raised", "{refusal}");
    let expected = "plugin `looker` asks for more than it may use: `limits.memory` may be at most 128MiB, got 129MiB";
    assert_eq!(refusal["message"], expected);
    assert_eq!(host.loaded().await, [""; 0]);
    host.install(&greedy("128MiB")).await;
    let stats = host.succeed("get_plugin_stats", json!({"plugin_id": "looker"})).await["plugins"]["looker"].take();
    assert_eq!((&stats["limits"]["memory"], &stats["limits"]["queue"]), (&json!("128MiB"), &json!(5)), "{stats}");
    assert_eq!(host.call("allocate", json!({"mib": 100})).await, 100, "more than the default of 64 MiB");

    // A version that asks for more than it may by now goes on as it is, which is told.
    reload(&host, &site, &rule("64MiB")).await;
    assert_eq!(host.call("allocate", json!({"mib": 1})).await, 101);
    let outdated =
        || async { host.succeed("list_plugins", json!({})).await["loaded"]["looker"]["outdated_limits"].take() };
    let expected = "`limits.memory` may be at most 64MiB, got 128MiB";
    assert!(outdated().await.as_str().unwrap().contains(expected), "{}", outdated().await);
    until("the audit log has it", async || applied(&site).last().is_some_and(|line| line["code"] == "limit_raised"))
        .await;
    let refusal = host.refuse("reload_plugin", json!({"plugin_id": "looker"})).await;
    assert_eq!(refusal["code"], "limit_raised", "{refusal}");
    assert_eq!(host.call("allocate", json!({"mib": 1})).await, 102, "what served goes on");
    reload(&host, &site, &rule("128MiB")).await;
    assert_eq!(outdated().await, Value::Null);
    assert_eq!(host.call("allocate", json!({"mib": 1})).await, 103);
    host.stop().await;
}

/// Of what serves; none where nothing does.
async fn incarnation(host: &Host<'_>, id: &str) -> Option<u64> {
    host.succeed("list_plugins", json!({})).await["loaded"][id]["incarnation"].as_u64()
}

async fn queue(host: &Host<'_>, id: &str) -> Option<u64> {
    let stats = host.succeed("get_plugin_stats", json!({"plugin_id": id})).await;
    stats["plugins"][id]["limits"]["queue"].as_u64()
}

fn applied(site: &Site) -> Vec<Value> {
    let trail = std::fs::read_to_string(site.state().join("audit.jsonl")).unwrap();
    let lines = trail.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["what"] == "apply_policy").collect()
}

/// A plugin that asks for nothing is started anew, beside what serves, within what it may use by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_read_again_counts_for_what_serves() {
    let site = Site::on_nats();
    site.policy("# nothing but the default");
    let host = site.start().await;
    host.install(&looker()).await;
    host.install(&Plugin::of("lone", "behave").with("swap", json!("exclusive"))).await;
    let mut events = host.events().await;
    let before = [incarnation(&host, "looker").await, incarnation(&host, "lone").await];
    reload(&host, &site, "[[plugin]]\nid = '*'\nlimits = {queue = 5, memory = '32MiB'}").await;
    for (id, before) in ["looker", "lone"].into_iter().zip(before) {
        until("it is started anew", async || incarnation(&host, id).await > before).await;
        assert_eq!(queue(&host, id).await, Some(5));
    }
    let plugins = host.succeed("list_plugins", json!({})).await;
    assert_eq!(plugins["loaded"]["looker"]["generation"], 1, "it is the same version");
    assert!(host.fail("looker.allocate", json!({"mib": 40})).await["message"].as_str().unwrap().contains("32MiB"));
    until("the audit log has both", async || applied(&site).len() == 2).await;

    // One that is not admitted any more is unloaded, and loaded again once it is.
    events.arrived();
    reload(&host, &site, "[[plugin]]\nid = 'lone'\n[[plugin]]\nid = '*'\ninstall = false").await;
    events
        .next_where("it is unloaded", |event| {
            event["method"] == "plugin_unloaded" && event["params"]["plugin_id"] == "looker"
        })
        .await;
    host.wait_for_loaded(&["lone"]).await;
    let reason = "the host's policy does not admit plugin `looker`";
    let why = || async { host.succeed("get_status", json!({})).await["failed_plugins"]["looker"].take() };
    until("it is told why", async || why().await == reason).await;
    let refusal = host.refuse("load_plugin", json!({"plugin_id": "looker"})).await;
    assert_eq!(refusal["code"], "not_allowed", "{refusal}");
    host.stop().await;
    let host = site.start().await;
    host.wait_for_loaded(&["lone"]).await;
    reload(&host, &site, "# nothing but the default").await;
    host.wait_for_loaded(&["lone", "looker"]).await;
    assert_eq!(host.call("looker.allocate", json!({"mib": 40})).await, 40);
    let applied = applied(&site);
    let put_out = |line: &Value| line["plugin_id"] == "looker" && line["detail"] == reason;
    assert_eq!(applied.iter().filter(|line| put_out(line) && line["outcome"] == "success").count(), 1, "{applied:?}");

    // One that somebody unloaded stays so, were it refused meanwhile. They follow one policy after the other: once the last counts,
    // the one before has been followed by all.
    host.succeed("unload_plugin", json!({"plugin_id": "looker"})).await;
    let limited = |queue: u32| format!("[[plugin]]\nid = 'lone'\nlimits = {{queue = {queue}}}");
    let refusing = format!("{}\n[[plugin]]\nid = 'looker'\ninstall = false", limited(7));
    for policy in [refusing, limited(8), limited(9)] {
        let before = incarnation(&host, "lone").await;
        reload(&host, &site, &policy).await;
        until("it is started anew", async || incarnation(&host, "lone").await > before).await;
        if policy.contains("install") {
            host.refuse("load_plugin", json!({"plugin_id": "looker"})).await;
        }
    }
    assert_eq!(host.loaded().await, ["lone"]);
    host.stop().await;
}

/// Emitting needs no permission, and a rule may bound it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_says_which_events_a_plugin_may_emit() {
    let site = Site::on_nats();
    site.policy("[[plugin]]\nid = 'looker'\nemit = ['mot*']");
    let host = site.start().await;
    host.install(&looker()).await;
    let mut events = host.events().await;
    let emit = |event: &str| json!({"name": event, "payload": {}});
    host.call("emit", emit("motion")).await;
    events.next_where("it is named", |event| event["method"] == "motion").await;
    let error = host.fail("emit", emit("alarm")).await;
    let expected = "the plugin may not emit `alarm`: the operator's policy has to name it in `emit` of the rule for plugin `looker`";
    assert_eq!((&error["message"], &error["data"]["code"]), (&json!(expected), &json!("permission_denied")), "{error}");
    let stats = host.succeed("get_plugin_stats", json!({"plugin_id": "looker"})).await["plugins"]["looker"].take();
    assert_eq!((&stats["denied"], &stats["events"]["done"]), (&json!(1), &json!(1)), "{stats}");
    reload(&host, &site, "# nothing but the default").await;
    host.call("emit", emit("alarm")).await;
    events.next_where("nothing bounds it", |event| event["method"] == "alarm").await;
    host.stop().await;
}
