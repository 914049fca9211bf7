//! The program under the reference's names: a host, and deployments to it (wire contract 10.11, 10.12).

use crate::broker::Broker;
use crate::bundle::{Plugin, guest};
use crate::cli::{json_of, plugin_folder};
use crate::host::Site;
use crate::peer::Peer;
use crate::program::{Ended, called, run};
use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use tokio::sync::mpsc;

/// Runs the program `name` with `line`, which holds no blanks but those between arguments.
fn call(name: &str, folder: &Path, line: &str) -> Ended {
    run(called(name, folder).args(line.split_whitespace()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_runs_under_the_references_names_and_is_deployed_to() {
    let site = Site::on_nats();
    let common = format!("--host {} --tenant {} --nats-url {}", site.device, site.tenant, site.broker().url());
    let deploy = |line: &str| {
        let ended = call("dc-plugin-deploy", site.path(), line);
        assert_eq!(ended.code, 0, "{line}: {}{}", ended.out, ended.err);
        ended.out
    };
    let sources = site.path().join("sources");
    Plugin::assembled("hello-world").put_into(&sources);

    let host = site.start_as(site.flags_for(called("device-connect-plugin-driver", site.path()))).await;
    let out = deploy(&format!("install {}/hello-world {common}", sources.display()));
    assert!(out.starts_with("status: success\n"), "{out}");
    let result = json_of(&deploy(&format!("{common} --json invoke hello_world")));
    assert_eq!(result, json!({"status": "success", "result": {"message": "Hello, world!"}}));
    host.stop().await;

    let host = site.start_as(site.flags_for(called("dc-plugin-driver", site.path()))).await;
    host.wait_for_loaded(&["hello-world"]).await;
    // The flags that are given last count, wherever they are given.
    let result = json_of(&deploy(&format!("--host nobody --json list {common}")));
    assert!(result["result"]["loaded"].get("hello-world").is_some(), "{result}");
    let ended = call("dc-plugin-driver", site.path(), &format!("deploy {common} --dry-run unload hello-world --json"));
    let sent = json!({"action": "unload_plugin", "host": site.device, "plugin_id": "hello-world"});
    assert_eq!((ended.code, &json_of(&ended.out)["result"]), (0, &sent), "{}", ended.err);
    assert_eq!(host.loaded().await, ["hello-world"], "a dry run changes nothing");
    let ended = call("dc-plugin-driver", site.path(), &format!("deploy unload hello-world {common}"));
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(host.loaded().await, Vec::<String>::new());
    let ended = call("dc-plugin-deploy", site.path(), &format!("{common} load missing --json"));
    assert_eq!((ended.code, &json_of(&ended.out)["result"]["status"]), (1, &json!("error")), "{}", ended.err);
    host.stop().await;
}

/// Answers each call of the device `hub` by its method, and tells which came.
async fn play_host(broker: &Broker) -> mpsc::Receiver<String> {
    let peer = Peer::on_nats(&broker.url()).await;
    let Peer::Nats(client) = peer.clone() else { panic!("not on NATS") };
    let mut calls = client.subscribe("device-connect.default.hub.cmd").await.unwrap();
    peer.round_trip().await;
    let (sender, came) = mpsc::channel(64);
    // Ends with the runtime of its test.
    tokio::spawn(async move {
        while let Some(call) = calls.next().await {
            let request: Value = serde_json::from_slice(&call.payload).unwrap();
            let method = request["method"].as_str().unwrap().to_owned();
            let mut reply = match method.as_str() {
                "load_plugin" => {
                    json!({"result": {"status": "success", "asked": request["params"]["install_dependencies"]}})
                }
                "get_status" => json!({"result": {"status": "error", "message": "no"}}),
                "list_plugins" => json!({"result": {"status": "partial", "load_result": {"message": "half"}}}),
                "reload_plugin" => json!({"error": {"code": -32000, "message": "broken"}}),
                _ => Value::Null,
            };
            if !reply.is_null() {
                reply["jsonrpc"] = json!("2.0");
                reply["id"] = request["id"].clone();
                client.publish(call.reply.unwrap(), reply.to_string().into()).await.unwrap();
            }
            sender.send(method).await.unwrap();
        }
    });
    came
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_ends_with_what_became_of_it() {
    let (broker, folder) = (Broker::start(), tempfile::tempdir().unwrap());
    let mut came = play_host(&broker).await;
    let common = format!("--host hub --nats-url {}", broker.url());
    for (line, code, out, err) in [
        ("load p --install-dependencies", 0, "status: success\n  asked: true\n", ""),
        ("status", 1, "", "error: no\n"),
        ("list", 3, "status: partial\n", "error: half\n"),
        ("reload p", 1, "", "error: broken\n"),
    ] {
        for line in [format!("{line} {common}"), format!("{common} {line}")] {
            let ended = call("dc-plugin-deploy", folder.path(), &line);
            assert_eq!((ended.code, ended.err.as_str()), (code, err), "{line}");
            assert!(ended.out.starts_with(out), "{line}: {}", ended.out);
            came.recv().await.unwrap();
        }
    }
    let ended = call("dc-plugin-deploy", folder.path(), &format!("--json reload p {common}"));
    assert_eq!((ended.code, json_of(&ended.out)), (1, json!({"status": "error", "message": "broken"})));
    came.recv().await.unwrap();

    // Interrupted while it waits.
    let mut waiting = called("dc-plugin-deploy", folder.path());
    waiting.args(format!("unload p {common}").split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut waiting = waiting.spawn().unwrap();
    assert_eq!(came.recv().await.unwrap(), "unload_plugin");
    kill_process(Pid::from_raw(i32::try_from(waiting.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(130));
}

#[test]
fn what_cannot_be_deployed_is_said_without_a_stack_trace() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    for (line, code, err) in [
        (format!("install {} --host hub", empty.display()), 1, "error: missing manifest.json"),
        ("--host hub install".to_owned(), 1, "error: plugin path or --url required\n"),
        ("--host hub invoke f --params []".to_owned(), 1, "error: params must be a JSON object\n"),
        ("--host hub invoke f --params {".to_owned(), 1, "error: params are not JSON"),
        ("--host hub --nats-url nats://127.0.0.1:1 --timeout 300ms list".to_owned(), 1, "error: failed to connect"),
        ("list --nats-url nats://127.0.0.1:1".to_owned(), 2, "error: `--host` is missing\nhint: "),
        ("list --host hub --messaging-backend mqtt".to_owned(), 2, "error: the backend `mqtt` is not supported"),
        ("list --host hub --timeout soon".to_owned(), 2, "error: invalid value `soon`"),
        ("list --host hub --colour".to_owned(), 2, "error: unexpected argument"),
        ("--host hub".to_owned(), 2, "error: 'dc-plugin-deploy' requires a subcommand"),
    ] {
        for (name, line) in [("dc-plugin-deploy", line.clone()), ("dc-plugin-driver", format!("deploy {line}"))] {
            let ended = call(name, folder.path(), &line);
            assert_eq!(ended.code, code, "{line}: {}{}", ended.out, ended.err);
            let called = if name == "dc-plugin-driver" { "dc-plugin-driver deploy" } else { name };
            let err = err.replace("dc-plugin-deploy", called);
            assert!(ended.err.starts_with(&err), "{line}: {}", ended.err);
            assert!(ended.out.is_empty() && !ended.err.contains("panicked"), "{line}: {}{}", ended.out, ended.err);
        }
    }
    let ended = call("dc-plugin-deploy", folder.path(), "--json list");
    assert_eq!((ended.code, &json_of(&ended.out)["message"]), (2, &json!("`--host` is missing")));
}

#[test]
fn a_driver_has_the_references_other_commands() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = plugin_folder(folder.path());
    std::fs::write(plugin.join("plugin.wasm"), guest("hello-world")).unwrap();
    let plugin = plugin.display().to_string();
    let capabilities = folder.path().join("c").display().to_string();
    for (line, code, out, err) in [
        ("artifact".to_owned(), 0, "Publish plugins", ""),
        ("artifact --help".to_owned(), 0, "Publish plugins", ""),
        ("artifact dance".to_owned(), 2, "", "error: "),
        (format!("artifact list --capabilities-dir {capabilities}"), 0, "No artifacts published.\n", ""),
        (format!("artifact publish {plugin} --capabilities-dir {capabilities} --version 2.0"), 0, "p-1\tsha256:", ""),
        (format!("validate {plugin}"), 0, "Plugin: p-1\n", ""),
        (format!("validate {capabilities}"), 1, "Plugin: ", ""),
        ("--enable-sidecars".to_owned(), 2, "", "error: running sidecar containers is not supported yet"),
        ("--discovery-mode chaos".to_owned(), 2, "", "error: "),
        ("dance".to_owned(), 2, "", "error: "),
    ] {
        for name in ["device-connect-plugin-driver", "dc-plugin-driver"] {
            let ended = call(name, folder.path(), &line);
            assert_eq!(ended.code, code, "{line}: {}{}", ended.out, ended.err);
            assert!(ended.out.starts_with(out) && ended.err.starts_with(err), "{line}: {}{}", ended.out, ended.err);
            assert_eq!((ended.out.is_empty(), ended.err.is_empty()), (out.is_empty(), err.is_empty()), "{line}");
        }
    }
}
