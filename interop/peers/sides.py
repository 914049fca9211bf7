"""The two hosts that the same Python plugins run on: the published reference, and ours."""

import itertools
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from peers.bundle import Bundle, tar_gz
from peers.host import ROOT, CallError, Host, environment
from peers.waiting import wait_for
from peers.wire import NoReply

PYTHON = ROOT / "interop" / "python"
AUTOMATIC = ("event_id", "ts", "_trace_id", "_traceparent", "_tracestate")
"""What the host adds to an event (wire contract 8.1)."""

_ids = itertools.count(1)
_requests = itertools.count(1)


def files_of(plugin):
    """A plugin's files by name, as bytes."""
    return _files(PYTHON / "plugins" / plugin)


def files_of_packages(names):
    """Installed packages and modules as a bundle brings them: their Python, and nothing that is compiled."""
    site = Path(sysconfig.get_path("purelib"))
    files = {}
    for name in names:
        if (module := site / f"{name}.py").is_file():
            files[f"site-packages/{name}.py"] = module.read_bytes()
            continue
        for path, data in _files(site / name).items():
            if not path.endswith((".so", ".pyd")):
                files[f"site-packages/{name}/{path}"] = data
    return files


def write(files, folder):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _files(folder):
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


class Side:
    """A plugin on one of the two hosts, called over the wire."""

    def __init__(self, plugin, wire, device):
        self.plugin = plugin
        self.wire = wire
        self.device = device
        self._events = wire.subscribe(f"{device}.event.>")
        self._seen = 0

    def request(self, function, params=None, limit=15.0):
        """The reply to a call of the plugin's own function, under the name that nobody else can have."""
        message = {
            "jsonrpc": "2.0",
            "id": f"py-{next(_requests)}",
            "method": f"{self.plugin}.{function}",
            "params": params or {},
        }
        return self.wire.request(self.device, message, limit)

    def call(self, function, /, limit=15.0, **params):
        """The result of a call. Raises CallError."""
        reply = self.request(function, params, limit)
        if "error" in reply:
            raise CallError(reply["error"])
        return reply["result"]

    def outcome(self, function, params):
        """How a call ends, in the words of the reference: `result`, or the text of the `error`."""
        reply = self.request(function, params)
        if "result" in reply:
            return {"result": reply["result"]}
        assert reply["error"]["code"] == -32000, reply
        return {"error": reply["error"]["message"]}

    def events(self, count):
        """The next `count` events of the plugin, as name and payload without what the host adds."""
        wait_for(lambda: len(self._own()) >= self._seen + count, 5, f"{count} events after {self._seen}")
        self._seen += count
        return self._own()[self._seen - count : self._seen]

    def further_events(self):
        """Events that nobody asked for yet."""
        return self._own()[self._seen :]

    def _own(self):
        events, is_loaded = [], False
        for message in self._events.messages():
            event = message.json()
            name, params = event["method"], event["params"]
            # The subject leaves out what stands before a `/` (wire contract 8.1).
            assert message.subject.rpartition(".")[2] == name.split("/", 1)[-1], message.subject
            if name == "plugin_loaded" and not is_loaded:
                # What came before is of a plugin that is gone, whose last tick ended after its uninstall.
                events, is_loaded = [], True
            if name not in ("plugin_loaded", "plugin_unloaded"):
                events.append([name, {key: value for key, value in params.items() if key not in AUTOMATIC}])
        return events


class Reference:
    """Processes of the published edge package, each with one plugin, loaded by its own `CapabilityLoader`."""

    name = "reference"

    def __init__(self, transport, folder, variables):
        self._transport = transport
        self._folder = folder
        self._variables = variables
        self._processes = {}

    def open(self, plugin, _packages=()):
        device = f"reference-{os.getpid()}-{next(_ids)}"
        folder = self._folder / device
        write(files_of(plugin), folder / "plugins" / plugin)
        with (folder / "log").open("wb") as log:
            wire = self._transport.wire
            process = self._processes[device] = subprocess.Popen(
                [
                    sys.executable,
                    PYTHON / "reference.py",
                    device,
                    wire.tenant,
                    self._transport.urls[0],
                    folder / "plugins",
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(
                    self._transport.client_environment | self._variables | {"PYTHONDONTWRITEBYTECODE": "1"}
                ),
            )
        side = Side(plugin, wire, device)
        described = json.loads(process.stdout.readline() or "{}")
        assert plugin in described, (folder / "log").read_text()
        side.described = described[plugin]
        wait_for(lambda: _answers(side), 15, f"{device} answers")
        return side

    def close(self, side):
        self._end(side.device)

    def close_all(self):
        for device in list(self._processes):
            self._end(device)

    def _end(self, device):
        process = self._processes.pop(device)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _answers(side):
    try:
        return side.request("nothing by this name", limit=1.0)
    except NoReply:
        return False


class Mortise:
    """Our host, onto which one plugin after the other is installed over the mesh."""

    name = "mortise"

    def __init__(self, transport, folder, variables, arguments=()):
        runners = os.environ.get("MORTISE_RUNNERS") or ROOT / "target/runners"
        self.host = Host(transport, folder, variables, ["--runners-dir", runners, *arguments]).start()

    def open(self, plugin, packages=()):
        # Its events are heard from the first.
        side = Side(plugin, self.host.wire, self.host.device)
        if packages:
            # Larger than a message of the mesh may be.
            write(files_of(plugin) | files_of_packages(packages), self.host.capabilities / plugin)
            loaded = self.host.call("load_plugin", {"plugin_id": plugin}, limit=60)
            assert loaded["status"] == "success", loaded
        else:
            self.host.install(Bundle(tar_gz(files_of(plugin))))
        side.described = self._described(plugin)
        return side

    def close(self, side):
        self.host.call("uninstall_plugin", {"plugin_id": side.plugin})

    def _described(self, plugin):
        """What of the advertisement is the plugin's. One whose bare name is another's has it with the plugin's id."""
        listed = self.host.call("list_plugins")["loaded"][plugin]
        capabilities = self.host.call("requestRegistration")["capabilities"]
        functions = {each["name"].removeprefix(f"{plugin}."): each for each in capabilities["functions"]}
        return {
            "functions": {
                name: {key: functions[name][key] for key in ("description", "parameters", "labels")}
                for name in listed["functions"]
            },
            "events": {
                each["name"]: {key: each[key] for key in ("description", "payload_schema", "labels")}
                for each in capabilities["events"]
                if each["name"] not in ("plugin_loaded", "plugin_log", "plugin_unloaded")
            },
            "routines": listed["routines"],
        }
