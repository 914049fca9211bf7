"""The container image as an operator runs it: `docker compose` with the repository's `compose.yaml`."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UP_LIMIT = 120
"""Seconds until everything runs, and is healthy where it has a health check."""


class Compose:
    """One project: its containers, networks and volumes are its own, and go with it."""

    def __init__(self, project, environment=None, profile=None):
        # Nothing of ours reaches into the project but what the test says.
        names = ("MESSAGING_", "NATS_", "DEVICE_", "DC_", "TENANT", "COMPOSE_", "CREDENTIALS", "ARTIFACT_PORT")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        # Port 0 of the machine is any that is free: `port` tells which.
        images = {name: os.environ[name] for name in ("MORTISE_IMAGE", "NATS_IMAGE")}
        self._environment = kept | images | {"ARTIFACT_PORT": "0", "NATS_PORT": "0"} | (environment or {})
        # Nor does a file `.env` that lies beside it.
        self._command = ["docker", "compose", "--env-file", os.devnull, "--file", str(ROOT / "compose.yaml")]
        self._command += ["--project-name", project]
        if profile:
            self._command += ["--profile", profile]

    def _docker(self, command, limit=60):
        return subprocess.run(
            command, capture_output=True, text=True, timeout=limit, env=self._environment, stdin=subprocess.DEVNULL
        )

    def _compose(self, *arguments, limit=60):
        done = self._docker([*self._command, *arguments], limit)
        assert done.returncode == 0, f"`docker compose {' '.join(arguments)}`: {done.stderr}\n{self.logs()}"
        return done.stdout

    def up(self, *arguments):
        """Starts what does not run, and returns when it is healthy. Builds nothing."""
        arguments = ["up", "--detach", "--no-build", "--wait", "--wait-timeout", str(UP_LIMIT), *arguments]
        self._compose(*arguments, limit=UP_LIMIT + 30)
        return self

    def kill(self, service):
        """SIGKILL, and nobody starts it again."""
        self._compose("kill", service)

    def stop(self, service):
        """As an operator would; the engine kills what is still there after 10 s. Returns the exit status."""
        self._compose("stop", service)
        return self.inspect(service)["State"]["ExitCode"]

    def down(self):
        """Removes everything, the volumes too."""
        self._compose("down", "--volumes", "--remove-orphans", "--timeout", "1")

    def signal(self, service, name):
        self._compose("kill", "--signal", name, service)

    def execute(self, service, *command, limit=60):
        """Runs a program in the container. Returns its exit status and what it printed."""
        done = self._docker([*self._command, "exec", "--no-TTY", service, *command], limit)
        return done.returncode, done.stdout + done.stderr

    def run(self, service, *command):
        """Runs a command of the service's image in a container of its own; it must succeed. Returns what it printed."""
        return self._compose("run", "--rm", "--no-deps", "--no-TTY", service, *command)

    def inspect(self, service):
        """What the engine knows of the service's container, whether it runs or not."""
        (container,) = self._compose("ps", "--all", "--quiet", service).split()
        done = self._docker(["docker", "container", "inspect", container])
        assert done.returncode == 0, done.stderr
        (known,) = json.loads(done.stdout)
        return known

    def port(self, service, port):
        """Where on this machine a port of the service is reached, now: as `127.0.0.1:<port>`."""
        return self._compose("port", service, str(port)).strip()

    def logs(self):
        return self._docker([*self._command, "logs", "--no-color", "--tail", "60"]).stdout
