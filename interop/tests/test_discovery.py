"""The published agent tools find the host and what it can do."""

import device_connect_agent_tools as tools

from peers.bundle import bundle_of
from peers.waiting import wait_for


def test_the_agent_finds_the_host(shared_host, agent):
    device = agent.device(shared_host.device)
    assert device["device_type"] == "plugin_host"
    assert device["status"]["availability"] == "idle"
    # Wire contract 6.3: these labels verbatim.
    assert {
        "category": "hub",
        "plugin_driver:role": "plugin_host",
        "plugin_driver:authoring_rpc": "get_plugin_authoring_guide",
        "plugin_driver:template_rpc": "get_plugin_template",
        "plugin_driver:examples_rpc": "list_plugin_examples",
    }.items() <= device["labels"].items()


def test_selectors_reach_the_host_by_category_and_by_type(shared_host, agent):
    agent.device(shared_host.device)
    for selector in ("device(category:hub)", "device(type:plugin_host)", f"device({shared_host.device})"):
        found = tools.discover(selector)
        assert shared_host.device in [row["device_id"] for row in found["results"]], (selector, found)


def test_functions_are_listed_with_their_schemas(shared_host, agent):
    agent.device(shared_host.device)
    wait_for(lambda: "hello_world" in agent.functions(shared_host.device), 5, "the agent sees the function of a plugin")
    listed = tools.discover(f"device({shared_host.device}).function(hello_world)")
    assert listed["matched"] == 1, listed
    (function,) = listed["results"]
    assert function["description"]
    assert function["parameters"]["type"] == "object"
    assert function["parameters"].get("required", []) == []
    assert function["parameters"]["properties"]["name"]["type"] == "string"
    assert function["parameters"]["properties"]["name"]["default"] == "world"


def test_the_older_listing_functions_work_too(shared_host, agent):
    agent.device(shared_host.device)
    assert shared_host.device in [d["device_id"] for d in tools.discover_devices(device_type="plugin_host")]
    assert tools.get_device_status(shared_host.device)["status"]["online"] is True
    names = [f["name"] for f in tools.get_device_functions(shared_host.device)["functions"]]
    assert "install_plugin_from_bundle" in names


def test_the_agent_writes_a_plugin_with_the_guide_and_the_template(shared_host, agent):
    agent.device(shared_host.device)
    guide = agent.call(shared_host.device, "get_plugin_authoring_guide")
    assert guide["discovery"]["template_rpc"] == "get_plugin_template"
    template = agent.call(shared_host.device, "get_plugin_template", {"plugin_id": "garage-door"})
    assert template["status"] == "success"
    assert template["manifest"]["id"] == "garage-door"
    examples = agent.call(shared_host.device, "list_plugin_examples")["examples"]
    assert {"hello-world", "demo"} <= {example["id"] for example in examples}


def test_a_filter_by_location_still_works_with_the_host_on_the_mesh(shared_host, agent):
    # A null in identity or status makes every filtered listing of a client fail (wire contract 5.2).
    agent.device(shared_host.device)
    assert tools.get_connection().list_devices(location="nowhere") == []
    assert tools.get_connection().list_devices(device_type="plugin_host")


def test_a_plugins_events_are_listed(host, agent):
    host.install(bundle_of("demo"))
    agent.device(host.device)
    wait_for(lambda: "ping" in agent.functions(host.device), 5, "the agent sees the demo plugin")
    events = agent.events(host.device)
    assert {"plugin_loaded", "plugin_log", "plugin_unloaded", "tick"} == events.keys()
    assert events["tick"]["payload_schema"]["required"] == ["tick"]
