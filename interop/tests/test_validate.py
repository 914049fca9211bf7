"""Source in Python on its author's machine: `mortise validate` without a host, `mortise dev` with one."""

import json
import os
import shutil
import signal
import subprocess

import pytest
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
