"""Plugins hear what devices built with the published SDK emit (wire contract 8.5)."""

import json
import os

import pytest
from peers.bundle import Bundle, files_of, tar_gz
from peers.edge import EdgeDevice
from peers.host import Host
from peers.waiting import wait_for


@pytest.fixture
def camera(transport):
    device = EdgeDevice(transport, f"camera-{os.getpid()}")
    yield device
    device.stop()


@pytest.fixture
def hearing_host(transport, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("[[plugin]]\nid = 'ears'\ngrant = ['mesh.subscribe:camera-*/motion']\n")
    host = Host(transport, tmp_path, arguments=["--policy", str(policy)])
    with host.serving():
        yield host


def test_a_plugin_hears_a_device_of_the_published_sdk(hearing_host, camera, edge):
    files = files_of("ears")
    manifest = json.loads(files["manifest.json"]) | {"permissions": {"mesh": {"subscribe": ["camera-*/motion"]}}}
    bundle = Bundle(tar_gz(files | {"manifest.json": json.dumps(manifest).encode()}))
    installed = hearing_host.call("install_plugin_from_bundle", bundle.params())
    assert installed["status"] == "success", installed

    # Over Zenoh the device has to find the host's subscription first.
    def is_heard():
        camera.moved("probe", -1)
        return hearing_host.call("heard", {})["count"] > 0

    wait_for(is_heard, 10, "the plugin hears the device")
    for number in range(5):
        edge.moved("elsewhere", number)
        camera.moved("yard", number)

    def heard():
        each = hearing_host.call("heard", {})["heard"]
        return [event for event in each if event["payload"]["zone"] != "probe"]

    wait_for(lambda: len(heard()) == 5, 5, "every motion is heard")
    for number, event in enumerate(heard()):
        assert (event["device"], event["event"]) == (camera.device_id, "motion")
        payload = event["payload"]
        assert (payload["zone"], payload["number"]) == ("yard", number)
        assert len(payload["event_id"]) == 8 and payload["ts"].endswith("Z"), "the payload is as it was sent"

    # A reload goes on hearing, with another instance.
    hearing_host.call("reload_plugin", {"plugin_id": "ears"})
    camera.moved("gate", 7)
    wait_for(lambda: [event["payload"]["zone"] for event in heard()] == ["gate"], 5, "the new one hears")
    assert hearing_host.call("get_plugin_stats", {"plugin_id": "ears"})["plugins"]["ears"]["subscriptions"]["failed"] == 0
