"""What this package does not have of the reference's says what there is."""

import opcode
import sys
from collections.abc import Callable, Iterable

_PACKAGE = "device_connect_edge"
_MODULES = ("device", "drivers", "drivers.base", "drivers.decorators", "errors", "types")


def lacking(module: str, there: Iterable[str]) -> Callable[[str], None]:
    """The module's `__getattr__`."""

    def getattr(name: str) -> None:
        # The interpreter asks for names like `__path__` by itself.
        names = "" if name.startswith("__") else f" for plugins on this host; there are {', '.join(sorted(there))}"
        text = f"module {module!r} has no attribute {name!r}{names}"
        asking = sys._getframe(1)
        # Of an AttributeError `from … import` keeps nothing, and `hasattr` takes nothing else for an answer.
        if opcode.opname[asking.f_code.co_code[asking.f_lasti]] == "IMPORT_FROM":
            raise ImportError(text, name=module)
        raise AttributeError(text, name=name)

    return getattr


class _Modules:
    """Asked last of all for a module."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name.startswith(f"{_PACKAGE}."):
            there = ", ".join(f"{_PACKAGE}.{each}" for each in _MODULES)
            raise ModuleNotFoundError(f"no module {name!r} for plugins on this host; there are {there}", name=name)


sys.meta_path.append(_Modules)
