import collections
import dataclasses
import enum
from typing import NamedTuple

from device_connect_edge.drivers import rpc


class Pair(NamedTuple):
    a: int
    b: str


class Colour(str, enum.Enum):
    RED = "red"


class Results:
    def __init__(self, device=None):
        pass

    @rpc()
    async def echo(self, value=None):
        return value

    @rpc()
    async def scalars(self):
        return [None, True, False, 0, -1, 2**70, 1.5, 1e300, -0.0, "", "ä€😀\u2028\x00\"\\/"]

    @rpc()
    async def containers(self):
        return {"tuple": (1, 2), "nested": [[], {}, [{}]], "pair": Pair(1, "x"), "colour": Colour.RED, "order": {"z": 1, "a": 2}}

    @rpc()
    async def keys(self):
        return [{1: "a", None: "b", True: "c", 1.5: "d"}]

    @rpc()
    async def mappings(self):
        return [collections.OrderedDict(b=1, a=2), collections.defaultdict(list, x=[1]), collections.Counter("aab")]

    @rpc()
    async def dataclass_as_dict(self):
        @dataclasses.dataclass
        class Point:
            x: int = 1
            y: int = 2

        return dataclasses.asdict(Point())

    @rpc()
    async def large(self, count: int):
        return list(range(count))
