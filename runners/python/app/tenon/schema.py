"""Schemas from signatures and docstrings, equal to what the reference makes on Python 3.12 (wire contract 6.2)."""

import re
from collections.abc import Callable
from inspect import Parameter
from typing import Any, Union, get_args, get_origin

from tenon.annotations import hints, parameters

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}
_SECTION_ENDS = ("returns:", "raises:", "example:", "note:")
_ARGUMENT = re.compile(r"^(\w+)(?:\s*\([^)]+\))?:\s*(.+)$")


def of_function(function: Callable, descriptions: dict[str, str]) -> dict[str, Any]:
    """The schema of the function's parameters: of an object with `properties` and `required`, in their order."""
    known = hints(function)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in parameters(function):
        name = parameter.name
        # `self` alone is skipped: `*args` and `**kw` are parameters like others to the reference.
        if name == "self":
            continue
        schema = of_type(known[name]) if name in known else {"type": "string"}
        if name in descriptions:
            schema["description"] = descriptions[name]
        if parameter.default is Parameter.empty:
            required.append(name)
        else:
            schema["default"] = parameter.default
        properties[name] = schema
    return {"type": "object", "properties": properties, "required": required}


def of_type(hint: Any) -> dict[str, Any]:
    """The schema of one type. What is not known is a string."""
    origin = get_origin(hint)
    if origin is Union:
        members = [of_type(member) for member in get_args(hint) if member is not type(None)]
        return members[0] if len(members) == 1 else {"anyOf": members}
    if origin is list:
        items = get_args(hint)
        return {"type": "array", "items": of_type(items[0])} if items else {"type": "array"}
    if origin is dict:
        return {"type": "object"}
    return {"type": _NAMES.get(hint, "string")}


def read_docstring(text: str | None) -> tuple[str, dict[str, str]]:
    """The first line, and what the section `Args:` says of each parameter (Google style)."""
    first, *lines = (text or "").strip().split("\n")
    descriptions: dict[str, str] = {}
    name = None
    is_inside = False
    for line in map(str.strip, lines):
        section = line.lower()
        if section.startswith("args:"):
            is_inside = True
        elif is_inside and section.startswith(_SECTION_ENDS):
            break
        elif is_inside and (found := _ARGUMENT.match(line)):
            name, descriptions[found[1]] = found[1], found[2]
        elif is_inside and name and line:
            descriptions[name] += " " + line
    return first.strip(), descriptions
