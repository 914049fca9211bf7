import asyncio
import contextvars
import time

from device_connect_edge.drivers import rpc

current = contextvars.ContextVar("current", default="none")


class AsyncWork:
    def __init__(self, device=None):
        self.log = []
        self.queue = None
        self.worker = None
        self.started = False

    async def start(self):
        self.queue = asyncio.Queue()
        self.worker = asyncio.create_task(self._work())
        await asyncio.sleep(0.01)
        self.started = True

    async def stop(self):
        self.worker.cancel()

    async def _work(self):
        while True:
            item, done = await self.queue.get()
            await asyncio.sleep(0.01)
            self.log.append(item)
            done.set_result(item * 2)

    @rpc()
    async def is_started(self) -> bool:
        return self.started

    @rpc()
    async def sleep(self, seconds: float) -> float:
        began = time.monotonic()
        await asyncio.sleep(seconds)
        return time.monotonic() - began

    @rpc()
    async def through_worker(self, item: int) -> int:
        done = asyncio.get_running_loop().create_future()
        await self.queue.put((item, done))
        return await done

    @rpc()
    async def gather(self, count: int) -> list:
        async def one(number):
            await asyncio.sleep(0.02 * (count - number))
            return number

        return await asyncio.gather(*(one(number) for number in range(count)))

    @rpc()
    async def gather_failures(self) -> list:
        async def one(number):
            await asyncio.sleep(0)
            if number % 2:
                raise ValueError(f"odd: {number}")
            return number

        return [str(each) for each in await asyncio.gather(*(one(n) for n in range(4)), return_exceptions=True)]

    @rpc()
    async def timeout(self) -> str:
        try:
            async with asyncio.timeout(0.02):
                await asyncio.sleep(10)
        except TimeoutError:
            return "timed out"

    @rpc()
    async def wait_for(self) -> None:
        await asyncio.wait_for(asyncio.sleep(10), 0.02)

    @rpc()
    async def group(self) -> list:
        found = []

        async def one(number):
            await asyncio.sleep(0.01 * number)
            found.append(number)

        async with asyncio.TaskGroup() as group:
            for number in (3, 1, 2):
                group.create_task(one(number))
        return found

    @rpc()
    async def failing_group(self) -> None:
        async def one(number):
            raise ValueError(f"number {number}")

        async with asyncio.TaskGroup() as group:
            group.create_task(one(1))
            group.create_task(one(2))

    @rpc()
    async def lock(self) -> list:
        lock, order = asyncio.Lock(), []

        async def one(number):
            async with lock:
                order.append(f"in {number}")
                await asyncio.sleep(0.01)
                order.append(f"out {number}")

        await asyncio.gather(one(1), one(2))
        return order

    @rpc()
    async def generators(self) -> list:
        async def numbers():
            for number in range(3):
                await asyncio.sleep(0)
                yield number

        return [number async for number in numbers()]

    @rpc()
    async def in_thread(self, number: int) -> int:
        return await asyncio.to_thread(lambda: number * number)

    @rpc()
    async def in_executor(self, number: int) -> int:
        return await asyncio.get_running_loop().run_in_executor(None, lambda: number + 1)

    @rpc()
    async def cancelled_within(self) -> str:
        task = asyncio.create_task(asyncio.sleep(10))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"

    @rpc()
    async def context(self, value: str) -> list:
        before = current.get()
        current.set(value)
        await asyncio.sleep(0.02)
        return [before, current.get(), await asyncio.create_task(self._current())]

    async def _current(self):
        return current.get()

    @rpc()
    async def shielded(self) -> str:
        return await asyncio.shield(asyncio.sleep(0.01, "done"))
