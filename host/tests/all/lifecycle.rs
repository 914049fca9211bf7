//! A plugin comes, serves, is swapped and goes: over every mesh and over the control socket (wire contract 10.3).

use crate::bundle::{Plugin, bundle, digest_of, pinned_bundle};
use crate::host::{Host, Site, Way, function_names};
use crate::shape::assert_shape;
use serde_json::{Value, json};

/// What a host without plugins advertises: the reference's functions in its order (wire contract 6.4), then ours.
/// `install_plugin` is for mesh callers only where the operator names folders.
pub(crate) const HOST_FUNCTIONS: [&str; 25] = [
    "get_plugin_artifact_url",
    "get_plugin_authoring_guide",
    "get_plugin_template",
    "get_status",
    "install_plugin_from_bundle",
    "install_plugin_from_manifest",
    "install_plugin_from_url",
    "list_plugin_artifacts",
    "list_plugin_examples",
    "list_plugins",
    "load_plugin",
    "publish_plugin_artifact",
    "reload_plugin",
    "unload_plugin",
    // Ours, by name.
    "append_plugin_upload",
    "begin_plugin_upload",
    "commit_plugin_upload",
    "get_plugin_logs",
    "get_plugin_operation",
    "get_plugin_permissions",
    "get_plugin_stats",
    "list_plugin_versions",
    "plan_plugin_install",
    "rollback_plugin",
    "uninstall_plugin",
];

fn with_host_functions(plugins: &[&str]) -> Vec<String> {
    HOST_FUNCTIONS.iter().chain(plugins).map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_comes_and_goes_over_nats() {
    comes_and_goes(Site::on_nats(), Way::Mesh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_comes_and_goes_over_zenoh() {
    comes_and_goes(Site::on_zenoh(), Way::Mesh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_comes_and_goes_over_the_control_socket() {
    comes_and_goes(Site::on_nats(), Way::Control).await;
}

async fn comes_and_goes(site: Site, way: Way) {
    let host = site.start().await;
    let folder = site.capabilities().join("hello-world");
    advertises(&host, &[]).await;
    check_status(&host, &site, way, &[]).await;

    let plugin = Plugin::assembled("hello-world");
    let archive = plugin.tarball();
    let reply = host.result(way, "install_plugin_from_bundle", pinned_bundle(&archive)).await;
    let summary = json!({
        "id": "hello-world",
        "functions": ["hello_world"],
        "routines": [],
        "manifest": {
            "id": "hello-world",
            "description": plugin.manifest["description"],
            "version": plugin.manifest["version"],
            "entry_point": "plugin.wasm",
            "class_name": null,
        },
    });
    assert_eq!(reply["status"], "success", "{reply}");
    assert_eq!((&reply["plugin_id"], &reply["installed_to"]), (&json!("hello-world"), &json!(folder)));
    assert_eq!((&reply["load_result"]["status"], &reply["load_result"]["plugin"]), (&json!("success"), &summary));
    assert_eq!(reply["digest"], digest_of(&archive));
    let installed = reply["incarnation"].as_u64().unwrap();
    advertises(&host, &["hello_world"]).await;
    check_status(&host, &site, way, &["hello-world"]).await;
    check_list(&host, &site, way, &summary).await;

    let greeting = json!({"message": "Hello, plugin!"});
    assert_eq!(host.result(way, "hello_world", json!({"name": "plugin"})).await, greeting);
    assert_eq!(host.result(way, "hello-world.hello_world", json!({"name": "plugin"})).await, greeting);
    assert_eq!(host.result(way, "hello_world", json!({})).await, json!({"message": "Hello, world!"}));

    let reply = host.result(way, "reload_plugin", json!({"plugin_id": "hello-world"})).await;
    assert_eq!((&reply["status"], &reply["plugin"]), (&json!("success"), &summary));
    assert!(reply["incarnation"].as_u64().unwrap() > installed, "{reply}");
    assert_eq!(reply["generation"], 1, "the same files are the same generation");
    advertises(&host, &["hello_world"]).await;

    let reply = host.result(way, "unload_plugin", json!({"plugin_id": "hello-world"})).await;
    assert_eq!(reply, json!({"status": "success", "plugin_id": "hello-world"}));
    advertises(&host, &[]).await;
    check_status(&host, &site, way, &[]).await;
    for name in ["hello_world", "hello-world.hello_world"] {
        let error = host.ask(way, name, json!({})).await["error"].take();
        assert_eq!((&error["code"], &error["message"]), (&json!(-32601), &json!(format!("Unknown method: {name}"))));
    }
    assert!(folder.join("plugin.wasm").is_file(), "the files stay");

    let reply = host.result(way, "unload_plugin", json!({"plugin_id": "hello-world"})).await;
    assert_eq!((&reply["status"], &reply["plugin_id"]), (&json!("error"), &json!("hello-world")));
    assert_eq!(reply["message"], "Plugin 'hello-world' is not loaded");
    let reply = host.result(way, "load_plugin", json!({"plugin_id": "hello-world"})).await;
    assert_eq!((&reply["status"], &reply["plugin"]), (&json!("success"), &summary));
    for (method, verb) in [("load_plugin", "load"), ("reload_plugin", "reload")] {
        let reply = host.result(way, method, json!({"plugin_id": "nobody"})).await;
        assert_eq!((&reply["status"], &reply["plugin_id"]), (&json!("error"), &json!("nobody")));
        assert_eq!(reply["message"], format!("Failed to {verb} plugin 'nobody'"));
    }
    advertises(&host, &["hello_world"]).await;
    host.stop().await;
}

/// Registration and presence must say the same, and must say it at once.
async fn advertises(host: &Host<'_>, plugin_functions: &[&str]) {
    let expected = with_host_functions(plugin_functions);
    let capabilities = host.capabilities().await;
    assert_eq!(function_names(&capabilities), expected);
    let function = json!({
        "name": "text",
        "description": "text",
        "parameters": {"type": "text", "properties": "object", "required": "list"},
        "labels": "object|null",
        "tags": ["text"],
    });
    let event = json!({
        "name": "text", "description": "text", "payload_schema": "object|null", "labels": "object|null", "tags": ["text"],
    });
    let shape = json!({"description": "text", "functions": [function], "events": [event], "labels": "object"});
    assert_shape(&capabilities, &shape);
    let mut presence = host.presence().await;
    let seen = presence.next_where("an old presence", |seen| function_names(&seen["capabilities"]) == expected).await;
    assert_eq!(seen["capabilities"], capabilities);
}

async fn check_status(host: &Host<'_>, site: &Site, way: Way, loaded: &[&str]) {
    let status = host.result(way, "get_status", json!({})).await;
    let wanted = json!({
        "status": "success",
        "connected": true,
        "device_type": "plugin_host",
        "capabilities_dir": site.capabilities(),
        "auto_load": true,
        "enable_sidecars": false,
        "loaded_count": loaded.len(),
        "sidecar_count": 0,
        "loaded_plugins": loaded,
        "authoring": {
            "guide_rpc": "get_plugin_authoring_guide",
            "template_rpc": "get_plugin_template",
            "examples_rpc": "list_plugin_examples",
            "agents_doc": "AGENTS.md",
        },
        "failed_plugins": {},
    });
    for (key, value) in wanted.as_object().unwrap() {
        assert_eq!(&status[key], value, "{key}");
    }
}

async fn check_list(host: &Host<'_>, site: &Site, way: Way, summary: &Value) {
    let list = host.result(way, "list_plugins", json!({})).await;
    assert_eq!((&list["status"], &list["sidecars"]), (&json!("success"), &json!({})));
    assert_eq!(list["capabilities_dir"], json!(site.capabilities()));
    let loaded = list["loaded"].as_object().unwrap();
    assert_eq!(loaded.keys().collect::<Vec<_>>(), ["hello-world"]);
    for (key, value) in summary.as_object().unwrap() {
        assert_eq!(&loaded["hello-world"][key], value, "{key}");
    }
    let manifest = Plugin::assembled("hello-world").manifest;
    let path = site.capabilities().join("hello-world");
    let security = json!({"risk": "low", "reasons": []});
    let available =
        json!([{"id": "hello-world", "path": path, "loaded": true, "manifest": manifest, "security": security}]);
    assert_eq!(list["available"], available);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_may_be_a_zip_and_may_wait_to_be_loaded() {
    let site = Site::on_nats();
    let host = site.start().await;
    let plugin = Plugin::assembled("counter");
    let mut params = pinned_bundle(&plugin.zip());
    for (key, value) in [("load", json!(false)), ("plugin_id", json!("counter")), ("format", json!("zip"))] {
        params[key] = value;
    }
    let archive_digest = params["digest"].clone();
    let mut reply = host.succeed("install_plugin_from_bundle", params).await;
    assert_eq!(reply["digest"].take(), archive_digest);
    let path = site.capabilities().join("counter");
    let expected = json!({
        "status": "success", "plugin_id": "counter", "installed_to": path, "loaded": false, "digest": null,
    });
    assert_eq!(reply, expected);
    advertises(&host, &[]).await;

    host.succeed("load_plugin", json!({"plugin_id": "counter", "install_dependencies": "false"})).await;
    advertises(&host, &["get", "increment", "reset"]).await;
    assert_eq!(host.call("increment", json!({"by": 41})).await, 41);
    assert_eq!(host.call("increment", json!({})).await, 42, "a plugin remembers between calls");

    // The same files again are no change, and the folder is put right.
    let file = site.capabilities().join("counter/plugin.wasm");
    std::fs::write(&file, "edited in place").unwrap();
    let reply = host.succeed("install_plugin_from_bundle", bundle(&plugin.tarball())).await;
    assert_eq!((&reply["load_result"]["status"], &reply["unchanged"]), (&json!("success"), &json!(true)), "{reply}");
    assert_eq!(host.call("get", json!({})).await, 42);
    assert_eq!(std::fs::read(file).unwrap(), plugin.files[0].1);
    let other = plugin.with("description", json!("Counts better"));
    let reply = host.succeed("install_plugin_from_bundle", bundle(&other.tarball())).await;
    assert_eq!(reply["load_result"]["plugin"]["manifest"]["description"], "Counts better");
    assert_eq!(host.call("get", json!({})).await, 0, "a new generation begins anew");
    host.stop().await;
}

/// Callers on the mesh install from folders only where the operator says so; the operator from anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_installed_where_the_operator_allows_it() {
    let site = Site::on_nats();
    let (allowed, elsewhere) = (site.path().join("allowed"), site.path().join("elsewhere"));
    Plugin::assembled("demo").put_into(&allowed);
    Plugin::assembled("counter").put_into(&elsewhere);
    std::os::unix::fs::symlink(&elsewhere, allowed.join("way-out")).unwrap();
    let mut command = site.command();
    command.arg("--install-source-root").arg(&allowed);
    let host = site.start_as(command).await;
    assert!(host.advertised().await.contains(&"install_plugin".to_owned()));

    for source in [elsewhere.join("counter"), allowed.join("way-out/counter"), allowed.join("../elsewhere/counter")] {
        let refusal = host.refuse("install_plugin", json!({"source_path": source})).await;
        assert_eq!(refusal["code"], "not_allowed", "{refusal}");
    }
    let source = allowed.join("demo");
    let reply = host.succeed("install_plugin", json!({"source_path": source})).await;
    assert_eq!(reply["load_result"]["plugin"]["functions"], json!(["echo", "ping"]));
    assert_eq!(reply["load_result"]["plugin"]["routines"], json!(["tick"]));
    assert_eq!(host.call("ping", json!({})).await, json!({"pong": true, "plugin": "demo"}));
    let refusal = host.refuse("install_plugin", json!({"source_path": source})).await;
    let path = site.capabilities().join("demo");
    assert_eq!(refusal["message"], format!("Plugin 'demo' already exists at {}", path.display()));

    let by_operator = json!({"source_path": elsewhere.join("counter")});
    let reply = host.result(Way::Control, "install_plugin", by_operator).await;
    assert_eq!((&reply["status"], &reply["plugin_id"]), (&json!("success"), &json!("counter")), "{reply}");
    host.stop().await;
}

/// What an agent asks before it writes its first plugin.
#[tokio::test(flavor = "multi_thread")]
async fn authors_are_helped() {
    let site = Site::on_nats();
    let host = site.start().await;
    let guide = host.succeed("get_plugin_authoring_guide", json!({})).await;
    let shape = json!({
        "version": "text",
        "device_type": "text",
        "summary": "text",
        "discovery": {
            "authoring_rpc": "text", "template_rpc": "text", "examples_rpc": "text", "device_labels": ["text"],
        },
        "docs": {
            "agents_playbook": "text", "readme": "text", "design": "text", "template_dir": "text",
            "hello_world_example": "text", "delivery_manifests": "text",
        },
        "workflow": ["text"],
        "manifest_schema": {"required": ["text"], "optional": ["text"], "example": "object"},
        "install_methods": [{"rpc": "text", "when": "text"}],
        "capability_conventions": {
            "constructor": "text", "decorators": "text", "lifecycle": "text", "naming": "text",
        },
    });
    assert_shape(&guide, &shape);

    let template = host.succeed("get_plugin_template", json!({"plugin_id": "garage-door"})).await;
    let shape = json!({
        "plugin_id": "text", "class_name": "text", "description": "text", "manifest": {"id": "text"},
        "manifest_text": "text", "capability_py": "text", "readme": "text", "layout": "object",
        "packaging": {"command": "text", "note": "text"},
        "language": "text", "files": "object", "runtime_available": "boolean",
    });
    assert_shape(&template, &shape);
    assert_eq!(template["class_name"], "GarageDoorCapability");
    assert_eq!(template["language"], "python");
    assert_eq!(
        template["layout"],
        json!({
            "garage-door/manifest.json": "manifest_text",
            "garage-door/capability.py": "capability_py",
            "garage-door/README.md": "readme",
        })
    );
    assert_eq!(template["packaging"]["command"], "tar -czf garage-door.tgz -C . garage-door");
    assert_eq!(template["runtime_available"], guide["languages"]["python"]["runtime_available"]);
    assert_eq!(template["runtime_available"] == false, template.get("hint").is_some());

    let in_rust = host.succeed("get_plugin_template", json!({"plugin_id": "garage-door", "language": "rust"})).await;
    assert_eq!(in_rust["layout"]["garage-door/src/lib.rs"], "files.src/lib.rs");
    assert!(in_rust.get("capability_py").is_none(), "that is for Python");
    assert_eq!((&in_rust["runtime_available"], in_rust.get("hint")), (&json!(true), None));
    for (argument, given, code) in [
        ("language", "cobol", "unsupported_language"),
        ("class_name", "A B", "invalid_argument"),
        ("class_name", "class", "invalid_argument"),
    ] {
        let refusal = host.refuse("get_plugin_template", json!({"plugin_id": "x", argument: given})).await;
        assert_eq!(refusal["code"], code, "{refusal}");
    }
    let refusal = host.refuse("get_plugin_template", json!({"plugin_id": "../x"})).await;
    assert_eq!(refusal["message"], "plugin_id must be a simple name (e.g. garage-door)");

    let examples = host.succeed("list_plugin_examples", json!({})).await;
    let shape = json!({
        "examples": [{"id": "text", "path": "text", "description": "text", "functions": ["text"]}],
        "hint": "text", "repo_examples_dir": "null",
    });
    assert_shape(&examples, &shape);
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for example in examples["examples"].as_array().unwrap() {
        let manifest = repository.join(example["path"].as_str().unwrap()).join("manifest.json");
        let text = std::fs::read_to_string(&manifest).unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["id"], example["id"], "{example}");
    }
    host.stop().await;
}
