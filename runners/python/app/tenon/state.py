"""What the plugin keeps: durable key-value, which outlives its instance, its version and the host.

Needs `"permissions": {"state": true}` in the manifest, and the operator's grant. Everything here fails with
`tenon.Failure` in the host's words. It is there at once, and on disk a moment later: `flush` waits for that.
"""

import json
from typing import Any

import bridge

_PAGE = 1000


def get(key: str, default: Any = None) -> Any:
    """The value of a key, or `default` where it has none."""
    kept = bridge.state_get(key)
    return default if kept is None else json.loads(kept)


def set(key: str, value: Any) -> None:
    """Keeps a value, as JSON. A key has 1 to 256 bytes."""
    bridge.state_set(key, json.dumps(value, allow_nan=False).encode())


def get_bytes(key: str) -> bytes | None:
    """The value of a key as it was written; none where it has none."""
    return bridge.state_get(key)


def set_bytes(key: str, value: bytes) -> None:
    """Keeps a value as it is."""
    bridge.state_set(key, value)


def delete(key: str) -> None:
    """Removes a key. One that is not there is no failure."""
    bridge.state_delete(key)


def keys(prefix: str = "") -> list[str]:
    """Every key that begins with `prefix`, in the order of their bytes."""
    found: list[str] = []
    while True:
        page = bridge.state_keys(prefix, found[-1] if found else None, _PAGE)
        found += page
        if len(page) < _PAGE:
            return found


async def flush() -> None:
    """Waits until everything written before is on disk."""
    await bridge.state_flush()
