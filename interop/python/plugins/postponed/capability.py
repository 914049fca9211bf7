"""Type hints as texts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Literal, Optional, Union

from device_connect_edge.drivers import emit, rpc

sys.path.insert(0, str(Path(__file__).parent))

from shapes import Shape, Sides  # noqa: E402

if TYPE_CHECKING:
    from decimal import Decimal

Flag = bool | None


class Postponed:
    def __init__(self, device: Any = None) -> None:
        self.device = device

    @rpc()
    async def simple(self, a: str, b: int = 3, c: float = 1.5, d: bool = False, e: list = [], f: dict = {}) -> dict:
        """Simple types."""
        return {"a": a, "b": b, "c": c, "d": d, "e": e, "f": f}

    @rpc()
    async def bars(self, a: int | None = None, b: list[int] | None = None, c: str | int = 1, d: List[int] | None = None) -> None:
        return None

    @rpc()
    async def unions(self, a: Optional[int], b: Union[int, str], c: Dict[str, List[int]], d: Literal["a"], e: Flag) -> Any:
        return a

    @rpc()
    async def imported(self, a: Shape, b: Sides, c: int) -> int:
        return c

    @rpc()
    async def only_when_checked(self, a: int, b: Decimal) -> int:
        return a

    @rpc()
    async def only_result_when_checked(self, a: int) -> Decimal:
        return a

    @emit()
    async def observed(self, value: float, unit: str | None = None, tags: list[str] = []) -> None:
        """A value was observed.

        Args:
            value: The value
            unit: Its unit
        """
