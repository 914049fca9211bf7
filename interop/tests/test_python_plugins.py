"""Plugins in Python, written to the reference's conventions, on the reference and on this host: the same in both.

`python/recorded/<plugin>.json` says what the reference makes of a plugin and how its functions answer. Both have to
agree with it, so that it cannot go stale: `INTEROP_RECORD=1` writes the files again from the reference.
"""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from peers.bundle import Bundle, tar_gz
from peers.sides import PYTHON, Mortise, Reference
from peers.waiting import wait_for
from peers.web import Answer, WebServer

RECORDED = PYTHON / "recorded"
VARIABLES = {"PLUGIN_GREETING": "hello", "PLUGIN_EMPTY": ""}

POLICY = """
[http]
networks = ["127.0.0.1", "::1"]
ca_files = ["{authority}"]

[[plugin]]
id = "*"
grant = [
    "plugins:*", "mesh.invoke:*", "mesh.discover", "http:http://127.0.0.1:*", "http:https://localhost:*",
    "env:PLUGIN_GREETING", "env:PLUGIN_EMPTY",
    "secret:api-token", "state",
]
"""
"""What plugins on our host get of what they ask for. The reference asks nobody."""

pytestmark = pytest.mark.parametrize("transport", [pytest.param("nats", marks=pytest.mark.nats)], indirect=True)


@pytest.fixture(scope="module")
def reference(transport, tmp_path_factory):
    opened = Reference(transport, tmp_path_factory.mktemp("reference"), VARIABLES)
    yield opened
    opened.close_all()


@pytest.fixture(scope="module")
def mortise(transport, tmp_path_factory, authority):
    folder = tmp_path_factory.mktemp("mortise")
    policy = folder / "policy.toml"
    policy.write_text(POLICY.format(authority=authority.path))
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "api-token").write_text("a secret of the operator")
    host = Mortise(transport, folder, VARIABLES, ["--policy", policy, "--secrets-dir", secrets])
    yield host
    host.host.kill()


@pytest.fixture(params=["reference", "mortise"])
def host(request, transport):
    return request.getfixturevalue(request.param)


@pytest.fixture
def serve(host):
    """Loads a plugin and gives the side that serves it; it is gone after the test."""
    sides = []

    def load(plugin, packages=()):
        sides.append(host.open(plugin, packages))
        return sides[-1]

    yield load
    for side in reversed(sides):
        host.close(side)


@pytest.mark.parametrize("plugin", sorted(path.stem for path in RECORDED.glob("*.json")))
def test_schemas_and_answers_are_the_reference_s(plugin, host, serve):
    path = RECORDED / f"{plugin}.json"
    recorded = json.loads(path.read_text())
    side = serve(plugin)
    if os.environ.get("INTEROP_RECORD") and host.name == "reference":
        path.write_text(record(side, recorded["calls"]))
        return
    for kind in ("functions", "events"):
        assert sorted(side.described[kind]) == sorted(recorded[kind])
    assert side.described["routines"] == recorded["routines"]
    for kind in ("functions", "events"):
        for name, expected in recorded[kind].items():
            assert side.described[kind][name] == expected, f"{kind} {name}"
    for call in recorded["calls"]:
        expected = {key: call[key] for key in call if key in ("result", "error")}
        assert side.outcome(call["call"], call["params"]) == expected, call
        assert side.events(len(call.get("events", []))) == call.get("events", []), call
    # Routines emit at any time.
    assert side.described["routines"] or side.further_events() == []


def record(side, calls):
    """The file's text: what the plugin brings, and each call with how it ended and what it emitted."""
    lines = []
    for call in calls:
        answered = {"call": call["call"], "params": call["params"]} | side.outcome(call["call"], call["params"])
        # Nothing says how many there will be.
        time.sleep(0.2)
        if emitted := side.further_events():
            answered["events"] = side.events(len(emitted))
        lines.append(json.dumps(answered, ensure_ascii=False))
    described = json.dumps(side.described, indent=1, ensure_ascii=False)
    return described.removesuffix("\n}") + ',\n "calls": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"


def test_routines_keep_their_cadence(serve):
    side = serve("routines")
    wait_for(lambda: min(map(len, side.call("ticks").values())) >= 8, 15, "every routine has run eight times")
    gaps = {name: [later - earlier for earlier, later in pairwise(began)] for name, began in side.call("ticks").items()}

    def typical(name):
        return sorted(gaps[name])[len(gaps[name]) // 2]

    # One interval from beginning to beginning; from end to beginning; and at once after one that took longer.
    for name in ("steady", "failing", "plain", "unstarted"):
        assert 0.18 < typical(name) < 0.28, (name, gaps[name])
    assert 0.28 < typical("resting") < 0.38, gaps["resting"]
    assert 0.28 < typical("slow") < 0.38, gaps["slow"]
    # What `start` emits goes out too, and first.
    assert side.events(3) == [["begun", {}], ["ticked", {"count": 1}], ["ticked", {"count": 2}]]


def test_functions_see_who_calls(serve):
    side = serve("callers")

    def called_by(caller, function, **params):
        return side.call(function, **params, _dc_meta={"source_device": caller, "source_type": "device"})

    assert called_by("robot-1", "whoami") == "robot-1"
    # One function that calls another is nobody to it.
    assert called_by("robot-1", "through_another") == ["robot-1", None, "robot-1"]
    assert called_by("robot-1", "after_waiting") == ["robot-1"] * 3
    assert called_by("robot-1", "in_task") == "robot-1"
    assert called_by("robot-1", "takes_it") == "default"
    assert called_by("robot-1", "takes_all", source_device="robot-2", a=1) == {"a": 1}
    assert called_by("robot-1", "whoami", source_device="robot-2") == "robot-1"
    assert side.call("whoami") is None
    assert side.call("unset") == [None, "unset"]
    assert side.call("device_is") == [side.device, side.wire.tenant]


def test_functions_call_those_of_other_devices(serve, reference):
    side = serve("composite")
    other = reference.open("composite")
    try:
        device, double, fail = other.device, "composite.double", "composite.fail"
        assert side.call("result_of", device_id=device, name=double, params={"value": 4}) == {"result": 8}
        assert side.call("result_of", device_id=device, name="fail", params={"text": "no"}) == {
            "message": "no",
            "code": -32000,
        }
        assert side.call("result_of", device_id=device, name=fail, params={}) == {
            "message": "Composite.fail() missing 1 required positional argument: 'text'",
            "code": -32000,
        }
        unknown = side.call("result_of", device_id=device, name="nowhere", params={})
        assert unknown == {"message": "Unknown method: nowhere", "code": -32601}
        assert side.call("many", device_id=device, name=double, count=5) == [0, 2, 4, 6, 8]
        assert side.call("impatient", device_id=device, name="composite.slow") != "answered"
    finally:
        reference.close(other)


def test_functions_see_the_environment(serve):
    side = serve("surroundings")
    assert side.call("greeting") == ["hello", "hello", ""]
    assert side.call("missing_variable") == ["'PLUGIN_NOT_THERE'", False, "default"]
    first, second = side.call("random_values"), side.call("random_values")
    assert first[0] != second[0] and first[1] != second[1]


REQUESTS = ("requests", "urllib3", "charset_normalizer", "idna", "certifi")
HTTPX = ("httpx", "httpcore", "h11", "anyio", "idna", "certifi", "typing_extensions")


@pytest.fixture(scope="module")
def site():
    """Without TLS, which the reference could not be made to trust."""
    server = WebServer()
    server.serve("/ok", Answer(b"fine", headers={"X-Kind": "plain"}))
    server.serve("/json", Answer(b'{"a": [1, 2]}', headers={"Content-Type": "application/json"}))
    server.serve("/pieces", Answer(b"in pieces", sized=False))
    server.serve("/broken", Answer(b"no", status=500))
    server.serve("/moved", Answer(status=302, headers={"Location": "/ok"}))
    yield server
    server.close()


def test_urllib(serve, site):
    side = serve("web-clients")

    def url(path):
        return site.url(path, "127.0.0.1")

    assert side.call("urllib_get", url=url("/ok")) == [200, "plain", "fine"]
    assert side.call("urllib_get", url=url("/moved")) == [200, "plain", "fine"]
    assert side.call("urllib_get", url=url("/pieces")) == [200, None, "in pieces"]
    assert side.call("urllib_json", url=url("/json")) == {"a": [1, 2]}
    assert side.call("urllib_error", url=url("/broken")) == ["HTTPError", 500, "no"]
    assert side.call("urllib_in_thread", url=url("/ok")) == "fine"
    assert side.call("urllib_refused", url="http://127.0.0.1:1/") == "URLError"


def test_requests(serve, site):
    side = serve("web-clients", REQUESTS)
    assert side.call("requests_get", url=site.url("/ok", "127.0.0.1")) == [200, "plain", "fine", True]
    assert side.call("requests_get", url=site.url("/moved", "127.0.0.1")) == [200, "plain", "fine", True]
    assert side.call("requests_error", url=site.url("/broken", "127.0.0.1")) == "HTTPError 500"


def test_httpx(serve, site):
    side = serve("web-clients", HTTPX)
    assert side.call("httpx_get", url=site.url("/ok", "127.0.0.1")) == [200, "plain", "fine"]
    assert side.call("httpx_sync", url=site.url("/ok", "127.0.0.1")) == [200, "fine"]
    assert side.call("httpx_error", url=site.url("/broken", "127.0.0.1")) == "HTTPStatusError 500"
    assert side.call("httpx_gather", url=site.url("/ok", "127.0.0.1"), count=8) == [200] * 8


@pytest.fixture
def slow(site):
    """The URL of what is answered after two seconds: longer than a client here waits, and sooner than a turn ends."""
    site.serve("/slow", Answer(gate=threading.Barrier(2, timeout=2)))
    return site.url("/slow", "127.0.0.1")


@pytest.mark.parametrize(
    ("client", "packages", "raised"),
    [
        ("urllib", (), "TimeoutError"),
        ("requests", REQUESTS, "ReadTimeout"),
        ("httpx", HTTPX, "ReadTimeout"),
    ],
)
def test_a_client_gives_up_in_its_own_words(client, packages, raised, serve, site, slow):
    side = serve("web-clients", packages)
    assert side.call(f"{client}_impatient", url=slow, seconds=0.3) == raised
    assert side.call("urllib_get", url=site.url("/ok", "127.0.0.1")) == [200, "plain", "fine"]


# What this host does where the reference does nothing, or does it wrong.


def test_the_stand_in_of_aiohttp_gives_up_too(mortise, site, slow):
    side = mortise.open("web-clients")
    try:
        assert side.call("aiohttp_impatient", url=slow, seconds=0.3) == "TimeoutError"
        assert side.call("aiohttp_get", url=site.url("/ok", "127.0.0.1")) == [200, "plain", "fine"]
    finally:
        mortise.close(side)


@pytest.mark.parametrize(("client", "packages"), [("httpx", HTTPX), ("aiohttp", ())])
def test_calls_that_wait_for_a_server_overlap(client, packages, mortise, site):
    # It answers once both calls are with it, and neither if it never sees the second.
    site.serve("/both", Answer(b"met", headers={"X-Kind": "plain"}, gate=threading.Barrier(2, timeout=4)))
    url = site.url("/both", "127.0.0.1")
    side = mortise.open("web-clients", packages)
    try:
        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(lambda _: side.call(f"{client}_get", url=url), range(2)))
        assert answers == [[200, "plain", "met"]] * 2
    finally:
        mortise.close(side)


@pytest.fixture
def own(mortise):
    side = mortise.open("with-tenon")
    yield side
    mortise.close(side)


def test_own_decorators_take_more(own):
    functions = own.described["functions"]
    assert functions["bare"]["parameters"] == {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "string", "default": None}},
        "required": ["a"],
    }
    assert own.call("bare", a=1) == [1, None]
    assert own.call("not_async", a=4) == 5
    # What cannot be advertised is left out, and the function stays (wire contract 11, C17).
    assert functions["bad_label"]["labels"] == {"direction": "read", "modality": ["rgb"]}
    assert functions["bad_label"]["parameters"]["properties"] == {"default": {"type": "string"}}
    assert own.call("bad_label") == "object"
    # The reference fails where it summarises this for its log.
    assert own.call("number_keys") == {"a": {"1": 2}}
    # Names that collide with the reference's own (wire contract 3.5).
    assert own.request("reserved", {"function": "a", "function_name": "b"})["result"] == ["a", "b"]


def test_failures_carry_a_code(own):
    error = own.request("fail", {"retryable": True})["error"]
    assert (error["code"], error["message"]) == (-32000, "the motor is stuck")
    assert (error["data"]["code"], error["data"]["retryable"]) == ("stuck", True)
    assert own.request("not_async", {"b": 1})["error"]["data"]["code"] == "error"
    assert "not JSON compliant" in own.request("not_a_number")["error"]["message"]


def test_leaving_ends_the_call_and_nothing_else(own):
    for how in ("exit", "interrupt", "base"):
        assert own.request("leave", {"how": how})["error"]["message"] in ("3", "left")
        assert own.call("not_async") == 2


def test_own_words_reach_the_host(own, site):
    assert own.call("told", _dc_meta={"source_device": "robot-1"}) == ["K", True, "robot-1"]
    assert own.call("remember", key="k", value={"a": [1]}) == [{"a": [1]}, ["k", "raw"], [0, 255], "gone", ["raw"]]
    assert own.call("fetch", url=site.url("/ok", "127.0.0.1")) == [200, "plain", "fine"]
    refused = own.request("fetch_strictly", {"url": site.url("/broken", "127.0.0.1")})["error"]
    assert (refused["message"], refused["data"]["retryable"]) == ("the server answered with status 500", True)
    denied = own.request("fetch_strictly", {"url": "https://example.com/"})["error"]
    assert denied["data"]["code"] == "permission_denied" and "mortise deploy grant with-tenon" in denied["message"]
    assert own.call("through_host", a=3) == [3, None]
    assert isinstance(own.call("devices"), list)


def test_own_before_emit_holds_back_and_replaces(own):
    own.call("emit_levels", values=[-1, 1, 50, 101])
    assert own.events(3) == [["level", {"value": 1}], ["level", {"value": 50}], ["level", {"value": 100, "was": 101}]]
    assert own.further_events() == []


@pytest.mark.parametrize("seconds", [0, 0.2])
def test_a_task_left_behind_runs_without_another_call(own, seconds):
    assert own.call("leave_behind", value=7, seconds=seconds) == "left"
    assert own.events(1) == [["level", {"value": 7}]]


def test_clients_speak_tls_by_the_host(mortise, web):
    url = web.serve("/ok", Answer(b"fine", headers={"X-Kind": "plain"}))
    side = mortise.open("web-clients", {*REQUESTS, *HTTPX})
    try:
        assert side.call("urllib_get", url=url) == [200, "plain", "fine"]
        assert side.call("requests_get", url=url) == [200, "plain", "fine", True]
        assert side.call("httpx_get", url=url) == [200, "plain", "fine"]
        assert side.call("aiohttp_get", url=url) == [200, "plain", "fine"]
    finally:
        mortise.close(side)


@pytest.mark.parametrize(
    "source, told",
    [
        ("from device_connect_edge import buildRpcError", "there are CommissioningError, DeviceCapabilities"),
        ("from device_connect_edge import DeviceRuntime\nDeviceRuntime(driver=None)", "the host's is `self.device`"),
        ("from device_connect_edge.drivers import rcp", "there are DeviceDriver, before_emit"),
        ("import device_connect_edge.drivers.decorators as d\nd.rcp", "before_emit, build_event_schema"),
        ("from device_connect_edge.messaging import create_client", "there are device_connect_edge.device, device_connect_edge.drivers"),
    ],
)
def test_what_the_shim_lacks_is_told(mortise, source, told):
    manifest = {"id": "lacking", "class_name": "Lacking"}
    files = {
        "manifest.json": json.dumps(manifest).encode(),
        "capability.py": f"{source}\n\n\nclass Lacking:\n    def __init__(self, device=None):\n        pass\n".encode(),
    }
    answer = mortise.host.call("install_plugin_from_bundle", Bundle(tar_gz(files)).params(), limit=60)
    assert told in json.dumps(answer), answer
