"""Threads and processes, which a plugin has none of: what can be done without them is, and the rest says so."""

import concurrent.futures.thread
import os
import subprocess
import threading

_NO_THREADS = (
    "plugins have no threads: use a task (`asyncio.create_task`), or `asyncio.to_thread`, which runs the function at once"
)
#: Why there is no process, and what to do instead.
NO_PROCESSES = "plugins cannot start processes: call a service over HTTP, or invoke a device beside the host that does it"


class ThreadPoolExecutor(concurrent.futures.Executor):
    """Runs what it is given at once, in the thread there is."""

    def __init__(self, max_workers=None, thread_name_prefix="", initializer=None, initargs=()) -> None:
        self._shut_down = False
        if initializer is not None:
            initializer(*initargs)

    def submit(self, fn, /, *args, **kwargs):
        if self._shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = concurrent.futures.Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait=True, *, cancel_futures=False) -> None:
        self._shut_down = True


class Popen(subprocess.Popen):
    """Cannot be made, and stays a class, for annotations and subclasses."""

    def __init__(self, *_args, **_options) -> None:
        self.returncode = None
        self._child_created = False
        raise OSError(NO_PROCESSES)


def _start(_thread) -> None:
    raise RuntimeError(_NO_THREADS)


def _no_process(*_args, **_options) -> None:
    raise OSError(NO_PROCESSES)


def install() -> None:
    """Puts them in the place of those of the library."""
    threading.Thread.start = _start
    concurrent.futures.ThreadPoolExecutor = concurrent.futures.thread.ThreadPoolExecutor = ThreadPoolExecutor
    subprocess.Popen = Popen
    os.system = os.popen = _no_process
