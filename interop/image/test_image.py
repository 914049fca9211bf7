"""The image under `compose.yaml` as it stands: Zenoh, no broker, nothing set."""

import json

import pytest

from peers.waiting import wait_for

NAMES = ["mortise", "device-connect-plugin-driver", "dc-plugin-driver", "dc-plugin-deploy"]


@pytest.fixture(scope="module")
def project(start_compose):
    return start_compose("zenoh")


def health_check(project):
    """The image's own, run now."""
    kind, *command = project.inspect("host")["Config"]["Healthcheck"]["Test"]
    assert kind == "CMD"
    return project.execute("host", *command)


def status(project):
    """What the host says of itself to its operator."""
    exit_status, output = project.execute("host", "mortise", "deploy", "status", "--json")
    assert exit_status == 0, output
    return json.loads(output)["result"]


def test_it_is_healthy(project):
    assert project.inspect("host")["State"]["Health"]["Status"] == "healthy"
    seen = status(project)
    assert (seen["capabilities_dir"], seen["auto_load"]) == ("/data/capabilities", True)


def test_other_containers_find_it_on_the_mesh(project):
    wait_for(lambda: status(project)["connected"], 10, "the host is on the mesh")
    answer = project.run("host", "deploy", "--host", "plugin-host-1", "status", "--json")
    assert json.loads(answer)["result"]["device_type"] == "plugin_host"


def test_the_health_check_asks_the_host(project):
    # Stopped, its process and its socket are still there, and nobody answers.
    project.signal("host", "STOP")
    try:
        exit_status, output = health_check(project)
        assert exit_status != 0 and "did not answer" in output, output
    finally:
        project.signal("host", "CONT")
    exit_status, output = health_check(project)
    assert exit_status == 0, output


def test_it_is_not_root_and_writes_to_its_volumes_alone(project):
    container = project.inspect("host")
    assert container["Config"]["User"] == "10001:10001"
    assert container["HostConfig"]["ReadonlyRootfs"] is True
    volumes = {mount["Destination"]: mount["RW"] for mount in container["Mounts"] if mount["Type"] == "volume"}
    assert volumes == {"/data/capabilities": True, "/data/artifacts": True, "/data/creds": False}
    exit_status, output = project.execute("host", "sh", "-c", "id -u; stat -c '%U %a' /data/capabilities/.mortise")
    assert (exit_status, output.split()) == (0, ["10001", "mortise", "700"])


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_to_the_reference_hosts_names(project, name):
    exit_status, output = project.execute("host", name, "--help")
    assert exit_status == 0, output


def test_the_signal_of_a_stop_ends_it_in_good_order(project):
    assert project.stop("host") == 0, project.logs()
    assert "stopping" in project.logs()
