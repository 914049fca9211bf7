"""Raw clients: bytes to a device's `cmd` and bytes back, with nothing of the client libraries' own in between."""

import json
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass

import nats
import nats.errors
import zenoh

from peers.recorder import Recorder

PREFIX = "device-connect"


class NoReply(Exception):
    """The request ended without a reply."""


@dataclass(frozen=True)
class Reply:
    key: str
    """The subject or key that it came on."""
    data: bytes

    def json(self):
        return json.loads(self.data)


class Wire(ABC):
    """One client of the mesh. Its methods may be called from many threads at once."""

    def __init__(self, tenant):
        self.tenant = tenant

    @abstractmethod
    def replies(self, device, payload, limit=10.0):
        """Sends bytes to the device's `cmd` and returns every reply, at least one.

        Raises NoReply when the request ends without any.
        """

    @abstractmethod
    def publish(self, subject, payload):
        """Publishes below the tenant, without an address for a reply."""

    @abstractmethod
    def subscribe(self, subject):
        """Records what is published on a subject below the tenant."""

    @abstractmethod
    def close(self):
        """Ends the connection."""

    def request(self, device, message, limit=10.0):
        """One request, one reply, as JSON."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        replies = self.replies(device, payload, limit)
        assert len(replies) == 1, f"one request, {len(replies)} replies: {replies}"
        return replies[0].json()


class NatsWire(Wire):
    def __init__(self, loop, tenant, url):
        super().__init__(tenant)
        self._loop = loop
        self._connection = loop.run(nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.2))

    def _subject(self, tail):
        return f"{PREFIX}.{self.tenant}.{tail}"

    def replies(self, device, payload, limit=10.0):
        try:
            reply = self._loop.run(
                self._connection.request(self._subject(f"{device}.cmd"), payload, timeout=limit), limit + 5
            )
        except (nats.errors.TimeoutError, nats.errors.NoRespondersError) as error:
            raise NoReply(str(error)) from error
        return [Reply(reply.subject, reply.data)]

    def publish(self, subject, payload):
        async def publish():
            await self._connection.publish(self._subject(subject), payload)
            await self._connection.flush()

        self._loop.run(publish())

    def subscribe(self, subject):
        recorder = Recorder()

        async def record(message):
            recorder.add(message.subject, message.data)

        async def subscribe():
            await self._connection.subscribe(self._subject(subject), cb=record)
            await self._connection.flush()

        self._loop.run(subscribe())
        return recorder

    def close(self):
        self._loop.run(self._connection.close())


def peer_config():
    """What the published clients hand to Zenoh when there is no router (wire contract 2.3)."""
    autoconnect = {"router": ["peer", "router"], "peer": ["router", "peer"]}
    return zenoh.Config.from_json5(
        json.dumps(
            {
                "mode": "peer",
                "scouting": {
                    "multicast": {"enabled": True, "autoconnect": autoconnect},
                    "gossip": {"enabled": True, "multihop": False, "autoconnect": autoconnect},
                },
            }
        )
    )


class ZenohWire(Wire):
    def __init__(self, tenant):
        super().__init__(tenant)
        self.session = zenoh.open(peer_config())
        self._subscribers = []
        self._lock = threading.Lock()

    def key(self, subject):
        """The key expression of a dotted subject below the tenant (wire contract 2.2)."""
        dotted = f"{PREFIX}.{self.tenant}.{subject}"
        return dotted.replace(".", "/").replace("/>", "/**")

    def replies(self, device, payload, limit=10.0):
        # As a brokerless client asks: everybody, and every answer (wire contract 2.3).
        return self.query(
            self.key(f"{device}.cmd"),
            payload,
            limit,
            target=zenoh.QueryTarget.ALL,
            consolidation=zenoh.ConsolidationMode.NONE,
        )

    def query(self, key, payload, limit=10.0, **options):
        """Every reply to a query; it returns when the query is final, so a query held open costs the whole limit."""
        replies = []
        for reply in self.session.get(key, payload=payload, timeout=limit, **options):
            if reply.ok is None:
                raise NoReply(f"error reply: {bytes(reply.err.payload)!r}")
            replies.append(Reply(str(reply.ok.key_expr), bytes(reply.ok.payload)))
        if not replies:
            raise NoReply("the query ended without a reply")
        return replies

    def publish(self, subject, payload):
        self.session.put(self.key(subject), payload)

    def subscribe(self, subject):
        recorder = Recorder()
        subscriber = self.session.declare_subscriber(
            self.key(subject), lambda sample: recorder.add(str(sample.key_expr), bytes(sample.payload))
        )
        with self._lock:
            self._subscribers.append(subscriber)
        return recorder

    def close(self):
        self.session.close()
