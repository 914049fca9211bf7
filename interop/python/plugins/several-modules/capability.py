"""Imports what lies beside it as the reference's plugins do: by putting its own folder on the path."""

import json
import sys
from importlib import resources
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import several_helper  # noqa: E402
from parts import NAME, shapes  # noqa: E402
from parts.deeper.colours import colour_of  # noqa: E402

from device_connect_edge.drivers import rpc  # noqa: E402

HERE = Path(__file__).parent


class SeveralModules(several_helper.Mixin):
    def __init__(self, device=None):
        self.table = json.loads((HERE / "data" / "table.json").read_text())

    @rpc()
    async def area(self, side: float) -> float:
        return shapes.square(side)

    @rpc()
    async def names(self) -> list:
        return [__name__, NAME, several_helper.__name__, shapes.__name__, type(self).__module__]

    @rpc()
    async def colour(self, key: str) -> str:
        return colour_of(key)

    @rpc()
    async def lookup(self, key: str):
        return self.table[key]

    @rpc()
    async def through_resources(self) -> str:
        return resources.files("parts").joinpath("words.txt").read_text(encoding="utf-8").strip()

    @rpc()
    async def files(self) -> list:
        return sorted(path.relative_to(HERE).as_posix() for path in (HERE / "data").rglob("*") if path.is_file())

    @rpc()
    async def late_import(self) -> int:
        from parts import late

        return late.VALUE

    @rpc()
    async def missing_data(self):
        return (HERE / "data" / "missing.txt").read_bytes()
