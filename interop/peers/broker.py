"""A `nats-server` of our own."""

import os
import shutil
import signal
import socket
import subprocess

from peers.waiting import wait_for


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """Listens on one port of 127.0.0.1 for its whole life, restarts included."""

    def __init__(self, config=None):
        """`config`: a file of further settings."""
        self._binary = os.environ.get("NATS_SERVER") or shutil.which("nats-server") or "/usr/sbin/nats-server"
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._config = ["--config", config] if config else []
        self._process = None

    def start(self):
        self._process = subprocess.Popen(
            [self._binary, "--addr", "127.0.0.1", "--port", str(self.port), *self._config],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._accepts, 10, f"nats-server on port {self.port} accepts connections")
        return self

    def _accepts(self):
        if self._process.poll() is not None:
            raise AssertionError(f"nats-server ended with {self._process.returncode}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        """Ends it without notice, as a crash would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=5)

    def stop(self):
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=5)
