"""Many callers at once."""

import threading
import time
from dataclasses import dataclass, field


@dataclass
class Outcome:
    seconds: float = 0.0
    results: list = field(default_factory=list)
    failures: list = field(default_factory=list)


def all_at_once(callers, call):
    """Runs `call()` once in each of `callers` threads, released together."""
    outcome = Outcome()
    gate = threading.Barrier(callers + 1)

    def work():
        gate.wait()
        try:
            outcome.results.append(call())
        except Exception as error:
            outcome.failures.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for thread in threads:
        thread.start()
    gate.wait()
    started = time.monotonic()
    for thread in threads:
        thread.join()
    outcome.seconds = time.monotonic() - started
    return outcome


class Crowd:
    """Callers that repeat one call until the block ends. `call(n)` gets a number that no other call has."""

    def __init__(self, callers, call):
        self.outcome = Outcome()
        self._call = call
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n, callers)) for n in range(callers)]

    def _work(self, number, step):
        while not self._stop.is_set():
            try:
                self.outcome.results.append(self._call(number))
            except Exception as error:
                self.outcome.failures.append(repr(error))
            number += step

    def __enter__(self):
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.outcome.seconds = time.monotonic() - self._started
