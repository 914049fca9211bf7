"""From a folder to an object, or to words that say what is wrong."""

import json
import sys

import pytest

import loading
import outcome
from failure import Failure


@pytest.fixture
def folder(tmp_path, monkeypatch, host):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = dict(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


def write(folder, files, **manifest):
    manifest = {"id": "p", "class_name": "Plugin"} | manifest
    for name, content in ({"manifest.json": json.dumps(manifest)} | files).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def load(folder, files, **manifest):
    write(folder, files, **manifest)
    return loading.load("the device", str(folder))


def refusal(folder, files, **manifest):
    with pytest.raises(Failure) as caught:
        load(folder, files, **manifest)
    assert caught.value.code == "plugin_source"
    return caught.value.message


FAILING = "class Plugin:\n    def __init__(self, device):\n        raise ValueError()"
PLUGIN = "class Plugin:\n    def __init__(self, device=None):\n        self.device = device\n"


def test_the_class_is_made_with_the_device(folder):
    plugin = load(folder, {"capability.py": PLUGIN})
    assert plugin.device == "the device"
    assert type(plugin).__module__ == "capability_p" in sys.modules


def test_modules_packages_and_data_beside_it_are_found(folder):
    files = {
        "src/main.py": "import importlib.resources, os, near\nfrom parts.deep import where\n" + PLUGIN
        + "        self.found = [near.NAME, where(), importlib.resources.files('parts').joinpath('data.txt').read_text(),"
        " open(os.path.join(os.path.dirname(__file__), 'note.txt')).read()]\n",
        "src/near.py": "NAME = 'near'",
        "src/note.txt": "note",
        "parts/__init__.py": "",
        "parts/data.txt": "data",
        "parts/deep.py": "from . import sibling\ndef where(): return sibling.NAME",
        "parts/sibling.py": "NAME = 'deep'",
    }
    assert load(folder, files, entry_point="src/main.py").found == ["near", "deep", "data", "note"]


def test_packages_of_the_bundle_come_last(folder):
    files = {
        "capability.py": "import brought, both\n" + PLUGIN + "        self.found = [brought.NAME, both.NAME]\n",
        "both.py": "NAME = 'own'",
        "site-packages/brought/__init__.py": "NAME = 'brought'",
        "site-packages/both.py": "NAME = 'other'",
    }
    assert load(folder, files).found == ["brought", "own"]


@pytest.mark.parametrize(
    ("files", "manifest", "words"),
    [
        ({}, {}, "`capability.py`, the `entry_point` of `manifest.json`, is not in the plugin"),
        ({"capability.py": PLUGIN}, {"class_name": ""}, "`manifest.json` names no `class_name`"),
        ({"capability.py": PLUGIN}, {"class_name": "Plugn"}, "has no class `Plugn`, the `class_name` of `manifest.json`:"),
        ({"capability.py": PLUGIN}, {"class_name": "Plugn"}, "did you mean `Plugin`?"),
        ({"capability.py": "class A: pass\nclass B: pass"}, {"class_name": "Quite"}, "there are `A`, `B`"),
        ({"capability.py": "x = 1"}, {}, "it has none"),
        ({"capability.py": "x = 1\ndef f(:\n"}, {}, "`capability.py`, line 2: SyntaxError: invalid syntax"),
        ({"capability.py": "import helper", "helper.py": "\n\nclass X\n"}, {}, "`helper.py`, line 3: SyntaxError: expected ':'"),
        ({"capability.py": "class X:\n  def f():\n pass"}, {}, "`capability.py`, line 3: IndentationError"),
        ({"capability.py": "import nowhere_at"}, {}, "`capability.py`, line 1: ModuleNotFoundError: No module named 'nowhere_at': put"),
        (
            {"capability.py": "import nowhere_at"},
            {"dependencies": {"python": ["nowhere-at>=1"]}},
            "what `dependencies.python` declares is not installed (nowhere-at>=1): ask for `install_dependencies`",
        ),
        ({"capability.py": "import a", "a.py": "x = 1\nx.nope"}, {}, "`a.py`, line 2: AttributeError: 'int' object"),
        ({"capability.py": "import a", "site-packages/a.py": "1/0"}, {}, "`capability.py`, line 1: ZeroDivisionError"),
        ({"capability.py": "import sys\nsys.exit(4)"}, {}, "`capability.py`, line 2: SystemExit: 4"),
        ({"capability.py": FAILING}, {}, "`capability.py`, line 3: `Plugin(device=…)` failed: ValueError"),
        ({"capability.py": "class Plugin: pass"}, {}, "`capability.py`: `Plugin(device=…)` failed: TypeError: Plugin() takes"),
        ({"capability.txt": PLUGIN}, {"entry_point": "capability.txt"}, "its name has to end with `.py`"),
        ({"manifest.json": "{"}, {}, "`manifest.json` cannot be read"),
        ({"manifest.json": "[]"}, {}, "is not a JSON object"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(folder, files, manifest, words):
    assert words in refusal(folder, files, **manifest)


def test_the_log_has_the_traceback_without_the_runner(folder, host):
    refusal(folder, {"capability.py": "def f():\n    1/0\nf()"})
    log = host.lines("error")
    assert log[0] == "the plugin could not be loaded"
    assert any("1/0" in line for line in log) and not any("loading.py" in line for line in log)


def test_what_cannot_even_be_told_is_told_somehow(host):
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError("no")

    assert outcome.of_exception(Odd(), "it").value.message == "Odd"
