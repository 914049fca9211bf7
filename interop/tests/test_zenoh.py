"""What only Zenoh can show: how queries and puts on `cmd` are served (wire contract 2.3 and 12, item 2)."""

import json
import time

import pytest
import zenoh

from peers.recorder import Recorder
from peers.waiting import wait_for
from peers.wire import NoReply

pytestmark = [pytest.mark.zenoh, pytest.mark.parametrize("transport", ["zenoh"], indirect=True)]

ASK = {"jsonrpc": "2.0", "id": "q-1", "method": "hello_world", "params": {"name": "query"}}
PAYLOAD = json.dumps(ASK).encode()
LIMIT = 8.0


def key(host):
    return host.wire.key(f"{host.device}.cmd")


def test_a_wildcard_query_is_answered_on_the_querys_own_key(shared_host):
    wildcard = shared_host.wire.key("*.cmd")
    (reply,) = shared_host.wire.query(wildcard, PAYLOAD, LIMIT)
    assert reply.key == wildcard
    assert reply.json() == {"jsonrpc": "2.0", "id": "q-1", "result": {"message": "Hello, query!"}}


@pytest.mark.parametrize(
    "options",
    [{}, {"target": zenoh.QueryTarget.ALL, "consolidation": zenoh.ConsolidationMode.NONE}],
    ids=["as-a-client", "as-a-peer"],
)
def test_a_query_gets_one_reply_and_is_final_at_once(shared_host, options):
    started = time.monotonic()
    replies = shared_host.wire.query(key(shared_host), PAYLOAD, LIMIT, **options)
    took = time.monotonic() - started
    assert [reply.key for reply in replies] == [key(shared_host)]
    # A query that is held open costs its caller the whole limit.
    assert took < LIMIT / 4, f"the query became final after {took:.1f} s"


def test_a_reply_has_the_reference_hosts_attributes(shared_host):
    (reply,) = list(shared_host.wire.session.get(key(shared_host), payload=PAYLOAD, timeout=LIMIT))
    sample = reply.ok
    assert str(sample.encoding) == "zenoh/bytes"
    assert sample.priority == zenoh.Priority.DATA
    assert sample.timestamp is None
    assert sample.attachment is None


def test_an_application_error_is_a_good_reply(shared_host):
    (reply,) = list(
        shared_host.wire.session.get(
            key(shared_host), payload=json.dumps(ASK | {"method": "nope"}).encode(), timeout=LIMIT
        )
    )
    assert reply.err is None
    assert json.loads(bytes(reply.ok.payload))["error"]["code"] == -32601


def test_a_query_without_a_payload_is_refused_and_final(shared_host):
    started = time.monotonic()
    (reply,) = shared_host.wire.query(key(shared_host), None, LIMIT)
    assert reply.json()["error"]["code"] == -32700
    assert time.monotonic() - started < LIMIT / 4


def test_a_query_without_an_id_becomes_final_without_a_reply(shared_host):
    started = time.monotonic()
    with pytest.raises(NoReply, match="without a reply"):
        shared_host.wire.query(key(shared_host), json.dumps({"method": "hello_world"}).encode(), LIMIT)
    assert time.monotonic() - started < LIMIT / 4


def test_a_put_executes_once_without_a_reply(shared_host):
    before = shared_host.call("get")
    everything = Recorder()
    # A host that answered would do so on a key of its own making, outside the tenant.
    subscriber = shared_host.wire.session.declare_subscriber(
        "**", lambda sample: everything.add(str(sample.key_expr), bytes(sample.payload))
    )
    put = {"jsonrpc": "2.0", "id": "put-1", "method": "increment", "params": {"by": 5}}
    shared_host.wire.publish(f"{shared_host.device}.cmd", json.dumps(put).encode())
    wait_for(lambda: shared_host.call("get") == before + 5, 5, "the put is executed")
    time.sleep(0.2)
    assert shared_host.call("get") == before + 5, "and executed once"
    subscriber.undeclare()
    seen = [m.subject for m in everything.messages() if b"put-1" in m.data]
    assert seen == [key(shared_host).replace("/", ".")], "the put itself and nothing else"


def test_nothing_answers_a_query_on_broadcast(shared_host):
    started = time.monotonic()
    with pytest.raises(NoReply, match="without a reply"):
        shared_host.wire.query(shared_host.wire.key("broadcast"), PAYLOAD, LIMIT)
    assert time.monotonic() - started < LIMIT / 4
