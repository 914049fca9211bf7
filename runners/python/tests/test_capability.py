"""How a plugin's object is understood and entered."""

import asyncio
import logging
import math

import bridge
import capability
import crossing
import pytest
import records
import tenon
from device_connect_edge import drivers
from failure import Failure
from tenon.decorators import result_of
from tenon.state import keys


@pytest.fixture
def emitted(monkeypatch):
    events = []
    monkeypatch.setattr(bridge, "emit", lambda name, payload: events.append((name, payload)))
    return events


class Everything:
    """As clients of remote objects are."""

    def __call__(self):
        return None

    def __getattr__(self, name):
        return Everything()


class Plugin:
    def __init__(self):
        self.seen = []
        self.answers_to_everything = Everything()

    @drivers.rpc(name="z", labels={"a": "b", "n": 1, "l": ("x", "y")})
    async def first(self, value: int = 1, other=math.nan):
        """Adds."""
        self.seen.append(drivers.get_rpc_source_device())
        return value + 1

    @tenon.rpc
    def aaa(self):
        return "not async"

    @drivers.rpc()
    async def one(self, name):
        return self._helper(name, wrong=1)

    def _helper(self, name):
        return name

    @drivers.rpc()
    async def _private(self):
        return 1

    @drivers.emit(name="event/changed")
    async def changed(self, value: int):
        """It changed."""
        return "done"

    @drivers.before_emit("event/changed")
    async def never(self, **payload):
        return False

    @drivers.periodic(interval=1.5)
    async def steady(self):
        self.seen.append("steady")

    @drivers.periodic(2, wait_for_completion=False, name="other")
    def resting(self):
        self.seen.append("resting")

    @drivers.periodic(interval="often")
    async def broken(self):
        pass

    @property
    def failing(self):
        raise RuntimeError("a property that fails")


def described(plugin):
    return capability.describe(plugin)


def test_describes_what_there_is(caplog):
    brought = described(Plugin())
    # By the names of the attributes, not of the functions.
    assert [each["name"] for each in brought["functions"]] == ["aaa", "z", "one"]
    assert brought["functions"][1] == {
        "name": "z",
        "description": "Adds.",
        "parameters": {
            "type": "object",
            "properties": {"value": {"type": "integer", "default": 1}, "other": {"type": "string"}},
            "required": [],
        },
        "labels": {"a": "b", "l": ["x", "y"]},
        "tags": [],
    }
    assert [(each["name"], each["description"]) for each in brought["events"]] == [("changed", "It changed.")]
    assert brought["routines"] == [
        {"name": "resting", "interval_ns": 2_000_000_000, "cadence": "fixed-delay"},
        {"name": "steady", "interval_ns": 1_500_000_000, "cadence": "fixed-rate"},
    ]
    assert brought["subscriptions"] == []
    for told in ("default of `other`", "label 'n'", "routine `broken` dropped", "`never` is never called", "`failing`"):
        assert told in caplog.text


async def invoke(*arguments):
    return await result_of(capability.enter(*arguments))


def test_functions_are_entered_with_who_calls():
    plugin = Plugin()
    call = lambda *arguments: asyncio.run(invoke(plugin, *arguments))  # noqa: E731
    assert call("z", {"value": 2}, "robot") == 3
    assert call("z", {"source_device": "param"}) == 2
    assert call("z", {"source_device": "param"}, "robot") == 2
    assert plugin.seen == ["robot", "param", "robot"]
    assert drivers.get_rpc_source_device() is None
    assert call("aaa", {}) == "not async"
    with pytest.raises(Failure, match="no function `_private`"):
        call("_private", {})


@pytest.mark.parametrize(
    "params, text",
    [
        ({}, "Plugin.one() missing 1 required positional argument: 'name'"),
        ({"nam": 1}, "Plugin.one() got an unexpected keyword argument 'nam'"),
        ({"self": 1, "name": 1}, "Plugin.one() got multiple values for argument 'self'"),
    ],
)
def test_arguments_are_judged_by_the_signature(params, text):
    with pytest.raises(TypeError) as raised:
        asyncio.run(invoke(Plugin(), "one", params))
    assert str(raised.value) == text


def test_a_function_that_another_calls_has_no_caller():
    class Nested:
        @tenon.rpc
        async def inner(self):
            return tenon.caller()

        @tenon.rpc
        async def outer(self):
            return [tenon.caller(), await self.inner(), tenon.caller()]

    assert asyncio.run(invoke(Nested(), "outer", {}, "robot")) == ["robot", None, "robot"]


def test_routines_are_entered_by_the_name_of_their_method():
    plugin = Plugin()
    for name in ("steady", "resting"):
        asyncio.run(capability.tick(plugin, name))
    assert plugin.seen == ["steady", "resting"]


def test_events_go_out_with_the_arguments_that_were_given(emitted):
    plugin = Plugin()
    described(plugin)
    assert asyncio.run(plugin.changed(1)) == "done"
    asyncio.run(plugin._emit_event_internal("by-hand", {"a": 1}))
    with pytest.raises(ValueError, match="Invalid event name 'no name'"):
        asyncio.run(plugin._emit_event_internal("no name", {}))
    with pytest.raises(TypeError, match=r"Plugin\.changed\(\) missing 1 required"):
        asyncio.run(plugin.changed())
    assert emitted == [("event/changed", {"value": 1}), ("by-hand", {"a": 1})]


def test_own_handlers_come_before_the_event_and_of_others(emitted, caplog):
    class Own:
        heard = []

        @tenon.emit
        async def level(self, value):
            pass

        @tenon.before_emit("level", suppress_propagation=False)
        def hold_back(self, value):
            return False if value < 0 else {"value": value, "checked": True} if value > 1 else None

        @tenon.on(device_id="camera-*", event_name="motion")
        async def on_motion(self, device, event, payload):
            self.heard.append((device, event, payload))

        @tenon.on(event_name="*")
        def on_any(self, device, event, payload):
            raise ValueError(event)

    own = Own()
    assert described(own)["subscriptions"] == [
        {"name": "on_any", "device": "*", "event": "*"},
        {"name": "on_motion", "device": "camera-*", "event": "motion"},
    ]
    for value in (-1, 1, 2):
        asyncio.run(own.level(value))
    assert emitted == [("level", {"value": 1}), ("level", {"value": 2, "checked": True})]
    for source in ("camera-1", "lamp-1"):
        with pytest.raises(ExceptionGroup, match="handlers of `motion` failed"):
            asyncio.run(capability.handle(own, "motion", {"a": 1}, source))
    assert own.heard == [("camera-1", "motion", {"a": 1})]


def test_handlers_of_drivers_hear_as_well_unless_they_ask_for_a_type(caplog):
    class Driver:
        heard = []

        @drivers.on(device_id="camera-1", event_name="event/motion")
        async def _on_motion(self, device, event, payload):
            self.heard.append((device, event, payload))

        @drivers.on(device_type="camera", event_name="motion")
        async def on_cameras(self, device, event, payload):
            self.heard.append("never")

    driver = Driver()
    assert described(driver)["subscriptions"] == [{"name": "_on_motion", "device": "camera-1", "event": "motion"}]
    assert "`on_cameras` is never called, since nobody tells a plugin of devices' types" in caplog.text
    for name in ("motion", "event/motion", "heat"):
        asyncio.run(capability.handle(driver, name, {"a": 1}, "camera-1"))
    assert driver.heard == [("camera-1", "motion", {"a": 1}), ("camera-1", "event/motion", {"a": 1})]


def test_old_callbacks_are_set_and_can_be_awaited(emitted, loop):
    class Old:
        _event_callback = None

    old = Old()
    described(old)
    old._event_callback("x", {"a": 1})
    old._event_callback("no name", {})

    async def awaiting():
        return await old._event_callback("y", {})

    task = loop.create_task(awaiting())
    loop.turn()
    assert task.result() is None
    assert emitted == [("x", {"a": 1}), ("y", {})]


def test_what_is_no_text_is_left_out_of_the_description(caplog):
    class Odd:
        @tenon.rpc(name="\ud800")
        def lone(self):
            pass

        @tenon.rpc(description="half \ud800", labels={"\ud800": "a", "b": "\ud800", "c": "d"})
        def described(self):
            pass

        @tenon.on(device_id=7)
        def numbered(self, *_):
            pass

        @tenon.on(event_name="\ud800")
        def surrogate(self, *_):
            pass

        @tenon.on()
        def every(self, *_):
            pass

    brought = described(Odd())
    [function] = brought["functions"]
    assert (function["description"], function["labels"]) == ("half \\ud800", {"c": "d"})
    assert [each["name"] for each in brought["subscriptions"]] == ["every"]
    assert "subscription `numbered` dropped: a device's id must be str, not int" in caplog.text
    assert "dropped: a name has a lone surrogate" in caplog.text


def test_a_description_too_large_to_cross_is_refused():
    class Large:
        @tenon.rpc
        def function(self, text="x" * crossing.BYTES_MAX):
            pass

    with pytest.raises(Failure, match="what the plugin brings has") as caught:
        records.description(described(Large()))
    assert caught.value.code == "description_too_large"


def test_every_key_is_listed_however_many_there_are(monkeypatch):
    everything = [f"k{number:04}" for number in range(2500)]

    def page(prefix, after, limit):
        return [key for key in everything if key.startswith(prefix) and (after is None or key > after)][:limit]

    monkeypatch.setattr(bridge, "state_keys", page)
    assert keys() == everything
    assert keys("k1") == everything[1000:2000]


def test_http_answers_and_their_failures(monkeypatch):
    sent = []

    async def http(*request):
        sent.append(request)
        return bridge.Response(503, [("a", "1"), ("a", "2")], b"{}")

    monkeypatch.setattr(bridge, "http", http)
    answer = asyncio.run(tenon.http.post("http://x/?y=1", params={"q": ["a", "b"]}, json={"z": 1}, timeout=2))
    assert sent == [("POST", "http://x/?y=1&q=a&q=b", [("content-type", "application/json")], b'{"z": 1}', 2)]
    assert (answer.headers, answer.json(), answer.text()) == ({"a": "1, 2"}, {}, "{}")
    with pytest.raises(Failure) as raised:
        answer.raise_for_status()
    assert (raised.value.code, raised.value.retryable) == ("http_status", True)


def test_what_the_shim_lacks_is_no_attribute_and_cannot_be_imported():
    assert not hasattr(drivers, "CapabilityLoader")
    with pytest.raises(ImportError, match="there are DeviceDriver"):
        from device_connect_edge.drivers import CapabilityLoader  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match="there are device_connect_edge.device, device_connect_edge.drivers"):
        import device_connect_edge.messaging  # noqa: F401


@pytest.fixture(autouse=True)
def everything_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
