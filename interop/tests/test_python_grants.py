"""Plugins in Python, as written for the reference, that want what nobody has granted them: denied, noted, and served as soon as
the one command that they are told has been run, without a reload."""

import json
import os
import shlex
import threading

import pytest
from peers.bundle import Bundle, tar_gz
from peers.cli import mortise
from peers.host import ROOT, CallError
from peers.waiting import wait_for
from peers.web import Answer, WebServer

pytestmark = pytest.mark.parametrize("transport", [pytest.param("nats", marks=pytest.mark.nats)], indirect=True)

PLUGIN = """
import asyncio
import os
import urllib.request

from device_connect_edge.drivers import rpc

class Plugin:
    def __init__(self, device=None):
        self.calls = 0
        self.go_on = asyncio.Event()

    @rpc()
    async def treasure(self) -> list:
        self.calls += 1
        return [os.environ["TREASURE"], self.calls]

    @rpc()
    async def page(self, url: str) -> list:
        self.calls += 1
        with urllib.request.urlopen(url) as answer:
            return [answer.read().decode(), self.calls]

    @rpc()
    async def say(self):
        print("first")
        print("sec", end="")
        await self.go_on.wait()
        print("ond")

    @rpc()
    async def finish(self):
        self.go_on.set()
"""


@pytest.fixture
def host(start_host, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("[http]\nnetworks = ['127.0.0.1']\n")
    runners = os.environ.get("MORTISE_RUNNERS") or ROOT / "target/runners"
    arguments = ["--policy", policy, "--runners-dir", runners]
    started = start_host(environment={"TREASURE": "gold"}, arguments=arguments)
    manifest = {"id": "seeker", "version": "1", "entry_point": "capability.py", "class_name": "Plugin"}
    files = {"manifest.json": json.dumps(manifest).encode(), "capability.py": PLUGIN.encode()}
    started.install(Bundle(tar_gz(files)))
    return started


@pytest.fixture
def web():
    server = WebServer()
    yield server
    server.close()


def wanted(host):
    """What the plugin was denied, and the command for each."""
    told = host.call("get_plugin_permissions", {"plugin_id": "seeker"})
    return {each["permission"]: each["command"] for each in told["pending"]}


def run(command, host, folder):
    """What the host tells its operator to type, with where the host is."""
    program, *arguments = shlex.split(command)
    assert program == "mortise"
    ended = mortise(folder, *arguments, "--capabilities-dir", host.capabilities)
    assert ended.code == 0, ended


def test_a_variable_is_there_once_it_is_granted(host, tmp_path):
    with pytest.raises(CallError, match="'TREASURE'"):
        host.call("treasure")
    [(permission, command)] = wanted(host).items()
    assert (permission, command) == ("env:TREASURE", "mortise deploy grant seeker env:TREASURE")
    run(command, host, tmp_path)

    def answer():
        try:
            return host.call("treasure")
        except CallError:
            return None

    # It is not asked for again within a second. The counter goes on: it is the same instance.
    value, calls = wait_for(answer, 5, "the plugin has its variable")
    assert value == "gold" and calls > 1
    assert wanted(host) == {}


def test_a_request_goes_out_once_it_is_granted(host, web, tmp_path):
    url = web.serve("/page", Answer(b"a page")).replace("localhost", "127.0.0.1")
    with pytest.raises(CallError) as denied:
        host.call("page", {"url": url})
    [command] = wanted(host).values()
    assert f"`{command}`" in denied.value.message
    assert web.requests("/page") == 0
    run(command, host, tmp_path)
    assert host.call("page", {"url": url}) == ["a page", 2]
    assert wanted(host) == {}


def test_what_is_printed_is_in_the_log_at_once_line_by_line(host):
    def printed():
        lines = host.call("get_plugin_logs", {"plugin_id": "seeker"})["lines"]
        return [line["text"] for line in lines]

    call = threading.Thread(target=host.call, args=("say",), daemon=True)
    call.start()
    try:
        wait_for(lambda: "first" in printed(), 5, "the first line is there while the call goes on")
        assert not any("sec" in line for line in printed())
    finally:
        host.call("finish")
        call.join(10)
    assert printed()[-2:] == ["first", "second"]
