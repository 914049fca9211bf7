import base64
import csv
import dataclasses
import datetime
import decimal
import hashlib
import io
import itertools
import json
import logging
import math
import os
import random
import re
import statistics
import string
import struct
import textwrap
import time
import urllib.parse
import uuid
import zlib
from pathlib import Path

from device_connect_edge.drivers import rpc
from device_connect_edge.types import DeviceIdentity, DeviceState, DeviceStatus, is_valid_event_name

logger = logging.getLogger(__name__)
GREETING = os.environ.get("PLUGIN_GREETING", "no greeting")


class Surroundings:
    def __init__(self, device=None):
        manifest = json.loads((Path(__file__).parent / "manifest.json").read_text())
        self.config = manifest["config"]

    @rpc()
    async def greeting(self) -> list:
        return [GREETING, os.environ.get("PLUGIN_GREETING"), os.getenv("PLUGIN_EMPTY", "default")]

    @rpc()
    async def missing_variable(self) -> list:
        try:
            os.environ["PLUGIN_NOT_THERE"]
        except KeyError as error:
            return [str(error), "PLUGIN_NOT_THERE" in os.environ, os.getenv("PLUGIN_NOT_THERE", "default")]

    @rpc()
    async def settings(self) -> dict:
        return self.config

    @rpc()
    async def library(self) -> list:
        logger.info("at work")
        print("printed")
        return [
            base64.b64encode(b"abc").decode(),
            hashlib.sha256(b"abc").hexdigest(),
            hashlib.md5(b"abc").hexdigest(),
            zlib.decompress(zlib.compress(b"abc")).decode(),
            list(csv.reader(io.StringIO("a,b\n1,2\n"))),
            str(decimal.Decimal("0.1") + decimal.Decimal("0.2")),
            datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC).isoformat(),
            datetime.datetime.fromisoformat("2026-01-02T03:04:05+02:00").timestamp(),
            statistics.median([3, 1, 2]),
            struct.pack(">I", 7).hex(),
            re.sub(r"(\w+)@(\w+)", r"\2", "a@b"),
            urllib.parse.urlencode({"a": "b c"}),
            str(uuid.UUID(int=1)),
            [list(each) for each in itertools.pairwise([1, 2, 3])],
            round(math.tau, 6),
            textwrap.shorten("a b c d e", 5),
            string.Template("$a").substitute(a=1),
            time.strftime("%Y", time.gmtime(0)),
        ]

    @rpc()
    async def random_values(self) -> list:
        return [random.random(), uuid.uuid4().hex]

    @rpc()
    async def types(self) -> list:
        @dataclasses.dataclass
        class Kept:
            state: DeviceState = DeviceState.ONLINE

        identity = DeviceIdentity(device_type="camera", resolution="4k")
        status = DeviceStatus(availability="busy", battery=80)
        return [
            Kept().state, identity.device_type, identity.resolution, identity.manufacturer, status.availability,
            status.battery, status.online, identity.model_dump(), is_valid_event_name("a b"), sorted(status.model_dump()),
        ]  # fmt: skip
