"""A plugin's source becomes an object, or a failure that says what is wrong in which line."""

import difflib
import importlib.util
import inspect
import json
import os
import random
import sys
import traceback

import crossing
import outcome
from failure import Failure
from wit_world.imports import host

#: Where the host shows the plugin's folder, read-only.
PLUGIN = "/plugin"

#: Where the bundle brings the packages it needs.
SITE_PACKAGES = "site-packages"


def load(device: object, folder: str = PLUGIN) -> object:
    """Imports the entry point and makes the object, as the reference does.

    Raises: Failure of code `plugin_source`.
    """
    manifest = _manifest(folder)
    entry_point = manifest.get("entry_point") or "capability.py"
    class_name = manifest.get("class_name")
    if not class_name:
        raise _wrong("`manifest.json` names no `class_name`: it is the class in the entry point that has the functions")
    path = os.path.join(folder, entry_point)
    if not os.path.isfile(path):
        raise _wrong(f"`{entry_point}`, the `entry_point` of `manifest.json`, is not in the plugin")
    _set_search_path(folder, os.path.dirname(path))
    declared = _dependencies(manifest)
    with _Explained(folder, entry_point, declared):
        module = _import(f"capability_{manifest.get('id', 'plugin')}", path)
    made = _class(module, class_name, entry_point)
    with _Explained(folder, entry_point, declared, f"`{class_name}(device=…)` failed"):
        return made(device=device)


def reseed() -> None:
    """Every instance begins with the same memory: what must differ between them is made anew."""
    random.seed(host.random(32))


def _manifest(folder: str) -> dict:
    try:
        with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
            manifest = json.load(file)
    except (OSError, ValueError) as error:
        raise _wrong(f"`manifest.json` cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise _wrong("`manifest.json` is not a JSON object")
    return manifest


def _dependencies(manifest: dict) -> list:
    declared = manifest.get("dependencies")
    declared = declared.get("python") if isinstance(declared, dict) else None
    return declared if isinstance(declared, list) else []


def _set_search_path(folder: str, beside: str) -> None:
    # As for a script: what lies beside the entry point comes first, and packages last.
    sys.path[:] = dict.fromkeys([beside, folder, os.path.join(folder, SITE_PACKAGES)])
    # What the finders of the build remember: new ones are made for these folders.
    sys.path_importer_cache.clear()
    # The folder is read-only.
    sys.dont_write_bytecode = True


def _import(name: str, path: str):
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise _wrong(f"`{os.path.basename(path)}` is no Python source: its name has to end with `.py`")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _class(module, name: str, entry_point: str) -> type:
    found = getattr(module, name, None)
    if isinstance(found, type) or callable(found):
        return found
    own = [each for each, value in vars(module).items() if inspect.isclass(value) and value.__module__ == module.__name__]
    close = difflib.get_close_matches(name, own, n=1, cutoff=0.5)
    if close:
        there = f"did you mean `{close[0]}`?"
    elif own:
        there = f"there are {', '.join(f'`{each}`' for each in sorted(own))}"
    else:
        there = "it has none"
    raise _wrong(f"`{entry_point}` has no class `{name}`, the `class_name` of `manifest.json`: {there}")


class _Explained:
    """Turns whatever the plugin's own code raises into a failure that names file and line; the traceback goes to the log."""

    def __init__(self, folder: str, entry_point: str, declared: list, what: str | None = None) -> None:
        self._folder = folder
        self._entry_point = entry_point
        self._declared = declared
        self._what = what

    def __enter__(self):
        return self

    def __exit__(self, _kind, error, _trace) -> bool:
        if error is None:
            return False
        outcome.log_traceback(error, "the plugin could not be loaded")
        place = self._place(error)
        message = self._message(error)
        if self._what is not None:
            message = f"{self._what}: {message}"
        raise _wrong(f"{place}: {message}") from error

    def _place(self, error: BaseException) -> str:
        """The line of the plugin that is to be looked at."""
        if isinstance(error, SyntaxError) and error.filename:
            return self._line(error.filename, error.lineno)
        inside = [
            frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(self._folder + os.sep)
        ]
        if not inside:
            return f"`{self._entry_point}`"
        # Its own code rather than that of a package it brings.
        packages = os.path.join(self._folder, SITE_PACKAGES) + os.sep
        own = [frame for frame in inside if not frame.filename.startswith(packages)] or inside
        return self._line(own[-1].filename, own[-1].lineno)

    def _line(self, file: str, line: int | None) -> str:
        name = os.path.relpath(file, self._folder) if file.startswith(self._folder + os.sep) else file
        return f"`{name}`, line {line}" if line else f"`{name}`"

    def _message(self, error: BaseException) -> str:
        if isinstance(error, SyntaxError):
            return f"{type(error).__name__}: {error.msg}"
        words = f"{type(error).__name__}: {crossing.words(error)}".removesuffix(": ")
        if isinstance(error, ModuleNotFoundError) and str(error).startswith("No module named") and ": " not in str(error):
            if self._declared and not os.path.isdir(os.path.join(self._folder, SITE_PACKAGES)):
                return (
                    f"{words}: what `dependencies.python` declares is not installed ({', '.join(map(str, self._declared))}):"
                    f" ask for `install_dependencies`, which the host's operator has to allow, or bring it in `{SITE_PACKAGES}`"
                )
            return (
                f"{words}: put the module beside `{self._entry_point}`, or the package, in pure Python, into the bundle's"
                f" `{SITE_PACKAGES}`"
            )
        return words


def _wrong(message: str) -> Failure:
    return Failure(message, code="plugin_source")
