"""A device built with the published edge SDK: it subscribes to plugin events with `@on` and calls other devices."""

import threading
import time

from device_connect_edge import DeviceRuntime
from device_connect_edge.drivers import DeviceDriver, emit, on
from device_connect_edge.types import DeviceIdentity, DeviceStatus


class Watcher(DeviceDriver):
    device_type = "watcher"

    def __init__(self):
        super().__init__()
        self._seen = []
        self._changed = threading.Condition()

    @property
    def identity(self):
        return DeviceIdentity(device_type="watcher", manufacturer="Interop", model="Watcher")

    @property
    def status(self):
        return DeviceStatus(availability="idle")

    async def connect(self):
        pass

    async def disconnect(self):
        pass

    @on(event_name="plugin_loaded")
    async def on_loaded(self, device_id, event_name, payload):
        self._record(device_id, event_name, payload)

    @on(event_name="plugin_unloaded")
    async def on_unloaded(self, device_id, event_name, payload):
        self._record(device_id, event_name, payload)

    @emit()
    async def motion(self, zone: str, number: int):
        """Something moved."""

    def _record(self, device_id, event_name, payload):
        with self._changed:
            self._seen.append((device_id, event_name, payload))
            self._changed.notify_all()

    def received(self, device_id, count, limit=5.0):
        """The first `count` events of one device, as (name, payload), in their order of arrival."""
        deadline = time.monotonic() + limit
        with self._changed:
            while True:
                own = [(name, payload) for source, name, payload in self._seen if source == device_id]
                if len(own) >= count:
                    return own[:count]
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise AssertionError(f"{count} events of {device_id}: not within {limit} s; seen: {self._seen}")
                self._changed.wait(remaining)


class EdgeDevice:
    """A running edge device. Its subscriptions are in place when the constructor returns."""

    def __init__(self, transport, device_id, driver=None):
        self.device_id = device_id
        self.driver = driver or Watcher()
        self._loop = transport.loop
        # It announces itself once its subscriptions are in place (wire contract 8.6).
        presence = transport.wire.subscribe(f"{device_id}.presence")

        async def make():
            return DeviceRuntime(
                driver=self.driver,
                device_id=device_id,
                tenant=transport.wire.tenant,
                messaging_backend=transport.name,
                messaging_urls=transport.urls or None,
                allow_insecure=True,
            )

        self._runtime = self._loop.run(make())
        self._end = self._loop.start(self._runtime.run())
        presence.wait(lambda message: message.get("d2d"), 15, f"edge device {device_id} announces itself")

    def invoke(self, device_id, function, **params):
        """A device-to-device call as the SDK makes it, `_dc_meta` included."""
        return self._loop.run(self.driver.invoke_remote(device_id, function, timeout=10, **params))

    def moved(self, zone, number):
        """Emits `motion`, as the SDK does."""
        return self._loop.run(self.driver.motion(zone=zone, number=number))

    def knows(self, device_id):
        """Whether the device is in this one's peer table."""
        return self._loop.run(self.driver.registry.get_device(device_id))

    def stop(self):
        self._loop.run(self._runtime.stop())
        self._end()
