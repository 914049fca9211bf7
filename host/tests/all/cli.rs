//! The binary as its users meet it: exit codes, streams, and the conversation with a host's control socket.

use crate::bundle::guest;
use crate::program::{FakeHost, mortise, run};
use serde_json::{Value, json};
use std::path::Path;

pub(crate) fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

const MANIFEST: &str = r#"{"id": "p-1", "version": "0.1.0", "type": "wasm", "entry_point": "plugin.wasm"}"#;
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

pub(crate) fn plugin_folder(root: &Path) -> std::path::PathBuf {
    let folder = root.join("p-1");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("manifest.json"), MANIFEST).unwrap();
    std::fs::write(folder.join("plugin.wasm"), COMPONENT).unwrap();
    folder
}

#[test]
fn help_is_data_and_a_wrong_call_is_not() {
    let help = run(mortise().arg("--help"));
    assert_eq!(help.code, 0);
    assert!(help.out.contains("Exit codes:") && help.err.is_empty());
    let wrong = run(mortise().arg("dance"));
    assert_eq!(wrong.code, 2);
    assert!(wrong.out.is_empty() && wrong.err.contains("dance"));
}

#[test]
fn a_bad_configuration_ends_with_64_and_tells_everything() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(mortise()
        .args(["run", "--capabilities-dir"])
        .arg(folder.path())
        .env("TENANT", "a.b")
        .env("DC_PLUGIN_AUTO_LOAD", "maybe"));
    assert_eq!(ended.code, 64, "{}", ended.err);
    assert!(ended.err.starts_with("error: "), "{}", ended.err);
    assert!(ended.err.contains("`TENANT`") && ended.err.contains("`DC_PLUGIN_AUTO_LOAD`"), "{}", ended.err);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing may be left behind");
}

#[test]
fn a_file_of_authorities_is_looked_at_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "no certificate").unwrap();
    let capabilities = folder.path().join("c");
    let ended =
        run(mortise().args(["run", "--install-ca-file"]).arg(&file).arg("--capabilities-dir").arg(&capabilities));
    assert_eq!(ended.code, 64, "{}", ended.err);
    let error = format!("flag `--install-ca-file`: `{}` is no PEM file of certificates\nhint: ", file.display());
    assert!(ended.err.contains(&error), "{}", ended.err);
    assert!(!capabilities.exists(), "nothing may be left behind");
}

#[test]
fn features_that_are_not_built_end_with_2_and_a_cure() {
    for (arguments, name, value) in [
        (["run", "--enable-sidecars"], "HOME", "/"),
        (["run", "--allow-insecure"], "NATS_URL", "nats://127.0.0.1:1"),
        (["run", "--portal"], "PORTAL_CREDENTIALS_DIR", "/nowhere"),
        (["run", "--no-auto-load"], "DC_PLUGIN_MAX_PLUGIN_BYTES", "many"),
    ] {
        let ended = run(mortise().args(arguments).env(name, value));
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.err);
    }
    let ended = run(mortise().args(["run", "--allow-insecure"]).env("NATS_URL", "nats://127.0.0.1:1"));
    assert!(ended.err.contains("hint: pass `--discovery-mode d2d`"), "{}", ended.err);
}

#[test]
fn config_show_tells_values_and_origins_but_no_secret() {
    let ended = run(mortise()
        .args(["config", "show", "--json", "--messaging-url", "nats://u:hunter2@h:4222", "--discovery-mode", "d2d"])
        .env("NATS_JWT", "secret-jwt")
        .env("NATS_NKEY_SEED", "secret-seed"));
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(!ended.out.contains("secret") && !ended.out.contains("hunter2"), "{}", ended.out);
    let shown = json_of(&ended.out);
    let settings = shown["settings"].as_array().unwrap();
    let setting = |name: &str| settings.iter().find(|setting| setting["name"] == name).unwrap();
    assert_eq!(setting("nats_jwt"), &json!({"name": "nats_jwt", "value": "***", "origin": "environment `NATS_JWT`"}));
    assert_eq!(setting("messaging_urls")["value"], "nats://***@h:4222");
    assert_eq!(setting("device_id")["origin"], "default");
    assert!(run(mortise().args(["config", "show"])).out.contains("plugin-host-1"));
}

#[test]
fn a_command_is_one_request_over_the_control_socket() {
    let host = FakeHost::start(
        |request| json!({"result": {"status": "success", "plugin_id": request["params"]["plugin_id"]}}),
    );
    let ended = run(mortise().args(["deploy", "reload", "p-1", "--state-dir"]).arg(host.state_dir()));
    assert_eq!((ended.code, ended.out.as_str()), (0, "status: success\n  plugin_id: p-1\n"), "{}", ended.err);
    let request = host.only_request();
    assert_eq!(request["jsonrpc"], "2.0");
    assert_eq!(request["method"], "reload_plugin");
    assert_eq!(request["params"], json!({"plugin_id": "p-1"}));
    assert!(request["id"].as_str().unwrap().starts_with("d2d-"));
}

#[test]
fn an_answer_decides_on_the_exit_code() {
    for (answer, code, err) in [
        (
            json!({"result": {"status": "error", "message": "no", "code": "c", "hint": "h"}}),
            1,
            "error: no [c]\nhint: h\n",
        ),
        (json!({"result": {"status": "partial", "load_result": {"message": "half"}}}), 3, "error: half\n"),
        (
            json!({"error": {"code": -32601, "message": "Unknown method: f", "data": {"code": "unknown_method"}}}),
            1,
            "error: Unknown method: f [unknown_method]\n",
        ),
        (json!({}), 1, "error: the host's reply has neither a result nor an error\n"),
    ] {
        let host = FakeHost::start(move |_| answer.clone());
        let ended = run(mortise().args(["deploy", "status", "--state-dir"]).arg(host.state_dir()));
        assert_eq!((ended.code, ended.err.as_str()), (code, err));
    }
}

#[test]
fn an_install_sends_the_packed_folder_and_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = plugin_folder(folder.path());
    let archive = folder.path().join("p.tgz");
    let packed = run(mortise().args(["pack", "--json"]).arg(&plugin).arg("--output").arg(&archive));
    assert_eq!(packed.code, 0, "{}", packed.err);
    let digest = json_of(&packed.out)["digest"].clone();

    let host = FakeHost::start(|_| json!({"result": {"status": "success"}}));
    let ended =
        run(mortise().args(["deploy", "--json", "install"]).arg(&plugin).arg("--state-dir").arg(host.state_dir()));
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert_eq!(json_of(&ended.out), json!({"status": "success", "result": {"status": "success"}}));
    let request = host.only_request();
    assert_eq!(request["method"], "install_plugin_from_bundle");
    assert_eq!(request["params"]["digest"], digest);
    assert_eq!(request["params"]["load"], true);
    assert_eq!(request["params"]["plugin_id"], "p-1");
    use base64::Engine as _;
    let bundle = request["params"]["bundle_b64"].as_str().unwrap();
    let bundle = base64::engine::general_purpose::STANDARD.decode(bundle).unwrap();
    assert_eq!(bundle, std::fs::read(&archive).unwrap());
}

#[test]
fn a_dry_run_contacts_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = plugin_folder(folder.path());
    let ended =
        run(mortise().args(["deploy", "--dry-run", "--host", "hub", "install", "--no-load", "--json"]).arg(&plugin));
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let result = &json_of(&ended.out)["result"];
    assert_eq!(result["action"], "install_plugin_from_bundle");
    assert_eq!((&result["host"], &result["plugin_id"], &result["load"]), (&json!("hub"), &json!("p-1"), &json!(false)));
    assert!(result["archive_bytes"].as_u64().unwrap() > 0);
    let ended = run(mortise().args(["deploy", "invoke", "f", "--params", "{\"a\":1}", "--dry-run", "--json"]));
    assert_eq!(json_of(&ended.out)["result"], json!({"action": "f", "host": null, "params": {"a": 1}}));
}

#[test]
fn what_cannot_be_sent_is_refused_before_anybody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing").display().to_string();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let empty = empty.display().to_string();
    for (arguments, code, message) in [
        (vec!["install", missing.as_str()], 1, "failed to open"),
        (vec!["install", empty.as_str()], 1, "missing manifest.json"),
        (vec!["install", empty.as_str(), "--digest", "md5:0"], 2, "invalid digest"),
        (vec!["install", empty.as_str(), "--plugin-id", "../x"], 2, "invalid plugin id"),
        (vec!["invoke", "f", "--params", "[]"], 1, "params must be a JSON object"),
        (vec!["invoke", "f", "--params", "{"], 1, "params are not JSON"),
        (vec!["status", "--timeout", "soon"], 2, "`soon`"),
    ] {
        let ended = run(mortise().arg("deploy").args(&arguments).args(["--json", "--state-dir", "/nowhere"]));
        assert_eq!(ended.code, code, "{arguments:?}: {}", ended.out);
        let envelope = json_of(&ended.out);
        assert_eq!(envelope["status"], "error");
        assert!(envelope["message"].as_str().unwrap().contains(message), "{arguments:?}: {}", ended.out);
    }
}

#[test]
fn a_named_state_folder_without_a_host_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    // What a killed host leaves behind.
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("control.sock")).unwrap());
    let ended = run(mortise().args(["deploy", "status", "--state-dir"]).arg(folder.path()));
    assert_eq!(ended.code, 1);
    assert!(ended.err.starts_with("error: no host is running on"), "{}", ended.err);
    assert!(ended.err.contains("hint: start it with `mortise run`"), "{}", ended.err);
}

#[test]
fn a_host_that_does_not_answer_in_time_is_given_up() {
    let host = FakeHost::silent();
    let ended = run(mortise().args(["deploy", "status", "--timeout", "50ms", "--state-dir"]).arg(host.state_dir()));
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("did not answer within 50ms"), "{}", ended.err);
}

#[test]
fn validate_asks_the_plugin_and_judges_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = plugin_folder(folder.path());
    std::fs::write(plugin.join("plugin.wasm"), guest("hello-world")).unwrap();
    let ended = run(mortise().arg("validate").arg(&plugin));
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.out.starts_with("Plugin: p-1\n") && ended.out.contains("Status: OK\nRPCs:   hello"), "{}", ended.out);

    // A component, and none of ours.
    std::fs::write(plugin.join("plugin.wasm"), COMPONENT).unwrap();
    let ended = run(mortise().arg("validate").arg(&plugin));
    assert_eq!(ended.code, 1, "{}", ended.out);
    assert!(ended.out.contains("error: `plugin.wasm` cannot be loaded: "), "{}", ended.out);

    std::fs::write(plugin.join("plugin.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let ended = run(mortise().args(["validate", "--json"]).arg(&plugin));
    assert_eq!(ended.code, 1);
    let report = json_of(&ended.out);
    assert_eq!((&report["ok"], &report["plugin_id"]), (&json!(false), &json!("p-1")));
    assert!(report["errors"][0].as_str().unwrap().contains("component"), "{}", ended.out);
    assert!(report["hints"][0].as_str().unwrap().contains("#[tenon::plugin]"), "{}", ended.out);
    let ended = run(mortise().arg("validate").arg(&plugin));
    assert!(ended.out.contains("\nhint: a crate has to use `#[tenon::plugin]`"), "{}", ended.out);

    std::fs::remove_file(plugin.join("manifest.json")).unwrap();
    let ended = run(mortise().arg("validate").arg(&plugin));
    assert_eq!(ended.code, 1);
    assert!(
        ended.out.contains("Status: FAILED\n") && ended.out.contains("error: missing manifest.json"),
        "{}",
        ended.out
    );
    std::fs::write(plugin.join("Cargo.toml"), "").unwrap();
    let ended = run(mortise().arg("validate").arg(&plugin));
    assert!(ended.out.contains("\nhint: this is a Rust crate: `mortise pack`"), "{}", ended.out);
}

/// What is refused before anything is sent or written comes with its cure, whichever step refuses it.
#[test]
fn what_cannot_be_packed_is_refused_with_the_cure() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("p.tar.gz");
    let plugin = plugin_folder(folder.path());
    let refused = || {
        let mut failures = Vec::new();
        for mut command in [mortise(), mortise()] {
            match failures.len() {
                0 => command.args(["pack", "--json", "-o"]).arg(&output),
                _ => command.args(["deploy", "install", "--json", "--state-dir", "/nowhere"]),
            };
            let ended = run(command.arg(&plugin));
            assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
            failures.push(json_of(&ended.out));
        }
        assert!(!output.exists());
        failures
    };
    std::fs::write(plugin.join("manifest.json"), MANIFEST.replace("entry_point", "entrypoint")).unwrap();
    for failure in refused() {
        assert_eq!(failure["hint"], "did you mean `entry_point`?", "{failure}");
    }
    std::fs::write(plugin.join("manifest.json"), MANIFEST).unwrap();
    std::fs::write(plugin.join("plugin.wasm"), b"\0asm\x01\0\0\0").unwrap();
    for failure in refused() {
        assert!(failure["hint"].as_str().unwrap().contains("#[tenon::plugin]"), "{failure}");
    }
    // A crate is looked at before it is built.
    std::fs::write(plugin.join("Cargo.toml"), "").unwrap();
    for (manifest, code, hint) in [
        (MANIFEST.replace("entry_point", "entrypoint"), "manifest_unknown_key", "did you mean `entry_point`?"),
        ("{".to_owned(), "manifest_not_json", "check the file with a JSON parser"),
    ] {
        std::fs::write(plugin.join("manifest.json"), manifest).unwrap();
        for failure in refused() {
            assert_eq!((&failure["code"], &failure["hint"]), (&json!(code), &json!(hint)), "{failure}");
        }
    }
    std::fs::remove_file(plugin.join("Cargo.toml")).unwrap();
    std::fs::write(plugin.join("manifest.json"), MANIFEST).unwrap();
    std::fs::write(plugin.join("plugin.wasm"), COMPONENT).unwrap();
    std::os::unix::fs::symlink("plugin.wasm", plugin.join("link")).unwrap();
    let ended =
        run(mortise().args(["deploy", "install", "--skip-validate", "--json", "--state-dir", "/nowhere"]).arg(&plugin));
    let failure = json_of(&ended.out);
    assert_eq!(failure["code"], "folder_link", "{failure}");
    assert!(failure["hint"].is_string(), "{failure}");
}

/// Whatever keeps a host from starting says what to do about it.
#[test]
fn a_host_that_cannot_start_says_the_cure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "no folder").unwrap();
    let deep = folder.path().join("d".repeat(100));
    for (capabilities, state, error, hint) in [
        (
            file.join("below"),
            folder.path().join("s"),
            "failed to create the capabilities folder `",
            "--capabilities-dir",
        ),
        (folder.path().join("c"), file, "failed to lock `", "--state-dir"),
        (folder.path().join("c"), deep, "failed to open the control socket `", "a shorter path"),
    ] {
        let ended =
            run(mortise().args(["run", "--state-dir"]).arg(&state).arg("--capabilities-dir").arg(&capabilities));
        assert_eq!(ended.code, 1, "{}", ended.err);
        let lines = ended.err.lines().skip_while(|line| !line.starts_with(&format!("error: {error}")));
        let hints: Vec<_> = lines.skip(1).filter(|line| line.starts_with("hint: ")).collect();
        assert!(hints.len() == 1 && hints[0].contains(hint), "{}", ended.err);
    }
}

#[test]
fn a_new_plugin_is_source_or_a_crate_and_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let new = |more: &[&str]| run(mortise().current_dir(folder.path()).args(["new", "garage-door"]).args(more));
    let ended = new(&["--json", "--description", "Opens \"the\" door"]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert_eq!(json_of(&ended.out)["files"], json!(["manifest.json", "capability.py", "README.md"]));
    let manifest = json_of(&std::fs::read_to_string(folder.path().join("garage-door/manifest.json")).unwrap());
    assert_eq!((&manifest["id"], &manifest["description"]), (&json!("garage-door"), &json!("Opens \"the\" door")));
    assert_eq!(manifest["class_name"], "GarageDoorCapability");
    let validated = run(mortise().arg("validate").arg(folder.path().join("garage-door")));
    assert_eq!(validated.code, 0, "{}", validated.out);
    assert!(
        validated.out.contains("warning: what it brings was not checked: no runner for plugins of type `python`: ")
            && validated.out.contains("`--runners-dir` names the folder"),
        "{}",
        validated.out
    );
    let ended = new(&["--json", "--language", "rust", "--dir", "crate"]);
    assert_eq!(json_of(&ended.out)["files"].as_array().unwrap().len(), 4);
    for (arguments, message) in [
        (["--language", "cobol"], "cobol"),
        (["--sdk", "/sdk"], "error: `--sdk` is for plugins in Rust\nhint: add `--language rust`\n"),
    ] {
        let ended = new(&[arguments.as_slice(), &["--dir", "other"]].concat());
        assert_eq!(ended.code, 2, "{arguments:?}");
        assert!(ended.err.contains(message), "{}", ended.err);
    }
    let ended = new(&[]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("exists and is not an empty folder"), "{}", ended.err);
    assert_eq!(run(mortise().args(["new", "../x"])).code, 2);
}
