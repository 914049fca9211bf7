"""`DeviceDriver`, of which a plugin's class may be a kind, and `on`."""

from collections.abc import Callable
from typing import Any

from device_connect_edge._lacking import lacking
from device_connect_edge.types import DeviceIdentity, DeviceStatus
from tenon.decorators import mark

__all__ = ["DeviceDriver", "on"]


class DeviceDriver:
    """What the reference's drivers are. In a plugin it brings these names alone: what plugins use is `self.device`."""

    device_type: str = "unknown"
    depends_on: tuple[str, ...] = ()
    labels: dict[str, str | list[str]] | None = None

    def __init__(self) -> None:
        self._device = None
        self._event_callback = None

    @property
    def identity(self) -> DeviceIdentity:
        """What the driver says of its device."""
        return DeviceIdentity(device_type=self.device_type)

    @property
    def status(self) -> DeviceStatus:
        """How it says its device is."""
        return DeviceStatus()

    def set_device(self, device: Any) -> None:
        """Says which device it drives."""
        self._device = device

    def set_event_callback(self, callback: Callable[[str, dict], Any]) -> None:
        """Says what `emit_event` calls."""
        self._event_callback = callback

    async def connect(self) -> None:
        """Not called in a plugin, as on the reference host: that has `start`."""

    async def disconnect(self) -> None:
        """Not called in a plugin, as on the reference host: that has `stop`."""

    async def emit_event(self, event_name: str, payload: dict[str, Any]) -> None:
        """Publishes an event."""
        await self._emit_event_internal(event_name, payload)


def on(device_id: str | None = None, device_type: str | None = None, event_name: str | None = None) -> Callable:
    """Lets a method see events of other devices. It gets the device's id, the event's name and the payload.

    On the reference host that is for drivers; here it is what `tenon.on` is. With a `device_type` it is never called.
    """

    def decorate(method: Callable) -> Callable:
        return mark(
            method,
            _is_event_subscription=True,
            _sub_device_id=device_id,
            _sub_device_type=device_type,
            _sub_event_name=event_name,
        )

    return decorate


__getattr__ = lacking(__name__, __all__)
