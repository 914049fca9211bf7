"""`os.environ`: the variables that were granted when the instance began, and at a miss a question to the host.

The host notes what it denied, so that the operator sees what the plugin wants, and a grant works from the next question on.
"""

import json
import logging
import os
import time

import crossing
import operations
from failure import Failure
from wit_world.imports import host

#: How long a variable that was not there or denied is not asked for again, in seconds.
DENIAL_KEPT = 1.0

#: How many variables that were not there are remembered.
DENIALS_MAX = 256

#: What Python itself and libraries look for wherever they run. Nobody wants to be asked for these: they are just not set.
_PROBED = frozenset(
    "ALL_PROXY APPDATA BROWSER COLUMNS CI CURL_CA_BUNDLE DEBUG DISPLAY EDITOR FORCE_COLOR HOME HOMEDRIVE HOMEPATH HOSTALIASES "
    "JUPYTER_COLUMNS JUPYTER_LINES LANG LANGUAGE LINES LNAME LOCALAPPDATA LOGNAME NETRC NO_COLOR NO_PROXY PAGER PATH PATHEXT "
    "PWD PYDEVD_USE_CYTHON REQUESTS_CA_BUNDLE REQUEST_METHOD SHELL SOURCE_DATE_EPOCH SSLKEYLOGFILE SSL_CERT_DIR "
    "SSL_CERT_FILE TEMP TERM TMP TMPDIR TZ USER USERNAME USERPROFILE VIRTUAL_ENV".split()
)
_PROBED_PREFIXES = ("PYTHON", "LC_", "XDG_", "HTTPX_", "PYTEST_", "COV_", "MYPY_", "PYDANTIC_", "ANYIO_")
_PROBED_SUFFIX = "_PROXY"

_log = logging.getLogger("environment")


class Environment(os._Environ):
    """What `os.environ` becomes."""

    _asked: dict[str, float] = {}
    _told: set[str] = set()

    def __getitem__(self, key):
        try:
            return super().__getitem__(key)
        except KeyError:
            value = self._ask(key)
            if value is None:
                raise
            return value

    def _ask(self, key: str) -> str | None:
        if _is_probed(key) or self._asked.get(key, 0) > time.monotonic():
            return None
        try:
            key = crossing.text(key, "a variable's name")
        except ValueError:
            # There is none of a name that the host cannot be asked for.
            return None
        if len(self._asked) >= DENIALS_MAX:
            self._asked.clear()
        try:
            value = json.loads(operations.perform(host.Op_Env(key)).value)
        except Failure as failure:
            value = None
            if failure.code == "permission_denied" and key not in self._told and len(self._told) < DENIALS_MAX:
                self._told.add(key)
                _log.warning("%s", failure)
        if value is None:
            self._asked[key] = time.monotonic() + DENIAL_KEPT
        return value


def install() -> None:
    """Takes the variables of this instance and puts the asking in place."""
    reload = getattr(os, "reload_environ", None)
    if reload is not None:
        reload()
    os.environ.__class__ = Environment


def _is_probed(key: str) -> bool:
    name = key.upper()
    return name in _PROBED or name.startswith(_PROBED_PREFIXES) or name.endswith(_PROBED_SUFFIX)
