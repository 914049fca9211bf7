"""Waiting for a condition, with a limit and the last thing seen."""

import time


def wait_for(probe, limit, what, interval=0.02):
    """Calls `probe` until it returns something true and returns that.

    `probe` may return a falsy value to say what it saw last; that goes into the failure.
    """
    deadline = time.monotonic() + limit
    while True:
        seen = probe()
        if seen:
            return seen
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {limit} s; last seen: {seen!r}")
        time.sleep(interval)
