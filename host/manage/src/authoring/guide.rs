//! `get_plugin_authoring_guide`: all that an agent needs to write, install and mend a plugin, in one reply. The keys of
//! wire contract 10.3, and ours: `permissions`, `limits`, `languages`, `worked_example`, `diagnosis`, `errors`.

use crate::template::Language;
use mortise_model::{Limits, MANIFEST_KEYS, RuntimeKind};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The example that an agent can install as it stands.
const EXAMPLE_MANIFEST: &str = include_str!("../../../../examples/garage-door/manifest.json");
const EXAMPLE_SOURCE: &str = include_str!("../../../../examples/garage-door/capability.py");

/// What every plugin says of itself; a component has no class.
const REQUIRED: [&str; 3] = ["id", "class_name", "entry_point"];

/// The limits with their meanings. What their defaults are the code says.
const LIMITS: [(&str, &str); 23] = [
    ("memory", "of one instance"),
    ("stack", "of one instance"),
    ("tables", "elements of one instance"),
    (
        "instances",
        "that serve the plugin: 1 remembers; N share its calls, `per-call` is fresh for each: keep things in state",
    ),
    ("concurrency", "calls under way at once; 1 is one after the other"),
    ("queue", "calls that wait"),
    ("call_timeout", "from call to answer"),
    ("routine_timeout", "one tick of a routine"),
    ("turn", "computing without a wait; then the instance is lost"),
    ("cpu_per_minute", "computing, over all calls"),
    ("start_timeout", "the start hook"),
    ("stop_timeout", "the stop hook"),
    ("drain_timeout", "calls of a version that has a successor"),
    ("result", "a result's JSON"),
    ("event", "an event's JSON"),
    ("log_line", "longer ones are cut"),
    ("events_per_second", "further ones fail"),
    ("log_lines_per_second", "further ones are dropped"),
    ("mesh_calls_per_second", "further ones fail"),
    ("http_requests", "at once; further ones wait"),
    ("http_requests_per_second", "further ones fail"),
    ("state", "keys and values"),
    ("disk", "in folders it may change"),
];

/// The guide of a host whose documents lie below `docs`, and which runs the languages that `runs` says.
pub(super) fn guide(docs: &str, runs: &dyn Fn(Language) -> bool) -> Value {
    json!({
        "status": "success",
        "version": "1",
        "device_type": "plugin_host",
        "summary": summary(runs),
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
            "template_dir": format!("{docs}/examples/plugin-template"),
            "hello_world_example": format!("{docs}/examples/hello-world"),
            "delivery_manifests": format!("{docs}/examples/plugin-manifests"),
            "manifest": format!("{docs}/docs/reference/manifest.md"),
            "permissions": format!("{docs}/docs/permissions.md"),
        },
        "workflow": [
            "get_plugin_template(plugin_id, language): write each of `files` under its name into a folder called as the id.",
            "Write one method for each function. Its docstring or doc comment is its description, its parameters are its \
                schema: they are all that other agents see.",
            "Pack the folder: `packaging.command` of the template. Source is packed as it is; a Rust crate is built first.",
            "plan_plugin_install(bundle_b64): the plugin is unpacked and describes itself in the sandbox, and nothing \
                changes. Errors in the source come back with file and line.",
            "install_plugin_from_bundle(bundle_b64, digest): the archive in base64 and its SHA-256. `status` of the \
                result tells whether it runs; `load_result.denied` what it asks for and may not do.",
            "Call a function as <function> or <plugin id>.<function>.",
            "Change the source and install again: the new version is proven beside the old one, then swapped in. One that \
                fails changes nothing. rollback_plugin brings the version before back.",
            "At a refusal read `message`, `detail` and `hint`; go by `code`. For what happens at run time: \
                get_plugin_logs, get_plugin_stats.",
        ],
        "manifest_schema": manifest_schema(),
        "permissions": permissions(),
        "limits": limits(),
        "languages": languages(runs),
        "install_methods": [
            {"rpc": "install_plugin_from_bundle", "when": "the archive (.tar.gz or .zip) fits into one message: about \
                750 KiB on NATS by default"},
            {"rpc": "begin_plugin_upload", "when": "it is larger, up to 10 MiB by default: then append_plugin_upload, \
                commit_plugin_upload"},
            {"rpc": "install_plugin_from_url", "when": "the host can fetch it over https"},
            {"rpc": "install_plugin_from_manifest", "when": "a delivery manifest holds it, or names its URL or object"},
            {"rpc": "install_plugin", "when": "the folder lies on the host's machine, where its operator allows it"},
            {"rpc": "publish_plugin_artifact", "when": "others are to fetch it from this host"},
            {"rpc": "get_plugin_artifact_url", "when": "you want to know where a published one is"},
        ],
        "diagnosis": [
            {"rpc": "plan_plugin_install", "when": "before an install: what it would change, and whether it loads"},
            {"rpc": "list_plugins", "when": "state, health and quarantine of each plugin"},
            {"rpc": "get_plugin_logs", "when": "what it logged, tracebacks and print included"},
            {"rpc": "get_plugin_stats", "when": "how calls end, how long they take, what was refused"},
            {"rpc": "get_plugin_permissions", "when": "asked for, granted, and `pending` with the commands that grant"},
            {"rpc": "reload_plugin", "when": "fresh memory, or files edited in place"},
            {"rpc": "rollback_plugin", "when": "the version before was better"},
        ],
        "capability_conventions": {
            "constructor": "Python: class_name is called with device=…, which has device_id, tenant, invoke_remote; no I/O \
                there, use start(). Rust: Default, or #[init] with the config",
            "decorators": "Python: @rpc(), @emit(), @periodic(interval=5.0) on methods; calling an @emit method emits. Rust: \
                #[tenon::plugin] on the impl, #[function], #[routine(every = \"5s\")], #[on(event = …)] on methods",
            "lifecycle": "start and stop are optional. Memory lasts between calls, not over reload, upgrade, restart or \
                the loss of an instance: what has to goes into state",
            "naming": "letters, digits, `_`, `-`. A name that the host or another plugin has already is reached as \
                <plugin id>.<function>",
        },
        "worked_example": {
            "language": "python",
            "manifest.json": EXAMPLE_MANIFEST,
            "capability.py": EXAMPLE_SOURCE,
            "pack": "tar -czf garage-door.tgz garage-door",
            "call": "open_door {\"reason\": \"the car is here\"} → {\"position\": \"open\"}; emits door_moved",
        },
        "errors": errors(),
    })
}

fn summary(runs: &dyn Fn(Language) -> bool) -> String {
    let runs: Vec<&str> = Language::ALL.into_iter().filter(|language| runs(*language)).map(Language::name).collect();
    format!(
        "A plugin is a folder with manifest.json and its code, sent as a small archive. Its functions, events and \
         routines become those of this device. It runs in a WebAssembly sandbox and may do nothing that it was not granted. \
         Languages that this host runs: {}.",
        if runs.is_empty() { "none".to_owned() } else { runs.join(", ") }
    )
}

fn manifest_schema() -> Value {
    let optional: Vec<&str> = MANIFEST_KEYS.into_iter().filter(|key| !REQUIRED.contains(key)).collect();
    json!({
        "required": REQUIRED,
        "optional": optional,
        "notes": {
            "id": "letters, digits, `-`, `_`, up to 128; the folder's name",
            "class_name": "Python only: the class in entry_point; else left out",
            "entry_point": "capability.py, plugin.js, or the component, plugin.wasm",
            "type": "python, javascript or wasm; told by entry_point where it is left out",
            "version": "free text; where it changes, migrate is asked",
            "dependencies": "{\"python\": [\"idna>=3\"]}: pure-Python wheels, installed with the plugin where the operator allows it; \
                install_dependencies of an install: false leaves them out, true insists. Else languages.python.packages",
            "permissions": "what it asks for beyond computing; below",
            "limits": "may be lower than the defaults below; higher where the operator's policy says so",
            "config": "an object that the plugin reads",
            "config_schema": "JSON Schema that config is held to",
            "swap": "\"exclusive\": stop the old version before the new one starts",
        },
        "example": serde_json::from_str::<Value>(EXAMPLE_MANIFEST).unwrap_or_default(),
    })
}

fn permissions() -> Value {
    json!({
        "keys": {
            "http": "[\"https://api.example.com\", \"GET https://*.example.com/v1\"]; private networks need the policy too",
            "env": "[\"STATION\"]: environment variables of the host",
            "secrets": "[\"api-token\"]: of the operator's secret store",
            "files": "[{\"path\": \"/srv/data\", \"as\": \"/data\", \"mode\": \"ro\"}]",
            "state": "true: durable key-value",
            "plugins": "[\"camera.*\"]: functions of this host",
            "mesh": "{\"invoke\": [\"camera-*/zoom\"], \"discover\": true}: functions of other devices, the list of them",
        },
        "rule": "Asking gives nothing: the operator's policy or a grant does. A plugin that lacks one is loaded without.",
        "denied": "At install: `load_result.denied`. At run time: a failure `permission_denied` whose text ends with the \
            command, as: the plugin may not call `zoom` of device `camera-1`: `mortise deploy grant my-sensor \
            mesh.invoke:camera-1/zoom` would let it. get_plugin_permissions lists them under `pending`.",
        "grant": "mortise deploy grant <plugin id> <permission>, by the operator; in effect at once, for files after a \
            reload. As http:https://api.example.com, env:STATION, secret:api-token, files.ro:/srv/data, state.",
    })
}

/// `<default>: <meaning>` for each.
fn limits() -> Value {
    let of = |kind| Limits::for_runtime(kind).to_json();
    let (defaults, python, javascript) = (of(RuntimeKind::Wasm), of(RuntimeKind::Python), of(RuntimeKind::Javascript));
    let shown = |limits: &Value, name: &str| match limits.get(name) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "none".to_owned(),
        Some(number) => number.to_string(),
    };
    let line = |(name, meaning): (&str, &str)| {
        let mut default = shown(&defaults, name);
        for (language, limits) in [("Python", &python), ("JavaScript", &javascript)] {
            let own = shown(limits, name);
            if own != shown(&defaults, name) {
                let _ = write!(default, " ({language} {own})");
            }
        }
        (name.to_owned(), Value::from(format!("{default}: {meaning}")))
    };
    LIMITS.into_iter().map(line).collect::<Map<String, Value>>().into()
}

fn languages(runs: &dyn Fn(Language) -> bool) -> Value {
    let languages = Language::ALL.into_iter().map(|language| {
        let mut value = match language {
            Language::Python => python(),
            Language::Javascript => javascript(),
            Language::Rust => rust(),
        };
        if let Some(value) = value.as_object_mut() {
            value.insert("runtime_available".to_owned(), runs(language).into());
        }
        (language.name().to_owned(), value)
    });
    languages.collect::<Map<String, Value>>().into()
}

fn python() -> Value {
    json!({
        "runs_as": "CPython 3.14 in WebAssembly; source only, no build. Plugins of the reference host run unchanged.",
        "imports": "device_connect_edge.drivers (rpc, emit, periodic), or tenon for the same and before_emit, on, Failure, config, \
            state, http, secret, invoke, discover, logger; the standard library; your own modules beside capability.py",
        "tenon": "config() → dict; state.get(key, default), state.set(key, value); await secret(name); (await http.get(url)).json(); \
            await invoke(function, params, device=…)",
        "types": "str, int, float, bool, list, dict, List[T], Dict[…], Optional[T]. Avoid `T | None`, *args, **kwargs and \
            other classes: their schema says string.",
        "docstring": "its first line describes the function; `name: text` lines under `Args:` its parameters",
        "errors": "the text of an exception is the caller's error, its traceback goes to the log; tenon.Failure(text, code=\"…\") \
            has a code",
        "packages": "pure Python only: `dependencies` of the manifest, or in the archive: in the plugin's folder, pip install --target \
            site-packages --only-binary=:all: --platform any --implementation py --abi none --python-version 3.14 <name>",
        "cannot": {
            "threads": "Thread.start fails, to_thread and executors run at once: use asyncio (gather, create_task, sleep)",
            "time.sleep, long computing": "hold up the plugin's other calls: await asyncio.sleep; compute in Rust",
            "sockets": "urllib and aiohttp are there, requests and httpx have to be declared or brought in site-packages; they \
                work through the permission http, nothing else does",
            "subprocesses": "there are none: call another device or plugin",
            "native wheels (numpy, pydantic-core)": "a pure-Python package, a Rust plugin, or a service over HTTP",
            "@on with a device_type": "is never called: name device_id and event_name (both take `*`), and ask for mesh.subscribe",
            "files": "the plugin's own folder, to read; others with the permission files; what lasts goes into state",
            "os.environ": "has what env grants",
        },
    })
}

fn javascript() -> Value {
    json!({
        "runs_as": "QuickJS (ES2023) in WebAssembly; an ES module, source only. Exported functions are the plugin's, but for \
            start, stop, selfTest, migrate(from, to) and those that routines name.",
        "imports": "tenon: emit(name, payload), state.get/set/delete/keys, config(), log.info, invoke(function, params, {timeout}), \
            invokeRemote(device, function, params), discover(), env(name), secret(name), caller(), sleep(ms), Failure(message, code); \
            your own files as ./name.js",
        "globals": "fetch (permission http), URL, timers, console, TextEncoder, AbortSignal, crypto.randomUUID, structuredClone",
        "declarations": "export const routines = {poll: {every: \"10s\"}}; events = {moved: {description, payload_schema}}; \
            schema = {fn: {properties}}; labels, tags",
        "types": "f(a, b = 1) or f({a, b = 1}), given by name. /** What it does. @param {string} a Which. */ with string, number, \
            integer, boolean, object, T[], \"x\"|\"y\", T|null, [a] optional",
        "errors": "as Python's; Failure is new Failure(text, code)",
        "cannot": {
            "npm, Node, require, Intl": "bundle packages into one file (esbuild); no crypto.subtle, streams, Blob, FormData",
            "long computing": "as in Python",
            "files": "none but its own modules, whatever the permission; what lasts goes into state",
        },
    })
}

fn rust() -> Value {
    json!({
        "runs_as": "a component of the world mortise:plugin/plugin@0.1.0, by the crate tenon; any language that makes one",
        "needs": "a Rust compiler with the target wasm32-unknown-unknown; `mortise pack` names the cures where it is missing",
        "errors": "Err(tenon::Error::new(\"code\", \"text\")); a panic loses the instance and what it remembered",
        "tests": "cargo test, natively, without a host",
        "cannot": {
            "threads, sockets, subprocesses": "async methods overlap; tenon::http with the permission http",
            "std::fs, std::env, std::net": "not on this target: tenon::state, the config; build for wasm32-wasip2 for \
                files and env",
            "crates that link C": "pure-Rust ones",
        },
    })
}

fn errors() -> Value {
    json!([
        {"code": "no_runtime, no_runner", "cure": "this host does not run that language: languages.*.runtime_available"},
        {"code": "missing_manifest", "cure": "manifest.json lies at the top of the archive or of its one folder"},
        {"code": "manifest_…, limit_…, permission_…, config_…", "cure": "the hint names the key; units as 16MiB, 500ms"},
        {"code": "plugin_id_mismatch", "cure": "leave plugin_id out, or make it the manifest's id"},
        {"code": "digest_mismatch", "cure": "SHA-256 of the archive's bytes, before base64"},
        {"code": "invalid_base64", "cure": "standard alphabet, padding, no line breaks"},
        {"code": "bundle_too_large", "cure": "leave out what is not needed to run, or the operator raises DC_PLUGIN_MAX_PLUGIN_BYTES"},
        {"code": "does not fit into one message", "cure": "begin_plugin_upload"},
        {"code": "dependencies_off", "cure": "the operator allows them; or pack them into site-packages"},
        {"code": "dependencies_unresolved", "cure": "pure-Python wheels alone: another package, or a service over HTTP"},
        {"code": "hook_failed", "cure": "syntax, import, class_name or start(): the message has file and line, \
            get_plugin_logs the traceback after an install"},
        {"code": "invalid_description", "cure": "a name or schema that cannot be advertised: the detail says which"},
        {"code": "a plan without functions", "cure": "a decorator is missing, or class_name names another class"},
        {"code": "unknown_method", "cure": "not loaded, or another owner of the name: list_plugins, <plugin id>.<function>"},
        {"code": "permission_denied", "cure": "ask in the manifest, and the operator to grant"},
        {"code": "deadline_exceeded, turn_limit", "cure": "await instead of computing; a smaller step in each call"},
        {"code": "trap", "cure": "the instance was lost, memory exhausted for instance: get_plugin_logs"},
        {"code": "quarantined", "cure": "it kept failing: install a mended version, or load_plugin"},
        {"code": "no answer at all", "cure": "get_plugin_operation(request_id), or install again: the same files change nothing"},
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = "https://github.com/some-organisation/some-repository/blob/main";
    const BYTES_MAX: usize = 16 << 10;

    #[test]
    fn it_fits_into_what_an_agent_reads() {
        let bytes = guide(DOCS, &|_| true).to_string().len();
        assert!(bytes <= BYTES_MAX, "{bytes}");
    }

    #[test]
    fn it_has_the_contracts_keys() {
        let guide = guide(DOCS, &|_| true);
        for key in [
            "status",
            "version",
            "device_type",
            "summary",
            "discovery",
            "docs",
            "workflow",
            "manifest_schema",
            "install_methods",
            "capability_conventions",
        ] {
            assert!(guide.get(key).is_some(), "{key}");
        }
        assert_eq!(guide["manifest_schema"]["required"], json!(["id", "class_name", "entry_point"]));
        let example: Value = serde_json::from_str(guide["worked_example"]["manifest.json"].as_str().unwrap()).unwrap();
        assert_eq!(guide["manifest_schema"]["example"], example);
    }

    #[test]
    fn every_limit_and_manifest_key_is_told() {
        let guide = guide(DOCS, &|_| true);
        let told = guide["limits"].as_object().unwrap();
        let known = Limits::default().to_json();
        let mut known: Vec<&String> = known.as_object().unwrap().keys().collect();
        let mut names: Vec<&String> = told.keys().collect();
        known.sort();
        names.sort();
        assert_eq!(names, known);
        assert_eq!(told["memory"], "64MiB (Python 256MiB): of one instance");
        let schema = &guide["manifest_schema"];
        for key in MANIFEST_KEYS.iter().filter(|key| **key != "description") {
            assert!(schema["notes"].get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn it_names_functions_that_there_are() {
        let guide = guide(DOCS, &|_| true);
        for list in ["install_methods", "diagnosis"] {
            for way in guide[list].as_array().unwrap() {
                let rpc = way["rpc"].as_str().unwrap();
                assert!(crate::function_names().contains(&rpc), "{rpc}");
            }
        }
    }

    #[test]
    fn a_language_that_does_not_run_here_is_not_advertised() {
        let guide = guide(DOCS, &|language| language == Language::Rust);
        assert!(guide["summary"].as_str().unwrap().ends_with("this host runs: rust."));
        assert_eq!(guide["languages"]["python"]["runtime_available"], false);
        assert_eq!(guide["languages"]["rust"]["runtime_available"], true);
    }
}
