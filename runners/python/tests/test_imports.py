"""Finders of modules."""

import importlib
import sys

import pytest

import imports
import snapshot


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """What a test imports is forgotten."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_packed_modules_need_no_files(tmp_path):
    write(
        tmp_path,
        {
            "packed_one.py": "from packed_two.deep import NAME",
            "packed_two/__init__.py": "",
            "packed_two/deep.py": "NAME = 'deep'",
            "packed_two/tests/test_it.py": "1/0",
            "packed_broken.py": "def",
            "json.py": "1/0",
        },
    )
    packed = imports.Packed()
    packed.pack(str(tmp_path))
    for path in sorted(tmp_path.rglob("*.py")):
        path.unlink()
    sys.meta_path.append(packed)
    assert importlib.import_module("packed_one").NAME == "deep"
    for absent in ("packed_broken", "packed_two.tests.test_it"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(absent)
    assert packed.find_spec("json") is None, "what is imported already is not kept twice"


def test_what_is_absent_says_why():
    sys.meta_path.append(imports.Absent())
    with pytest.raises(ModuleNotFoundError, match="No module named 'RPi': plugins reach no hardware") as caught:
        importlib.import_module("RPi")
    assert caught.value.name == "RPi"
    with pytest.raises(ModuleNotFoundError, match="^No module named 'nowhere_at_all'$"):
        importlib.import_module("nowhere_at_all")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cgi", "declare `legacy-cgi`"),
        ("cgitb", "declare `legacy-cgi`"),
        *((name, f"declare `standard-{name}`") for name in ("chunk", "imghdr", "mailcap", "pipes", "uu", "xdrlib")),
        ("crypt", "`passlib`"),
        ("lib2to3", "`fissix`"),
        ("telnetlib", "no sockets"),
        ("nntplib", "no sockets"),
        *((name, "is native code") for name in ("aifc", "audioop", "sndhdr", "sunau")),
        ("ossaudiodev", "no hardware"),
        ("nis", "no operating system"),
        ("spwd", "no operating system"),
    ],
)
def test_what_python_has_removed_names_what_to_use(name, words):
    # An ordinary Python 3.12 still has it.
    with pytest.raises(ModuleNotFoundError, match=f"No module named '{name}': .*{words}"):
        imports.Absent().find_spec(name)


def test_a_seam_changes_a_package_once_it_is_imported(tmp_path):
    write(tmp_path, {"seamed/__init__.py": "NAME = 'own'", "seamed/data.txt": "data"})
    sys.path.insert(0, str(tmp_path))
    sys.meta_path.insert(0, imports.Seams({"seamed": lambda module: setattr(module, "NAME", module.NAME + " changed")}))
    assert importlib.import_module("seamed").NAME == "own changed"
    assert importlib.import_module("importlib.resources").files("seamed").joinpath("data.txt").read_text() == "data"


def test_a_stand_in_gives_way_to_what_the_plugin_brings(tmp_path):
    write(tmp_path / "ours", {"standing/__init__.py": "from .part import NAME", "standing/part.py": "NAME = 'ours'"})
    sys.path.insert(0, str(tmp_path / "ours"))
    importlib.import_module("standing")
    sys.meta_path.append(imports.StandIns("standing"))
    sys.path.pop(0)
    importlib.invalidate_caches()
    standing = importlib.import_module("standing")
    assert standing.NAME == "ours"
    assert importlib.import_module("standing.part") is standing.part
    del sys.modules["standing"], sys.modules["standing.part"]
    write(tmp_path / "theirs", {"standing.py": "NAME = 'theirs'"})
    sys.path.insert(0, str(tmp_path / "theirs"))
    assert importlib.import_module("standing").NAME == "theirs"


def test_the_runners_own_modules_are_hidden_from_plugins():
    snapshot.hide(frozenset({"imports", "not_imported"}))
    assert "imports" not in sys.modules
