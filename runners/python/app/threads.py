"""Threads and processes, which a plugin has none of: what can be done without them is, and the rest says so."""

import concurrent.futures.thread
import subprocess
import threading

_NO_THREADS = (
    "plugins have no threads: use a task (`asyncio.create_task`), or `asyncio.to_thread`, which runs the function at once"
)
_NO_PROCESSES = "plugins cannot start processes: do it in Python, or make it a plugin of type `docker`"


def _start(_thread) -> None:
    raise RuntimeError(_NO_THREADS)


def _submit(_pool, function, /, *args, **kwargs):
    future = concurrent.futures.Future()
    future.set_running_or_notify_cancel()
    try:
        future.set_result(function(*args, **kwargs))
    except Exception as error:
        future.set_exception(error)
    return future


class _NoProcess(subprocess.Popen):
    """So that its name stays a class, for annotations and subclasses."""

    def __init__(self, *_args, **_options) -> None:
        self.returncode = None
        self._child_created = False
        raise OSError(_NO_PROCESSES)


def install() -> None:
    """Pools of threads run what they are given at once, in the thread there is."""
    threading.Thread.start = _start
    concurrent.futures.thread.ThreadPoolExecutor.submit = _submit
    subprocess.Popen = _NoProcess
