"""The runner's modules on an ordinary Python, with a host that does what a test says.

`cargo xtask test runners` generates the contract's classes from `wit/` and names their folder in `MORTISE_BINDINGS`.
"""

import asyncio
import os
import sys
from asyncio import events
from pathlib import Path

import pytest

APP = Path(__file__).parents[1] / "app"
BINDINGS = os.environ.get("MORTISE_BINDINGS") or str(Path(__file__).parents[3] / "target/runner-bindings")
sys.path[:0] = [str(APP), BINDINGS]

from fake_host import FakeHost  # noqa: E402


@pytest.fixture
def host(monkeypatch):
    """A host that denies everything until the test says otherwise."""
    return FakeHost(monkeypatch)


@pytest.fixture
def loop():
    """The runner's event loop, as the running one."""
    from loop import Loop

    before = sys.get_asyncgen_hooks()
    made = Loop()
    made.install()
    yield made
    for task in asyncio.all_tasks(made):
        task.cancel()
    made.turn()
    events._set_running_loop(None)
    sys.set_asyncgen_hooks(*before)
