"""Type hints of every kind, computed where the function is made."""

import collections.abc
import dataclasses
import datetime
import enum
import typing
from decimal import Decimal
from typing import Annotated, Any, Callable, Dict, Iterable, List, Literal, Optional, Sequence, Set, Tuple, TypedDict, Union

from device_connect_edge.drivers.decorators import rpc

Number = Union[int, float]
Digits = int | float
Names = List[str]
Aliased = Optional[Digits]
type Lazy = int | None
T = typing.TypeVar("T")
UserId = typing.NewType("UserId", int)


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


class Level(str, enum.Enum):
    LOW = "low"


class Point(TypedDict):
    x: int
    y: int


@dataclasses.dataclass
class Place:
    name: str


class Annotations:
    class Inner:
        pass

    def __init__(self, device=None):
        self.device = device

    @rpc()
    async def simple(self, a: str, b: int, c: float, d: bool, e: list, f: dict) -> dict:
        return {"types": [type(each).__name__ for each in (a, b, c, d, e, f)]}

    @rpc()
    async def none_at_all(self, a, b=1, c=None):
        return [a, b, c]

    @rpc()
    async def lists(
        self,
        a: List[int],
        b: list[str],
        c: List,
        d: List[List[float]],
        e: list[dict],
        f: List[Optional[float]],
        g: list[Any],
        h: List["int"],
        i: list["bool"],
    ) -> List[int]:
        return a

    @rpc()
    async def dictionaries(
        self, a: Dict[str, int], b: dict[str, list[int]], c: Dict, d: typing.Mapping[str, int], e: Point, f: Place
    ) -> Dict[str, Any]:
        return a

    @rpc()
    async def optional(
        self,
        a: Optional[int],
        b: Union[str, None],
        c: Union[None, List[int]] = None,
        d: Optional[Dict[str, int]] = None,
        e: Optional[Optional[bool]] = None,
        f: "Optional[float]" = None,
        g: Optional["int"] = None,
    ) -> Optional[int]:
        return a

    @rpc()
    async def quoted_in_unions(
        self,
        a: Optional[int] | "Place",
        b: "int" | Optional[str] = None,
        c: List[int] | "Place" = None,
        d: int = 1,
    ):
        return a

    @rpc()
    async def unions(
        self,
        a: Union[int, str],
        b: Union[int, str, None],
        c: Union[List[int], Dict[str, int]],
        d: Union[int, Union[bool, str]],
        e: Union[int, int],
        f: List[Union[int, str]],
        g: Union["int", int],
    ):
        return a

    @rpc()
    async def bars(
        self,
        a: int | None,
        b: int | str,
        c: list[int] | None,
        d: None | bool = None,
        e: List[int] | None = None,
        f: Dict[str, int] | str = "x",
        g: Optional[int] | str = 1,
        h: list[int | None] = [],
        i: List[int | None] = [],
        j: Optional[int | str] = None,
        k: "int | None" = None,
        l: List["int | None"] = [],
        m: "List[int] | None" = None,
        n: Union[int | str, None] = None,
        o: Any | None = None,
        p: Literal[1] | None = None,
    ) -> int | None:
        return None

    @rpc()
    async def aliases(self, a: Number, b: Digits, c: Names, d: Aliased, e: Lazy, f: Optional[Number], g: List[Digits], h: "Digits"):
        return a

    @rpc()
    async def others(
        self,
        a: Any,
        b: Literal["x", "y"],
        c: bytes,
        d: Mode,
        e: Level,
        f: Tuple[int, str],
        g: tuple[int, ...],
        h: Set[int],
        i: set,
        j: Sequence[int],
        k: Iterable[str],
        l: Callable[[int], str],
        m: collections.abc.Callable[[], int],
        n: datetime.datetime,
        o: Decimal,
        p: object,
        q: None,
        r: type,
        s: UserId,
        t: T,
        u: "Mode",
        v: Inner,
        w: complex,
        x: collections.abc.Mapping[str, int],
    ) -> None:
        return None

    @rpc()
    async def annotated(
        self, a: Annotated[int, "metres"], b: Annotated[Optional[str], {"x": 1}], c: List[Annotated[int, 1]],
        d: Annotated[int | None, 1] = None, e: Annotated[List[int], 1] | None = None,
    ):  # fmt: skip
        return a

    @rpc()
    async def not_types(self, a: 5, b: (int, str), c: "5", d: print):
        return a

    @rpc()
    async def inner_by_name(self, a: int, b: "Inner"):
        return a

    @rpc()
    async def unknown_by_name(self, a: int, b: "Nowhere", c: List[int]):
        return a

    @rpc()
    async def unknown_within(self, a: int, b: Dict[str, "Nowhere"]):
        return a

    @rpc()
    async def unknown_result(self, a: int, b: bool = True) -> "Nowhere":
        return a

    @rpc()
    async def broken_text(self, a: int, b: "not a type"):
        return a

    @rpc()
    async def plain_special_form(self, a: int, b: Optional, c: Union = None):
        return a


def _made_elsewhere():
    class Local:
        pass

    Either = int | str

    @rpc()
    async def closure(self, a: Local, b: List[Either], c: Optional[int]):
        return b

    return closure


Annotations.closure = _made_elsewhere()
