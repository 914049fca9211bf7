"""A device of the published edge package that serves one folder of plugins, as the reference's plugin host does.

    python reference.py <device id> <tenant> <NATS URL> <folder>

When the plugins are loaded it prints, on one line of JSON, what its loader made of each.
"""

import asyncio
import contextlib
import json
import logging
import signal
import sys
from pathlib import Path

from device_connect_edge import DeviceRuntime
from device_connect_edge.drivers import CapabilityDriverMixin, DeviceDriver, build_event_schema
from device_connect_edge.types import DeviceIdentity, DeviceStatus, is_valid_event_name


class PluginDriver(CapabilityDriverMixin, DeviceDriver):
    device_type = "plugin_host"

    def __init__(self, folder, tenant):
        super().__init__()
        self.init_capabilities(folder, tenant)

    @property
    def identity(self):
        return DeviceIdentity(device_type="plugin_host")

    @property
    def status(self):
        return DeviceStatus(availability="idle")

    async def connect(self):
        await self.load_capabilities()
        plugins = {id: described(self, loaded) for id, loaded in self.get_loaded_capabilities().items()}
        print(json.dumps(plugins), flush=True)

    async def disconnect(self):
        await self.unload_capabilities()


def described(driver, loaded):
    functions = {
        name: schema | {"labels": driver._get_functions()[f"{loaded.id}.{name}"]._labels or None}
        for name, schema in loaded.function_schemas.items()
    }
    # The loader collects no events. Their schemas are made as functions' are, and their names are those on the wire.
    events = {}
    for attribute in filter(lambda name: not name.startswith("_"), dir(loaded.instance)):
        with contextlib.suppress(Exception):
            member = getattr(loaded.instance, attribute)
            name = member._event_name.split("/")[-1] if getattr(member, "_is_device_event", False) else ""
            if is_valid_event_name(name):
                events[name] = {
                    "description": member._event_description,
                    "payload_schema": build_event_schema(member),
                    "labels": member._labels or None,
                }
    return {"functions": functions, "events": events, "routines": loaded.routines}


async def main(device_id, tenant, url, folder):
    device = DeviceRuntime(
        driver=PluginDriver(Path(folder), tenant),
        device_id=device_id,
        tenant=tenant,
        messaging_backend="nats",
        messaging_urls=[url],
        allow_insecure=True,
    )
    running = asyncio.create_task(device.run())
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await asyncio.wait([running, asyncio.create_task(stopped.wait())], return_when=asyncio.FIRST_COMPLETED)
    await device.stop()
    running.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    # What plugins print must not get between.
    answers, sys.stdout = sys.stdout, sys.stderr
    print = lambda text, **options: answers.write(text + "\n") and answers.flush()  # noqa: E731
    asyncio.run(main(*sys.argv[1:]))
