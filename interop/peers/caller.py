"""The published edge SDK's own connection, used as the reference's deploy CLI uses it: for plain requests."""

import json
import uuid

from device_connect_edge.messaging import create_client
from device_connect_edge.messaging.exceptions import PublishError, RequestTimeoutError

from peers.waiting import wait_for

NOBODY = (PublishError, RequestTimeoutError)
"""What a request ends in that reached nobody yet."""


class Caller:
    """One connection. Request ids are `d2d-` and 12 hex digits, and there is no `_dc_meta` (wire contract 10.11)."""

    def __init__(self, transport):
        self._transport = transport
        self._client = create_client(transport.name)
        transport.loop.run(self._client.connect(servers=transport.urls))

    def close(self):
        self._transport.loop.run(self._client.close())

    def await_device(self, device, limit=10.0):
        """Without a broker, a connection has to find the device before it can ask it anything."""

        def answers():
            try:
                return self.reply(device, "get_status", limit=2.0)
            except NOBODY:
                return None

        wait_for(answers, limit, f"{device} answers a new connection")
        return self

    def reply(self, device, method, params=None, limit=30.0):
        """Sends one request and returns the whole reply."""
        request = {
            "jsonrpc": "2.0",
            "id": f"d2d-{uuid.uuid4().hex[:12]}",
            "method": method,
            "params": params or {},
        }
        subject = f"device-connect.{self._transport.wire.tenant}.{device}.cmd"
        data = self._transport.loop.run(
            self._client.request(subject, json.dumps(request).encode(), timeout=limit), limit + 5
        )
        reply = json.loads(data)
        assert (reply["jsonrpc"], reply["id"]) == ("2.0", request["id"]), reply
        return reply

    def call(self, device, method, params=None, limit=30.0):
        """Sends one request, which must have a result, and returns that."""
        reply = self.reply(device, method, params, limit)
        assert "error" not in reply, reply
        return reply["result"]
