//! Plugins in JavaScript on the built binary, with QuickJS as `cargo xtask runners` leaves it in `target/runners`.

use crate::bundle::{Plugin, bundle};
use crate::cli::json_of;
use crate::host::Site;
use crate::program::{mortise, run};
use crate::until;
use serde_json::json;
use std::path::{Path, PathBuf};

const SOURCE: &str = r#"
    import { emit } from "tenon";
    import { greeting } from "./words.js";

    /**
     * Returns a greeting.
     * @param {string} [name="world"] Who is greeted.
     */
    export function hello(name = "world") {
      emit("greeted", { name });
      return { message: greeting(name) };
    }
"#;

fn plugin(source: &str) -> Plugin {
    Plugin {
        manifest: json!({"id": "greeter", "version": "1.0.0", "entry_point": "plugin.js"}),
        files: vec![
            ("plugin.js".to_owned(), source.as_bytes().to_vec()),
            ("words.js".to_owned(), b"export const greeting = (name) => `Hello, ${name}!`;".to_vec()),
        ],
    }
}

/// A folder of runners as a release has it, with QuickJS alone.
fn runners(site: &Site) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "tells the tests where runners lie, as `cargo xtask` does")]
    let built = std::env::var_os("MORTISE_RUNNERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/runners"), PathBuf::from);
    let runners = site.path().join("runners");
    std::fs::create_dir(&runners).unwrap();
    let quickjs = built.join("quickjs.wasm");
    std::fs::copy(&quickjs, runners.join("quickjs.wasm"))
        .unwrap_or_else(|error| panic!("`{}`: {error}: run `cargo xtask runners`", quickjs.display()));
    let compiled = run(mortise().args(["runners", "compile", "--json"]).arg(&runners));
    assert_eq!(compiled.code, 0, "{}", compiled.err);
    runners
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_in_javascript_is_planned_installed_called_changed_and_rolled_back() {
    let site = Site::on_nats();
    let mut command = site.command();
    command.arg("--runners-dir").arg(runners(&site));
    let host = site.start_as(command).await;

    let planned = host.succeed("plan_plugin_install", bundle(&plugin(SOURCE).tarball())).await;
    assert_eq!((&planned["type"], &planned["functions"]["added"]), (&json!("javascript"), &json!(["hello"])));
    host.install(&plugin(SOURCE)).await;
    let mut events = host.events().await;
    assert_eq!(host.call("hello", json!({"name": "Ada"})).await, json!({"message": "Hello, Ada!"}));
    events.next_where("it is told of the greeting", |event| event.to_string().contains("greeted")).await;
    let capabilities = host.capabilities().await.to_string();
    for text in ["Returns a greeting.", "Who is greeted."] {
        assert!(capabilities.contains(text), "{capabilities}");
    }

    let broken = plugin("export function hello() {\n  return 1 +;\n}");
    for function in ["plan_plugin_install", "install_plugin_from_bundle"] {
        let refusal = host.refuse(function, bundle(&broken.tarball())).await.to_string();
        assert!(refusal.contains("`plugin.js`, line 2") && refusal.contains("SyntaxError"), "{function}: {refusal}");
    }
    assert_eq!(host.call("hello", json!({})).await, json!({"message": "Hello, world!"}), "what serves goes on");

    let changed = SOURCE.replace("greeting(name) };", "greeting(name), version: 2 };");
    host.install(&plugin(&changed).with("version", json!("2.0.0"))).await;
    assert_eq!(host.call("hello", json!({})).await["version"], json!(2));
    host.succeed("rollback_plugin", json!({"plugin_id": "greeter"})).await;
    assert_eq!(host.call("hello", json!({})).await, json!({"message": "Hello, world!"}));
    host.stop().await;
}

/// However many versions follow: what still drains may open its files for the first time.
#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_version_that_drains_stay() {
    let site = Site::on_nats();
    let mut command = site.command();
    command.args(["--keep-versions", "1", "--runners-dir"]).arg(runners(&site));
    let host = site.start_as(command).await;
    let version = |number: u32| {
        let source = r#"
            import { sleep, state } from "tenon";
            export async function linger() {
              await state.set("waits", true);
              while (!(await state.get("go"))) await sleep(10);
              return await import("./words.js").then((words) => words.number);
            }
            export async function waits() { return Boolean(await state.get("waits")); }
            export async function go() { await state.set("go", true); }
        "#;
        let mut plugin = plugin(source).with("permissions", json!({"state": true}));
        plugin.files[1].1 = format!("export const number = {number};").into_bytes();
        plugin
    };
    host.install(&version(1)).await;
    let granted = run(mortise().args(["deploy", "grant", "greeter", "state", "--state-dir"]).arg(site.state()));
    assert_eq!(granted.code, 0, "{}", granted.err);
    let changes = async {
        until("the call is under way", async || host.call("waits", json!({})).await == true).await;
        for number in 2..=4 {
            host.install(&version(number).with("version", json!(number.to_string()))).await;
        }
        host.call("go", json!({})).await;
    };
    let (answer, ()) = tokio::join!(host.call("linger", json!({})), changes);
    assert_eq!(answer, 1);
    until("it goes with the next change", async || {
        host.succeed("reload_plugin", json!({"plugin_id": "greeter"})).await;
        !site.state().join("generations/greeter/1").exists()
    })
    .await;
    host.stop().await;
}

/// What it is denied while it starts is told with the command that grants it.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_does_not_start_without_a_permission_says_which() {
    let site = Site::on_nats();
    let mut command = site.command();
    command.env("STATION", "north").arg("--runners-dir").arg(runners(&site));
    let host = site.start_as(command).await;
    let source = r#"
        import { env } from "tenon";
        let station;
        export async function start() { station = await env("STATION"); }
        export function where() { return station; }
    "#;
    let bundle = bundle(&plugin(source).tarball());
    let refusal = host.refuse("install_plugin_from_bundle", bundle.clone()).await;
    assert_eq!(refusal["denied"], json!(["env:STATION"]), "{refusal}");
    assert!(refusal.to_string().contains("`mortise deploy grant greeter env:STATION`"), "{refusal}");
    assert_eq!(host.refuse("get_plugin_permissions", json!({"plugin_id": "greeter"})).await["code"], "not_installed");

    let mut kept = bundle.clone();
    kept["load"] = json!(false);
    host.succeed("install_plugin_from_bundle", kept).await;
    host.refuse("load_plugin", json!({"plugin_id": "greeter"})).await;
    let permissions = host.succeed("get_plugin_permissions", json!({"plugin_id": "greeter"})).await;
    assert_eq!(permissions["pending"][0]["permission"], "env:STATION", "{permissions}");
    let granted = run(mortise().args(["deploy", "grant", "greeter", "env:STATION", "--state-dir"]).arg(site.state()));
    assert_eq!(granted.code, 0, "{}", granted.err);
    host.succeed("load_plugin", json!({"plugin_id": "greeter"})).await;
    assert_eq!(host.call("where", json!({})).await, "north");
    host.stop().await;
}

/// One's start hook calls the other, which comes later in the order of names.
#[tokio::test(flavor = "multi_thread")]
async fn plugins_that_call_each_other_when_they_start_are_there_after_a_restart() {
    let site = Site::on_nats();
    site.policy("profile = 'development'");
    let runners = runners(&site);
    let start = async || {
        let mut command = site.command();
        command.arg("--runners-dir").arg(&runners);
        site.start_as(command).await
    };
    let named =
        |id: &str, source: &str| plugin(source).with("id", json!(id)).with("permissions", json!({"plugins": ["*"]}));
    let host = start().await;
    host.install(&named("zeta", "export function level() { return 7; }")).await;
    for (id, other) in [("beta", "zeta.level"), ("alpha", "beta.seen"), ("zulu", "zeta.level")] {
        let source = format!(
            r#"import {{ invoke }} from "tenon";
            let found;
            export async function start() {{ found = await invoke("{other}"); }}
            export function seen() {{ return found; }}"#
        );
        host.install(&named(id, &source)).await;
    }
    host.stop().await;
    let host = start().await;
    until("all are loaded", async || host.loaded().await.len() == 4).await;
    for function in ["alpha.seen", "zulu.seen"] {
        assert_eq!(host.call(function, json!({})).await, 7);
    }
    host.stop().await;
}

#[test]
fn validate_asks_in_the_sandbox_what_a_plugin_in_javascript_brings() {
    let site = Site::on_nats();
    let runners = runners(&site);
    let folder = site.path().join("greeter");
    plugin(SOURCE).put_into(site.path());
    let validate = || run(mortise().args(["validate", "--json"]).arg(&folder).arg("--runners-dir").arg(&runners));
    let good = validate();
    let report = json_of(&good.out);
    assert_eq!(
        (good.code, &report["rpc_methods"], &report["warnings"]),
        (0, &json!(["hello"]), &json!([])),
        "{report}"
    );
    for (source, errors) in [
        ("export function hello() {\n  return 1 +;\n}", ["`plugin.js`, line 2", "SyntaxError"]),
        ("import { gone } from \"./words.js\";", ["gone", "words.js"]),
        ("while (true) {}", ["describe failed", "limits.turn"]),
    ] {
        std::fs::write(folder.join("plugin.js"), source).unwrap();
        let bad = validate();
        let report = json_of(&bad.out);
        let told = report["errors"][0].as_str().unwrap_or_default();
        assert!(bad.code == 1 && errors.iter().all(|error| told.contains(error)), "{source}: {report}");
    }
    std::fs::write(folder.join("plugin.js"), "const nothing = 1;").unwrap();
    let report = json_of(&validate().out);
    assert!(report["warnings"][0].as_str().unwrap().starts_with("it brings no functions"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_the_runner_says_so() {
    let site = Site::on_nats();
    let host = site.start().await;
    let refusal = host.refuse("install_plugin_from_bundle", bundle(&plugin(SOURCE).tarball())).await;
    assert_eq!(refusal["code"], "no_runner", "{refusal}");
    assert!(refusal.to_string().contains("--runners-dir"), "{refusal}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_runners_that_is_of_no_use_is_told_at_start_with_the_cure() {
    let site = Site::on_nats();
    let runners = runners(&site);
    let list = runners.join("runners.json");
    let whole = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, whole.replace(env!("CARGO_PKG_VERSION"), "0.0.0")).unwrap();
    let mut command = site.command();
    command.arg("--runners-dir").arg(&runners);
    let host = site.spawn(command).await;
    let log = host.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("plugins in Python and JavaScript")).collect();
    assert!(matches!(told[..], [line] if line.contains("of release 0.0.0") && line.contains("--runners-dir")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_folder_of_runners_says_nothing_of_it() {
    let site = Site::on_nats();
    let host = site.spawn(site.command()).await;
    assert!(!host.log().contains("plugins in Python and JavaScript"), "{}", host.log());
}
