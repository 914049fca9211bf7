"""What stands in for threads and processes."""

import pytest

import threads


def test_a_pool_runs_what_it_is_given_at_once():
    seen = []
    with threads.ThreadPoolExecutor(4, initializer=seen.append, initargs=("begun",)) as pool:
        assert list(pool.map(lambda number: number * 2, [1, 2])) == [2, 4]
        failed = pool.submit(lambda: 1 / 0)
        assert isinstance(failed.exception(), ZeroDivisionError)
    assert seen == ["begun"]
    with pytest.raises(RuntimeError):
        pool.submit(print)


def test_processes_are_refused_with_what_can_be_done():
    with pytest.raises(OSError, match="a service over HTTP, or invoke a device"):
        threads.Popen(["ls"])
