//! Plugins in JavaScript on the built binary, with QuickJS as `cargo xtask runners` leaves it in `target/runners`.

use crate::bundle::{Plugin, bundle};
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
