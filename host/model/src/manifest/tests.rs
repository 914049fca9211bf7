use super::*;
use crate::{ByteSize, Permissions};
use serde_json::json;

fn id(text: &str) -> PluginId {
    PluginId::new(text).unwrap()
}

/// A valid manifest with `changes` on top; a change to `null` takes the key out.
fn with(changes: Value) -> Vec<u8> {
    let mut manifest = json!({"id": "sensor", "type": "wasm", "entry_point": "plugin.wasm"});
    for (key, value) in changes.as_object().unwrap() {
        manifest[key] = value.clone();
    }
    manifest.to_string().into_bytes()
}

fn parse(changes: Value) -> Result<Manifest, ManifestError> {
    Manifest::parse(&with(changes), None)
}

#[test]
fn a_full_manifest_is_read() {
    let manifest = parse(json!({
        "version": "0.1.0", "description": "Reads a sensor", "dependencies": {"python": []},
        "permissions": {"plugins": ["demo.*"], "mesh": {"invoke": ["camera-*", "door/open"], "discover": true},
            "state": true},
        "limits": {"memory": "32MiB", "instances": 1},
        "config": {"unit": "C"}, "config_schema": {"type": "object", "properties": {"unit": {"type": "string"}}},
        "swap": "exclusive", "vendor": {"any": 1},
    }))
    .unwrap();
    assert_eq!(manifest.id, id("sensor"));
    assert_eq!(manifest.version.as_deref(), Some("0.1.0"));
    assert_eq!(manifest.description.as_deref(), Some("Reads a sensor"));
    assert_eq!((manifest.runtime, manifest.entry_point.as_str()), (RuntimeKind::Wasm, "plugin.wasm"));
    let permissions = ["plugins:demo.*", "mesh.invoke:camera-*", "mesh.invoke:door/open", "mesh.discover", "state"];
    let permissions: Permissions = permissions.into_iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(manifest.permissions, permissions);
    assert_eq!((manifest.swap, parse(json!({})).unwrap().swap), (Swap::Exclusive, Swap::Beside));
    assert_eq!(manifest.limits, Limits { memory: ByteSize::mib(32), ..Limits::default() });
    assert_eq!(manifest.config.as_str(), r#"{"unit":"C"}"#);
    assert_eq!(manifest.raw["vendor"], json!({"any": 1}));
    assert_eq!(manifest.warnings, [ManifestWarning::UnknownKey("vendor".to_owned())]);
}

#[test]
fn the_reference_hosts_manifests_are_valid() {
    let text = br#"{"id": "hello-world", "class_name": "HelloWorldCapability", "entry_point": "capability.py",
        "version": "0.1.0", "description": null, "dependencies": {"python": ["requests>=2"]}}"#;
    let manifest = Manifest::parse(text, None).unwrap();
    assert_eq!(manifest.runtime, RuntimeKind::Python);
    assert_eq!(manifest.class_name.as_deref(), Some("HelloWorldCapability"));
    assert_eq!(manifest.python_dependencies, ["requests>=2"]);
    assert_eq!(manifest.description, None);
    assert_eq!(manifest.limits.memory, ByteSize::mib(256));
    assert_eq!(manifest.warnings, []);

    let minimal = Manifest::parse(br#"{"class_name": "X"}"#, Some(&id("folder"))).unwrap();
    assert_eq!((minimal.id, minimal.entry_point.as_str()), (id("folder"), "capability.py"));
    assert_eq!(minimal.warnings, [ManifestWarning::MissingId]);
    assert_eq!(minimal.config.as_str(), "{}");
}

#[test]
fn the_extension_tells_the_type() {
    for (entry_point, kind) in
        [("a.wasm", RuntimeKind::Wasm), ("src/a.js", RuntimeKind::Javascript), ("a.b.mjs", RuntimeKind::Javascript)]
    {
        let manifest = parse(json!({"type": null, "entry_point": entry_point})).unwrap();
        assert_eq!((manifest.runtime, manifest.entry_point.as_str()), (kind, entry_point));
    }
    // An extension that tells nothing leaves the word to `type`.
    assert_eq!(parse(json!({"entry_point": "plugin.bin"})).unwrap().runtime, RuntimeKind::Wasm);
    let native = parse(json!({"type": "native", "entry_point": "libplugin.so"})).unwrap();
    assert_eq!(native.runtime, RuntimeKind::Native);
    let class = parse(json!({"class_name": "X"})).unwrap();
    let warning = ManifestWarning::UnusedKey { key: "class_name", runtime: RuntimeKind::Wasm };
    assert_eq!(class.warnings, [warning]);
}

#[test]
fn at_install_another_id_is_an_error_and_at_load_a_warning() {
    let bytes = with(json!({}));
    let mismatch = ManifestError::IdMismatch { expected: id("other"), got: id("sensor") };
    assert_eq!(Manifest::parse(&bytes, Some(&id("other"))).unwrap_err(), mismatch);
    assert!(Manifest::parse(&bytes, Some(&id("sensor"))).unwrap().warnings.is_empty());

    let loaded = Manifest::parse_installed(&bytes, &id("other")).unwrap();
    assert_eq!(loaded.id, id("other"));
    let warning = ManifestWarning::IdMismatch { folder: id("other"), manifest: id("sensor") };
    assert_eq!(loaded.warnings, [warning]);
}

#[test]
fn settings_keep_their_digits_and_order() {
    let text = br#"{"id":"a","entry_point":"a.wasm","config": {"z":1.50,"a":123456789012345678901234567890} }"#;
    let manifest = Manifest::parse(text, None).unwrap();
    assert_eq!(manifest.config.as_str(), r#"{"z":1.50,"a":123456789012345678901234567890}"#);
}

/// Each malformation: its code, its message and its cure.
#[test]
fn every_malformation_has_its_own_words() {
    let path_hint = "name a file inside the plugin's folder, like \"plugin.wasm\" or \"src/main.py\"";
    let types = "set \"type\" to one of wasm, python, javascript, native, docker";
    let table = [
        (json!({"entrypoint": "a"}), "manifest_unknown_key", "unknown key `entrypoint`", "did you mean `entry_point`?"),
        (json!({"permisions": {}}), "manifest_unknown_key", "unknown key `permisions`", "did you mean `permissions`?"),
        (
            json!({"permissions": {"mesh": {"invok": []}}}),
            "manifest_unknown_key",
            "unknown key `permissions.mesh.invok`",
            "did you mean `invoke`?",
        ),
        (
            json!({"permissions": {"magic": true}}),
            "manifest_unknown_key",
            "unknown key `permissions.magic`",
            "remove `permissions.magic`",
        ),
        (
            json!({"version": 1}),
            "manifest_wrong_type",
            "`version` must be a string, got number",
            "change `version` to a string",
        ),
        (
            json!({"config": []}),
            "manifest_wrong_type",
            "`config` must be an object, got array",
            "change `config` to an object",
        ),
        (
            json!({"dependencies": {"python": [1]}}),
            "manifest_wrong_type",
            "`dependencies.python` must be an array of strings, got number",
            "change `dependencies.python` to an array of strings",
        ),
        (
            json!({"permissions": {"mesh": {"discover": "yes"}}}),
            "manifest_wrong_type",
            "`permissions.mesh.discover` must be true or false, got string",
            "change `permissions.mesh.discover` to true or false",
        ),
        (
            json!({"swap": "exclusiv"}),
            "manifest_swap",
            "unknown `swap` `exclusiv`",
            "set \"swap\" to \"exclusive\", or leave it out to have new versions proven beside the old one",
        ),
        (
            json!({"swap": "exclusive", "limits": {"instances": 2}}),
            "manifest_swap",
            "`swap` \"exclusive\" is for what only one can have, and `limits.instances` asks for more",
            "leave `limits.instances` out, or `swap`",
        ),
        (
            json!({"swap": "exclusive", "limits": {"instances": "per-call"}}),
            "manifest_swap",
            "`swap` \"exclusive\" is for what only one can have, and `limits.instances` asks for more",
            "leave `limits.instances` out, or `swap`",
        ),
        (
            json!({"id": null}),
            "invalid_plugin_id",
            "invalid plugin id: manifest.json has no `id`",
            "add \"id\" to manifest.json, or pass `plugin_id`",
        ),
        (
            json!({"id": "../x"}),
            "invalid_plugin_id",
            "invalid plugin id `../x`: must match `^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$`",
            "use letters, digits, `-` and `_`, beginning with a letter or digit",
        ),
        (json!({"type": "wsam"}), "manifest_type", "unknown plugin type `wsam`", "did you mean `wasm`?"),
        (json!({"type": "cobol"}), "manifest_type", "unknown plugin type `cobol`", types),
        (
            json!({"type": null, "entry_point": "plugin.bin"}),
            "manifest_type",
            "`plugin.bin` does not tell the plugin's type",
            types,
        ),
        (
            json!({"type": null, "entry_point": "plugin.so"}),
            "manifest_type",
            "`plugin.so` is a native library, but manifest.json does not say so",
            "add \"type\": \"native\" if the plugin is meant to run outside the sandbox",
        ),
        (
            json!({"type": "python", "class_name": "X"}),
            "manifest_type",
            "a plugin of type `python` cannot have the entry point `plugin.wasm`",
            "leave \"type\" out to go by the entry point's extension, or correct \"entry_point\"",
        ),
        (
            json!({"entry_point": null}),
            "manifest_entry_point",
            "manifest missing entry_point",
            "add \"entry_point\": the file that a plugin of type `wasm` is run from",
        ),
        (
            json!({"entry_point": "../a.wasm"}),
            "manifest_entry_point",
            "invalid `entry_point` `../a.wasm`: it leaves the plugin's folder",
            path_hint,
        ),
        (
            json!({"entry_point": "/a.wasm"}),
            "manifest_entry_point",
            "invalid `entry_point` `/a.wasm`: it is absolute",
            path_hint,
        ),
        (
            json!({"entry_point": "a\\b.wasm"}),
            "manifest_entry_point",
            "invalid `entry_point` `a\\b.wasm`: it holds a backslash",
            path_hint,
        ),
        (
            json!({"entry_point": "./a.wasm"}),
            "manifest_entry_point",
            "invalid `entry_point` `./a.wasm`: it has an empty component or one that is `.`",
            path_hint,
        ),
        (
            json!({"type": null, "entry_point": null}),
            "manifest_class_name",
            "manifest missing class_name",
            "add \"class_name\"; a plugin that is not Python says so by its \"entry_point\" or \"type\"",
        ),
        (
            json!({"permissions": {"plugins": ["a b"]}}),
            "manifest_pattern",
            "invalid pattern `a b` in `permissions.plugins`: it holds a character that no name has",
            "write names, with `*` for any run of characters",
        ),
        (
            json!({"config": {"a": 1}, "config_schema": {"properties": {"a": {"type": "string"}}}}),
            "config_invalid",
            "`config.a` must be string, got number",
            "change `config.a` to string",
        ),
    ];
    for (changes, code, message, hint) in table {
        let error = parse(changes).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str(), error.hint().as_str()), (code, message, hint));
    }
}

#[test]
fn a_file_that_is_no_object_is_refused() {
    let parse = |bytes: &[u8]| Manifest::parse(bytes, None).unwrap_err();
    assert_eq!(parse(b"[]"), ManifestError::NotAnObject { got: "array" });
    assert_eq!(parse(b"[]").to_string(), "manifest.json must be a JSON object");
    for bytes in [&b""[..], b"{", b"{\"id\": NaN}", b"\xff\xfe", b"{\"id\":\"a\",\"id\":\"b\"}"] {
        assert!(matches!(parse(bytes), ManifestError::Syntax(_)));
    }
    let bytes = vec![b' '; MANIFEST_BYTES_MAX + 1];
    assert_eq!(parse(&bytes), ManifestError::TooLarge { bytes: bytes.len(), max: MANIFEST_BYTES_MAX });
}

#[test]
fn what_a_plugin_hears_is_asked_for_and_what_it_emits_is_its_own_bound() {
    let mesh = |mesh: serde_json::Value| parse(json!({"permissions": {"mesh": mesh}}));
    let manifest = mesh(json!({"subscribe": ["camera-*/motion", "door-1"]})).unwrap();
    let asked: Vec<_> = manifest.permissions.iter().map(ToString::to_string).collect();
    assert_eq!(asked, ["mesh.subscribe:camera-*/motion", "mesh.subscribe:door-1"]);
    assert_eq!(manifest.emits, None);
    let manifest = mesh(json!({"emit": ["alarm-*"]})).unwrap();
    assert!(manifest.permissions.is_empty());
    assert_eq!(manifest.emits.as_deref(), Some(&["alarm-*".to_owned()][..]));
    for (asked, message) in [
        (
            json!({"emit": ["a/b"]}),
            "invalid pattern `a/b` in `permissions.mesh.emit`: it holds a character that no name has",
        ),
        (json!({"emit": ["a.b"]}), "invalid pattern `a.b` in `permissions.mesh.emit`: no event has a dot in its name"),
        (json!({"emit": true}), "`permissions.mesh.emit` must be an array of strings, got boolean"),
        (
            json!({"subscribe": ["a/device.online"]}),
            "invalid pattern `a/device.online` in `permissions.mesh.subscribe`: no event has a dot in its name",
        ),
        (json!({"subscribes": []}), "unknown key `permissions.mesh.subscribes`"),
    ] {
        assert_eq!(mesh(asked).unwrap_err().to_string(), message);
    }
}

#[test]
fn folders_are_asked_for_by_path_and_seen_as_another() {
    let manifest = parse(json!({"permissions": {"files": [
        {"path": "/srv/data", "as": "/data", "mode": "rw"},
        {"path": "/srv/more"},
    ]}}))
    .unwrap();
    let asked: Vec<_> = manifest.permissions.iter().map(ToString::to_string).collect();
    assert_eq!(asked, ["files.rw:/srv/data", "files.ro:/srv/more"]);
    let seen: Vec<_> = manifest.folders.iter().map(|folder| folder.seen_as.as_str()).collect();
    assert_eq!(seen, ["/data", "/srv/more"]);
    for (asked, message) in [
        (json!([{"as": "/a"}]), "invalid pattern `` in `permissions.files`: it lacks `path`"),
        (json!([{"path": "/a", "mode": "wr"}]), "invalid pattern `wr` in `permissions.files.mode`: it is `ro` or `rw`"),
        (json!([{"path": "a"}]), "invalid pattern `a` in `permissions.files.path`: it is no absolute path"),
        (
            json!([{"path": "/a"}, {"path": "/b", "as": "/a"}]),
            "invalid pattern `/a` in `permissions.files`: two folders cannot be seen under one path",
        ),
        (json!([{"path": "/a", "mod": "rw"}]), "unknown key `permissions.files.mod`"),
        (json!([7]), "`permissions.files` must be an array of objects, got number"),
    ] {
        let error = parse(json!({"permissions": {"files": asked}})).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn what_only_a_policy_can_give_is_warned_about() {
    let manifest = parse(json!({"limits": {"memory": "1GiB"}})).unwrap();
    let warnings: Vec<_> = manifest.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["`limits.memory` may be at most 64MiB, got 1GiB, unless the host's policy raises it"]);
    let refused = manifest.limits_within(&Limits::default()).unwrap_err();
    assert_eq!(refused.code(), "limit_raised");
    let cure = "ask for at most 64MiB; the operator raises that with `limits` of a rule in the policy file";
    assert_eq!(refused.hint(), cure);
    assert_eq!(manifest.limits_within(&Limits::MOST).unwrap().memory, ByteSize::mib(1024));
    let error = parse(json!({"limits": {"result": "1GiB"}})).unwrap_err();
    assert_eq!(error.code(), "limit_raised", "no policy gives that: {error}");
}

#[test]
fn patterns_must_be_able_to_match() {
    for pattern in ["", "a b", "é", "a\n"] {
        for asked in [json!({"plugins": [pattern]}), json!({"mesh": {"invoke": [pattern]}})] {
            let error = parse(json!({"permissions": asked})).unwrap_err();
            assert!(matches!(error, ManifestError::Pattern { .. }), "{error}");
        }
    }
    for pattern in ["a/b/c", "/a", "a/"] {
        let error = parse(json!({"permissions": {"mesh": {"invoke": [pattern]}}})).unwrap_err();
        assert!(matches!(error, ManifestError::Pattern { key: "permissions.mesh.invoke", .. }), "{error}");
    }
    assert!(parse(json!({"permissions": {"plugins": ["a/b"]}})).is_err());
    for asked in [json!({"http": ["a.test"]}), json!({"env": ["A*"]}), json!({"secrets": ["../key"]})] {
        let error = parse(json!({"permissions": asked})).unwrap_err();
        assert!(matches!(error, ManifestError::Pattern { .. }), "{error}");
    }
}

#[test]
fn every_known_key_is_accepted_or_refused_on_purpose() {
    for key in MANIFEST_KEYS {
        assert_eq!(near_miss(&key.to_uppercase(), MANIFEST_KEYS), Some(key));
    }
    for (index, key) in MANIFEST_KEYS.iter().enumerate() {
        let others = MANIFEST_KEYS.iter().enumerate().filter(|&(other, _)| other != index).map(|(_, key)| *key);
        assert_eq!(near_miss(key, others), None, "{key} can be mistaken for another known key");
    }
}
