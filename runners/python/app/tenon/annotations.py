"""Annotations of functions as Python 3.12 understands them, on whatever version this runs.

The reference host derives schemas on 3.12, accidents included (wire contract 6.2). One accident hangs on the version:
up to 3.13 `X | Y` of plain types is something else than `Union[X, Y]`, which the reference does not know; since 3.14
they are the same. So unions are told apart by their source. And since 3.14 annotations are computed when they are asked
for, not when the function is made.
"""

import ast
import contextlib
import inspect
import linecache
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, ForwardRef, Union, get_origin

IS_LAZY = sys.version_info >= (3, 14)

if IS_LAZY:
    from annotationlib import Format, get_annotations


class Either:
    """`X | Y` of plain types."""

    def __init__(self, members: tuple) -> None:
        self.members = members

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Either) and set(self.members) == set(other.members)

    def __hash__(self) -> int:
        return hash(frozenset(self.members))

    def __call__(self) -> None:
        """`typing` takes nothing for a type that cannot be called."""


def parameters(function: Callable) -> list[inspect.Parameter]:
    """The function's parameters in their order. Never fails for an annotation that cannot be resolved."""
    how = {"annotation_format": Format.FORWARDREF} if IS_LAZY else {}
    return list(inspect.signature(function, **how).parameters.values())


def hints(function: Callable) -> dict[str, Any]:
    """What `typing.get_type_hints` gives on 3.12; empty if one of them, or what is returned, cannot be resolved."""
    try:
        written = get_annotations(function, format=Format.STRING) if IS_LAZY else {}
        found = {}
        for name, value in _values(function, written).items():
            if value is _UNREAD:
                value = _evaluate(written[name], _Names(_globals(function), _surroundings(function)))
            elif value is None:
                value = type(None)
            elif isinstance(value, str):
                value = ForwardRef(value)
            elif IS_LAZY and _has_union(value):
                value = _evaluate(written[name], _Names(_globals(function), _surroundings(function)))
            found[name] = _resolved(value, _Names(_globals(function)))
        return found
    except Exception:
        # The reference takes every failure for "nothing is known".
        return {}


#: In the place of an annotation that this Python cannot make.
_UNREAD = object()


def _values(function: Callable, written: dict[str, str]) -> dict[str, Any]:
    try:
        return function.__annotations__ or {}
    except Exception:
        # `Optional[X] | "Name"` is a union up to 3.13.
        return dict.fromkeys(written, _UNREAD)


def _resolved(hint: Any, names: "_Names") -> Any:
    """The hint with what its texts stand for, and without what `Annotated` adds."""
    if isinstance(hint, ForwardRef):
        return _resolved(_evaluate(hint.__forward_arg__, names), names)
    if isinstance(hint, Either):
        return Either(tuple(_resolved(member, names) for member in hint.members))
    origin = get_origin(hint)
    if origin is typing.Annotated:
        return _resolved(hint.__origin__, names)
    if origin in (None, typing.Literal):
        return hint
    arguments = getattr(hint, "__args__", ())
    if not arguments:
        return hint
    if isinstance(hint, types.GenericAlias):
        arguments = [ForwardRef(each) if isinstance(each, str) else each for each in arguments]
    arguments = [_resolved(each, names) for each in arguments]
    if origin is Union:
        # A union in a union is no union of its own.
        return Union[tuple(each for given in arguments for each in getattr(given, "members", (given,)))]
    return list[arguments[0]] if origin is list else hint


def _evaluate(text: str, names: "_Names") -> Any:
    tree = ast.fix_missing_locations(_Unions().visit(ast.parse(text, mode="eval")))
    value = eval(compile(tree, "<annotation>", "eval"), {_EITHER: _either}, names)
    if value is None:
        return type(None)
    if isinstance(value, str):
        return ForwardRef(value)
    if isinstance(value, tuple) or value in (typing.Generic, typing.Protocol, typing.ClassVar, typing.Final):
        raise TypeError(f"{value!r} is no type")
    return value


_EITHER = "<either>"


class _Unions(ast.NodeTransformer):
    """Makes a call of each `X | Y`."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.BitOr):
            return node
        return ast.Call(ast.Name(_EITHER, ast.Load()), [node.left, node.right], [])


def _either(left: Any, right: Any) -> Any:
    if not (_is_plain(left) and _is_plain(right)):
        return Union[left, right]
    for side in (left, right):
        if isinstance(side, _NO_TYPES):
            raise TypeError(f"unsupported operand for |: {side!r}")
    if left is None and right is None:
        raise TypeError("unsupported operand types for |: 'NoneType' and 'NoneType'")
    sides = [getattr(side, "members", (side,)) for side in (left, right)]
    return Either(tuple(type(None) if each is None else each for side in sides for each in side))


def _is_plain(side: Any) -> bool:
    """Whether the side is one of those that know nothing of `typing`."""
    if side is None or isinstance(side, (type, types.GenericAlias, Either, *_NO_TYPES)):
        return True
    return isinstance(side, _ALIAS) or (not IS_LAZY and isinstance(side, types.UnionType))


#: What is no type, and knows nothing of unions: `"Name" | int` fails.
_NO_TYPES = (str, bytes, int, float, tuple, list, dict)

_ALIAS = getattr(typing, "TypeAliasType", ())


def _has_union(value: Any) -> bool:
    if isinstance(value, types.UnionType):
        return True
    # Of what is no generic type, `__args__` may be anything.
    return get_origin(value) not in (None, typing.Literal) and any(map(_has_union, getattr(value, "__args__", ())))


def _globals(function: Callable) -> dict[str, Any]:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return getattr(function, "__globals__", {})


def _surroundings(function: Callable) -> dict[str, Any]:
    """Names of the class and the functions in which the function is defined, as far as its annotations use them."""
    annotate = function.__annotate__
    found = {}
    for name, cell in zip(annotate.__code__.co_freevars, annotate.__closure__ or (), strict=True):
        # One that is not assigned yet cannot be used either.
        with contextlib.suppress(ValueError):
            found |= cell.cell_contents if name == "__classdict__" else {name: cell.cell_contents}
    return found


class _Names(dict):
    """What names in an annotation stand for: what surrounds the function, and then globals."""

    def __init__(self, module: dict[str, Any], surroundings: dict[str, Any] | None = None) -> None:
        super().__init__(module | (surroundings or {}))
        self._module = module

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if not (IS_LAZY and _has_union(value) and self._module.get(name) is value):
            return value
        try:
            return _assigned(self._module, name, value)
        except Exception:
            # Without its source it is taken for what it is now.
            return value


def _assigned(module: dict[str, Any], name: str, value: Any) -> Any:
    """The value of a name to which a union was assigned at the top of the module, or of the one it is imported from."""
    for statement in _statements(module):
        match statement:
            case ast.Assign(targets=[ast.Name(id=target)], value=source) if target == name:
                return _evaluate(ast.unparse(source), _Names(module))
            case ast.ImportFrom(module=str(), names=imported):
                for each in imported:
                    if (each.asname or each.name) == name:
                        return _imported(module, statement, each.name, value)
    return value


def _imported(module: dict[str, Any], statement: ast.ImportFrom, name: str, value: Any) -> Any:
    package = (module.get("__package__") or "").split(".")
    above = package[: len(package) - statement.level + 1] if statement.level else []
    source = sys.modules.get(".".join([*above, statement.module]))
    return value if source is None else _assigned(vars(source), name, value)


def _statements(module: dict[str, Any]) -> Iterator[ast.stmt]:
    text = "".join(linecache.getlines(module.get("__file__") or "", module))
    # The last assignment is the one that holds.
    return reversed(ast.parse(text).body)
