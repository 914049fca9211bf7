"""Deploying from elsewhere: what the reference's deploy CLI sends, and our own (wire contract 10.11; 12, item 10)."""

import json
import os
import signal
import subprocess

import pytest

from peers.bundle import Bundle, bundle_of, files_of, folder_of, tar_gz, with_manifest
from peers.caller import Caller
from peers.cli import mortise
from peers.host import ROOT, binary, environment
from peers.waiting import wait_for
from peers.web import Answer


def over_nats(test):
    """Where the transport makes no difference, the faster one: without a broker each command scouts first."""
    return pytest.mark.nats(pytest.mark.parametrize("transport", ["nats"], indirect=True)(test))


@pytest.fixture
def deploy(transport, host, tmp_path):
    """`mortise deploy` for the host, over the mesh."""

    def deploy(*arguments, **options):
        return mortise(tmp_path, "deploy", "--host", host.device, *transport.deploy_arguments, *arguments, **options)

    return deploy


def test_what_the_reference_deploy_cli_sends_installs_lists_invokes_and_unloads(transport, host):
    caller = Caller(transport).await_device(host.device)
    bundle = bundle_of("hello-world")
    installed = caller.call(
        host.device, "install_plugin_from_bundle", bundle.params() | {"load": True, "plugin_id": "hello-world"}
    )
    assert (installed["status"], installed["plugin_id"]) == ("success", "hello-world")
    assert installed["load_result"]["plugin"]["functions"] == ["hello_world"]
    listed = caller.call(host.device, "list_plugins")
    assert list(listed["loaded"]) == ["hello-world"]
    assert caller.call(host.device, "get_status")["loaded_plugins"] == ["hello-world"]
    assert caller.call(host.device, "hello_world", {"name": "ada"}) == {"message": "Hello, ada!"}
    reloaded = caller.call(host.device, "reload_plugin", {"plugin_id": "hello-world"})
    assert reloaded["status"] == "success"
    unload = {"plugin_id": "hello-world"}
    assert caller.call(host.device, "unload_plugin", unload) == {"status": "success", "plugin_id": "hello-world"}
    assert caller.reply(host.device, "hello_world")["error"]["code"] == -32601
    assert caller.call(host.device, "load_plugin", unload)["status"] == "success"
    assert caller.call(host.device, "hello_world") == {"message": "Hello, world!"}
    caller.close()


def test_the_deploy_command_installs_lists_invokes_and_unloads(deploy, host):
    installed = deploy("install", folder_of("hello-world"), "--json").result()
    assert (installed["status"], installed["plugin_id"]) == ("success", "hello-world")
    assert list(deploy("list", "--json").result()["loaded"]) == ["hello-world"]
    assert deploy("status", "--json").result()["loaded_plugins"] == ["hello-world"]
    greeting = deploy("invoke", "hello_world", "--params", '{"name": "ada"}')
    assert (greeting.code, greeting.json()) == (0, {"message": "Hello, ada!"})
    assert deploy("invoke", "hello-world.hello_world", "--json").result() == {"message": "Hello, world!"}
    # As the reference's had to be called: with the host on both sides.
    unloaded = deploy("unload", "hello-world", "--host", host.device)
    assert (unloaded.code, unloaded.out) == (0, "status: success\n  plugin_id: hello-world\n")
    assert host.call("get_status")["loaded_plugins"] == []
    assert deploy("load", "hello-world").code == 0
    assert deploy("reload", "hello-world").code == 0
    assert host.call("hello_world", {"name": "ada"}) == {"message": "Hello, ada!"}


@over_nats
def test_the_deploy_command_upgrades_rolls_back_and_uninstalls(deploy, host, tmp_path):
    def folder(version):
        path = tmp_path / version / "hello-world"
        path.mkdir(parents=True)
        for name, data in with_manifest(files_of("hello-world"), version=version).items():
            (path / name).write_bytes(data)
        return path

    def serving():
        return host.call("list_plugins")["loaded"]["hello-world"]["manifest"]["version"]

    for version in ("1.0.0", "2.0.0"):
        assert deploy("install", folder(version)).code == 0
        assert serving() == version
    kept = deploy("versions", "hello-world", "--json").result()["versions"]
    assert [(each["version"], each["serving"]) for each in kept] == [("2.0.0", True), ("1.0.0", False)]
    assert deploy("rollback", "hello-world").code == 0
    assert serving() == "1.0.0"
    assert deploy("uninstall", "hello-world").code == 0
    assert host.call("list_plugins")["available"] == []
    gone = deploy("uninstall", "hello-world")
    assert (gone.code, gone.out) == (1, "")
    assert gone.err.startswith("error: Plugin 'hello-world' is not installed [")


@over_nats
def test_a_refusal_of_the_host_is_a_failure_of_the_command(deploy, host):
    before = host.files()
    for arguments, message in (
        (["unload", "nobody"], "Plugin 'nobody' is not loaded"),
        (["load", "../x"], "Failed to load plugin '../x'"),
        (["invoke", "nope"], "Unknown method: nope"),
        (["install", folder_of("hello-world"), "--digest", "0" * 64], "digest mismatch"),
        (["install", "--url", "http://localhost:1/x.tgz"], "is not https"),
    ):
        ended = deploy(*arguments)
        assert (ended.code, ended.out) == (1, ""), ended
        assert ended.err.startswith("error: ") and message in ended.err.splitlines()[0]
        assert "hint: " in ended.err or arguments[0] == "invoke", ended
        told = deploy(*arguments, "--json")
        assert (told.code, told.err) == (1, ""), told
        told = told.json()
        told = told["result"] if told["status"] == "success" else told
        assert (told["status"], message in told["message"]) == ("error", True)
    assert host.files() == before


@over_nats
def test_a_wrong_call_is_told_from_a_failure(deploy):
    for arguments in (["nonsense"], ["unload"], ["install", "--no-such-flag"]):
        ended = deploy(*arguments)
        assert (ended.code, ended.out) == (2, ""), ended


@over_nats
def test_a_dry_run_asks_nobody(deploy, host):
    told = deploy("--dry-run", "install", folder_of("hello-world"), "--json").result()
    assert (told["action"], told["host"]) == ("install_plugin_from_bundle", host.device)
    assert (told["plugin_id"], told["load"]) == ("hello-world", True)
    assert told["archive_bytes"] > 0
    assert host.call("list_plugins")["available"] == []


@over_nats
def test_the_deploy_command_lets_the_host_fetch(transport, fetching_host, web, tmp_path):
    bundle = bundle_of("hello-world", version="7.0.0")
    url = web.serve("/deployed.tgz", Answer(bundle.data))
    deploy = ["deploy", "--json", "--host", fetching_host.device, *transport.deploy_arguments, "install", "--url", url]
    mismatch = mortise(tmp_path, *deploy, "--digest", "0" * 64)
    assert (mismatch.code, json.loads(mismatch.out)["result"]["code"]) == (1, "digest_mismatch")
    installed = mortise(tmp_path, *deploy, "--digest", bundle.digest).result()
    assert (installed["status"], installed["digest"]) == ("success", bundle.digest)
    loaded = fetching_host.call("list_plugins")["loaded"]["hello-world"]
    assert loaded["manifest"]["version"] == "7.0.0"


@over_nats
def test_the_deploy_command_sends_what_the_reference_sends(deploy, host, transport):
    requests = transport.wire.subscribe(f"{host.device}.cmd")
    assert deploy("install", folder_of("hello-world"), "--no-load").code == 0
    assert deploy("load", "hello-world").code == 0
    assert deploy("list").code == 0
    assert deploy("unload", "hello-world").code == 0
    requests.wait(lambda message: message["method"] == "unload_plugin", 5, "the last request is seen")
    install, *others = [message.json() for message in requests.messages()]
    assert install["method"] == "install_plugin_from_bundle"
    assert install["params"].keys() == {"bundle_b64", "digest", "load", "plugin_id"}
    assert (install["params"]["load"], install["params"]["plugin_id"]) == (False, "hello-world")
    assert install["params"]["digest"].startswith("sha256:")
    assert [(each["method"], each["params"]) for each in others] == [
        ("load_plugin", {"plugin_id": "hello-world"}),
        ("list_plugins", {}),
        ("unload_plugin", {"plugin_id": "hello-world"}),
    ]
    for each in (install, *others):
        assert each.keys() == {"jsonrpc", "id", "method", "params"}
        prefix, digits = each["id"][:4], each["id"][4:]
        assert (prefix, len(digits)) == ("d2d-", 12) and int(digits, 16) >= 0


@over_nats
def test_a_host_that_is_not_there_is_a_failure(transport, tmp_path):
    deploy = ["deploy", "--host", "nobody-at-all", *transport.deploy_arguments, "--timeout", "2", "status"]
    ended = mortise(tmp_path, *deploy)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: ") and "nobody-at-all" in ended.err


SAYS = b"""
from device_connect_edge.drivers import rpc


class Says:
    def __init__(self, device=None):
        pass

    @rpc()
    async def say(self, text: str) -> str:
        print(text)
        return text
"""


@over_nats
def test_a_log_is_followed_as_it_comes_and_over_a_restart_of_the_host(transport, start_host, tmp_path):
    host = start_host(arguments=["--runners-dir", os.environ.get("MORTISE_RUNNERS") or ROOT / "target/runners"])
    manifest = {"id": "says", "version": "1.0", "entry_point": "capability.py", "class_name": "Says"}
    host.install(Bundle(tar_gz({"manifest.json": json.dumps(manifest).encode(), "capability.py": SAYS})))
    for number in range(5):
        host.call("say", {"text": f"before {number}"})
    command = [binary(), "deploy", "--host", host.device, *transport.deploy_arguments, "logs", "says", "--limit", "2", "-f"]
    said = tmp_path / "said"
    with said.open("w") as output:
        following = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=output, stderr=output)
    try:
        wait_for(lambda: "before 4" in said.read_text(), 10, "what was there is shown")
        host.call("say", {"text": "while it looks"})
        wait_for(lambda: "while it looks" in said.read_text(), 10, "what comes is shown")
        host.stop()
        host.start()
        host.call("say", {"text": "after a restart"})
        wait_for(lambda: "after a restart" in said.read_text(), 20, "a host that was started anew is followed on")
        assert following.poll() is None, said.read_text()
    finally:
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 0, said.read_text()
    text = said.read_text()
    assert "before 3" in text and "before 2" not in text
    assert [text.count(word) for word in ("before 4", "while it looks", "after a restart")] == [1, 1, 1], text
