//! What a plugin's author asks the host: guide, template, examples (wire contract 10.3).

mod guide;

use crate::manager::Manager;
use crate::object::insert;
use crate::refusal::Refusal;
use crate::signature::Arguments;
use crate::template::{self, Language, Outline, TemplateFile};
use mortise_model::PluginId;
use serde_json::{Map, Value, json};

impl Manager {
    pub(crate) fn authoring_guide(&self) -> Value {
        guide::guide(&self.config.docs_base_url, &|language| self.registry.runs(language.runtime()))
    }

    pub(crate) fn template(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let given = arguments.text("plugin_id")?;
        let id = PluginId::new(given).map_err(|error| {
            Refusal::new("invalid_plugin_id", "plugin_id must be a simple name (e.g. garage-door)")
                .with("plugin_id", given)
                .detail(error.to_string())
        })?;
        let language = language(arguments, given)?;
        let class_name =
            arguments.optional_text("class_name")?.map_or_else(|| template::class_name(&id), str::to_owned);
        let description = arguments
            .optional_text("description")?
            .map_or_else(|| format!("Capability plugin for {id}"), str::to_owned);
        let outline = Outline { id: &id, class_name: &class_name, description: &description };
        let files = template::render(language, outline)
            .map_err(|error| Refusal::new("invalid_argument", error.to_string()).with("plugin_id", given))?;
        let mut reply = reply(language, outline, &files);
        let available = self.registry.runs(language.runtime());
        insert(&mut reply, "runtime_available", available);
        if !available {
            insert(&mut reply, "hint", without_runtime(language));
        }
        Ok(reply)
    }
}

fn language(arguments: &Arguments, plugin_id: &str) -> Result<Language, Refusal> {
    let [default, ..] = Language::ALL;
    let Some(name) = arguments.optional_text("language")? else { return Ok(default) };
    Language::named(name).ok_or_else(|| {
        let names = Language::ALL.map(|language| format!("\"{}\"", language.name())).join(" or ");
        Refusal::new("unsupported_language", format!("there is no template for `{name}`"))
            .with("plugin_id", plugin_id)
            .hint(format!("pass `language`: {names}, or leave it out for \"{}\"", default.name()))
    })
}

fn without_runtime(language: Language) -> String {
    let others: Vec<&str> =
        Language::ALL.map(Language::name).into_iter().filter(|name| *name != language.name()).collect();
    format!(
        "this host cannot run plugins of type `{}` now and would refuse one: have its operator add the runner, or pass \
         `language`: {}",
        language.runtime().name(),
        others.join(" or ")
    )
}

/// The contract's keys are those of Python; `language` and `files` are ours, and in each language the way to go.
fn reply(language: Language, outline: Outline<'_>, files: &[TemplateFile]) -> Value {
    let id = outline.id;
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let manifest_text = text("manifest.json").unwrap_or_default();
    let manifest: Value = serde_json::from_str(manifest_text).unwrap_or_default();
    let layout: Map<String, Value> = files
        .iter()
        .map(|file| {
            let key = match file.path {
                "manifest.json" => "manifest_text".to_owned(),
                "README.md" => "readme".to_owned(),
                "capability.py" => "capability_py".to_owned(),
                other => format!("files.{other}"),
            };
            (format!("{id}/{}", file.path), key.into())
        })
        .collect();
    let all: Map<String, Value> = files.iter().map(|file| (file.path.to_owned(), file.text.as_str().into())).collect();
    let packaging = match language {
        Language::Python | Language::Javascript => json!({
            "command": format!("tar -czf {id}.tgz -C . {id}"),
            "note": "Packs the folder as it is, from the folder that holds it: nothing is built. Its SHA-256 is the \
                `digest`, its bytes in base64 the `bundle_b64` of install_plugin_from_bundle.",
        }),
        Language::Rust => json!({
            "command": format!("mortise pack {id} --output {id}.tgz"),
            "note": "Builds the crate and packs manifest.json with the component. Without the `mortise` command: \
                cargo build --release --target wasm32-unknown-unknown with the linker wasm-component-ld, put the \
                component beside manifest.json as plugin.wasm, then tar -czf.",
        }),
    };
    let mut reply = json!({
        "status": "success",
        "plugin_id": id,
        "language": language.name(),
        "class_name": outline.class_name,
        "description": outline.description,
        "manifest": manifest,
        "manifest_text": manifest_text,
        "readme": text("README.md"),
        "files": all,
        "layout": layout,
        "packaging": packaging,
    });
    if let Some(source) = text("capability.py") {
        insert(&mut reply, "capability_py", source);
    }
    reply
}

/// Answers `list_plugin_examples`.
pub(crate) fn examples() -> Value {
    let example = |path: &str, language: Language, description: &str, functions: &[&str]| {
        // Those that are there in several languages have a folder for each.
        let id = path.strip_suffix(&format!("/{}", language.name())).unwrap_or(path).rsplit('/').next();
        json!({
            "id": id, "path": path, "language": language.name(), "description": description, "functions": functions,
        })
    };
    json!({
        "status": "success",
        "examples": [
            example("examples/hello-world", Language::Rust, "The smallest plugin: one function.", &["hello_world"]),
            example(
                "capabilities/demo",
                Language::Rust,
                "Functions, a routine and an event; loaded by `cargo xtask run`.",
                &["ping", "echo"],
            ),
            example(
                "examples/plugin-template",
                Language::Python,
                "What get_plugin_template answers.",
                &["get_service_status", "run_action"],
            ),
            example(
                "examples/garage-door",
                Language::Python,
                "Functions, an event and a routine.",
                &["close_door", "get_position", "open_door"],
            ),
            example(
                "examples/counter",
                Language::Rust,
                "State that is kept between calls.",
                &["increment", "get", "reset"],
            ),
            example(
                "examples/tides/python",
                Language::Python,
                "A web service over HTTP, with config and errors of its own. In other languages beside it.",
                &["next_tides"],
            ),
            example(
                "examples/water-level/python",
                Language::Python,
                "Polls another device; a routine, an event and durable state. In other languages beside it.",
                &["get_readings"],
            ),
            example(
                "examples/harbour-report/python",
                Language::Python,
                "Calls other plugins and another device. In other languages beside it.",
                &["report"],
            ),
        ],
        "hint": "Read an example's source, or call get_plugin_template to start your own.",
        "repo_examples_dir": null,
    })
}
