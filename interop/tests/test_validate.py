"""Source in Python on its author's machine: `mortise validate` without a host, `mortise dev` with one."""

import json
import os
import shutil
import signal
import subprocess

import pytest
from peers.bundle import Bundle, tar_gz
from peers.cli import mortise
from peers.host import ROOT, CallError, binary, environment
from peers.waiting import wait_for

RUNNERS = os.environ.get("MORTISE_RUNNERS") or ROOT / "target/runners"


def test_validate_finds_without_a_host_what_would_not_load(tmp_path):
    mortise(tmp_path, "new", "door")
    source = tmp_path / "door/capability.py"
    sound = source.read_text()

    def validate():
        ended = mortise(tmp_path, "validate", "door", "--json", "--runners-dir", RUNNERS)
        report = json.loads(ended.out)
        assert (ended.code == 0) is report["ok"]
        return report

    report = validate()
    assert report["ok"] and report["rpc_methods"] == ["get_service_status", "run_action"] and not report["warnings"]
    for text, told in [
        (sound + "\ndef (:\n", f"`capability.py`, line {len(sound.splitlines()) + 2}: SyntaxError"),
        ("import nowhere\n" + sound, "`capability.py`, line 1: ModuleNotFoundError: No module named 'nowhere'"),
        (sound.replace("class DoorCapability", "class Window"), "DoorCapability"),
    ]:
        source.write_text(text)
        report = validate()
        assert not report["ok"] and told in report["errors"][0], report
    source.write_text(sound + "\nimport os\nTOKEN = os.environ['TOKEN']\n")
    (warning,) = validate()["warnings"]
    assert "not checked: it was denied `env:TOKEN`" in warning and "KeyError" in warning
    source.write_text("import requests\n" + sound)
    manifest = tmp_path / "door/manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"dependencies": {"python": ["requests"]}}))
    (warning,) = [warning for warning in validate()["warnings"] if "not checked" in warning]
    assert "packages that a host installs" in warning
    # What nobody can install is no warning.
    source.write_text("import numpy\n" + sound)
    report = validate()
    assert not report["ok"] and "the sandbox runs no native code" in report["errors"][0], report
    source.write_text("import pydantic\n" + sound)
    assert validate()["ok"], "there is one in pure Python"


ODD = """
from device_connect_edge.drivers import before_emit, emit, on, periodic, rpc


class Odd:
    def __init__(self, device=None):
        pass

    @rpc(labels={"floor": 3})
    async def get(self, since=object()) -> dict:
        return {}

    @emit()
    async def changed(self):
        pass

    @periodic(interval="5s")
    async def tick(self):
        pass

    @before_emit("changed")
    async def hold(self, **payload):
        return False

    @on(device_type="camera")
    async def heard(self, device_id, event_name, payload):
        pass

    def get_event_subscriptions(self):
        return [("changed", self.heard)]
"""
DROPPED = [
    "routine `tick` dropped: its interval is '5s', not a number of seconds",
    "label 'floor' is not advertised",
    "the default of `since` is not advertised",
    "`hold` is never called, as on the reference host: use `tenon.before_emit`",
    "`heard` is never called, since nobody tells a plugin of devices' types",
    "the handlers of `get_event_subscriptions` are never called",
]


def odd():
    manifest = {"id": "odd", "version": "1.0", "entry_point": "capability.py", "class_name": "Odd"}
    return {"manifest.json": json.dumps(manifest).encode(), "capability.py": ODD.encode()}


def told_all(warnings):
    assert all(any(dropped in warning for warning in warnings) for dropped in DROPPED), warnings
    return True


def test_what_has_no_effect_is_told_by_validate(tmp_path):
    for name, data in odd().items():
        (tmp_path / "odd").mkdir(exist_ok=True)
        (tmp_path / "odd" / name).write_bytes(data)
    ended = mortise(tmp_path, "validate", "odd", "--json", "--runners-dir", RUNNERS)
    assert ended.code == 0 and told_all(json.loads(ended.out)["warnings"])


@pytest.mark.nats
@pytest.mark.parametrize("transport", ["nats"], indirect=True)
def test_what_has_no_effect_is_told_by_a_plan_and_an_install(transport, start_host):
    host = start_host(arguments=["--runners-dir", RUNNERS])
    params = Bundle(tar_gz(odd())).params()
    assert told_all(host.call("plan_plugin_install", params)["warnings"])
    installed = host.call("install_plugin_from_bundle", params)
    assert installed["status"] == "success" and told_all(installed["load_result"]["warnings"]), installed
    assert host.call("reload_plugin", {"plugin_id": "odd"})["status"] == "success", "it describes itself alike"


def test_runners_are_found_beside_the_program(tmp_path):
    program = shutil.copy(binary(), tmp_path / "mortise")
    (tmp_path / "runners").symlink_to(RUNNERS)
    mortise(tmp_path, "new", "door")
    command = [program, "validate", "door", "--json"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert json.loads(ended.stdout)["rpc_methods"] == ["get_service_status", "run_action"], ended


@pytest.mark.nats
@pytest.mark.parametrize("transport", ["nats"], indirect=True)
@pytest.mark.parametrize(("language", "file"), [("python", "capability.py"), ("javascript", "plugin.js")])
def test_dev_installs_source_at_each_save(transport, start_host, tmp_path, language, file):
    host = start_host(arguments=["--runners-dir", RUNNERS])
    mortise(tmp_path, "new", "door", "--language", language)
    source = tmp_path / "door" / file
    command = [binary(), "dev", "door", "--host", host.device, *transport.deploy_arguments]
    said = tmp_path / "said"
    with said.open("w") as output:
        developing = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=output, stderr=output)

    def status():
        try:
            return host.call("door.get_service_status")["status"]
        except CallError:
            return None

    try:
        wait_for(lambda: status() == "ok", 30, "the plugin answers")
        sound = source.read_text()
        source.write_text(sound.replace('"ok"', '"fine"'))
        wait_for(lambda: status() == "fine", 30, "what was saved answers")
        source.write_text("class (:")
        wait_for(lambda: "SyntaxError" in said.read_text() and file in said.read_text(), 30, "the error is told")
        assert status() == "fine"
    finally:
        developing.send_signal(signal.SIGINT)
        assert developing.wait(10) == 0
