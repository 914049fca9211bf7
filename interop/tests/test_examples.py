"""The examples of `examples/` that are there in several languages: each does the same, whatever it is written in."""

import json
import os

import pytest
from device_connect_edge.drivers import DeviceDriver, rpc
from device_connect_edge.types import DeviceIdentity, DeviceStatus

from peers.bundle import Bundle, files_of, tar_gz
from peers.edge import EdgeDevice
from peers.host import ROOT, CallError
from peers.waiting import wait_for
from peers.web import Answer, WebServer

LANGUAGES = ["python", "rust", "javascript"]
POLICY = """
[http]
networks = ["127.0.0.1", "::1"]

[[plugin]]
id = "*"
grant = ["http:http://localhost:*", "plugins:*", "mesh.invoke:*", "state"]
"""
TIDES = [
    {"time": "2026-11-23T04:10:00Z", "type": "high", "height": 6.1},
    {"time": "2026-11-23T10:31:00Z", "type": "low", "height": 1.25},
    {"time": "2026-11-23T16:40:00Z", "type": "high", "height": 5.9},
]
FROZEN = "Error invoking get_level: the gauge is frozen"
"""How the edge SDK tells what a function raises."""

pytestmark = pytest.mark.parametrize("transport", [pytest.param("nats", marks=pytest.mark.nats)], indirect=True)


class Harbour(DeviceDriver):
    """A gauge and a sign."""

    device_type = "harbour"

    def __init__(self):
        super().__init__()
        self.level = None
        self.shown = []

    @property
    def identity(self):
        return DeviceIdentity(device_type="harbour", manufacturer="Interop", model="Harbour")

    @property
    def status(self):
        return DeviceStatus(availability="idle")

    async def connect(self):
        pass

    async def disconnect(self):
        pass

    @rpc()
    async def get_level(self) -> dict:
        """Tells the level of the water."""
        if self.level is None:
            raise ValueError("the gauge is frozen")
        return {"level": self.level}

    @rpc()
    async def show(self, text: str) -> dict:
        """Shows a text."""
        self.shown.append(text)
        return {}


@pytest.fixture(params=LANGUAGES)
def language(request):
    return request.param


@pytest.fixture
def web():
    server = WebServer()
    yield server
    server.close()


@pytest.fixture
def harbour(transport):
    device = EdgeDevice(transport, f"gauge-{os.getpid()}", Harbour())
    yield device
    device.stop()


@pytest.fixture
def host(start_host, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    runners = os.environ.get("MORTISE_RUNNERS") or ROOT / "target/runners"
    return start_host(arguments=["--policy", policy, "--runners-dir", runners])


def example(plugin, language, config, permissions):
    """A bundle of the example, as it is but for where its other side is."""
    if language == "rust":
        files = files_of(plugin)
    else:
        folder = ROOT / "examples" / plugin / language
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    manifest = json.loads(files["manifest.json"])
    assert manifest["config"].keys() >= config.keys() and manifest["permissions"].keys() == permissions.keys()
    manifest |= {"config": manifest["config"] | config, "permissions": permissions}
    return Bundle(tar_gz(files | {"manifest.json": json.dumps(manifest).encode()}))


def install_tides(host, language, web):
    service = web.url("").rstrip("/")
    host.install(example("tides", language, {"service": service}, {"http": [f"GET {service}"]}))


def install_water_level(host, language, harbour):
    asked = {"mesh": {"invoke": ["gauge-*/get_level"]}, "state": True}
    host.install(example("water-level", language, {"gauge": harbour.device_id, "limit": 4.0}, asked))


def serve(web, station, *tides):
    answer = Answer(json.dumps({"tides": tides}).encode(), headers={"Content-Type": "application/json"})
    web.serve(f"/stations/{station}/tides", answer)


def refused(host, function, params, retryable=False):
    """The code and the text of a call that fails."""
    with pytest.raises(CallError) as raised:
        host.call(function, params)
    assert raised.value.error["data"]["retryable"] is retryable
    return raised.value.error["data"]["code"], raised.value.message


def test_tides_are_read_from_a_web_service(host, agent, language, web):
    agent.device(host.device)
    install_tides(host, language, web)
    serve(web, "dover", *(tide | {"datum": "chart"} for tide in TIDES))
    assert host.call("next_tides", {"station": "dover"}) == {"station": "dover", "tides": TIDES[:2]}
    assert host.call("next_tides", {"station": "dover", "count": 3})["tides"] == TIDES
    wait_for(lambda: "next_tides" in agent.functions(host.device), 5, "the agent sees the function")
    function = agent.functions(host.device)["next_tides"]
    assert function["description"] == "Tells the next tides of a station."
    assert function["parameters"] == {
        "type": "object",
        "properties": {
            "station": {"type": "string", "description": "The station, as the service names it."},
            "count": {"type": "integer", "default": 2, "description": "How many, at most 10."},
        },
        "required": ["station"],
    }

    web.serve("/stations/broken/tides", Answer(b"<html>"))
    web.serve("/stations/busy/tides", Answer(status=503))
    assert refused(host, "next_tides", {"station": "../x"}) == (
        "invalid_station",
        "`../x` is no station: small letters, digits and `-` name one",
    )
    assert refused(host, "next_tides", {"station": "dover", "count": 11})[0] == "invalid_count"
    assert refused(host, "next_tides", {"station": "atlantis"}) == (
        "unknown_station",
        "the service knows no station `atlantis`",
    )
    busy = refused(host, "next_tides", {"station": "busy"}, retryable=True)
    assert busy == ("http_status", "the server answered with status 503")
    assert refused(host, "next_tides", {"station": "broken"})[0] == "invalid_answer"


def test_what_is_not_granted_is_denied_alike(host, language):
    service = "http://tides.test"
    host.install(example("tides", language, {"service": service}, {"http": [f"GET {service}"]}))
    code, told = refused(host, "next_tides", {"station": "dover"})
    assert code == "permission_denied" and "mortise deploy grant tides" in told, told


def test_high_water_is_told_once_and_the_record_outlives_a_reload(host, agent, language, harbour):
    agent.device(host.device)
    seen = host.wire.subscribe(f"{host.device}.event.high_water")
    install_water_level(host, language, harbour)
    readings = {"level": None, "problem": FROZEN, "highest": None, "alarms": 0}
    wait_for(lambda: host.call("get_readings") == readings, 10, "the gauge's problem is told")
    for level, highest, alarms in ((3.5, 3.5, 0), (4.5, 4.5, 1), (4.25, 4.5, 1), (3.0, 4.5, 1), (5.0, 5.0, 2)):
        harbour.driver.level = level
        readings = {"level": level, "problem": None, "highest": highest, "alarms": alarms}
        wait_for(lambda: host.call("get_readings") == readings, 10, f"{readings}")
    told = [message.json()["params"] for message in wait_for(seen.messages, 5, "the events")]
    assert [(event["level"], event["limit"]) for event in told] == [(4.5, 4.0), (5.0, 4.0)]

    wait_for(lambda: "high_water" in agent.events(host.device), 5, "the agent sees the event")
    event = agent.events(host.device)["high_water"]
    assert event["description"] == "The water has risen above the limit."
    assert event["payload_schema"] == {
        "type": "object",
        "properties": {
            "level": {"type": "number", "description": "Where it is, in metres."},
            "limit": {"type": "number", "description": "What it is above."},
        },
        "required": ["level", "limit"],
    }

    harbour.driver.level = None
    assert host.call("reload_plugin", {"plugin_id": "water-level"})["status"] == "success"
    readings = {"level": None, "problem": FROZEN, "highest": 5.0, "alarms": 2}
    wait_for(lambda: host.call("get_readings") == readings, 10, "the record is kept")


def test_a_report_puts_other_plugins_and_a_device_together(host, language, harbour, web):
    install_tides(host, language, web)
    install_water_level(host, language, harbour)
    asked = {"plugins": ["tides.next_tides", "water-level.get_readings"], "mesh": {"invoke": ["gauge-*/show"]}}
    host.install(example("harbour-report", language, {"sign": harbour.device_id}, asked))
    serve(web, "dover", *TIDES)
    serve(web, "still")
    harbour.driver.level = 3.25
    wait_for(lambda: host.call("get_readings")["level"] == 3.25, 10, "the gauge was asked")
    harbour.driver.level = 3.2
    wait_for(lambda: host.call("get_readings")["level"] == 3.2, 10, "the gauge was asked again")
    text = "high water 2026-11-23T04:10:00Z, level 3.2 m"
    assert host.call("report", {"station": "dover"}) == {"text": text, "tide": TIDES[0], "level": 3.2}
    assert harbour.driver.shown == [text]
    harbour.driver.level = None
    wait_for(lambda: host.call("get_readings")["level"] is None, 10, "the gauge's problem was seen")
    assert host.call("report", {"station": "dover"})["text"] == "high water 2026-11-23T04:10:00Z, level unknown"
    assert refused(host, "report", {"station": "still"}) == ("no_tide", "no tide of `still` is known")
    assert "the service knows no station `atlantis`" in refused(host, "report", {"station": "atlantis"})[1]
    assert len(harbour.driver.shown) == 2
