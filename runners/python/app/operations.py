"""The host's operations ("ops"): started and awaited, so that other calls go on, or performed while everything stands still."""

import asyncio
import contextlib
from contextvars import ContextVar

from componentize_py_types import Err, Ok
from failure import Failure
from wit_world.imports import host
from wit_world.imports import types as wit

#: The call that the code at work serves: the host passes its deadline and trace context on. None outside of calls.
current_call: ContextVar[int | None] = ContextVar("current_call", default=None)

_waiting: dict[int, asyncio.Future] = {}
_last_id = 0


async def run(op: host.Op) -> host.OpValue:
    """Starts the op and waits for it. Cancelling the waiting task gives the op up.

    Raises: Failure, with the host's words.
    """
    global _last_id
    _last_id += 1
    id = _last_id
    outcome = asyncio.get_running_loop().create_future()
    _waiting[id] = outcome
    try:
        host.start_op(id, op)
        return await outcome
    finally:
        if _waiting.pop(id, None) is not None:
            host.cancel_op(id)


def perform(op: host.Op) -> host.OpValue:
    """Does the op while the whole instance waits, within the limit of its turn.

    Raises: Failure, with the host's words.
    """
    with failures():
        return host.perform(op)


def deliver(id: int, outcome: Ok[host.OpValue] | Err[wit.Failure]) -> None:
    """Hands an outcome to who waits for it. One that nobody waits for any more is dropped."""
    waiting = _waiting.pop(id, None)
    if waiting is None or waiting.done():
        return
    if isinstance(outcome, Ok):
        waiting.set_result(outcome.value)
    else:
        waiting.set_exception(raised(outcome.value))


@contextlib.contextmanager
def failures():
    """Turns what the host refuses into `Failure`."""
    try:
        yield
    except Err as error:
        raise raised(error.value) from None


def raised(failure: wit.Failure) -> Failure:
    """The host's failure as an exception."""
    return Failure(failure.message, failure.code, failure.retryable)


def nanoseconds(seconds: float | None) -> int | None:
    """A timeout as the host takes it: none stays none, and what is negative is over at once."""
    if seconds is None:
        return None
    return int(min(max(0, seconds * 1e9), 2**63))
