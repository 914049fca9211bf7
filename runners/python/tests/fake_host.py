"""The host's side of the contract, played by a test."""

import json
import time

from componentize_py_types import Err, Ok
from wit_world.imports import host, types


class FakeHost:
    """Keeps what the guest does, and answers its ops from `answers`, by kind: a value, or a failure."""

    def __init__(self, monkeypatch) -> None:
        self.logged: list[tuple[str, str, str]] = []
        self.emitted: list[tuple[str, dict]] = []
        self.completed: dict[int, Ok | Err] = {}
        self.started: dict[int, host.Op] = {}
        self.cancelled: list[int] = []
        self.performed: list[host.Op] = []
        self.answers: dict[type, object] = {}
        self.state: dict[str, bytes] = {}
        for name in (
            "log emit config identity random perform start_op cancel_op complete state_get state_set state_delete state_keys"
        ).split():
            monkeypatch.setattr(host, name, getattr(self, f"_{name}"))

    def answer(self, op: host.Op):
        """What the host says to the op; None for one that the test ends itself."""
        answer = self.answers.get(type(op), denied("the plugin may not"))
        return answer(op) if callable(answer) else answer

    def lines(self, level: str | None = None) -> list[str]:
        """What was logged."""
        return [line for each, _, line in self.logged if level in (None, each)]

    def turn(self, loop, until, limit: float = 5.0) -> None:
        """Does what the host does between turns, until the condition holds."""
        import operations

        end = time.monotonic() + limit
        wait = 0
        while not until():
            assert time.monotonic() < end, "the condition never held"
            for id, op in list(self.started.items()):
                answer = self.answer(op)
                if answer is not None:
                    del self.started[id]
                    operations.deliver(id, answer)
            wait = loop.turn()
            time.sleep(min((wait or 0) / 1e9, 0.05))

    def _log(self, level, target, message):
        self.logged.append((level.name.lower(), target, message))

    def _emit(self, name, payload):
        self.emitted.append((name, json.loads(payload)))

    def _config(self):
        return "{}"

    def _identity(self):
        return host.PluginIdentity("a-plugin", "host-1", "default")

    def _random(self, length):
        return bytes(length)

    def _perform(self, op):
        self.performed.append(op)
        answer = self.answer(op)
        if isinstance(answer, Err):
            raise answer
        return answer.value

    def _start_op(self, id, op):
        self.started[id] = op

    def _cancel_op(self, id):
        self.started.pop(id, None)
        self.cancelled.append(id)

    def _complete(self, id, outcome):
        assert id not in self.completed, f"call {id} was completed twice"
        self.completed[id] = outcome

    def _state_get(self, key):
        return self.state.get(key)

    def _state_set(self, key, value):
        self.state[key] = value

    def _state_delete(self, key):
        self.state.pop(key, None)

    def _state_keys(self, prefix, after, limit):
        return [key for key in sorted(self.state) if key.startswith(prefix) and (after is None or key > after)][:limit]


def failure(code: str, message: str, retryable: bool = False) -> Err:
    """A refusal of the host."""
    return Err(types.Failure(code, message, retryable))


def denied(message: str) -> Err:
    """A permission that is not there."""
    return failure("permission_denied", message)


def as_json(value) -> Ok:
    """An op's value."""
    return Ok(host.OpValue_Json(json.dumps(value)))


def response(body: bytes = b"", status: int = 200, headers=()) -> Ok:
    """An answer over HTTP."""
    given = [(name, value.encode()) for name, value in headers]
    return Ok(host.OpValue_Http(host.HttpResponse(status, given, body)))
