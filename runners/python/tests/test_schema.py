"""Schemas equal to those that the reference makes on Python 3.12; the interop suite compares more with its own."""

import sys
import types
from pathlib import Path

import pytest
from tenon import annotations
from tenon.schema import of_function, read_docstring

SOURCE = """
from typing import Annotated, Any, Dict, List, Literal, Optional, Union

Alias = Union[int, str]
Bar = int | str

def f({parameters}): pass
"""


def module_of(source, folder=None, name="plugin"):
    """The source as a module; with a folder, one whose source can be looked up."""
    module = types.ModuleType(name)
    if folder is not None:
        path = Path(folder) / f"{name}.py"
        path.write_text(source)
        module.__file__ = str(path)
        sys.modules[name] = module
    exec(compile(source, str(getattr(module, "__file__", "<test>")), "exec"), vars(module))
    return module


def properties(parameters, folder=None, future=False):
    source = SOURCE.format(parameters=parameters)
    if future:
        source = "from __future__ import annotations\n" + source
    return of_function(module_of(source, folder).f, {})["properties"]


STRING = {"type": "string"}
INTEGER = {"type": "integer"}


@pytest.mark.parametrize("future", [False, True])
@pytest.mark.parametrize(
    "hint, schema",
    [
        ("str", STRING),
        ("int", INTEGER),
        ("float", {"type": "number"}),
        ("bool", {"type": "boolean"}),
        ("list", {"type": "array"}),
        ("List", {"type": "array"}),
        ("dict", {"type": "object"}),
        ("List[int]", {"type": "array", "items": INTEGER}),
        ("list[List[int]]", {"type": "array", "items": {"type": "array", "items": INTEGER}}),
        ("list['int']", {"type": "array", "items": INTEGER}),
        ("Dict[str, List[int]]", {"type": "object"}),
        ("Optional[int]", INTEGER),
        ("Union[None, int]", INTEGER),
        ("Union[int, str, None]", {"anyOf": [INTEGER, STRING]}),
        ("'Optional[int]'", INTEGER),
        ("Annotated[List[int], 1]", {"type": "array", "items": INTEGER}),
        ("Any", STRING),
        ("Literal['a']", STRING),
        ("bytes", STRING),
        ("None", STRING),
        # `X | Y` of plain types is not known to the reference; with anything of `typing` it is.
        ("int | None", STRING),
        ("list[int] | None", STRING),
        ("'int | None'", STRING),
        ("List[int] | None", {"type": "array", "items": INTEGER}),
        ("Optional[int] | str", {"anyOf": [INTEGER, STRING]}),
        ("Union[int | str, None]", {"anyOf": [INTEGER, STRING]}),
        ("list[int | None]", {"type": "array", "items": STRING}),
        ("Alias", {"anyOf": [INTEGER, STRING]}),
        ("Bar", STRING),
        ("Optional[Bar]", {"anyOf": [INTEGER, STRING]}),
    ],
)
def test_types(hint, schema, future, tmp_path):
    assert properties(f"a: {hint}", tmp_path, future) == {"a": schema}


@pytest.mark.parametrize(
    "hint", ["'Nowhere'", "List['Nowhere']", "Dict[str, List['Nowhere']]", "'not a type'", "'Any[1]'"]
)
def test_a_name_that_means_nothing_makes_everything_a_string(hint):
    assert properties(f"a: int, b: {hint}")["a"] == STRING


def test_a_result_that_means_nothing_counts_too():
    module = module_of("def f(a: int) -> 'Nowhere': pass")
    assert of_function(module.f, {})["properties"] == {"a": STRING}


def test_surroundings_of_a_method_are_known():
    module = module_of(
        "from typing import Optional\n"
        "def made():\n"
        "    Local = int\n"
        "    class C:\n"
        "        Inner = str\n"
        "        def f(self, a: Optional[Local], b: Optional[Inner], c: int): pass\n"
        "    return C\n"
    )
    assert of_function(module.made().f, {})["properties"] == {"a": INTEGER, "b": STRING, "c": INTEGER}


def test_an_alias_of_another_module_is_read_there(tmp_path, monkeypatch):
    module_of("from typing import Union\nBar = int | str\nAlias = Union[int, str]\n", tmp_path, "shapes")
    monkeypatch.setitem(sys.modules, "shapes", sys.modules["shapes"])
    module = module_of("from shapes import Bar as B, Alias\ndef f(a: B, b: Alias): pass\n", tmp_path, "user")
    monkeypatch.setitem(sys.modules, "user", module)
    assert of_function(module.f, {})["properties"] == {"a": STRING, "b": {"anyOf": [INTEGER, STRING]}}


def test_defaults_required_and_every_kind_of_parameter():
    module = module_of("def f(self, a, b=None, *args: int, c: int = 1, **kw): pass")
    assert of_function(module.f, {"a": "The first", "nobody": "x"}) == {
        "type": "object",
        "properties": {
            "a": {"type": "string", "description": "The first"},
            "b": {"type": "string", "default": None},
            "args": INTEGER,
            "c": {"type": "integer", "default": 1},
            "kw": STRING,
        },
        "required": ["a", "args", "kw"],
    }


def test_docstrings():
    text = """
        Says it.

        Args:
            a: One
                and more
            b (int, optional): Two: with a colon
            **rest: glued
        Returns:
            c: not this
        """
    assert read_docstring(text) == ("Says it.", {"a": "One and more", "b": "Two: with a colon **rest: glued"})
    assert read_docstring(None) == read_docstring("  ") == ("", {})


def test_unions_are_told_apart_where_the_language_does_not():
    names = annotations._Names({"int": int, "str": str})
    assert isinstance(annotations._evaluate("int | str | None", names), annotations.Either)
    with pytest.raises(TypeError):
        annotations._evaluate("int | 'str'", names)
