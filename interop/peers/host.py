"""The host under test: the real binary with a folder of its own."""

import itertools
import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from peers.bundle import bundle_of
from peers.waiting import wait_for
from peers.wire import NoReply

ROOT = Path(__file__).resolve().parents[2]
STOP_LIMIT = 5.0
"""Seconds from SIGTERM to exit 0."""

_ids = itertools.count(1)


def binary():
    path = Path(os.environ.get("MORTISE_BIN") or ROOT / "target/release/mortise")
    if not path.is_file():
        raise AssertionError(f"no host binary at {path}: build it, or set MORTISE_BIN")
    return path


def environment(extra=None):
    """The environment without anything that configures a mesh client."""
    foreign = ("MESSAGING_", "NATS_", "ZENOH_", "DEVICE_", "DC_", "MORTISE_", "TENANT", "PORTAL_", "CAPABILITIES_DIR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"NO_COLOR": "1", "MORTISE_LOG": os.environ.get("INTEROP_HOST_LOG", "info")} | (extra or {})


class CallError(Exception):
    """A JSON-RPC error reply."""

    def __init__(self, error):
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.code = error.get("code")
        self.message = error.get("message")
        self.error = error


class Host:
    """One host process on one transport."""

    def __init__(self, transport, folder, environment=None, arguments=()):
        self.transport = transport
        self.wire = transport.wire
        self.device = f"host-{os.getpid()}-{next(_ids)}"
        self.capabilities = Path(folder) / "capabilities"
        self.capabilities.mkdir(parents=True, exist_ok=True)
        self.log_path = Path(folder) / "host.log"
        self._environment = environment
        self._arguments = list(arguments)
        self._process = None
        self._requests = itertools.count(1)

    def start(self):
        """Starts the process and returns when it answers."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    binary(),
                    "run",
                    "--device-id", self.device,
                    "--tenant", self.wire.tenant,
                    "--capabilities-dir", self.capabilities,
                    *self.transport.host_arguments,
                    *self._arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(self._environment),
            )  # fmt: skip
        wait_for(self._answers, 15, f"{self.device} answers get_status")
        return self

    def _answers(self):
        if self._process.poll() is not None:
            raise AssertionError(f"the host ended with {self._process.returncode}:\n{self.log()}")
        try:
            return self.request("get_status", limit=1.0).get("result")
        except NoReply:
            return False

    @property
    def pid(self):
        return self._process.pid

    def running(self):
        return self._process is not None and self._process.poll() is None

    def stop(self):
        """SIGTERM; it must end with exit status 0 within five seconds. Returns the seconds it took."""
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(timeout=STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the host was still running {STOP_LIMIT} s after SIGTERM:\n{self.log()}") from None
        assert status == 0, f"exit status {status} after SIGTERM:\n{self.log()}"
        return time.monotonic() - started

    def kill(self):
        if self.running():
            self._process.kill()
            self._process.wait(timeout=5)

    @contextmanager
    def serving(self, *guests):
        """Starts the process and installs these guests; at the end it is stopped as an operator would, and must obey."""
        try:
            self.start()
            for guest in guests:
                self.install(bundle_of(guest))
            yield self
            self.stop()
        finally:
            self.kill()

    def log(self, lines=40):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    # Calls

    def request(self, method, params=None, limit=10.0):
        """One call; returns the whole JSON-RPC reply."""
        message = {"jsonrpc": "2.0", "id": f"it-{next(self._requests)}", "method": method, "params": params or {}}
        reply = self.wire.request(self.device, message, limit)
        assert reply["id"] == message["id"] and reply["jsonrpc"] == "2.0", reply
        assert ("result" in reply) != ("error" in reply), f"exactly one of result and error: {reply}"
        return reply

    def call(self, method, params=None, limit=10.0):
        """One call; returns its result or raises CallError."""
        reply = self.request(method, params, limit)
        if "error" in reply:
            raise CallError(reply["error"])
        return reply["result"]

    def send(self, payload):
        """Bytes or a JSON value as they are; returns the reply."""
        return self.wire.request(self.device, payload if isinstance(payload, bytes) else json.dumps(payload).encode())

    def install(self, bundle):
        """Installs a bundle, which must succeed."""
        result = self.call("install_plugin_from_bundle", bundle.params(), limit=60)
        assert result["status"] == "success", result
        assert result["load_result"]["status"] == "success", result
        return result

    def refuse(self, method, params, limit=30.0):
        """A call that the host must answer with a refusal; returns that."""
        result = self.call(method, params, limit)
        assert result["status"] == "error", f"refused: {result}"
        assert result["message"] and result["code"], result
        return result

    # What is left on disk

    @contextmanager
    def unchanged(self):
        """Whatever is refused in here leaves nothing on disk and changes nothing that runs."""
        files, running = self.files(), self.call("list_plugins")
        yield
        assert self.files() == files, "something was left on disk"
        assert self.call("list_plugins") == running

    def files(self):
        """Every path below the capabilities folder with its size, without compiled code, which may be kept at will.

        The size of the state store says nothing: its free pages come and go. The audit log tells of what was refused.
        """
        cache = self.capabilities / ".mortise" / "cache"
        store = self.capabilities / ".mortise" / "state.redb"
        found = {}
        for path in sorted(self.capabilities.rglob("*")):
            if path == cache or cache in path.parents or path.name.startswith("audit."):
                continue
            sized = path.is_file() and path != store
            found[str(path.relative_to(self.capabilities))] = path.stat().st_size if sized else None
        return found
