"""How calls end: results as JSON, exceptions as failures (wire contract 3.3)."""

import json
import json.encoder
import traceback
from typing import Any

import bridge
import crossing
from componentize_py_types import Err, Ok
from failure import Failure
from wit_world.imports import types as wit

#: Packages that raise exceptions of their own for others'.
_CLIENTS = frozenset({"urllib", "urllib3", "requests", "httpx", "httpcore", "aiohttp"})

#: What the encoder is in the middle of, by which it knows a structure that holds itself.
_within: dict[int, Any] = {}

#: `json.JSONEncoder(allow_nan=False)`, made once: that makes one of these for each text.
_chunks = json.encoder.c_make_encoder(
    _within, json.JSONEncoder().default, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, False
)


def of_result(result: Any) -> Ok[str] | Err[wit.Failure]:
    """The result as the reference writes it, or why it cannot be written. NaN is no JSON, and so an error here."""
    try:
        encoded = "".join(_chunks(result, 0))
    except Exception as error:
        return refusal("invalid_result", crossing.words(error))
    finally:
        _within.clear()
    if len(encoded) > crossing.BYTES_MAX:
        message = f"the result as JSON has {len(encoded)} bytes, more than {crossing.BYTES_MAX}"
        return refusal("result_too_large", message)
    return Ok(encoded)


def of_exception(error: BaseException, what: str) -> Err[wit.Failure]:
    """The exception's text, which is all that the caller learns. The log has where it was raised in `what`."""
    message = crossing.words(error)
    if isinstance(error, Failure) and error.code == "unknown_function":
        # Nothing was raised in the plugin.
        return refusal(error.code, message)
    log_traceback(error, f"{what} failed")
    code, retryable = ("error", False)
    if failure := _failure_behind(error):
        code, retryable = crossing.words(failure.code), bool(failure.retryable)
    elif not message and isinstance(error, MemoryError):
        message = "out of memory: the plugin has reached its `limits.memory`"
    elif not message and not isinstance(error, Exception):
        # A cancelled task, or `sys.exit()`: the reference answers nothing at all.
        message = type(error).__name__
    return Err(wit.Failure(code=code, message=message, retryable=retryable))


def _failure_behind(error: BaseException) -> Failure | None:
    """The failure itself, or that of the host's of which a client for HTTP made this exception in its own words."""
    if isinstance(error, Failure):
        return error
    pending, seen = [error], set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        # Not by its own ways: an exception of a plugin's may do anything when it is asked for an attribute.
        known = object.__getattribute__(each, "__dict__")
        failure = known.get("host_failure")
        if isinstance(failure, Failure):
            return failure
        # What the plugin itself raises, for whatever reason, is its own, and of what was answered nobody refused anything.
        if known.get("response") is None and str(type(each).__module__).partition(".")[0] in _CLIENTS:
            pending += [each.__cause__, each.__context__]
    return None


def refusal(code: str, message: str) -> Err[wit.Failure]:
    """A failure in the runner's own words."""
    return Err(wit.Failure(code=code, message=message, retryable=False))


def log_traceback(error: BaseException, what: str) -> None:
    """Writes to the log where the exception was raised; the frames of the runner itself are left out."""
    try:
        shown = traceback.TracebackException.from_exception(error)
        _leave_out_runner(shown)
        lines = "".join(shown.format()).rstrip()
    except BaseException as second:
        lines = f"{type(error).__name__}, of which no traceback can be made: {type(second).__name__}"
    bridge.log("error", "plugin", f"{what}\n{lines}")


def _leave_out_runner(shown: traceback.TracebackException) -> None:
    seen = set()
    pending = [shown]
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        own = [frame for frame in each.stack if not is_runner(frame.filename)]
        each.stack = traceback.StackSummary.from_list(own)
        pending += [each.__cause__, each.__context__, *(each.exceptions or [])]


_ROOT = __file__.rpartition("/")[0] + "/"


def is_runner(filename: str) -> bool:
    """Whether the file is one of the runner's own."""
    return filename.startswith(_ROOT) or filename.startswith("<frozen importlib")
