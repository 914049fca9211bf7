"""Fixtures: a transport, hosts on it, and the published peers."""

import os

import pytest

from peers.agent import Agent
from peers.edge import EdgeDevice
from peers.host import Host
from peers.loop import LoopThread
from peers.transport import OPEN
from peers.web import Authority, WebServer

FETCHED_BYTES_MAX = 400_000
"""What `fetching_host` accepts."""

BOTH = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in OPEN]


@pytest.fixture(scope="session")
def loop():
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="session", params=BOTH)
def transport(request, loop):
    """One transport; a test that takes it, or anything built on it, runs over each."""
    opened = OPEN[request.param](loop)
    before = dict(os.environ)
    for name in [n for n in os.environ if n.startswith(("MESSAGING_", "NATS_URL", "ZENOH_"))]:
        del os.environ[name]
    os.environ.update(opened.client_environment)
    yield opened
    os.environ.clear()
    os.environ.update(before)
    opened.close()


@pytest.fixture
def start_host(transport, tmp_path, request):
    """Starts hosts. Those still running when the test ends are stopped as an operator would, and must obey."""
    hosts = []

    def start(**options):
        folder = tmp_path / f"host-{len(hosts)}"
        folder.mkdir()
        host = Host(transport, folder, **options)
        hosts.append(host)
        return host.start()

    yield start
    failed = []
    for host in hosts:
        try:
            if host.running():
                host.stop()
        except AssertionError as error:
            failed.append(str(error))
        finally:
            host.kill()
    assert not failed, "\n".join(failed)


@pytest.fixture
def host(start_host):
    """A host of the test's own, with nothing loaded."""
    return start_host()


@pytest.fixture(scope="module")
def shared_host(transport, tmp_path_factory):
    """A host for the tests of one file that leave it as they find it; `hello-world` and `counter` are loaded.

    It allows a folder to install from, since `install_plugin` is advertised only where it can work.
    """
    allowed = tmp_path_factory.mktemp("allowed")
    host = Host(transport, tmp_path_factory.mktemp("shared"), arguments=["--install-source-root", allowed])
    with host.serving("hello-world", "counter"):
        yield host


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Who vouches for `web`."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def web(authority):
    """A web server that speaks https, as `localhost` and as `127.0.0.1`."""
    server = WebServer(authority.context("localhost", "127.0.0.1"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def fetching_host(transport, authority, tmp_path_factory):
    """A host for the tests of one file that install `hello-world` over and over.

    It fetches from `web` under the name `localhost`, and from hosts below `example.invalid`, which nobody can have.
    """
    host = Host(
        transport,
        tmp_path_factory.mktemp("fetching"),
        environment={
            "DC_PLUGIN_INSTALL_URL_ALLOWLIST": "localhost, example.invalid",
            "DC_PLUGIN_MAX_PLUGIN_BYTES": str(FETCHED_BYTES_MAX),
        },
        arguments=["--install-ca-file", authority.path, "--install-allow-private"],
    )
    with host.serving("hello-world"):
        yield host


@pytest.fixture
def agent(transport):
    """The published agent tools, connected. Ask for the host first: they look around once, at connect."""
    connected = Agent()
    yield connected
    connected.close()


@pytest.fixture
def edge(transport):
    """A device built with the published edge SDK, running and subscribed."""
    device = EdgeDevice(transport, f"edge-{os.getpid()}")
    yield device
    device.stop()
