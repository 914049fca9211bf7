"""Replies, events and presence beside those of the reference host: the same keys with the same types."""

import json
from pathlib import Path

import pytest

from peers.bundle import bundle_of
from peers.shape import differences

SAMPLES = Path(__file__).parents[1] / "samples"

# A plugin that is no Python class has no class name (wire contract 10.1).
CLASS_NAME = (".manifest.class_name",)

# Host functions that work now, with the reference's parameters (wire contract 6.4). Its other ones follow.
NOW = [
    "get_plugin_artifact_url",
    "get_plugin_authoring_guide",
    "get_plugin_template",
    "get_status",
    "install_plugin",
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
]


def sample(name):
    return json.loads((SAMPLES / f"{name}.json").read_text())["data"]


def assert_like(name, actual):
    expected = sample(name)
    nullable = [
        f"$.result{middle}{tail}"
        for tail in CLASS_NAME
        for middle in (".plugin", ".load_result.plugin", ".loaded.hello-world")
    ]
    found = differences(expected, actual, may_be_null=nullable)
    assert not found, "\n".join([f"unlike the reference's {name}:", *found, json.dumps(actual, indent=1)])


def test_replies_of_the_host_functions(host):
    assert_like(
        "d2d__reply__cmd__install_plugin_from_bundle",
        host.request("install_plugin_from_bundle", bundle_of("hello-world").params()),
    )
    assert_like("d2d__reply__cmd__get_status", host.request("get_status"))
    assert_like("d2d__reply__cmd__reload_plugin", host.request("reload_plugin", {"plugin_id": "hello-world"}))
    assert_like("d2d__reply__cmd__hello_world", host.request("hello_world", {"name": "mesh"}))
    listed = host.request("list_plugins")
    # `available[].manifest` is the whole manifest file, and a component's names no class.
    (available,) = listed["result"]["available"]
    available["manifest"].setdefault("class_name", "HelloWorldCapability")
    assert_like("d2d__reply__cmd__list_plugins", listed)
    assert_like("d2d__reply__cmd__unload_plugin", host.request("unload_plugin", {"plugin_id": "hello-world"}))
    assert_like("d2d__reply__cmd__hello_world__error", host.request("hello_world"))
    # The reference answers load exactly as it answers reload.
    assert_like("d2d__reply__cmd__reload_plugin", host.request("load_plugin", {"plugin_id": "hello-world"}))
    assert_like("registry__reply__cmd__requestRegistration", host.request("requestRegistration"))


def test_an_unknown_methods_error_has_the_reference_hosts_code_and_text(host):
    expected = sample("d2d__reply__cmd__hello_world__error")["error"]
    actual = host.request("hello_world")["error"]
    assert (actual["code"], actual["message"]) == (expected["code"], expected["message"])


def test_replies_about_authoring(shared_host):
    # No captured message: keys from wire contract 10.3.
    guide = shared_host.call("get_plugin_authoring_guide")
    assert {"status", "version", "device_type", "summary", "discovery", "docs", "workflow", "manifest_schema",
            "install_methods", "capability_conventions"} <= guide.keys()  # fmt: skip
    assert (guide["status"], guide["device_type"]) == ("success", "plugin_host")
    assert {"authoring_rpc", "template_rpc", "examples_rpc", "device_labels"} <= guide["discovery"].keys()
    assert {"required", "optional", "example"} <= guide["manifest_schema"].keys()
    assert all({"rpc", "when"} <= method.keys() for method in guide["install_methods"])

    template = shared_host.call("get_plugin_template", {"plugin_id": "garage-door", "description": 'Opens "the" door'})
    assert {"status", "plugin_id", "class_name", "description", "manifest", "manifest_text", "capability_py", "readme",
            "layout", "packaging"} <= template.keys()  # fmt: skip
    assert template["description"] == 'Opens "the" door'
    assert json.loads(template["manifest_text"]) == template["manifest"]
    assert {"command", "note"} <= template["packaging"].keys()
    # Additive: what an agent needs for a plugin that is no Python class, and whether this host would run it.
    assert {"language", "files", "runtime_available"} <= template.keys()

    examples = shared_host.call("list_plugin_examples")
    assert {"status", "examples", "hint", "repo_examples_dir"} <= examples.keys()
    assert all({"id", "path", "description", "functions"} <= example.keys() for example in examples["examples"])


def test_presence_and_heartbeat(host):
    presence = host.wire.subscribe(f"{host.device}.presence")
    heartbeat = host.wire.subscribe(f"{host.device}.heartbeat")
    assert_like("d2d__presence", presence.wait(lambda message: message.get("d2d"), 6, "presence").json())
    assert_like("d2d__heartbeat", heartbeat.wait(lambda message: True, 6, "a heartbeat").json())


def test_events(host):
    events = host.wire.subscribe(f"{host.device}.event.>")
    host.install(bundle_of("hello-world"))
    host.call("unload_plugin", {"plugin_id": "hello-world"})
    for name in ("plugin_loaded", "plugin_unloaded"):
        event = events.wait(lambda message, name=name: message["method"] == name, 5, name)
        assert_like(f"d2d__event__{name}", event.json())
        assert "id" not in event.json()
        assert event.subject.endswith(f".{host.device}.event.{name}")


@pytest.mark.parametrize("name", NOW)
def test_a_host_function_is_advertised_with_the_reference_hosts_parameters(shared_host, name):
    functions = {f["name"]: f for f in shared_host.call("requestRegistration")["capabilities"]["functions"]}
    expected = {f["name"]: f for f in sample("d2d__presence")["capabilities"]["functions"]}[name]
    actual = functions[name]
    assert (actual["labels"], actual["tags"]) == (None, [])
    assert actual["description"]

    def contract(schema):
        properties = schema.get("properties", {})
        return (
            sorted(schema.get("required", [])),
            {key: {k: v for k, v in value.items() if k != "description"} for key, value in properties.items()},
        )

    wanted, got = contract(expected["parameters"]), contract(actual["parameters"])
    assert got[0] == wanted[0]
    # A newer host may add optional parameters; the reference's own come unchanged.
    assert wanted[1].items() <= got[1].items(), (wanted, got)


def test_host_functions_come_first_in_the_reference_hosts_order(shared_host):
    names = [f["name"] for f in shared_host.call("requestRegistration")["capabilities"]["functions"]]
    order = [f["name"] for f in sample("d2d__presence")["capabilities"]["functions"]]
    ours = [name for name in names if name in order]
    assert ours == [name for name in order if name in ours]
    assert set(NOW) <= set(ours)
    own = shared_host.call("list_plugins")["loaded"]
    plugin_functions = sorted(function for plugin in own.values() for function in plugin["functions"])
    assert names[-len(plugin_functions) :] == plugin_functions
    assert len(names) == len(set(names))
