from enum import Enum, IntEnum
from typing import Any, Dict, List, Optional

from device_connect_edge.drivers.decorators import rpc


class Unit(str, Enum):
    CELSIUS = "C"


class Size(IntEnum):
    SMALL = 1


class Arguments:
    def __init__(self, device=None):
        self.calls = 0

    @rpc()
    async def defaults(
        self,
        text: str = "x",
        number: int = 0,
        ratio: float = 1.5,
        flag: bool = True,
        items: List[int] = [1, 2],
        table: Dict[str, Any] = {"a": {"b": [1, None]}},
        nothing: Optional[str] = None,
        unit: Unit = Unit.CELSIUS,
        size: Size = Size.SMALL,
        pair: tuple = (1, 2),
        letters: str = "ä\u2028\"",
    ) -> dict:
        return {"text": text, "number": number, "ratio": ratio, "flag": flag, "items": items, "table": table, "nothing": nothing}

    @rpc()
    async def one(self, a: int) -> int:
        return a

    @rpc()
    async def named(self, temperature: float = 0.0) -> float:
        return temperature

    @rpc()
    async def three(self, a: int, b: int, c: int) -> int:
        return a + b + c

    @rpc()
    async def keyword_only(self, *, a: int, b: int = 2) -> list:
        return [a, b]

    @rpc()
    async def any_number(self, a: int, *args: int, **kw: str) -> list:
        return [a, list(args), kw]

    @rpc()
    async def positional_only(self, a: int = 1, /, b: int = 2) -> list:
        return [a, b]

    @rpc()
    async def everything(self, **params) -> dict:
        return params

    @rpc()
    async def nested(self, payload: Dict[str, Any], rows: List[Dict[str, int]]) -> dict:
        payload["rows"] = [sum(row.values()) for row in rows]
        return payload

    @rpc()
    async def untouched(self, value) -> dict:
        return {"value": value, "type": type(value).__name__}

    @rpc()
    async def counts(self) -> int:
        self.calls += 1
        return self.calls

    @rpc()
    async def inner_type_error(self, a: int) -> int:
        return self._helper(a, wrong=1)

    def _helper(self, a):
        return a
