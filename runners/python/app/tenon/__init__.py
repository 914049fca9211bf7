"""What plugins in Python are written with.

    import tenon

    class Thermometer:
        def __init__(self, device=None):
            self.unit = tenon.config().get("unit", "C")

        @tenon.rpc
        async def read(self, sensor: str = "inside") -> dict:
            '''Reads a sensor.

            Args:
                sensor: Which one.
            '''
            answer = await tenon.http.get(f"https://api.example.com/{sensor}")
            return {"value": answer.raise_for_status().json(), "unit": self.unit}

Plugins written for the reference host import `device_connect_edge` instead, and may import both.
"""

import logging
from typing import Any

import bridge
from failure import Failure
from tenon import http, state
from tenon.decorators import Labels, before_emit, emit, get_rpc_source_device, on, periodic, rpc

__all__ = [
    "Failure",
    "Labels",
    "before_emit",
    "caller",
    "config",
    "discover",
    "emit",
    "get_rpc_source_device",
    "http",
    "invoke",
    "logger",
    "on",
    "periodic",
    "rpc",
    "secret",
    "state",
]

logger = logging.getLogger("plugin")
"""The plugin's log."""

caller = get_rpc_source_device


def config() -> dict[str, Any]:
    """The plugin's settings: `config` of its manifest."""
    return bridge.config()


async def secret(name: str) -> str | None:
    """One of the operator's secrets; none where there is none of that name.

    Needs the permission `secrets`. Keep it out of results, errors and the log.
    """
    return await bridge.secret(name)


async def invoke(
    function: str, params: dict[str, Any] | None = None, *, device: str | None = None, timeout: float | None = None
) -> Any:
    """The result of a function of another plugin on this host, or of another device.

    Needs the permission `plugins`, or `mesh.invoke`.

    Args:
        timeout: in seconds; never longer than the call on whose behalf it is made.

    Raises:
        Failure: what the function failed with, or why it was not called.
    """
    return await bridge.invoke(device, function, params or {}, timeout)


async def discover() -> list[dict[str, Any]]:
    """The presence records of the devices that the host sees now. Needs the permission `mesh.discover`."""
    return await bridge.discover()
