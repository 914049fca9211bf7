//! What a plugin's author asks the host: guide, template, examples (wire contract 10.3).

use crate::manager::Manager;
use crate::refusal::Refusal;
use crate::signature::Arguments;
use crate::template;
use mortise_model::{MANIFEST_KEYS, PluginId};
use serde_json::{Map, Value, json};

impl Manager {
    pub(crate) fn authoring_guide(&self) -> Value {
        let docs = &self.config.docs_base_url;
        let manifest = json!({
            "id": "my-sensor",
            "version": "0.1.0",
            "description": "Reads a sensor",
            "type": "wasm",
            "entry_point": "plugin.wasm",
            "limits": {"call_timeout": "10s"},
            "config": {"unit": "C"},
        });
        let optional: Vec<&str> =
            MANIFEST_KEYS.into_iter().filter(|key| !matches!(*key, "id" | "entry_point")).collect();
        json!({
            "status": "success",
            "version": "1",
            "device_type": "plugin_host",
            "summary": "This host runs plugins as WebAssembly components in a sandbox. A plugin is a folder with \
                manifest.json and one component; its functions become functions of this device, its events events of \
                this device. Write it in Rust with the `tenon` crate, or in any language that makes a component of \
                the world `mortise:plugin/plugin@0.1.0`.",
            "discovery": {
                "authoring_rpc": "get_plugin_authoring_guide",
                "template_rpc": "get_plugin_template",
                "examples_rpc": "list_plugin_examples",
                "device_labels": [
                    "plugin_driver:role", "plugin_driver:authoring_rpc", "plugin_driver:template_rpc",
                    "plugin_driver:examples_rpc",
                ],
            },
            "docs": {
                "agents_playbook": format!("{docs}/AGENTS.md"),
                "readme": format!("{docs}/README.md"),
                "design": format!("{docs}/docs/ARCHITECTURE.md"),
                "template_dir": format!("{docs}/templates/rust"),
                "hello_world_example": format!("{docs}/examples/hello-world"),
                "delivery_manifests": format!("{docs}/docs/reference/manifest.md"),
            },
            "workflow": [
                "Call get_plugin_template with the new plugin's id and write the files it returns.",
                "Write one method for each function; its doc comment is its description, its parameters its schema.",
                "Build it with `mortise pack <folder> --output <id>.tgz`: the crate becomes a WebAssembly component.",
                "Compute the SHA-256 of the archive, encode the archive in base64 and call install_plugin_from_bundle \
                    with both.",
                "Call the function, as <function> or <plugin id>.<function>.",
                "Change the code, build and install again: the new version is proven beside the old one and swapped \
                    in; calls under way end on the old one.",
                "If something is refused, read `message`, `detail` and `hint` of the reply.",
            ],
            "manifest_schema": {
                "required": ["id", "entry_point"],
                "optional": optional,
                "notes": {
                    "id": "letters, digits, `-` and `_`, up to 128; also the folder's name",
                    "entry_point": "the component, for example plugin.wasm",
                    "class_name": "for Python plugins, which this version does not run",
                    "permissions": "what the plugin asks for beyond computing: plugins, mesh.invoke, mesh.discover, http, env, secrets, files, state; what \
                        it lacks is under `denied` in the answer, with the command by which the operator grants it",
                    "limits": "may be lower than the defaults; sizes and times carry units (16MiB, 500ms)",
                },
                "example": manifest,
            },
            "install_methods": [
                {"rpc": "install_plugin_from_bundle", "when": "you have the archive: the usual way"},
                {"rpc": "install_plugin_from_url", "when": "the archive can be fetched by the host, over https"},
                {"rpc": "install_plugin_from_manifest", "when": "a delivery manifest names the archive or its URL"},
                {"rpc": "begin_plugin_upload", "when": "the archive is larger than one message: then \
                    append_plugin_upload and commit_plugin_upload"},
                {"rpc": "publish_plugin_artifact", "when": "others should be able to fetch it from this host"},
                {"rpc": "plan_plugin_install", "when": "you want to know first what an install would change"},
                {"rpc": "rollback_plugin", "when": "the version before was better"},
                {"rpc": "install_plugin", "when": "the folder lies on the host's machine, where its operator allows it"},
                {"rpc": "load_plugin", "when": "the plugin is installed and not loaded"},
                {"rpc": "reload_plugin", "when": "its files were edited in place"},
            ],
            "diagnosis": [
                {"rpc": "get_plugin_logs", "when": "you want to read what the plugin logged"},
                {"rpc": "get_plugin_stats", "when": "you want to know how its calls end, how long they take, and what it \
                    was refused"},
            ],
            "capability_conventions": {
                "constructor": "the plugin's type implements Default, or has an #[init] function that takes its config",
                "decorators": "#[tenon::plugin] on the impl block; #[function], #[routine(every = \"5s\")] on methods",
                "lifecycle": "#[start], #[stop] and #[self_test] are optional; an instance keeps its memory between \
                    calls, and is replaced by a fresh one after a trap",
                "naming": "function names are letters, digits, `_` and `-`; a name that another plugin has already, or \
                    the host, is reached as <plugin id>.<function>",
            },
        })
    }

    pub(crate) fn template(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let given = arguments.text("plugin_id")?;
        let id = PluginId::new(given).map_err(|error| {
            Refusal::new("invalid_plugin_id", "plugin_id must be a simple name (e.g. garage-door)")
                .with("plugin_id", given)
                .detail(error.to_string())
        })?;
        let language = arguments.optional_text("language")?.unwrap_or("rust");
        if language != "rust" {
            return Err(Refusal::new("unsupported_language", format!("there is no template for `{language}`"))
                .with("plugin_id", given)
                .hint("pass `language`: \"rust\", or leave it out"));
        }
        let class_name = arguments.optional_text("class_name")?.map_or_else(|| template::type_name(&id), str::to_owned);
        let description = arguments
            .optional_text("description")?
            .map_or_else(|| format!("Capability plugin for {id}"), str::to_owned);
        let files = template::render(&id, &class_name, &description)
            .map_err(|error| Refusal::new("invalid_argument", error.to_string()).with("plugin_id", given))?;
        let file = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
        let manifest_text = file("manifest.json").unwrap_or_default();
        let manifest: Value = serde_json::from_str(manifest_text).unwrap_or_default();
        let layout: Map<String, Value> = files
            .iter()
            .map(|file| {
                let key = match file.path {
                    "manifest.json" => "manifest_text".to_owned(),
                    "README.md" => "readme".to_owned(),
                    other => format!("files.{other}"),
                };
                (format!("{id}/{}", file.path), key.into())
            })
            .collect();
        let all: Map<String, Value> =
            files.iter().map(|file| (file.path.to_owned(), file.text.as_str().into())).collect();
        Ok(json!({
            "status": "success",
            "plugin_id": id,
            "language": language,
            "class_name": class_name,
            "description": description,
            "manifest": manifest,
            "manifest_text": manifest_text,
            "readme": file("README.md"),
            "files": all,
            "layout": layout,
            "packaging": {
                "command": format!("mortise pack {id} --output {id}.tgz"),
                "note": "Builds the crate and packs manifest.json with the component. Without the `mortise` command: \
                    cargo build --release --target wasm32-unknown-unknown with the linker wasm-component-ld, put the \
                    component beside manifest.json as plugin.wasm, then tar -czf.",
            },
        }))
    }

    pub(crate) fn examples(&self) -> Value {
        json!({
            "status": "success",
            "examples": [
                {
                    "id": "hello-world",
                    "path": "examples/hello-world",
                    "description": "The smallest plugin: one function.",
                    "functions": ["hello_world"],
                },
                {
                    "id": "counter",
                    "path": "examples/counter",
                    "description": "State that is kept between calls.",
                    "functions": ["increment", "get", "reset"],
                },
                {
                    "id": "demo",
                    "path": "capabilities/demo",
                    "description": "Functions, a routine and an event; loaded by `cargo xtask run`.",
                    "functions": ["ping", "echo"],
                },
            ],
            "hint": "Read an example's source, or call get_plugin_template to start your own.",
            "repo_examples_dir": null,
        })
    }
}
