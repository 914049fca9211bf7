"""Plugins in Python that try what they may not, cannot or should not: contained, with words that say why."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from peers.bundle import Bundle, tar_gz
from peers.host import ROOT, CallError, Host

pytestmark = pytest.mark.parametrize("transport", [pytest.param("nats", marks=pytest.mark.nats)], indirect=True)

PLUGIN = """
import asyncio
from tenon import rpc

class Plugin:
    def __init__(self, device=None):
        self.device = device
        self.seen = 0
        self.sleepers = asyncio.Barrier(20)

    @rpc
    async def nap(self, seconds: float):
        await asyncio.sleep(seconds)
        await self.sleepers.wait()
        return "rested"

    @rpc
    async def count(self):
        self.seen += 1
        return self.seen

    @rpc
    async def attempt(self, code: str):
        names = {}
        exec("async def attempt(self):\\n " + code.replace("\\n", "\\n "), names)
        return await names["attempt"](self)
"""


def bundle(id, files, **manifest):
    manifest = {"id": id, "version": "1", "entry_point": "capability.py", "class_name": "Plugin"} | manifest
    texts = {"manifest.json": json.dumps(manifest)} | files
    return Bundle(tar_gz({name: text.encode() for name, text in texts.items()}))


@pytest.fixture(scope="module")
def hosting(transport, tmp_path_factory):
    runners = os.environ.get("MORTISE_RUNNERS") or ROOT / "target/runners"
    host = Host(
        transport,
        tmp_path_factory.mktemp("runner"),
        environment={"TREASURE": "gold"},
        arguments=["--runners-dir", runners],
    )
    with host.serving():
        host.install(bundle("tries", {"capability.py": PLUGIN}, limits={"turn": "1s", "memory": "128MiB"}))
        host.install(bundle("other", {"capability.py": PLUGIN, "secret.txt": "theirs"}))
        yield host


def attempt(host, code):
    """What comes of it: the result, or the error."""
    reply = host.request("tries.attempt", {"code": code}, limit=30)
    return reply.get("result", reply.get("error"))


@pytest.fixture
def took(record_property, capsys):
    """Says how long something took since `began`: for the budgets, which a busy machine must not fail on."""

    def tell(what, began):
        seconds = f"{time.monotonic() - began:.3f} s"
        record_property(what, seconds)
        with capsys.disabled():
            print(f"\n  {what}: {seconds}")

    return tell


def test_calls_overlap_where_they_wait(hosting, took):
    # None is answered before all have slept: one after the other they never would be.
    began = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: hosting.call("tries.nap", {"seconds": 1.0}, limit=30), range(20)))
    took("20 calls that each sleep 1 s", began)
    assert answers == ["rested"] * 20


def test_an_endless_loop_ends_at_its_turn_and_the_plugin_answers_again(hosting, took):
    error = attempt(hosting, "while True: pass")
    began = time.monotonic()
    assert error["data"]["code"] == "turn_limit" and "`limits.turn` (1s)" in error["message"]
    assert hosting.call("tries.count") == 1, "a fresh instance"
    took("first answer after an endless loop was stopped", began)
    assert hosting.call("other.count") >= 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("open('/etc/passwd')", "No such file"),
        ("open('/plugin/new', 'w')", "not permitted"),
        ("open('/plugin/../other/secret.txt')", "not permitted"),
        ("import os\nos.listdir('/')", "No such file"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 1)).sendall(b'HELO\\r\\n\\r\\n')", "no sockets"),
        ("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:1/')", "mortise deploy grant tries http:"),
        ("import asyncio\nawait asyncio.open_connection('127.0.0.1', 1)", "use an HTTP client"),
        ("import threading\nthreading.Thread(target=print).start()", "asyncio.create_task"),
        ("import subprocess\nsubprocess.run(['ls'])", "invoke a device beside the host"),
        ("import ctypes", "no native code"),
        ("import numpy", "no native code"),
        ("import serial", "no hardware"),
        ("import cgi", "declare `legacy-cgi`"),
        ("import telnetlib", "no sockets"),
        ("import sys\nsys.exit(3)", "3"),
        ("raise SystemExit", "SystemExit"),
        ("def deeper(): return deeper()\ndeeper()", "recursion"),
        ("x = []\nwhile True: x.append(bytearray(1 << 20))", "limits.memory"),
        ("return float('nan')", "not JSON compliant"),
        ("import bridge", "No module named 'bridge'"),
        ("import tenon\nawait tenon.invoke(7)", "a function's name must be str, not int"),
        ("import tenon\nawait tenon.secret('\\ud800')", "a secret's name has a lone surrogate"),
        ("import tenon\ntenon.state.set_bytes('k', bytes(20 << 20))", "more than 8388608"),
        ("import os\nos.environ['\\udc80']", "'\\udc80'"),
        ("import os\nassert os.environ.get('x' * (20 << 20)), 'not set'", "not set"),
        ("import asyncio\nasyncio.current_task().cancel()", "CancelledError"),
        ("return 'x' * (20 << 20)", "more than 8388608"),
        ("raise ValueError('x' * (20 << 20))", "xxxx"),
        ("import logging\nlogging.getLogger('\\ud800').error('x' * (20 << 20))\nraise ValueError('logged')", "logged"),
        (
            "class Mute(Exception):\n def __str__(self): raise KeyboardInterrupt\nraise Mute",
            "Mute",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_lost(hosting, code, words):
    before = hosting.call("tries.count")
    error = attempt(hosting, code)
    assert error["code"] == -32000 and words in error["message"], error
    assert hosting.call("tries.count") == before + 1, "the instance went on"


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos._exit(3)",
        "import json\nx = []\nfor _ in range(1_000_000): x = [x]\njson.dumps(x)",
        "import sys\nsys.setrecursionlimit(1 << 30)\ndef deeper(): return deeper()\ndeeper()",
    ],
)
def test_what_ends_the_instance_ends_nothing_else(hosting, code):
    others = hosting.call("other.count")
    error = attempt(hosting, code)
    assert error["data"]["code"] == "trap", error
    assert hosting.call("tries.count", limit=30) == 1, "a fresh instance"
    assert hosting.call("other.count") == others + 1


def test_a_plugin_that_spoils_its_modules_spoils_its_own(hosting):
    attempt(hosting, "import tenon, json, asyncio\ntenon.rpc = json.dumps = asyncio.sleep = None")
    assert hosting.call("other.attempt", {"code": "import json\nreturn json.dumps([1])"}) == "[1]"


def test_instances_do_not_draw_the_same_numbers(hosting):
    draw = "import random, uuid\nreturn [random.random(), str(uuid.uuid4())]"
    assert attempt(hosting, draw) != hosting.call("other.attempt", {"code": draw})


def test_a_variable_is_absent_until_it_is_granted(hosting):
    look = "import os\nreturn os.environ.get('TREASURE', 'nothing')"
    assert attempt(hosting, look) == "nothing"
    logs = hosting.call("get_plugin_logs", {"plugin_id": "tries"})
    assert "mortise deploy grant tries env:TREASURE" in json.dumps(logs)


def test_a_folder_takes_as_much_as_the_limit_says(transport, tmp_path):
    runners = os.environ.get("MORTISE_RUNNERS") or ROOT / "target/runners"
    out = tmp_path.resolve() / "out"
    out.mkdir()
    files = [{"path": str(out), "as": "/out", "mode": "rw"}]
    host = Host(transport, tmp_path / "host", arguments=["--runners-dir", runners, "--policy", "development"])
    with host.serving():
        host.install(
            bundle("tries", {"capability.py": PLUGIN}, permissions={"files": files}, limits={"disk": "1MiB"}),
        )
        fill = "import errno\ntry:\n with open('/out/a', 'wb', 0) as file:\n  while file.write(bytes(1 << 16)):\n   pass\n"
        fill += "except OSError as error:\n return errno.errorcode[error.errno]"
        # The runner's C library takes every failure of a stream for EIO; the log knows better.
        assert attempt(host, fill) in ("EIO", "ENOSPC")
        assert "`limits.disk` (1MiB)" in json.dumps(host.call("get_plugin_logs", {"plugin_id": "tries"}))
        assert (1 << 20) - (1 << 17) < (out / "a").stat().st_size <= 1 << 20
        assert host.call("get_plugin_stats", {"plugin_id": "tries"})["plugins"]["tries"]["disk"]["refused"] > 0
        again = "import os\nos.remove('/out/a')\nwith open('/out/b', 'w') as file:\n file.write('x' * 1000)\nreturn os.listdir('/out')"
        assert attempt(host, again) == ["b"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"capability.py": "import here\n", "here.py": "x = 1\ndef f(:\n"}, "`here.py`, line 2: SyntaxError"),
        ({"capability.py": "import nowhere\n"}, "`capability.py`, line 1: ModuleNotFoundError: No module named 'nowhere'"),
        ({"capability.py": "class Plugins: pass\n"}, "did you mean `Plugins`?"),
        ({"capability.py": "class Plugin: pass\n"}, "Plugin() takes no arguments"),
        ({"capability.py": "x = {}\n\nx['y']\n"}, "`capability.py`, line 3: KeyError: 'y'"),
    ],
)
def test_what_does_not_load_says_why(hosting, files, words):
    # As the reference: installed, and not loaded.
    with hosting.unchanged():
        reply = hosting.request("install_plugin_from_bundle", bundle("broken", files).params(), limit=30)
        assert words in json.dumps(reply, ensure_ascii=False), reply


def test_tracebacks_are_in_the_log(hosting):
    with pytest.raises(CallError):
        hosting.call("tries.attempt", {"code": "1 / 0"})
    lines = json.dumps(hosting.call("get_plugin_logs", {"plugin_id": "tries"}))
    assert "function `attempt` failed" in lines and "ZeroDivisionError: division by zero" in lines
