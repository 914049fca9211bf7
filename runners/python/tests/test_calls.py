"""Calls: at once, later, cancelled, failing."""

import asyncio
import json
import sys

import pytest
from componentize_py_types import Err, Ok
from fake_host import as_json, denied
from wit_world.imports import host as contract
from wit_world.imports import types as wit

import crossing
from calls import Calls
from device import Device
from device_connect_edge.drivers import emit, get_rpc_source_device, periodic, rpc
from failure import Failure


class Plugin:
    def __init__(self, device=None):
        self.device = device
        self.left_behind = False
        self.shared = []

    @rpc()
    async def echo(self, text: str):
        return {"text": text}

    @rpc()
    async def nap(self, seconds: float):
        await asyncio.sleep(seconds)
        return "awake"

    @rpc()
    async def leave(self):
        async def later():
            self.left_behind = True

        asyncio.create_task(later())
        return "left"

    @rpc()
    async def fail(self, with_: str):
        raise {"empty": ValueError(), "key": KeyError("x"), "failure": Failure("full", "disk_full", True),
               "base": BaseException("odd"), "bare": KeyboardInterrupt(), "cancelled": asyncio.CancelledError()}[with_]

    @rpc()
    async def fail_unspeakably(self, how: str):
        class Unspeakable(Exception):
            def __str__(self):
                raise KeyboardInterrupt

        class Undecided:
            def __bool__(self):
                raise SystemExit

        raise {"text": Unspeakable(), "code": Failure("no", "half \ud800"), "retryable": Failure("no", "no", Undecided()),
               "long": ValueError("x" * (20 << 20))}[how]

    @rpc()
    async def cancel_itself(self, after: float | None = None):
        if after is not None:
            await asyncio.sleep(after)
        asyncio.current_task().cancel()
        return "done"

    @rpc()
    async def quit(self):
        sys.exit(3)

    @rpc()
    async def give(self, what: str):
        return {"nan": float("nan"), "object": object(), "set": {1}, "text": "ü\ud800",
                "large": "x" * crossing.BYTES_MAX}[what]

    @rpc()
    async def who(self):
        return get_rpc_source_device()

    @rpc()
    async def give_shared(self, hostile: bool):
        class Hostile(dict):
            def items(self):
                raise SystemExit

        self.shared[:] = [Hostile(a=1)] if hostile else ["shared"]
        return self.shared

    @rpc()
    async def give_itself(self):
        given = []
        given.append(given)
        return given

    @rpc()
    async def ask(self):
        return await self.device.invoke("camera-1", "snap", zone="A")


@pytest.fixture
def calls(loop, host):
    return Calls(loop, Plugin(Device()))


def begin(calls, id, name, kind=wit.CallKind.FUNCTION, **parameters):
    return calls.begin(id, kind, name, json.dumps(parameters), None)


def refused(outcome):
    assert isinstance(outcome, Err)
    return outcome.value.code, outcome.value.message, outcome.value.retryable


def test_a_call_that_does_not_wait_is_answered_at_once(calls):
    assert begin(calls, 1, "echo", text="hi") == Ok('{"text": "hi"}')


def test_parameters_may_have_spaces_around_them(calls):
    for text in (' {"text": "hi"}', '{"text": "hi"}\n'):
        assert calls.begin(1, wit.CallKind.FUNCTION, "echo", text, None) == Ok('{"text": "hi"}')


def test_the_caller_is_told(calls):
    assert calls.begin(1, wit.CallKind.FUNCTION, "who", "{}", "robot") == Ok('"robot"')
    assert calls.begin(2, wit.CallKind.FUNCTION, "who", "{}", None) == Ok("null")


def test_a_result_that_could_not_be_written_is_no_hindrance_to_the_next(calls):
    for _ in range(2):
        assert refused(begin(calls, 1, "give_shared", hostile=True))[1] == "SystemExit"
        assert begin(calls, 2, "give_shared", hostile=False) == Ok('["shared"]')
        assert refused(begin(calls, 3, "give_itself")) == ("invalid_result", "Circular reference detected", False)


def test_calls_overlap_and_are_completed_when_they_end(calls, loop, host):
    assert begin(calls, 1, "nap", seconds=0.05) is None
    assert begin(calls, 2, "nap", seconds=0.01) is None
    loop.turn()
    assert begin(calls, 3, "echo", text="between") is not None
    host.turn(loop, lambda: len(host.completed) == 2)
    assert list(host.completed) == [2, 1]
    assert host.completed[1] == Ok('"awake"')


def test_a_call_that_leaves_a_task_behind_has_the_loop_turned(calls, loop, host):
    # The host turns the loop after a call that it was not given the outcome of, and after no other.
    assert begin(calls, 1, "leave") is None
    assert host.completed == {1: Ok('"left"')}
    loop.turn()
    assert calls._plugin.left_behind


def test_a_cancelled_call_ends_in_silence(calls, loop, host):
    assert begin(calls, 1, "nap", seconds=60) is None
    calls.cancel(1)
    calls.cancel(99)
    loop.turn()
    assert host.completed == {} and host.lines("error") == []
    assert not asyncio.all_tasks(loop)


def test_cancelling_gives_up_what_the_call_waits_for(calls, loop, host):
    host.answers[contract.Op_Invoke] = None
    assert begin(calls, 1, "ask") is None
    [op] = host.started
    assert host.started[op].value.on_behalf_of == 1
    calls.cancel(1)
    loop.turn()
    assert host.cancelled == [op]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("empty", ("error", "", False)),
        ("key", ("error", "'x'", False)),
        ("failure", ("disk_full", "full", True)),
        ("base", ("error", "odd", False)),
        ("bare", ("error", "KeyboardInterrupt", False)),
        ("cancelled", ("error", "CancelledError", False)),
    ],
)
def test_what_is_raised_is_told_by_its_text(calls, host, how, expected):
    assert refused(begin(calls, 1, "fail", with_=how)) == expected
    log = "\n".join(host.lines("error"))
    assert "function `fail` failed" in log and "test_calls.py" in log
    assert "calls.py" not in log.replace("test_calls.py", ""), "the runner's own frames are of no use to authors"


def test_exit_is_a_failure_like_any_other(calls):
    assert refused(begin(calls, 1, "quit")) == ("error", "3", False)
    assert begin(calls, 2, "echo", text="alive") is not None


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("nan", "Out of range float values are not JSON compliant"),
        ("object", "Object of type object is not JSON serializable"),
        ("set", "Object of type set is not JSON serializable"),
    ],
)
def test_results_that_json_cannot_tell_are_errors(calls, what, words):
    code, message, _ = refused(begin(calls, 1, "give", what=what))
    assert code == "invalid_result" and message.startswith(words)


def test_any_text_can_be_sent(calls):
    assert begin(calls, 1, "give", what="text").value.isascii()


def test_results_too_large_to_cross_are_refused(calls):
    code, message, _ = refused(begin(calls, 1, "give", what="large"))
    assert code == "result_too_large" and message == "the result as JSON has 8388610 bytes, more than 8388608"


def test_every_failure_is_told(calls, loop, host):
    assert refused(begin(calls, 1, "fail_unspeakably", how="text")) == ("error", "Unspeakable", False)
    assert refused(begin(calls, 2, "fail_unspeakably", how="code")) == ("half \\ud800", "no", False)
    assert refused(begin(calls, 3, "fail_unspeakably", how="long"))[1] == "x" * crossing.WORDS_MAX
    assert max(map(len, host.lines())) <= crossing.WORDS_MAX
    assert refused(begin(calls, 4, "fail_unspeakably", how="retryable"))[0] == "error"
    expected = ("error", "the call ended without an outcome: CancelledError", False)
    assert refused(begin(calls, 5, "cancel_itself")) == expected
    assert begin(calls, 6, "cancel_itself", after=0.001) is None
    host.turn(loop, lambda: 6 in host.completed)
    assert refused(host.completed[6]) == expected


@pytest.mark.parametrize("decorator", [rpc(), emit(), periodic(60)])
def test_a_member_called_migrate_is_no_hook(loop, host, decorator):
    class Moving:
        @decorator
        async def migrate(self, old=None, new=None):
            raise AssertionError("it was called")

    outcome = Calls(loop, Moving()).begin(1, wit.CallKind.MIGRATE, "", '{"from": "1", "to": "2"}', None)
    assert refused(outcome)[0] == "unknown_function"


def test_unknown_functions_and_parameters(calls):
    assert refused(begin(calls, 1, "none"))[0] == "unknown_function"
    assert refused(begin(calls, 2, "echo", bad=1))[1] == "Plugin.echo() got an unexpected keyword argument 'bad'"
    assert refused(begin(calls, 3, "echo"))[1] == "Plugin.echo() missing 1 required positional argument: 'text'"


def test_hooks_are_called_where_there_are_any(loop, host):
    class Hooked:
        def __init__(self):
            self.seen = []

        def start(self):
            self.seen.append("start")

        async def stop(self):
            self.seen.append("stop")

        def migrate(self, old, new):
            self.seen.append((old, new))

    hooked = Hooked()
    calls = Calls(loop, hooked)
    for kind in (wit.CallKind.START, wit.CallKind.SELF_TEST, wit.CallKind.STOP):
        assert begin(calls, kind.value, "", kind) == Ok("null")
    versions = {"from": "1", "to": "2"}
    assert calls.begin(9, wit.CallKind.MIGRATE, "", json.dumps(versions), None) == Ok("null")
    assert hooked.seen == ["start", "stop", ("1", "2")]
    bare = Calls(loop, object())
    assert begin(bare, 10, "", wit.CallKind.START) == Ok("null")
    assert refused(bare.begin(11, wit.CallKind.MIGRATE, "", json.dumps(versions), None))[0] == "unknown_function"


def test_other_devices_answer_as_json_rpc(calls, loop, host):
    host.answers[contract.Op_Invoke] = as_json({"image": 1})
    assert begin(calls, 1, "ask") is None
    host.turn(loop, lambda: 1 in host.completed)
    reply = json.loads(host.completed[1].value)
    assert reply["result"] == {"image": 1} and reply["jsonrpc"] == "2.0"

    host.answers[contract.Op_Invoke] = Err(wit.Failure("remote_error", "no film", False))
    assert begin(calls, 2, "ask") is None
    host.turn(loop, lambda: 2 in host.completed)
    assert json.loads(host.completed[2].value)["error"] == {"code": -32000, "message": "no film"}

    host.answers[contract.Op_Invoke] = denied("the plugin may not call `snap`: grant it")
    assert begin(calls, 3, "ask") is None
    host.turn(loop, lambda: 3 in host.completed)
    assert refused(host.completed[3]) == ("permission_denied", "the plugin may not call `snap`: grant it", False)
