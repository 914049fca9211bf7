import asyncio

from device_connect_edge.drivers import emit, get_rpc_source_device, rpc


class Callers:
    def __init__(self, device=None):
        self.device = device
        self.at_start = "unset"
        self.background = "unset"

    async def start(self):
        self.at_start = get_rpc_source_device()

    @rpc()
    async def whoami(self):
        return get_rpc_source_device()

    @rpc()
    async def after_waiting(self):
        before = get_rpc_source_device()
        await asyncio.sleep(0.02)
        return [before, get_rpc_source_device(), await self._deeper()]

    async def _deeper(self):
        return get_rpc_source_device()

    @rpc()
    async def through_another(self):
        return [get_rpc_source_device(), await self.whoami(), get_rpc_source_device()]

    @rpc()
    async def in_task(self):
        return await asyncio.create_task(self._deeper())

    @rpc()
    async def unset(self):
        return [self.at_start, self.background]

    @rpc()
    async def takes_it(self, source_device: str = "default"):
        return source_device

    @rpc()
    async def takes_all(self, **params):
        return params

    @rpc()
    async def device_is(self):
        return [self.device.device_id, self.device.tenant]
