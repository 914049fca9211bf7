"""The published agent tools and a host in a container, over the broker of the profile `nats`."""

import hashlib
import urllib.request

import pytest

from peers.agent import Agent
from peers.bundle import Bundle, bundle_of, tar_gz
from peers.waiting import wait_for

DEVICE = "image-host"
TENANT = "image"


@pytest.fixture(scope="module")
def project(start_compose):
    environment = {
        "DEVICE_ID": DEVICE,
        "TENANT": TENANT,
        "MESSAGING_URLS": "nats://nats:4222",
        "DEVICE_CONNECT_ALLOW_INSECURE": "1",
        "DC_PLUGIN_ARTIFACT_SERVE": "1",
    }
    return start_compose("nats", environment=environment, profile="nats")


@pytest.fixture(scope="module")
def agent(project):
    """The agent tools on this machine; the broker's port is published on 127.0.0.1."""
    environment = {
        "MESSAGING_BACKEND": "nats",
        "NATS_URL": f"nats://{project.port('nats', 4222)}",
        "DEVICE_CONNECT_DISCOVERY_MODE": "d2d",
        "DEVICE_CONNECT_ALLOW_INSECURE": "1",
        "TENANT": TENANT,
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        connected = Agent()
        connected.device(DEVICE, limit=30)
        yield connected
        connected.close()


@pytest.fixture(scope="module")
def bundle(agent):
    """The plugin of these tests, installed."""
    bundle = bundle_of("hello-world")
    result = agent.call(DEVICE, "install_plugin_from_bundle", bundle.params())
    assert result["status"] == "success", result
    assert result["load_result"]["status"] == "success", result
    wait_for(lambda: "hello_world" in agent.functions(DEVICE), 5, "the agent sees the function of the plugin")
    return bundle


def greeting(agent):
    """What the plugin says; none while it does not answer."""
    envelope = agent.invoke(DEVICE, "hello_world", {"name": "container"})
    return envelope["result"]["message"] if envelope["success"] else None


def assert_it_is_there_again(project, agent):
    # Healthy is who answers its operator; onto the mesh it comes a moment later.
    said = wait_for(lambda: greeting(agent), 30, "the plugin answers the agent")
    assert said == "Hello, container!"
    listed = agent.call(DEVICE, "list_plugins")
    assert list(listed["loaded"]) == ["hello-world"], listed


def test_an_agent_installs_a_plugin_and_calls_it(agent, bundle):
    assert greeting(agent) == "Hello, container!"


def test_the_plugin_survives_a_killed_container(project, agent, bundle):
    project.kill("host")
    assert project.inspect("host")["State"]["ExitCode"] == 137
    assert greeting(agent) is None
    project.up()
    assert_it_is_there_again(project, agent)


def test_the_plugin_survives_the_container(project, agent, bundle):
    before = project.inspect("host")["Id"]
    project.up("--force-recreate", "--no-deps", "host")
    assert project.inspect("host")["Id"] != before
    assert_it_is_there_again(project, agent)


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_plugins_in_source_form_run(agent, language):
    template = agent.call(DEVICE, "get_plugin_template", {"plugin_id": "source", "language": language})
    assert template["runtime_available"] is True
    files = {name: text.encode() for name, text in template["files"].items()}
    result = agent.call(DEVICE, "install_plugin_from_bundle", Bundle(tar_gz(files)).params())
    assert result["load_result"]["status"] == "success", result
    wait_for(lambda: "run_action" in agent.functions(DEVICE), 5, "the agent sees the function of the plugin")
    called = agent.invoke(DEVICE, "run_action", {"action": "open"})
    assert called["success"], called
    assert called["result"] == {"action": "open", "params": {}, "done": True}
    assert agent.call(DEVICE, "uninstall_plugin", {"plugin_id": "source"})["status"] == "success"


def test_published_plugins_are_served_outside_the_container(project, agent, bundle):
    published = agent.call(DEVICE, "publish_plugin_artifact", {"plugin_id": "hello-world"})
    assert published["status"] == "success", published
    listed = agent.call(DEVICE, "list_plugin_artifacts")
    assert listed["artifact_dir"] == "/data/artifacts", listed
    (artifact,) = listed["artifacts"]
    path = artifact["url"].partition("/artifacts/")[2]
    with urllib.request.urlopen(f"http://{project.port('host', 8790)}/artifacts/{path}", timeout=10) as reply:
        served = reply.read()
    assert artifact["digest"] == "sha256:" + hashlib.sha256(served).hexdigest()
