"""What `tenon` and `device_connect_edge` may ask of the host, in Python's own values.

Nothing else of the runner is theirs to use. Every function raises `failure.Failure` with the host's words, code and
`retryable` where the host refuses, and TypeError or ValueError for what is no text, bytes or number where one has to be
(`crossing`). Times are seconds. Import it at the top of a module: before a plugin is loaded the
runner takes the names of its own modules out of `sys.modules`, so that a plugin may have a `bridge.py` of its own.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import crossing
import operations
from failure import Failure
from wit_world.imports import host


@dataclass(frozen=True)
class Identity:
    """Who the plugin is: its own id, and the device and tenant it runs on."""

    plugin: str
    device: str
    tenant: str


@dataclass(frozen=True)
class Response:
    """An answer over HTTP. Names of headers are in lower case, in the order in which they came; the body is as it was sent."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def emit(name: str, payload: dict) -> None:
    """Publishes an event of this device at once."""
    name = crossing.text(name, "an event's name")
    text = crossing.within(json.dumps(payload, allow_nan=False), f"the payload of event `{name}`", "event_too_large")
    with operations.failures():
        host.emit(name, text)


def config() -> dict[str, Any]:
    """The plugin's settings: `config` of its manifest, and what the operator changed of it."""
    return json.loads(host.config())


def identity() -> Identity:
    """Who the plugin is."""
    told = host.identity()
    return Identity(told.plugin, told.device, told.tenant)


async def invoke(device: str | None, function: str, params: dict, timeout: float | None = None) -> Any:
    """The result of a function: of another device, or with `device` None of another plugin on this host."""
    function = crossing.text(function, "a function's name")
    parameters = json.dumps(params, allow_nan=False)
    invocation = host.Invocation(
        device=None if device is None else crossing.text(device, "a device's id"),
        function=function,
        parameters=crossing.within(parameters, f"what `{function}` is called with", "params_too_large"),
        timeout_ns=operations.nanoseconds(timeout),
        on_behalf_of=operations.current_call.get(),
    )
    return _json(await operations.run(host.Op_Invoke(invocation)))


async def discover() -> list[dict]:
    """The presence records of the devices that this host sees now."""
    return _json(await operations.run(host.Op_Discover()))


async def http(
    method: str,
    url: str,
    headers: Iterable[tuple[str, str | bytes]] = (),
    body: bytes = b"",
    timeout: float | None = None,
) -> Response:
    """Sends one request and waits for its answer; other calls go on. Redirects are answers."""
    return _response(await operations.run(_request(method, url, headers, body, timeout)))


def perform_http(
    method: str,
    url: str,
    headers: Iterable[tuple[str, str | bytes]] = (),
    body: bytes = b"",
    timeout: float | None = None,
) -> Response:
    """As `http`, for code that cannot await: the whole plugin stands still meanwhile, within `limits.turn`."""
    return _response(operations.perform(_request(method, url, headers, body, timeout)))


async def secret(name: str) -> str | None:
    """One of the operator's secrets; None where there is none of that name."""
    return _json(await operations.run(host.Op_Secret(crossing.text(name, "a secret's name"))))


def perform_secret(name: str) -> str | None:
    """As `secret`, for code that cannot await."""
    return _json(operations.perform(host.Op_Secret(crossing.text(name, "a secret's name"))))


def state_get(key: str) -> bytes | None:
    """What is kept under the key."""
    key = crossing.text(key, "a key")
    with operations.failures():
        return host.state_get(key)


def state_set(key: str, value: bytes) -> None:
    """Keeps the value: there at once, on disk a moment later (`state_flush`)."""
    key = crossing.text(key, "a key")
    kept = crossing.within(crossing.octets(value, "a value"), f"the value of `{key}`", "value_too_large")
    with operations.failures():
        host.state_set(key, kept)


def state_delete(key: str) -> None:
    """Forgets the key. One that is not there is no failure."""
    key = crossing.text(key, "a key")
    with operations.failures():
        host.state_delete(key)


def state_keys(prefix: str = "", after: str | None = None, limit: int = 1000) -> list[str]:
    """Keys that begin with `prefix` and come after `after`, in the order of their bytes; at most 1,000."""
    prefix = crossing.text(prefix, "a prefix")
    after = None if after is None else crossing.text(after, "a key")
    limit = crossing.number(limit, "a limit")
    with operations.failures():
        return host.state_keys(prefix, after, limit)


async def state_flush() -> None:
    """Waits until what was kept before is on disk."""
    await operations.run(host.Op_StateFlush())


def log(level: str, target: str, message: str) -> None:
    """Writes to the plugin's log, a line for each line of the message. `level`: trace, debug, info, warn or error."""
    severity = host.Level[level.upper()]
    # A log line must never be what fails.
    target = crossing.words(target)
    for line in message.splitlines() or [""]:
        host.log(severity, target, crossing.words(line))


def _request(method: str, url: str, headers, body: bytes, timeout: float | None) -> host.Op_Http:
    url = crossing.text(url, "a URL")
    sent = [(crossing.text(name, "a header's name"), _header(name, value)) for name, value in headers]
    body = crossing.octets(body, "a body")
    size = len(body) + sum(len(name) + len(value) for name, value in sent)
    if size > crossing.BYTES_MAX:
        raise Failure(f"the request has {size} bytes, more than {crossing.BYTES_MAX}", "request_too_large")
    return host.Op_Http(
        host.HttpRequest(
            method=crossing.text(method, "a method").upper(),
            url=url,
            headers=sent,
            body=body,
            timeout_ns=operations.nanoseconds(timeout),
            on_behalf_of=operations.current_call.get(),
        )
    )


def _header(name: str, value: str | bytes) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else crossing.octets(value, f"the value of header `{name}`")


def _response(outcome: host.OpValue) -> Response:
    answer = outcome.value
    return Response(answer.status, [(name, value.decode("latin-1")) for name, value in answer.headers], answer.body)


def _json(outcome: host.OpValue) -> Any:
    return json.loads(outcome.value)
