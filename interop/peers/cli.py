"""The host's own command line, as its operator uses it."""

import json
import subprocess
from dataclasses import dataclass

from peers.host import binary, environment


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)

    def result(self):
        """The result in the envelope of `--json`, of a command that must have succeeded."""
        assert self.code == 0, self
        envelope = self.json()
        assert envelope["status"] == "success", envelope
        return envelope["result"]


def mortise(folder, *arguments, limit=60):
    """Runs a command to its end, in `folder` and with that for a home, where nobody's credentials lie."""
    ended = subprocess.run(
        [binary(), *map(str, arguments)],
        cwd=folder,
        env=environment({"HOME": str(folder)}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)
