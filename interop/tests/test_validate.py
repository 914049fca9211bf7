"""`mortise validate` on source in Python, with the runner and without a host."""

import json
import os

from peers.cli import mortise
from peers.host import ROOT


def test_validate_finds_without_a_host_what_would_not_load(tmp_path):
    runners = os.environ.get("MORTISE_RUNNERS") or ROOT / "target/runners"
    mortise(tmp_path, "new", "door")
    source = tmp_path / "door/capability.py"
    sound = source.read_text()

    def validate():
        ended = mortise(tmp_path, "validate", "door", "--json", "--runners-dir", runners)
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
