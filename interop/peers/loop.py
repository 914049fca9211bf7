"""One asyncio loop in a thread, so that plain tests can drive asynchronous peers."""

import asyncio
import threading


class LoopThread:
    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="peers", daemon=True)
        self._thread.start()

    def run(self, coroutine, timeout=30.0):
        """Runs the coroutine in the loop's thread and returns its result here."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise

    def start(self, coroutine):
        """Starts a task in the loop's thread and returns a function that cancels it and waits for its end."""

        async def spawn():
            return asyncio.ensure_future(coroutine)

        task = self.run(spawn())

        async def end():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        return lambda: self.run(end())

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
