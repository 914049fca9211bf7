"""What happens at `import` besides finding source: the packed standard library, stand-ins, seams, and words for what is absent.

Everything here is found in memory: once the runner is built, its own files are gone.
"""

import importlib.abc
import importlib.util
import marshal
import os
import sys
import zlib

import threads

#: Parts of the standard library that nobody can use here, or that only developers use.
_LEFT_OUT = frozenset(
    "test tests idle_test idlelib tkinter turtledemo turtle.py ensurepip venv pydoc_data __pycache__ site-packages __phello__ "
    "antigravity.py this.py _pyrepl curses ctypes _aix_support.py _apple_support.py _ios_support.py _android_support.py "
    "_osx_support.py multiprocessing ssl.py".split()
)

_NO_TERMINAL = "plugins have no terminal: what they print is in their log"
_NO_C = "the sandbox runs no native code: use a package in pure Python, a Rust plugin, or a service over HTTP"
_NO_SYSTEM = "plugins see no operating system: ask the host through `tenon`, or invoke a device beside the host that does it"
_NO_HARDWARE = "plugins reach no hardware: invoke a device beside the host that drives it"

#: What Python 3.12, which the reference runs on, has and this one has not, and the package in pure Python that brings it back.
_REMOVED = {
    "cgi": "legacy-cgi",
    "cgitb": "legacy-cgi",
    **{name: f"standard-{name}" for name in ("chunk", "imghdr", "mailcap", "pipes", "uu", "xdrlib")},
}

#: Why a module is not there, for those that plugins try.
_ABSENT = {
    **dict.fromkeys(("multiprocessing", "_multiprocessing", "_posixsubprocess"), threads.NO_PROCESSES),
    **dict.fromkeys(("curses", "_curses", "_pyrepl", "readline", "termios", "tty", "pty", "tkinter", "turtle", "idlelib"), _NO_TERMINAL),
    **dict.fromkeys(("fcntl", "resource", "pwd", "grp", "syslog", "mmap"), _NO_SYSTEM),
    **{
        name: f"Python has none since 3.13: declare `{package}` under `dependencies.python`, or bring it in `site-packages`"
        for name, package in _REMOVED.items()
    },
    "crypt": "Python has none since 3.13: use the package `passlib`",
    "lib2to3": "Python has none since 3.13: use the package `fissix`",
    **dict.fromkeys(
        ("nntplib", "telnetlib"),
        "Python has none since 3.13, and plugins have no sockets: call a service over HTTP, or invoke a device beside the host that does it",
    ),
    **dict.fromkeys(
        ("aifc", "audioop", "sndhdr", "sunau"),
        "Python has none since 3.13, and what brings it back is native code, which the sandbox does not run: call a service over HTTP",
    ),
    "ossaudiodev": _NO_HARDWARE,
    **dict.fromkeys(("nis", "spwd"), _NO_SYSTEM),
    **dict.fromkeys(("ctypes", "_ctypes", "cffi"), _NO_C),
    **dict.fromkeys(("bz2", "_bz2", "lzma", "_lzma", "compression.zstd", "_zstd"), "this Python has `zlib` and `gzip` only"),
    **dict.fromkeys(
        "numpy pandas scipy cv2 PIL torch tensorflow sklearn matplotlib lxml grpc cryptography psycopg2 zmq uvloop orjson "
        "pydantic_core zenoh".split(),
        _NO_C,
    ),
    "pydantic": "version 2 has native code, which plugins cannot run: declare `pydantic<2` under `dependencies.python`, or use dataclasses",
    **dict.fromkeys(("serial", "usb", "smbus", "RPi"), _NO_HARDWARE),
}


class Packed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules as compressed bytecode."""

    def __init__(self) -> None:
        self._code: dict[str, tuple[bool, bytes]] = {}

    def pack(self, root: str) -> None:
        """Packs the modules under the folder that are not imported yet."""
        for top, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if name not in _LEFT_OUT and not name.startswith("config-"))
            for file in sorted(files):
                if file in _LEFT_OUT or not file.endswith(".py") or file.startswith("_sysconfigdata"):
                    continue
                path = os.path.join(top, file)
                parts = os.path.relpath(path, root).removesuffix(".py").split(os.sep)
                is_package = parts[-1] == "__init__"
                name = ".".join(parts[:-1] if is_package else parts)
                if name in sys.modules or name in self._code:
                    continue
                try:
                    with open(path, "rb") as source:
                        # Without docstrings and asserts, which a plugin does not look for here.
                        code = compile(source.read(), path, "exec", dont_inherit=True, optimize=2)
                except SyntaxError:
                    continue
                self._code[name] = (is_package, zlib.compress(marshal.dumps(code), 9))

    def find_spec(self, name, path=None, target=None):
        found = self._code.get(name)
        if found is None:
            return None
        return importlib.util.spec_from_loader(name, self, origin="packed", is_package=found[0])

    def exec_module(self, module) -> None:
        _, code = self._code[module.__name__]
        exec(marshal.loads(zlib.decompress(code)), module.__dict__)


class Seams(importlib.abc.MetaPathFinder):
    """Changes packages just after they were imported, wherever they came from."""

    def __init__(self, seams: dict) -> None:
        self._seams = seams
        self._looking = False

    def find_spec(self, name, path=None, target=None):
        if name not in self._seams or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Changed(spec.loader, self._seams[name])
        return spec


class _Changed(importlib.abc.Loader):
    def __init__(self, loader, change) -> None:
        self._loader = loader
        self._change = change

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module) -> None:
        self._loader.exec_module(module)
        self._change(module)

    def __getattr__(self, name):
        # Resources and source are the real loader's.
        return getattr(self._loader, name)


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules that are ready, for plugins that do not bring them: comes after what they bring."""

    def __init__(self, package: str) -> None:
        self._modules = {
            name: sys.modules.pop(name) for name in list(sys.modules) if name == package or name.startswith(f"{package}.")
        }

    def find_spec(self, name, path=None, target=None):
        module = self._modules.get(name)
        if module is None:
            return None
        return importlib.util.spec_from_loader(name, self, origin="stand-in", is_package=hasattr(module, "__path__"))

    def create_module(self, spec):
        return self._modules[spec.name]

    def exec_module(self, module) -> None:
        pass


class Absent(importlib.abc.MetaPathFinder):
    """Comes last, and says why a module is not there."""

    def find_spec(self, name, path=None, target=None):
        why = _ABSENT.get(name)
        if why is not None:
            raise ModuleNotFoundError(f"No module named '{name}': {why}", name=name)
        return None
