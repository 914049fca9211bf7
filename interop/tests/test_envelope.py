"""JSON-RPC on `cmd`: handling order, codes and texts (wire contract 3)."""

import json

import pytest

from peers.bundle import bundle_of
from peers.waiting import wait_for
from peers.wire import NoReply


def hello(**changes):
    return {"jsonrpc": "2.0", "id": "x-1", "method": "hello_world", "params": {"name": "wire"}} | changes


GREETING = {"message": "Hello, wire!"}


@pytest.mark.parametrize("request_id", ["text", "", 7, 0, -1, 2**53 + 1, 1.5, None], ids=repr)
def test_an_id_comes_back_as_it_was_sent(shared_host, request_id):
    reply = shared_host.send(hello(id=request_id))
    assert reply == {"jsonrpc": "2.0", "id": request_id, "result": GREETING}
    assert type(reply["id"]) is type(request_id)


def test_an_error_echoes_the_id_too(shared_host):
    for request_id in ("text", 7, None):
        reply = shared_host.send(hello(id=request_id, method="nope"))
        assert (reply["id"], reply["error"]["code"]) == (request_id, -32601)


def test_without_an_id_nothing_is_executed_and_nothing_answered(shared_host):
    before = count(shared_host)
    message = {"jsonrpc": "2.0", "method": "increment", "params": {}}
    with pytest.raises(NoReply):
        shared_host.wire.replies(shared_host.device, json.dumps(message).encode(), limit=1.0)
    assert count(shared_host) == before


def test_without_a_reply_address_it_is_executed(shared_host):
    before = count(shared_host)
    message = {"jsonrpc": "2.0", "id": "fire-and-forget", "method": "increment", "params": {}}
    shared_host.wire.publish(f"{shared_host.device}.cmd", json.dumps(message).encode())
    # Over Zenoh the two ways in are two subscriptions, so the next call may overtake it.
    wait_for(lambda: count(shared_host) == before + 1, 5, "the call without a reply address is executed")


def count(host):
    """The counter's value, without changing it."""
    return host.call("get")


def test_an_unknown_method(shared_host):
    assert shared_host.request("nope")["error"]["message"] == "Unknown method: nope"
    assert shared_host.request("hello-world.nope")["error"]["code"] == -32601
    missing = {key: value for key, value in hello().items() if key != "method"}
    assert shared_host.send(missing)["error"]["message"] == "Unknown method: None"


@pytest.mark.parametrize(
    ("method", "params", "phrase", "prefix"),
    [
        ("load_plugin", {}, "missing 1 required positional argument: 'plugin_id'", True),
        ("load_plugin", {"plugin_id": "x", "foo": 1}, "unexpected keyword argument 'foo'", True),
        ("get_status", {"foo": 1}, "unexpected keyword argument 'foo'", True),
        ("hello_world", {"bad": 1}, "unexpected keyword argument 'bad'", False),
    ],
)
def test_missing_and_unknown_parameters(shared_host, method, params, phrase, prefix):
    error = shared_host.request(method, params)["error"]
    assert error["code"] == -32000
    assert phrase in error["message"]
    # Only the host's own functions announce themselves (wire contract 3.3).
    assert error["message"].startswith(f"Error invoking {method}: ") == prefix, error


def test_null_parameters_are_none(shared_host):
    assert shared_host.send(hello(params=None))["result"] == {"message": "Hello, world!"}
    without = {key: value for key, value in hello().items() if key != "params"}
    assert shared_host.send(without)["result"] == {"message": "Hello, world!"}


@pytest.mark.parametrize("params", [[], ["wire"], 1, "name", True], ids=repr)
def test_parameters_that_are_no_object(shared_host, params):
    reply = shared_host.send(hello(params=params))
    assert (reply["id"], reply["error"]["code"]) == ("x-1", -32602)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not json",
        b"{",
        b'{"id":1}{"id":2}',
        b'{"id": NaN}',
        b"\xff\xfe",
        b'{"a":"\xff"}',
        b'{"id":1,"method":"get_status","a":"\xff"}',
    ],
    ids=repr,
)
def test_what_is_not_json(shared_host, payload):
    reply = shared_host.send(payload)
    assert (reply["id"], reply["error"]["code"]) == (None, -32700), reply


@pytest.mark.parametrize("value", [[], [1], "text", 1, None, True], ids=repr)
def test_json_that_is_no_request(shared_host, value):
    reply = shared_host.send(value)
    assert (reply["id"], reply["error"]["code"]) == (None, -32600), reply


def test_a_batch_is_refused_and_nothing_of_it_executed(shared_host):
    before = count(shared_host)
    call = {"jsonrpc": "2.0", "id": 1, "method": "increment", "params": {}}
    reply = shared_host.send([call, call | {"id": 2}])
    assert (reply["id"], reply["error"]["code"]) == (None, -32600)
    assert count(shared_host) == before


@pytest.mark.parametrize("version", ["1.0", 2, None], ids=repr)
def test_the_version_is_not_checked_in_requests(shared_host, version):
    assert shared_host.send(hello(jsonrpc=version)) == {"jsonrpc": "2.0", "id": "x-1", "result": GREETING}


@pytest.mark.parametrize(
    "meta",
    [
        {"source_device": "robot-001", "source_type": "device", "trace_id": "0123456789abcdef"},
        {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"},
        {"traceparent": "garbage", "tracestate": 7},
        {},
        None,
        "text",
        [1],
    ],
    ids=repr,
)
def test_no_function_sees_dc_meta(shared_host, meta):
    assert shared_host.send(hello(params={"name": "wire", "_dc_meta": meta}))["result"] == GREETING
    status = hello(method="get_status", params={"_dc_meta": meta})
    assert shared_host.send(status)["result"]["status"] == "success"


@pytest.mark.parametrize("claim", ["mallory", "", None, 7, {}], ids=repr)
def test_no_function_sees_the_claimed_caller_as_a_parameter(shared_host, claim):
    # Both spellings are consumed and neither fails a call (wire contract 3.5).
    assert shared_host.send(hello(params={"name": "wire", "source_device": claim}))["result"] == GREETING
    both = {"name": "wire", "source_device": claim, "_dc_meta": {"source_device": "robot-001"}}
    assert shared_host.send(hello(params=both))["result"] == GREETING


def test_a_function_may_ask_who_claims_to_call(host, edge):
    host.install(bundle_of("behave"))

    def caller(params):
        return host.call("surroundings", params)["caller"]

    assert caller({}) is None
    assert caller({"source_device": "mallory"}) == "mallory"
    assert caller({"_dc_meta": {"source_device": "robot-001"}}) == "robot-001"
    # What the runtime of the caller says wins over what the caller says (wire contract 3.5).
    assert caller({"source_device": "mallory", "_dc_meta": {"source_device": "robot-001"}}) == "robot-001"
    assert caller({}) is None, "a claim lasts for one call"
    assert edge.invoke(host.device, "surroundings")["result"]["caller"] == edge.device_id


def test_a_function_may_ask_for_the_trace_it_is_part_of(host):
    host.install(bundle_of("behave"))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced = host.call("surroundings", {"_dc_meta": {"traceparent": parent, "tracestate": "a=b"}})
    assert (traced["trace_parent"], traced["trace_state"]) == (parent, "a=b")


def test_an_edge_device_calls_a_plugin(shared_host, edge):
    reply = edge.invoke(shared_host.device, "hello_world", name="peer")
    assert reply["result"] == {"message": "Hello, peer!"}
    reply = edge.invoke(shared_host.device, "nope")
    assert reply["error"]["code"] == -32601


def test_request_registration_is_answered_and_cannot_be_taken_by_a_plugin(shared_host):
    result = shared_host.call("requestRegistration", {"anything": 1})
    assert result["device_id"] == shared_host.device
    assert result["device_ttl"] > 0
    names = [function["name"] for function in result["capabilities"]["functions"]]
    assert "hello_world" in names and "requestRegistration" not in names
