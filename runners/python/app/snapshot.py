"""What is done once, when the runner is built: afterwards neither Python's library nor the runner's files are there.

The component is a snapshot of this interpreter's memory. What is imported here costs an instance nothing; the rest of the
standard library is kept as compressed bytecode.
"""

import gc
import importlib
import os
import pkgutil
import sys

#: Where componentize-py shows the standard library while it builds.
LIBRARY = "/python"

#: What plugins import most, or what takes long.
_READY = (
    "abc argparse array ast asyncio base64 bisect binascii calendar collections.abc concurrent.futures.thread contextlib "
    "contextvars copy csv dataclasses datetime decimal difflib email.message email.parser email.utils encodings.ascii "
    "encodings.idna encodings.latin_1 encodings.utf_8 enum fnmatch fractions functools glob gzip hashlib heapq hmac html "
    "http.client http.cookiejar http.cookies importlib.metadata importlib.resources inspect io ipaddress itertools json "
    "logging.handlers math mimetypes numbers operator os.path pathlib pickle platform pprint queue random re secrets shlex "
    "shutil socket statistics string struct subprocess tempfile textwrap threading time timeit traceback types typing "
    "unicodedata urllib.error urllib.parse urllib.request uuid warnings weakref xml.etree.ElementTree zipfile zlib zoneinfo"
).split()

#: What plugins import of ours, with all its parts.
_PACKAGES = ("device_connect_edge", "tenon")

#: How many holes of one size are filled at most.
HOLES_MAX = 20_000

_filling: list[bytes] = []


def prepare(app: str) -> frozenset[str]:
    """Imports and packs everything. The names of the runner's own modules, which plugins are not to see."""
    stand_ins = os.path.join(app, "stand_ins")
    sys.path.insert(0, stand_ins)
    # Before any module of the library finds that there is none.
    importlib.import_module("ssl")
    for name in _READY:
        importlib.import_module(name)
    for package in _PACKAGES:
        for each in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(each.name)

    import httpcore_seam
    import imports
    import sockets
    import threads

    importlib.import_module("aiohttp")
    library = imports.Packed()
    library.pack(LIBRARY)
    # Built-in and frozen modules, then the library, then what the plugin brings, then what stands in for it.
    at = next(at for at, finder in enumerate(sys.meta_path) if getattr(finder, "__name__", "") == "PathFinder")
    sys.meta_path.insert(at, library)
    sys.meta_path.insert(0, imports.Seams({"httpcore": httpcore_seam.install}))
    sys.meta_path.extend([imports.StandIns("aiohttp"), imports.Absent()])
    sockets.install()
    threads.install()
    # The collector would write to every object of the snapshot, and so copy its pages for each instance.
    gc.collect()
    gc.freeze()
    _filling.extend(_fill_holes())
    return frozenset(name.removesuffix(".py") for name in os.listdir(app) if name.endswith(".py"))


def _fill_holes() -> list[bytes]:
    """Takes up the room that building left between the objects, so that those of an instance come to lie together.

    Otherwise each of its objects would lie on another page of the snapshot, which is then copied: a fifth of what a plugin
    costs. Allocations of one size that follow one another in memory tell that no holes are left for it.
    """
    empty = sys.getsizeof(b"")
    kept = []
    for size in range(empty + 7, 1024, 8):
        last = in_a_row = 0
        for _ in range(HOLES_MAX):
            filling = bytes(size - empty)
            kept.append(filling)
            in_a_row = in_a_row + 1 if 0 < id(filling) - last <= size + 16 else 0
            last = id(filling)
            if in_a_row == 24:
                break
    return kept


def hide(own: frozenset[str]) -> None:
    """Takes the names of the runner's modules away, so that a plugin may have modules of the same names."""
    for name in own:
        sys.modules.pop(name, None)
