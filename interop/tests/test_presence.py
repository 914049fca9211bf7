"""Presence, probe and departure (wire contract 5 and 12, item 3)."""

import threading
import time

from peers.bundle import bundle_of
from peers.waiting import wait_for


def nulls(value, path="$"):
    """Paths of every null inside."""
    if value is None:
        return [path]
    if isinstance(value, dict):
        return [p for key, inner in value.items() for p in nulls(inner, f"{path}.{key}")]
    if isinstance(value, list):
        return [p for n, inner in enumerate(value) for p in nulls(inner, f"{path}[{n}]")]
    return []


def test_a_presence_message(host):
    recorder = host.wire.subscribe("*.presence")
    message = recorder.wait(lambda m: m["device_id"] == host.device, 6, "presence on the wildcard subject").json()
    assert message["d2d"] is True
    assert abs(message["ts"] - time.time()) < 60
    assert nulls(message["identity"]) == [] and nulls(message["status"]) == []
    assert message["identity"]["device_type"] == "plugin_host"
    assert message["identity"]["manufacturer"] == "Device Connect"
    assert message["identity"]["model"] == f"Plugin Host ({host.device})"
    assert message["status"]["availability"] == "idle" and message["status"]["online"] is True
    time.strptime(message["status"]["ts"], "%Y-%m-%dT%H:%M:%SZ")
    assert not {"tenant", "device_ttl"} & message.keys()
    capabilities = message["capabilities"]
    assert {"description", "functions", "events", "labels"} <= capabilities.keys()
    # Capabilities keep their nulls.
    assert all({"name", "description", "parameters", "labels", "tags"} <= f.keys() for f in capabilities["functions"])
    assert all({"name", "description", "payload_schema", "labels", "tags"} <= e.keys() for e in capabilities["events"])
    assert [e["name"] for e in capabilities["events"]] == ["plugin_loaded", "plugin_log", "plugin_unloaded"]


def test_presence_shows_what_plugins_bring_and_take_away_at_once(host):
    recorder = host.wire.subscribe(f"{host.device}.presence")

    def names(message):
        return [f["name"] for f in message["capabilities"]["functions"]]

    host.install(bundle_of("hello-world"))
    replied = time.monotonic()
    shown = recorder.wait(lambda m: "hello_world" in names(m), 1, "presence with the new function")
    print(f"in presence {1000 * (shown.at - replied):+.0f} ms from the reply")
    assert "hello-world.hello_world" not in names(shown.json())

    asked = time.monotonic()
    host.call("unload_plugin", {"plugin_id": "hello-world"})
    recorder.wait(lambda m: "hello_world" not in names(m), 1, "presence without it", after=asked)


def test_cadence_and_probe(host):
    recorder = host.wire.subscribe(f"{host.device}.presence")
    started = time.monotonic()
    first = recorder.wait(lambda m: True, 6, "presence")
    # Every half second for ten seconds, then every five (wire contract 5.3).
    pause = None
    while pause is None or pause < 4:
        assert time.monotonic() - started < 30, "presence never came to its steady pace"
        latest = recorder.wait(lambda m: True, 6, "the next presence", after=first.at)
        pause, first = latest.at - first.at, latest
    assert pause < 6
    burst = [m.at for m in recorder.messages() if m.at < first.at]
    pauses = [b - a for a, b in zip(burst, burst[1:], strict=False)]
    assert pauses and sorted(pauses)[len(pauses) // 2] < 0.8, pauses

    # In the quiet after a steady presence, whatever the probe says, the answer comes at once.
    for payload in (b'{"probe": true, "ts": 1795289761.5}', b"", b"not json"):
        asked = time.monotonic()
        host.wire.publish("discovery.probe", payload)
        answer = recorder.wait(lambda m: True, 1, f"an answer to the probe {payload!r}", after=asked)
        print(f"probe answered in {1000 * (answer.at - asked):.0f} ms")
        assert answer.at - asked < 0.3


def test_departure_is_the_last_word_after_sigterm(host):
    recorder = host.wire.subscribe(f"{host.device}.presence")
    host.install(bundle_of("hello-world"))
    recorder.wait(lambda m: m.get("d2d"), 6, "presence")
    took = host.stop()
    print(f"stopped in {took:.2f} s")
    recorder.wait(lambda m: m.get("departing"), 2, "departure")
    # Nothing may come after it: give what might be on its way the time of a burst and a half.
    time.sleep(0.8)
    messages = [m.json() for m in recorder.messages()]
    assert [m for m in messages if m.get("departing")] == [messages[-1]]
    assert messages[-1].keys() == {"device_id", "tenant", "departing", "ts"}
    assert messages[-1]["device_id"] == host.device
    assert messages[-1]["tenant"] == host.wire.tenant
    assert messages[-1]["departing"] is True


def test_an_edge_device_and_the_agent_forget_a_host_that_departed(host, agent, edge):
    agent.device(host.device)
    wait_for(lambda: edge.knows(host.device), 5, "the edge device discovers the host")
    host.stop()
    wait_for(lambda: not edge.knows(host.device), 2, "the edge device forgets the host")
    wait_for(lambda: not agent.functions(host.device), 2, "the agent forgets the host")


def test_calls_under_way_are_answered_when_the_host_stops(host):
    host.install(bundle_of("behave"))
    answers = []
    caller = threading.Thread(target=lambda: answers.append(host.call("sleep_ms", {"ms": 1000})))
    caller.start()
    time.sleep(0.3)
    host.stop()
    caller.join(timeout=5)
    assert len(answers) == 1, "a call that ends within the time to drain is answered"
