//! Plugins in JavaScript on the built binary, with QuickJS as `cargo xtask runners` leaves it in `target/runners`.

use crate::bundle::{Plugin, bundle};
use crate::cli::json_of;
use crate::host::Site;
use crate::program::{mortise, run};
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
