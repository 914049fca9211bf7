"""The reference's data types, as plain classes: they take keyword arguments, and check none of them."""

import copy
import re
from datetime import UTC, datetime
from enum import Enum
from typing import Any, ClassVar

from device_connect_edge._lacking import lacking

__all__ = [
    "DeviceCapabilities",
    "DeviceIdentity",
    "DeviceState",
    "DeviceStatus",
    "EventDef",
    "FunctionDef",
    "is_valid_event_name",
    "validate_event_name",
]

_EVENT_NAME = re.compile(r"[A-Za-z0-9_-]+")


def is_valid_event_name(name: str) -> bool:
    """Whether events may be called so (wire contract 1.3)."""
    return _EVENT_NAME.fullmatch(name) is not None


def validate_event_name(name: str) -> str:
    """The name itself.

    Raises: ValueError if events may not be called so.
    """
    if not is_valid_event_name(name):
        raise ValueError(f"Invalid event name {name!r}. Must match '^[A-Za-z0-9_-]+$'.")
    return name


class DeviceState(str, Enum):
    """Where a device stands in its life."""

    PROVISIONED = "provisioned"
    COMMISSIONING = "commissioning"
    REGISTERED = "registered"
    ONLINE = "online"
    OFFLINE = "offline"
    MAINTENANCE = "maintenance"
    DECOMMISSIONED = "decommissioned"


class _Model:
    """Fields by keyword, with defaults."""

    _required: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}
    _takes_more: ClassVar[bool] = False

    def __init__(self, **fields: Any) -> None:
        for name in self._required:
            if name not in fields:
                raise TypeError(f"{type(self).__name__} needs `{name}`")
        known = {*self._required, *self._defaults}
        kept = {name: value for name, value in fields.items() if self._takes_more or name in known}
        vars(self).update(copy.deepcopy(self._defaults) | kept)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def model_dump(self, mode: str = "python", exclude_none: bool = False) -> dict[str, Any]:
        """The fields as a dictionary; with `mode="json"` as JSON can tell them."""
        dumped = {name: _dumped(value, mode, exclude_none) for name, value in vars(self).items()}
        return {name: value for name, value in dumped.items() if not (exclude_none and value is None)}


def _dumped(value: Any, mode: str, exclude_none: bool) -> Any:
    if isinstance(value, _Model):
        return value.model_dump(mode, exclude_none)
    if isinstance(value, list):
        return [_dumped(each, mode, exclude_none) for each in value]
    return value.isoformat() if mode == "json" and isinstance(value, datetime) else value


class FunctionDef(_Model):
    """A function as it is advertised (wire contract 6.1)."""

    _required = ("name",)
    _defaults = {
        "description": "",
        "parameters": {"type": "object", "properties": {}, "required": []},
        "labels": None,
        "tags": [],
    }


class EventDef(_Model):
    """An event as it is advertised (wire contract 6.1)."""

    _required = ("name",)
    _defaults = {"description": "", "payload_schema": None, "labels": None, "tags": []}

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        validate_event_name(self.name)


class DeviceCapabilities(_Model):
    """What a device brings (wire contract 6.1)."""

    _defaults = {"description": "", "functions": [], "events": [], "labels": None}


class DeviceIdentity(_Model):
    """What a device is. Takes other fields too."""

    _takes_more = True
    _defaults = dict.fromkeys(
        (
            "device_type",
            "manufacturer",
            "model",
            "serial_number",
            "firmware_version",
            "arch",
            "description",
            "commissioning_comment",
        )
    )


class DeviceStatus(_Model):
    """How a device is."""

    _defaults = {
        "ts": None,
        "location": None,
        "availability": "idle",
        "busy_score": 0.0,
        "battery": None,
        "online": True,
        "error_state": None,
    }

    def __init__(self, **fields: Any) -> None:
        # Without a time zone, as there.
        super().__init__(**{"ts": datetime.now(UTC).replace(tzinfo=None)} | fields)


__getattr__ = lacking(__name__, __all__)
