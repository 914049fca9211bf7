"""Plugins that misbehave: their callers are told in time, and nobody else notices."""

import time

import pytest

from peers.bundle import bundle_of
from peers.crowd import Crowd
from peers.host import CallError

DEADLINE = 1.0


@pytest.fixture
def misbehaving_host(host):
    """A host with a well-behaved plugin beside one whose turns may last a second at most."""
    host.install(bundle_of("hello-world"))
    host.install(bundle_of("behave", limits={"turn": "1s", "call_timeout": "3s"}))
    return host


def neighbour(host):
    return lambda n: host.call("hello_world", {"name": str(n)})


def test_a_plugin_that_loops_for_ever(misbehaving_host):
    host = misbehaving_host
    with Crowd(2, neighbour(host)) as others:
        started = time.monotonic()
        with pytest.raises(CallError) as raised:
            host.call("spin", limit=10)
        took = time.monotonic() - started
    print(f"refused after {took:.2f} s: {raised.value}; {len(others.outcome.results)} calls of the neighbour meanwhile")
    assert raised.value.code == -32000
    assert raised.value.message
    assert 0.5 * DEADLINE < took < 1.5 * DEADLINE + 0.5
    assert host.call("sleep_ms", {"ms": 1}) is not None, "the next call to the same plugin works"
    assert not others.outcome.failures
    assert others.outcome.results, "other plugins answered meanwhile"


def test_a_plugin_that_traps(misbehaving_host):
    host = misbehaving_host
    with Crowd(2, neighbour(host)) as others:
        for _ in range(3):
            with pytest.raises(CallError) as raised:
                host.call("panic", limit=10)
            assert raised.value.code == -32000
            assert host.call("sleep_ms", {"ms": 1}) is not None, "the next call to the same plugin works"
    assert not others.outcome.failures
    assert host.call("get_status")["loaded_plugins"] == ["hello-world", "behave"]


def test_a_call_that_waits_longer_than_its_deadline(misbehaving_host):
    host = misbehaving_host
    started = time.monotonic()
    with pytest.raises(CallError) as raised:
        host.call("sleep_ms", {"ms": 60_000}, limit=10)
    took = time.monotonic() - started
    assert raised.value.code == -32000
    assert 2.5 < took < 4.0
    assert host.call("sleep_ms", {"ms": 1}) is not None


def test_the_error_of_a_function_is_its_text_without_a_prefix(misbehaving_host):
    error = misbehaving_host.request("fail", {"message": "the valve is stuck"})["error"]
    assert (error["code"], error["message"]) == (-32000, "the valve is stuck")
