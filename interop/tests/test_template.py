"""The template and the worked example of the guide on the reference's own loader: what they are written for."""

import json

import pytest
from device_connect_edge.drivers.capability_loader import CapabilityLoader


class Loaded:
    """A plugin that the reference has loaded from `files`."""

    def __init__(self, loop, folder, plugin_id, files):
        self._loop = loop
        self.events = []
        plugin = folder / plugin_id
        plugin.mkdir()
        for name, text in files.items():
            (plugin / name).write_text(text, encoding="utf-8")
        loader = CapabilityLoader(self._emit, folder)
        assert loop.run(loader.load_one(plugin_id))
        (capability,) = loader._capabilities.values()
        self.instance = capability.instance
        self.schemas = capability.function_schemas

    async def _emit(self, name, payload):
        self.events.append((name, payload))

    def call(self, name, **params):
        return self._loop.run(getattr(self.instance, name)(**params))


HOSTILE = 'ends with """ and \\N{DIGIT ONE}\nand a second line "'


@pytest.mark.parametrize("description", ["Opens the door", HOSTILE])
def test_the_python_template_is_a_plugin_of_the_reference(shared_host, loop, tmp_path, description):
    template = shared_host.call("get_plugin_template", {"plugin_id": "garage-door", "description": description})
    assert template["language"] == "python"
    assert template["capability_py"] == template["files"]["capability.py"]
    loaded = Loaded(loop, tmp_path, "garage-door", template["files"])
    assert type(loaded.instance).__name__ == template["class_name"]
    assert type(loaded.instance).__doc__ == " ".join(description.split())
    assert loaded.call("get_service_status") == {"status": "ok", "actions": 0}
    assert loaded.call("run_action", action="open") == {"action": "open", "params": {}, "done": True}
    with pytest.raises(ValueError, match="the action has no name"):
        loaded.call("run_action", action="")
    # None of the accidents of the reference's schemas (wire contract 6.2).
    parameters = loaded.schemas["run_action"]["parameters"]
    assert parameters["required"] == ["action"]
    assert parameters["properties"] == {
        "action": {"type": "string", "description": "What to do"},
        "params": {"type": "object", "description": "Anything the action needs", "default": None},
    }


def test_the_worked_example_of_the_guide_is_a_plugin_of_the_reference(shared_host, loop, tmp_path):
    example = shared_host.call("get_plugin_authoring_guide")["worked_example"]
    files = {name: example[name] for name in ("manifest.json", "capability.py")}
    loaded = Loaded(loop, tmp_path, json.loads(files["manifest.json"])["id"], files)
    assert loaded.call("open_door", reason="the car is here") == {"position": "open"}
    (name, payload), = loaded.events
    assert (name, payload["position"]) == ("door_moved", "open")
    with pytest.raises(ValueError, match="the door is open already"):
        loaded.call("open_door")
    assert loaded.call("close_door") == loaded.call("get_position") == {"position": "closed"}
