"""What an agent does from nothing to a plugin that it wrote, changed and took back, with the published agent tools alone."""

import base64
import hashlib
import os
import time

import pytest

from peers.bundle import tar_gz
from peers.host import ROOT
from peers.waiting import wait_for

pytestmark = pytest.mark.parametrize("transport", [pytest.param("nats", marks=pytest.mark.nats)], indirect=True)


class Laps:
    """How long each step took, in seconds."""

    def __init__(self):
        self._began = self._last = time.monotonic()
        self.steps = []

    def done(self, step):
        now = time.monotonic()
        self.steps.append(f"{step} {(now - self._last) * 1000:.0f} ms")
        self._last = now

    def report(self):
        return f"{', '.join(self.steps)}; {time.monotonic() - self._began:.2f} s in all"


def bundle(files):
    data = tar_gz({name: text.encode() for name, text in files.items()})
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return {"bundle_b64": base64.b64encode(data).decode(), "digest": digest}


def test_an_agent_writes_installs_changes_and_takes_back_a_plugin(start_host, agent, record_property, capsys):
    host = start_host(arguments=["--runners-dir", os.environ.get("MORTISE_RUNNERS") or ROOT / "target/runners"])
    agent.device(host.device)
    # The runner is read once, before the first plugin of its kind.
    warm = agent.call(host.device, "get_plugin_template", {"plugin_id": "warm"})
    assert agent.call(host.device, "install_plugin_from_bundle", bundle(warm["files"]))["status"] == "success"
    assert agent.call(host.device, "uninstall_plugin", {"plugin_id": "warm"})["status"] == "success"

    laps = Laps()
    guide = agent.call(host.device, "get_plugin_authoring_guide")
    assert "python" in guide["languages"]
    laps.done("guide")
    wanted = {"plugin_id": "garage-door", "description": "Opens and closes the garage door"}
    template = agent.call(host.device, "get_plugin_template", wanted)
    assert template["runtime_available"] is True
    laps.done("template")

    files = dict(template["files"])
    files["capability.py"] += """
    @rpc()
    async def open_door(self, speed: int = 1) -> dict:
        \"\"\"Opens the door.

        Args:
            speed: How fast, from 1 to 3
        \"\"\"
        return {"position": "open", "speed": speed}
"""
    first = bundle(files)
    plan = agent.call(host.device, "plan_plugin_install", {"bundle_b64": first["bundle_b64"]})
    assert plan["status"] == "success", plan
    assert "open_door" in str(plan["functions"]["added"])
    laps.done("plan")
    agreed = first | {"plan_digest": plan["plan_digest"]}
    installed = agent.call(host.device, "install_plugin_from_bundle", agreed)
    assert installed["status"] == "success", installed
    assert host.call("open_door", {"speed": 2}) == {"position": "open", "speed": 2}
    laps.done("install to first answer")
    wait_for(lambda: "open_door" in agent.functions(host.device), 5, "the agent sees the new function")
    assert agent.functions(host.device)["open_door"]["parameters"]["properties"]["speed"]["default"] == 1
    assert agent.call(host.device, "open_door") == {"position": "open", "speed": 1}
    laps.done("seen and called by selector")

    # A slip is told by its line, and costs nothing.
    broken = files | {"capability.py": files["capability.py"].replace("return {\"position\"", "retrun {\"position\"")}
    refused = agent.call(host.device, "install_plugin_from_bundle", bundle(broken))
    line = 1 + broken["capability.py"][: broken["capability.py"].index("retrun")].count("\n")
    assert refused["status"] == "error" and f"line {line}" in refused["message"], refused
    assert agent.call(host.device, "open_door") == {"position": "open", "speed": 1}
    laps.done("slip refused")

    changed = files | {"capability.py": files["capability.py"].replace('"position": "open"', '"position": "ajar"')}
    changed["manifest.json"] = changed["manifest.json"].replace('"0.1.0"', '"0.2.0"')
    assert agent.call(host.device, "install_plugin_from_bundle", bundle(changed))["status"] == "success"
    assert agent.call(host.device, "open_door")["position"] == "ajar"
    laps.done("change to first answer")
    assert agent.call(host.device, "rollback_plugin", {"plugin_id": "garage-door"})["status"] == "success"
    assert agent.call(host.device, "open_door")["position"] == "open"
    laps.done("rollback to first answer")

    record_property("laps", laps.report())
    with capsys.disabled():
        print(f"\n  an agent's loop: {laps.report()}")
