"""How a plugin's object is understood: what it brings, and how each of that is entered (wire contract 6.2, 8, 10.2)."""

import asyncio
import inspect
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import bridge
import crossing
from device_connect_edge.types import validate_event_name
from failure import Failure
from tenon.decorators import build_event_schema, build_function_schema, result_of

_log = logging.getLogger("plugin")

INTERVAL_MAX = 2**63 - 1
"""The longest interval of a routine, in nanoseconds."""


class Members:
    """What a plugin's object brings, by name, in code-point order of its attributes (wire contract 6.1)."""

    def __init__(self, plugin: object) -> None:
        self.plugin = plugin
        self.functions: dict[str, Callable] = {}
        self.events: dict[str, Callable] = {}
        self.routines: dict[str, Callable] = {}
        self.interceptors: list[Callable] = []
        self.subscriptions: dict[str, Callable] = {}
        # What the reference does nothing with in plugins, and what to do instead.
        self.uncalled: dict[str, str] = {}
        for name, member in _callables(plugin):
            if _has(member, "_is_interceptor"):
                self.interceptors.append(member)
            if _has(member, "_is_subscription"):
                self.subscriptions[name] = member
            if _has(member, "_is_event_subscription"):
                self._subscribe_as_drivers_do(name, member)
            if _has(member, "_is_internal_handler"):
                self.uncalled[name] = "as on the reference host: use `tenon.before_emit`"
            # Functions, events and routines are public, as in the reference.
            if name.startswith("_"):
                continue
            if _has(member, "_is_device_function"):
                self.functions[str(member._function_name)] = member
            if _has(member, "_is_device_event"):
                self.events[_clean(str(member._event_name))] = member
            if _has(member, "_is_device_routine"):
                self.routines[name] = member


    def _subscribe_as_drivers_do(self, name: str, member: Callable) -> None:
        """The reference's `on`, which it calls in drivers alone (wire contract 8.5)."""
        if member._sub_device_type is not None:
            self.uncalled[name] = "since nobody tells a plugin of devices' types: name `device_id` instead of `device_type`"
        else:
            self.subscriptions[name] = member


def _has(member: Callable, mark: str) -> bool:
    # There are objects that have every attribute one asks for.
    return getattr(member, mark, False) is True


def is_marked(member: Callable) -> bool:
    """Whether it is a function, an event or a routine, and so nothing that the host calls by itself."""
    return any(_has(member, mark) for mark in ("_is_device_function", "_is_device_event", "_is_device_routine"))


_members: Members | None = None


def _of(plugin: object) -> Members:
    global _members
    if _members is None or _members.plugin is not plugin:
        _members = Members(plugin)
    return _members


def describe(plugin: object) -> dict[str, list[dict]]:
    """What the plugin brings, as plain data; and connects its events to the host.

    `functions`: name, description, parameters, labels, tags. `events`: name, description, payload_schema, labels, tags.
    `routines`: name, interval_ns, cadence. `subscriptions`: name, device, event.
    """
    members = _of(plugin)
    _connect(plugin, members)
    _warn_of_what_is_not_called(plugin, members)
    brought = {
        "functions": [_function(name, member) for name, member in members.functions.items()],
        "events": [_event(name, member) for name, member in members.events.items()],
        "routines": [_routine(name, member) for name, member in members.routines.items()],
        "subscriptions": [
            _subscription(name, _wanted_by(member)) for name, member in members.subscriptions.items()
        ],
    }
    return {kind: [each for each in described if _is_sendable(each)] for kind, described in brought.items()}


def enter(plugin: object, name: str, params: Mapping[str, Any], caller: str | None = None) -> Any:
    """What a function returns: to be awaited, mostly. Whatever it raises is raised, with wrong arguments in Python's own words.

    `caller` is who says it is calling, which the function does not see as a parameter (wire contract 3.5).

    Raises: Failure `unknown_function`.
    """
    function = _found(_of(plugin).functions, "function", name)
    return function(**{**params, "source_device": caller} if caller else params)


async def tick(plugin: object, name: str) -> None:
    """One run of a routine.

    Raises: what it raises; Failure `unknown_function`.
    """
    await result_of(_found(_of(plugin).routines, "routine", name)())


async def handle(plugin: object, name: str, payload: dict[str, Any], source: str | None = None) -> None:
    """An event of the device `source`: every method that asked for it gets the device's id, the name and the payload.

    Raises: ExceptionGroup of what the methods raised, once all have been called.
    """
    failures = []
    for handler in _of(plugin).subscriptions.values():
        device, event = _wanted_by(handler)
        if fnmatchcase(_clean(name), event) and fnmatchcase(source or "", device):
            try:
                await result_of(handler(source, name, payload))
            except Exception as error:
                failures.append(error)
    if failures:
        raise ExceptionGroup(f"handlers of `{name}` failed", failures)


def _wanted_by(handler: Callable) -> tuple[Any, Any]:
    """Of which device it wants to hear, and which event."""
    if _has(handler, "_is_subscription"):
        device, event = handler._subscribes_to
    else:
        device, event = handler._sub_device_id or "*", handler._sub_event_name or "*"
    return device, event.removeprefix("event/") if isinstance(event, str) else event


def _callables(plugin: object) -> Iterator[tuple[str, Callable]]:
    for name in dir(plugin):
        # Of what is private, nothing but methods is looked at.
        if name.startswith("_") and not inspect.isfunction(inspect.getattr_static(plugin, name, None)):
            continue
        try:
            member = getattr(plugin, name)
        except Exception as error:
            # A property that fails brings nothing, and hinders nothing else.
            _log.warning("`%s` could not be read: %s", name, error)
            continue
        if callable(member):
            yield name, member


def _found(members: dict[str, Callable], kind: str, name: str) -> Callable:
    if name not in members:
        raise Failure(f"the plugin has no {kind} `{name}`", code="unknown_function")
    return members[name]


def _connect(plugin: object, members: Members) -> None:
    """Gives the object what its events go out by: the reference's loader sets the same attributes."""

    def send(name: str, payload: dict) -> None:
        validate_event_name(_clean(name))
        # Whole: the message's `method` keeps what the subject leaves out.
        bridge.emit(name, payload)

    async def emit(name: str, payload: dict) -> None:
        send(name, payload)

    async def dispatch(name: str, payload: dict) -> tuple[bool, dict]:
        return await _intercepted(members, name, payload)

    def callback(name: str, payload: dict) -> asyncio.Future:
        # There it goes out in the background, where nobody learns what becomes of it. Older plugins await it all the same.
        try:
            send(name, payload)
        except Exception as error:
            _log.error("event `%s` was not emitted: %s", name, error)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    plugin._dispatch_internal_event = dispatch
    plugin._emit_event_internal = emit
    if hasattr(plugin, "set_event_callback"):
        plugin.set_event_callback(callback)
    elif hasattr(plugin, "_event_callback"):
        plugin._event_callback = callback


async def _intercepted(members: Members, name: str, payload: dict) -> tuple[bool, dict]:
    """Whether the event goes out, and with what (wire contract 8.3)."""
    goes_out = True
    payload = dict(payload)
    for handler in members.interceptors:
        if handler._intercepts != name:
            continue
        try:
            answer = await result_of(handler(**payload))
        except Exception:
            _log.exception("`%s` failed before event `%s`", handler.__name__, name)
            continue
        if isinstance(answer, dict):
            payload = answer
        goes_out = goes_out and answer is not False and not handler._suppresses
    return goes_out, payload


def _warn_of_what_is_not_called(plugin: object, members: Members) -> None:
    """The reference takes declarations of plugins that it never acts on; so does this, and says so."""
    for name, cure in members.uncalled.items():
        _log.warning("`%s` is never called, %s", name, cure)
    if not callable(getattr(plugin, "get_event_subscriptions", None)):
        return
    try:
        for _ in plugin.get_event_subscriptions():
            _log.warning("the handlers of `get_event_subscriptions` are never called, as on the reference host")
            break
    except Exception as error:
        _log.error("`get_event_subscriptions` failed: %s", error)


def _clean(event: str) -> str:
    """The name without what stands before its first `/` (wire contract 8.1)."""
    return event.split("/", 1)[-1]


def _function(name: str, member: Callable) -> dict | None:
    what = f"function `{name}`"
    try:
        schema = build_function_schema(member)
    except Exception as error:
        _log.warning("%s dropped: %s", what, error)
        return None
    return {
        "name": name,
        "description": crossing.words(member._description or ""),
        "parameters": _sendable(what, schema),
        "labels": _labels(what, member._labels),
        "tags": [],
    }


def _event(name: str, member: Callable) -> dict | None:
    what = f"event `{name}`"
    try:
        schema = build_event_schema(member)
    except Exception as error:
        _log.warning("%s is not advertised: %s", what, error)
        return None
    return {
        "name": name,
        "description": crossing.words(member._event_description or ""),
        "payload_schema": _sendable(what, schema),
        "labels": _labels(what, member._labels),
        "tags": [],
    }


def _routine(name: str, member: Callable) -> dict | None:
    interval = member._routine_interval
    if not isinstance(interval, (int, float)) or math.isnan(interval) or interval < 0:
        _log.warning("routine `%s` dropped: its interval is %r, not a number of seconds", name, interval)
        return None
    return {
        "name": name,
        "interval_ns": round(min(interval * 1e9, INTERVAL_MAX)),
        "cadence": "fixed-rate" if member._routine_wait_for_completion else "fixed-delay",
    }


def _subscription(name: str, to: tuple[Any, Any]) -> dict | None:
    try:
        return {"name": name, "device": crossing.text(to[0], "a device's id"), "event": crossing.text(to[1], "a name")}
    except (TypeError, ValueError) as error:
        _log.warning("subscription `%s` dropped: %s", name, error)
        return None


def _is_sendable(described: dict | None) -> bool:
    """Whether there is anything, of a name that can be told."""
    if described is None:
        return False
    try:
        crossing.text(described["name"], "a name")
    except ValueError as error:
        _log.warning("dropped: %s", error)
        return False
    return True


def _sendable(what: str, schema: dict) -> dict:
    """The schema without defaults that JSON cannot tell: one of them must not take the rest off the mesh (11, C17)."""
    for name, parameter in schema["properties"].items():
        try:
            json.dumps(parameter.get("default"), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            _log.warning("%s: the default of `%s` is not advertised: %s", what, name, error)
            del parameter["default"]
    return schema


def _labels(what: str, labels: Any) -> dict[str, str | list[str]]:
    """Those labels that are texts or lists of texts (wire contract 4.1)."""
    if not labels:
        return {}
    if not isinstance(labels, Mapping):
        _log.warning("%s: its labels are not advertised: they are no dictionary", what)
        return {}
    kept = {}
    for key, value in labels.items():
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, (list, tuple)) or not all(map(_is_text, (key, *values))):
            _log.warning("%s: label %r is not advertised: it is no text and no list of texts", what, key)
            continue
        kept[key] = value if isinstance(value, str) else list(value)
    return kept


def _is_text(value: Any) -> bool:
    try:
        crossing.text(value, "a label")
    except (TypeError, ValueError):
        return False
    return True
