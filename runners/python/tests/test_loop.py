"""The event loop."""

import asyncio
import time

import pytest

from loop import SLICE


def test_a_turn_says_when_the_next_timer_is_due(loop):
    assert loop.turn() is None
    handle = loop.call_later(10, print)
    assert 9e9 < loop.turn() <= 10e9
    handle.cancel()
    assert loop.turn() is None


def test_timers_run_in_order_once_they_are_due(loop):
    seen = []
    loop.call_later(0.02, seen.append, "second")
    loop.call_later(0.01, seen.append, "first")
    end = time.monotonic() + 5
    while len(seen) < 2 and time.monotonic() < end:
        time.sleep((loop.turn() or 0) / 1e9)
    assert seen == ["first", "second"]


def test_what_keeps_itself_busy_lets_the_host_in(loop):
    def again():
        loop.call_soon(again)

    again()
    began = time.monotonic()
    assert loop.turn() == 0
    assert time.monotonic() - began >= SLICE


def test_a_background_task_that_exits_does_not_end_the_rest(loop, caplog):
    seen = []

    async def leave():
        raise SystemExit(3)

    tasks = [loop.create_task(leave()), loop.create_task(asyncio.sleep(0, seen.append("ran")))]
    loop.turn()
    assert tasks[1].done() and seen == ["ran"]
    assert "SystemExit(3)" in caplog.text
    assert isinstance(tasks[0].exception(), SystemExit)


def test_debugging_hinders_nothing(loop):
    loop.set_debug(True)
    task = loop.create_task(asyncio.sleep(0, "ran"))
    loop.turn()
    assert task.result() == "ran"


def test_executors_run_at_once(loop):
    async def both():
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        return await asyncio.to_thread(lambda: 42)

    task = loop.create_task(both())
    loop.turn()
    assert task.result() == 42


def test_what_cannot_be_done_says_what_can(loop):
    async def attempts():
        with pytest.raises(OSError, match="use an HTTP client"):
            await asyncio.open_connection("a", 1)
        with pytest.raises(OSError, match="invoke a device beside the host"):
            await loop.subprocess_exec(None, "ls")
        with pytest.raises(RuntimeError, match="running event loop"):
            coroutine = asyncio.sleep(0)
            try:
                asyncio.run(coroutine)
            finally:
                coroutine.close()

    task = loop.create_task(attempts())
    loop.turn()
    task.result()
    with pytest.raises(RuntimeError, match="await it"):
        loop.run_until_complete(None)


def test_asynchronous_generators_are_closed(loop):
    closed = []

    async def numbers():
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    async def first():
        async for number in numbers():
            return number

    task = loop.create_task(first())
    loop.turn()
    loop.turn()
    assert task.result() == 1 and closed == [True]
