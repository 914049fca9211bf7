"""The two ways onto the mesh. Every test that runs over both takes one of these."""

import os
from dataclasses import dataclass, field

from peers.broker import Broker
from peers.loop import LoopThread
from peers.wire import NatsWire, Wire, ZenohWire

TENANT = "interop"


@dataclass
class Transport:
    name: str
    loop: LoopThread
    wire: Wire
    host_arguments: list
    """What the host's command line needs to get onto this transport."""
    deploy_arguments: list
    """The same for `mortise deploy`."""
    client_environment: dict
    """What the published clients read to get onto it."""
    urls: list = field(default_factory=list)
    broker: Broker | None = None

    def close(self):
        self.wire.close()
        if self.broker:
            self.broker.stop()


def open_nats(loop, config=None):
    """`config`: a file of settings for the broker."""
    broker = Broker(config)
    try:
        broker.start()
        wire = NatsWire(loop, TENANT, broker.url)
    except BaseException:
        # Nobody gets a transport to close.
        broker.stop()
        raise
    return Transport(
        name="nats",
        loop=loop,
        wire=wire,
        host_arguments=[
            "--messaging-backend",
            "nats",
            "--messaging-url",
            broker.url,
            "--discovery-mode",
            "d2d",
            "--allow-insecure",
        ],  # fmt: skip
        deploy_arguments=["--messaging-url", broker.url, "--tenant", TENANT],
        client_environment={
            "MESSAGING_BACKEND": "nats",
            "NATS_URL": broker.url,
            "DEVICE_CONNECT_DISCOVERY_MODE": "d2d",
            "DEVICE_CONNECT_ALLOW_INSECURE": "1",
            "TENANT": TENANT,
        },
        urls=[broker.url],
        broker=broker,
    )


def open_zenoh(loop):
    if os.environ.get("INTEROP_NETNS") != "1":
        raise AssertionError(
            "the Zenoh half scouts on every network interface: run it through `cargo xtask interop`, which gives it a "
            "network namespace of its own and sets INTEROP_NETNS=1, or leave it out with `-m nats`"
        )
    return Transport(
        name="zenoh",
        loop=loop,
        wire=ZenohWire(TENANT),
        host_arguments=["--zenoh-scouting-interface", "lo"],
        deploy_arguments=["--messaging-backend", "zenoh", "--zenoh-scouting-interface", "lo", "--tenant", TENANT],
        client_environment={
            "MESSAGING_BACKEND": "zenoh",
            "DEVICE_CONNECT_DISCOVERY_MODE": "d2d",
            "DEVICE_CONNECT_ALLOW_INSECURE": "1",
            "TENANT": TENANT,
        },
    )


OPEN = {"nats": open_nats, "zenoh": open_zenoh}
