import asyncio
import time

from device_connect_edge.drivers import emit, periodic, rpc


class Routines:
    def __init__(self, device=None):
        self.began = {"steady": [], "resting": [], "failing": [], "slow": [], "plain": [], "unstarted": []}

    async def start(self):
        await self.begun()

    @emit()
    async def begun(self) -> None:
        pass

    def _tick(self, name):
        self.began[name].append(time.monotonic())

    @periodic(interval=0.2)
    async def steady(self) -> None:
        """One interval after the last one began."""
        self._tick("steady")
        await asyncio.sleep(0.1)

    @periodic(interval=0.2, wait_for_completion=False)
    async def resting(self) -> None:
        """One interval after the last one ended."""
        self._tick("resting")
        await asyncio.sleep(0.1)

    @periodic(interval=0.2)
    async def failing(self) -> None:
        self._tick("failing")
        raise RuntimeError("every time")

    @periodic(interval=0.1)
    async def slow(self) -> None:
        """Takes longer than its interval."""
        self._tick("slow")
        await asyncio.sleep(0.3)

    @periodic(interval=0.2, name="another_name")
    def plain(self) -> None:
        """Not async."""
        self._tick("plain")

    @periodic(interval=0.2, start_on_connect=False)
    async def unstarted(self) -> None:
        """Started all the same."""
        self._tick("unstarted")
        await self.ticked(len(self.began["unstarted"]))

    @emit()
    async def ticked(self, count: int) -> None:
        pass

    @rpc()
    async def ticks(self) -> dict:
        return self.began

    @rpc()
    @periodic(interval=3600)
    async def both(self) -> str:
        """A function and a routine."""
        return "called"
