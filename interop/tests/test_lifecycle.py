"""What the product is for: an agent gives the device a function and takes it away, with published clients only."""

import time

from peers.bundle import bundle_of
from peers.waiting import wait_for


def test_an_agent_installs_calls_reloads_and_unloads_a_plugin(host, agent, edge):
    agent.device(host.device)
    assert not agent.invoke(host.device, "hello_world")["success"], "nothing is loaded yet"
    wait_for(lambda: edge.knows(host.device), 5, "the edge device discovers the host")
    wire = host.wire.subscribe(f"{host.device}.event.>")

    # Install, with the digest pinned.
    installed = agent.call(host.device, "install_plugin_from_bundle", bundle_of("hello-world").params())
    assert installed["status"] == "success"
    assert installed["plugin_id"] == "hello-world"
    assert installed["installed_to"].endswith("/hello-world")
    assert installed["load_result"]["plugin"]["functions"] == ["hello_world"]

    # Advertised at once, so callable by selector (wire contract 12, item 5).
    replied = time.monotonic()
    wait_for(lambda: "hello_world" in agent.functions(host.device), 1, "the function is advertised", interval=0.001)
    print(f"advertised {1000 * (time.monotonic() - replied):.0f} ms after the reply")
    assert agent.call(host.device, "hello_world", {"name": "mesh"}) == {"message": "Hello, mesh!"}
    assert agent.call(host.device, "hello_world") == {"message": "Hello, world!"}
    assert agent.call(host.device, "get_status")["loaded_plugins"] == ["hello-world"]

    reloaded = agent.call(host.device, "reload_plugin", {"plugin_id": "hello-world"})
    assert reloaded["status"] == "success"
    assert agent.call(host.device, "hello_world", {"name": "again"}) == {"message": "Hello, again!"}

    unloaded = agent.call(host.device, "unload_plugin", {"plugin_id": "hello-world"})
    assert unloaded == {"status": "success", "plugin_id": "hello-world"}
    wait_for(
        lambda: "hello_world" not in agent.functions(host.device), 1, "the function is gone from the advertisement"
    )
    assert agent.invoke(host.device, "hello_world")["error"]["code"] == "no_match"

    # Files stay, so it comes back without another bundle.
    loaded = agent.call(host.device, "load_plugin", {"plugin_id": "hello-world"})
    assert loaded["status"] == "success"
    assert host.call("hello_world", {"name": "once more"}) == {"message": "Hello, once more!"}

    # A reload is unloaded, then loaded, back to back (wire contract 10.4).
    expected = ["plugin_loaded", "plugin_unloaded", "plugin_loaded", "plugin_unloaded", "plugin_loaded"]
    wait_for(lambda: len(wire.messages()) >= len(expected), 2, "every event is published")
    assert [message.json()["method"] for message in wire.messages()] == expected

    # What the edge device's `@on` handlers got (wire contract 8.1). It serves each subscription on its own, so two
    # events of different names may change places there.
    events = edge.driver.received(host.device, len(expected))
    assert sorted(name for name, _ in events) == sorted(expected)
    for name, payload in events:
        assert payload["plugin_id"] == "hello-world"
        if name == "plugin_loaded":
            assert payload["functions"] == ["hello_world"]
        assert len(payload["event_id"]) == 8 and int(payload["event_id"], 16) >= 0
        time.strptime(payload["ts"], "%Y-%m-%dT%H:%M:%SZ")
        assert ("_trace_id" in payload) != ("_traceparent" in payload), payload
    assert len({payload["event_id"] for _, payload in events}) == len(events), "every event has an id of its own"


def test_a_namespaced_name_is_callable_and_not_advertised(shared_host, agent):
    agent.device(shared_host.device)
    assert shared_host.call("hello-world.hello_world", {"name": "mesh"}) == {"message": "Hello, mesh!"}
    wait_for(lambda: "hello_world" in agent.functions(shared_host.device), 5, "the function is advertised")
    assert "hello-world.hello_world" not in agent.functions(shared_host.device)


def test_a_second_plugin_with_the_same_function_gets_the_namespaced_form(host, agent):
    host.install(bundle_of("hello-world"))
    second = host.call(
        "install_plugin_from_bundle", bundle_of("hello-world", id="hello-too").params() | {"plugin_id": "hello-too"}
    )
    assert second["status"] == "success", second
    agent.device(host.device)
    wait_for(
        lambda: {"hello_world", "hello-too.hello_world"} <= agent.functions(host.device).keys(),
        2,
        "both are advertised",
    )
    assert host.call("hello-too.hello_world", {"name": "b"}) == {"message": "Hello, b!"}
    host.call("unload_plugin", {"plugin_id": "hello-too"})
    assert host.call("hello_world", {"name": "a"}) == {"message": "Hello, a!"}, "the first owner keeps its name"


def test_a_repeated_lifecycle_call_joins_the_first(host):
    host.install(bundle_of("hello-world"))
    events = host.wire.subscribe(f"{host.device}.event.>")
    message = {"jsonrpc": "2.0", "id": "same", "method": "unload_plugin", "params": {"plugin_id": "hello-world"}}
    first, second = host.send(message), host.send(message)
    assert first == second
    assert first["result"]["status"] == "success", "the second is told what the first did, not `not loaded`"
    events.wait(lambda event: event["method"] == "plugin_unloaded", 2, "the event of the unload")
    host.call("get_status")
    assert len(events.messages()) == 1


def test_what_is_not_there_is_said_in_the_reference_hosts_words(shared_host):
    unloaded = shared_host.call("unload_plugin", {"plugin_id": "nope"})
    assert {
        "status": "error",
        "plugin_id": "nope",
        "message": "Plugin 'nope' is not loaded",
    }.items() <= unloaded.items()
    loaded = shared_host.call("load_plugin", {"plugin_id": "nope"})
    assert (loaded["status"], loaded["message"]) == ("error", "Failed to load plugin 'nope'")
    template = shared_host.call("get_plugin_template", {"plugin_id": "../x"})
    assert template["status"] == "error"
    assert template["message"] == "plugin_id must be a simple name (e.g. garage-door)"


def test_install_without_load_leaves_it_to_load_plugin(host):
    result = host.call("install_plugin_from_bundle", bundle_of("hello-world").params() | {"load": False})
    assert (result["status"], result["loaded"]) == ("success", False)
    assert "load_result" not in result
    listed = host.call("list_plugins")
    assert [(entry["id"], entry["loaded"]) for entry in listed["available"]] == [("hello-world", False)]
    assert host.request("hello_world")["error"]["code"] == -32601
    assert host.call("load_plugin", {"plugin_id": "hello-world"})["status"] == "success"
    assert host.call("hello_world") == {"message": "Hello, world!"}


def test_what_was_loaded_is_loaded_again_after_a_restart(host):
    host.install(bundle_of("hello-world"))
    host.install(bundle_of("counter"))
    host.stop()
    host.start()
    loaded = {"hello-world", "counter"}
    wait_for(lambda: set(host.call("get_status")["loaded_plugins"]) == loaded, 10, "what was loaded is loaded again")
    assert host.call("hello_world", {"name": "restart"}) == {"message": "Hello, restart!"}
