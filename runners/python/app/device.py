"""What plugins know as `self.device`: the part of the reference's `DeviceRuntime` that plugins use."""

import asyncio
import time
import uuid
from typing import Any

import bridge
from failure import TIMEOUTS, Failure

#: The reference's timeout of a call to another device, in seconds.
INVOKE_TIMEOUT = 30.0

#: How often `wait_for_device` looks, in seconds.
LOOK_EVERY = 0.5

#: What the host says of a call that never reached the function. Everything else is the function's own failure.
_NOT_CALLED = frozenset(
    "call_cycle call_depth internal invalid_device invalid_params malformed_reply mesh not_connected params_too_large "
    "permission_denied rate_limited result_too_large too_many_ops".split()
)


class InvokeTimeout(Failure, TimeoutError):
    """The other device did not answer in time."""


class Device:
    """This device, as far as a plugin may use it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        if args or options:
            raise TypeError("a plugin runs no device of its own: the host's is `self.device`")
        told = bridge.identity()
        self.device_id = told.device
        self.tenant = told.tenant

    async def invoke(self, device_id: str, function: str, timeout: float | None = None, **params: Any) -> dict[str, Any]:
        """Calls a function of another device, or of this one; needs the permission `mesh.invoke` or `plugins`.

        The reply as JSON-RPC has it: with `result`, or with `error` where the function failed.

        Raises: Failure (`tenon.Failure`) where the function was never called, for one because it was denied; and
        TimeoutError.
        """
        reply = {"jsonrpc": "2.0", "id": f"d2d-{uuid.uuid4().hex[:12]}"}
        try:
            reply["result"] = await bridge.invoke(device_id, function, params, timeout or INVOKE_TIMEOUT)
        except Failure as failure:
            if failure.code in TIMEOUTS:
                raise InvokeTimeout(failure.message, failure.code, failure.retryable) from None
            if failure.code in _NOT_CALLED:
                raise
            code = -32601 if failure.code == "unknown_method" else -32000
            reply["error"] = {"code": code, "message": failure.message}
        return reply

    async def invoke_remote(
        self, device_id: str, function_name: str, timeout: float | None = None, **params: Any
    ) -> dict[str, Any]:
        """The same under the name that drivers have for it."""
        return await self.invoke(device_id, function_name, timeout, **params)

    async def list_devices(
        self, device_type: str | None = None, location: str | None = None, capabilities: list[str] | None = None
    ) -> list[dict[str, Any]]:
        """The devices that this host sees now and that match; needs the permission `mesh.discover`."""
        return [
            device for device in await bridge.discover() if _matches(device, device_type, location, capabilities)
        ]

    async def get_device(self, device_id: str) -> dict[str, Any] | None:
        """One device that this host sees now."""
        for device in await bridge.discover():
            if device.get("device_id") == device_id:
                return device
        return None

    async def wait_for_device(
        self, device_type: str | None = None, device_id: str | None = None, timeout: float = 10.0
    ) -> dict[str, Any]:
        """The first device of that type or id, as soon as there is one. Raises: TimeoutError."""
        if device_type is None and device_id is None:
            raise ValueError("Specify device_type or device_id")
        until = time.monotonic() + timeout
        while True:
            for device in await self.list_devices(device_type=device_type):
                if device_id is None or device.get("device_id") == device_id:
                    return device
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"No device {device_id or device_type} within {timeout}s")
            await asyncio.sleep(min(LOOK_EVERY, left))

    async def enqueue_event(self, event: str, payload: dict) -> None:
        """Publishes an event of this device; the part of its name before a `/` is left out of the subject."""
        bridge.emit(event, payload)

    def __getattr__(self, name: str):
        there = sorted(each for each in (*vars(self), *vars(type(self))) if not each.startswith("_"))
        raise AttributeError(f"plugins have no `device.{name}` on this host; there are {', '.join(there)}", name=name, obj=self)


def _matches(device: dict, device_type: str | None, location: str | None, capabilities: list[str] | None) -> bool:
    """As the reference filters: a part of the type or place is enough, in capitals or not; capabilities are functions."""
    if (device_type or "").lower() not in _field(device, "identity", "device_type", str).lower():
        return False
    if (location or "").lower() not in _field(device, "status", "location", str).lower():
        return False
    functions = _field(device, "capabilities", "functions", list)
    names = {function.get("name") for function in functions if isinstance(function, dict)}
    return names.issuperset(capabilities or ())


def _field(device: dict, part: str, name: str, kind: type):
    """A part of a presence record, which another device wrote: empty where it is missing or of another kind."""
    section = device.get(part)
    value = section.get(name) if isinstance(section, dict) else None
    return value if isinstance(value, kind) else kind()
