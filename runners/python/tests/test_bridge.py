"""What crosses to the host, which ends the instance over what is no text, no bytes, or too large."""

import asyncio
import logging

import pytest
from fake_host import as_json, response
from wit_world.imports import host as contract

import bridge
import crossing
import logs
import operations
from failure import Failure

LARGE = "x" * (crossing.BYTES_MAX + 1)

TEXTS = {
    "emit": lambda given: bridge.emit(given, {}),
    "invoke's device": lambda given: bridge.invoke(given, "f", {}),
    "invoke's function": lambda given: bridge.invoke(None, given, {}),
    "method": lambda given: bridge.http(given, "http://h/"),
    "url": lambda given: bridge.http("GET", given),
    "header": lambda given: bridge.http("GET", "http://h/", [(given, "v")]),
    "performed url": lambda given: bridge.perform_http("GET", given),
    "secret": lambda given: bridge.secret(given),
    "performed secret": lambda given: bridge.perform_secret(given),
    "get": lambda given: bridge.state_get(given),
    "set": lambda given: bridge.state_set(given, b""),
    "delete": lambda given: bridge.state_delete(given),
    "prefix": lambda given: bridge.state_keys(given),
    "after": lambda given: bridge.state_keys("", 7 if given is None else given),
}


@pytest.fixture
def attempt(loop, host):
    """Does it, awaits it where it has to be, and sees that nothing reached the host."""

    def attempt(doing):
        done = doing()
        if asyncio.iscoroutine(done):
            task = loop.create_task(done)
            host.turn(loop, task.done)
            task.result()

    yield attempt
    assert not (host.emitted or host.performed or host.started or host.state)


@pytest.mark.parametrize("what", TEXTS)
def test_what_is_no_text_is_refused_in_python_s_manner(attempt, what):
    doing = TEXTS[what]
    for wrong in (7, b"x") if what == "invoke's device" else (7, b"x", None):
        with pytest.raises(TypeError, match="must be str, not (int|bytes|NoneType)"):
            attempt(lambda: doing(wrong))
    with pytest.raises(ValueError, match="lone surrogate"):
        attempt(lambda: doing("half \ud800"))
    with pytest.raises(ValueError, match="more than 1048576"):
        attempt(lambda: doing("ü" * (crossing.TEXT_MAX // 2 + 1)))


@pytest.mark.parametrize(
    "doing",
    [
        lambda given: bridge.state_set("k", given),
        lambda given: bridge.http("GET", "http://h/", body=given),
        lambda given: bridge.http("GET", "http://h/", [("a", given)]),
    ],
)
def test_what_is_no_bytes_is_refused(attempt, doing):
    for wrong in (7, None, [1]):
        with pytest.raises(TypeError, match="must be bytes"):
            attempt(lambda: doing(wrong))


@pytest.mark.parametrize(("limit", "raised"), [(-1, ValueError), (2**32, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_what_is_no_count_is_refused(attempt, limit, raised):
    with pytest.raises(raised):
        attempt(lambda: bridge.state_keys("", None, limit))


@pytest.mark.parametrize(
    ("doing", "code"),
    [
        (lambda: bridge.emit("e", {"a": LARGE}), "event_too_large"),
        (lambda: bridge.invoke(None, "f", {"a": LARGE}), "params_too_large"),
        (lambda: bridge.http("POST", "http://h/", body=LARGE.encode()), "request_too_large"),
        (lambda: bridge.perform_http("GET", "http://h/", [("a", LARGE)]), "request_too_large"),
        (lambda: bridge.state_set("k", LARGE.encode()), "value_too_large"),
    ],
)
def test_what_is_too_large_to_cross_is_refused(attempt, doing, code):
    with pytest.raises(Failure, match="more than 8388608") as caught:
        attempt(doing)
    assert caught.value.code == code


def test_what_is_as_it_should_be_crosses_as_exact_types(host, loop):
    class Text(str):
        def __str__(self):
            return "other"

    host.answers[contract.Op_Http] = response(b"")
    bridge.perform_http(Text("get"), Text("http://h/"), [(Text("a"), bytearray(b"b"))], memoryview(b"c"))
    [op] = host.performed
    assert (op.value.method, op.value.url, op.value.headers, op.value.body) == ("GET", "http://h/", [("a", b"b")], b"c")
    assert all(type(each) is str for each in (op.value.url, op.value.headers[0][0]))
    host.answers[contract.Op_Secret] = as_json("s")
    assert bridge.perform_secret("name") == "s"
    bridge.state_set("k", bytearray(b"v"))
    assert host.state == {"k": b"v"} and bridge.state_keys("k", None, True) == ["k"]


def test_any_log_record_is_written(host):
    record = logging.LogRecord("half \ud800", logging.INFO, "f", 1, "x" * (20 << 20) + "\nhalf \udc00", (), None)
    logs.HostHandler().emit(record)
    assert host.logged == [
        ("info", "half \\ud800", "x" * crossing.WORDS_MAX),
        ("info", "half \\ud800", "half \\udc00"),
    ]
    bridge.log("info", None, "of nobody")
    assert host.logged[-1] == ("info", "None", "of nobody")


def test_timeouts_of_any_length_are_told(host):
    assert [operations.nanoseconds(each) for each in (None, -1, 0.5, float("inf"))] == [None, 0, 500_000_000, 2**63]
