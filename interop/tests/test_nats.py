"""What only NATS can show: the broker goes away and comes back."""

import time

import pytest

from peers.bundle import bundle_of
from peers.host import Host
from peers.transport import open_nats
from peers.waiting import wait_for
from peers.wire import NatsWire, NoReply

pytestmark = pytest.mark.nats


def test_calls_work_again_within_five_seconds_of_a_broker_restart(loop, tmp_path):
    transport = open_nats(loop)
    host = Host(transport, tmp_path)
    try:
        host.start()
        host.install(bundle_of("hello-world"))
        for outage in (0.2, 2.5):
            host.wire.close()
            transport.broker.kill()
            time.sleep(outage)
            transport.broker.start()
            back = time.monotonic()
            host.wire = NatsWire(loop, host.wire.tenant, transport.broker.url)

            def answers():
                try:
                    return host.call("hello_world", {"name": "back"}, limit=0.5)
                except NoReply:
                    return None

            assert wait_for(answers, 5, "calls work again") == {"message": "Hello, back!"}
            print(f"broker away for {outage} s: calls work {time.monotonic() - back:.2f} s after it is back")
            # The other subscriptions and publications came back too.
            presence = host.wire.subscribe(f"{host.device}.presence")
            host.wire.publish("discovery.probe", b"{}")
            presence.wait(lambda m: m.get("d2d"), 2, "an answer to a probe")
            events = host.wire.subscribe(f"{host.device}.event.>")
            host.call("reload_plugin", {"plugin_id": "hello-world"})
            events.wait(lambda m: m["method"] == "plugin_loaded", 2, "an event")
        host.stop()
        host.wire.close()
    finally:
        host.kill()
        transport.broker.stop()


def test_a_host_without_its_broker_still_stops_in_time(loop, tmp_path):
    transport = open_nats(loop)
    host = Host(transport, tmp_path)
    try:
        host.start()
        host.wire.close()
        transport.broker.kill()
        host.stop()
    finally:
        host.kill()
        transport.broker.stop()
