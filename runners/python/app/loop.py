"""An asyncio event loop without I/O: the host turns it, and it waits for nothing itself."""

import asyncio
import asyncio.base_events
import logging
import math
import sys
import threading
import time
from asyncio import events

import threads

#: How long one turn goes on while more is ready, in seconds: then other calls and cancellations get in between.
SLICE = 0.02

_log = logging.getLogger("asyncio")


class _NoSelector:
    """What `BaseEventLoop._run_once` asks to wait. Nothing can happen while the guest runs, so it never does."""

    def select(self, timeout=None):
        return []

    def close(self):
        pass


class Loop(asyncio.base_events.BaseEventLoop):
    """Timers, tasks and futures as always. What would need threads, sockets or processes says what to use instead."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _NoSelector()
        self._wake = math.inf

    def install(self) -> None:
        """Makes it the running loop for good: whatever the guest does, it does within this loop."""
        self._thread_id = threading.get_ident()
        events._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)

    def turn(self) -> int | None:
        """Runs what is ready. Nanoseconds until it wants to be turned again: 0 if more is ready, none if nothing waits."""
        until = self.time() + SLICE
        while True:
            try:
                self._run_once()
            except (SystemExit, KeyboardInterrupt) as error:
                # Of a task that nobody awaits. It must not end the instance.
                _log.error("a background task raised %r", error)
            now = self.time()
            due = self._due()
            if due > now or now >= until:
                break
        self._wake = due
        return None if due == math.inf else round(max(0.0, due - now) * 1e9)

    def is_settled(self) -> bool:
        """Whether nothing is due before the host turns it anyway, by what the last `turn` said."""
        return not self._ready and (not self._scheduled or self._due() >= self._wake)

    def _due(self) -> float:
        """When something is due, in the loop's time; infinity if nothing waits."""
        if self._ready:
            return -math.inf
        # The first timer is the earliest. One that was cancelled only makes us look too early.
        return self._scheduled[0].when() if self._scheduled else math.inf

    def time(self) -> float:
        return time.monotonic()

    def run_in_executor(self, executor, func, *args):
        # There are no threads: it runs here and now, and the other calls wait.
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def call_soon_threadsafe(self, callback, *args, context=None):
        return self.call_soon(callback, *args, context=context)

    def run_forever(self):
        raise RuntimeError("the event loop runs already: await it, or begin a task with `asyncio.create_task`")

    def run_until_complete(self, future):
        self.run_forever()

    def close(self) -> None:
        raise RuntimeError("the event loop is not the plugin's to close: it ends with the plugin")

    async def create_connection(self, *_args, **_options):
        raise OSError("plugins have no sockets: use an HTTP client (httpx, aiohttp, requests, urllib)")

    create_server = create_datagram_endpoint = create_unix_connection = create_unix_server = create_connection
    getaddrinfo = getnameinfo = sock_connect = sock_recv = sock_sendall = create_connection

    async def subprocess_exec(self, *_args, **_options):
        raise OSError(threads.NO_PROCESSES)

    subprocess_shell = subprocess_exec

    def add_signal_handler(self, *_args):
        raise NotImplementedError("plugins get no signals: the host calls `stop` when the plugin is to end")

    def _process_events(self, event_list) -> None:
        pass

    def _write_to_self(self) -> None:
        pass
