"""What Python plugins declare as dependencies: installed by pip from an index of our own, where the operator allows it."""

import hashlib
import json
import os
import runpy
import sys

import pytest

from peers.bundle import Bundle, tar_gz, zip_archive
from peers.host import ROOT, CallError
from peers.web import Answer, WebServer

SOURCE = b"""
import os
import platform
import sys

from device_connect_edge.drivers.decorators import rpc
from greeting import greet


class Greeter:
    def __init__(self, device=None):
        self.device = device

    @rpc()
    async def greeting(self, name: str = "world") -> str:
        return greet(name)

    @rpc()
    async def python(self) -> dict:
        return {
            "implementation_name": sys.implementation.name,
            "implementation_version": platform.python_version(),
            "os_name": os.name,
            "platform_machine": platform.machine(),
            "platform_python_implementation": platform.python_implementation(),
            "platform_release": platform.release(),
            "platform_system": platform.system(),
            "platform_version": platform.version(),
            "python_full_version": platform.python_version(),
            "python_version": ".".join(platform.python_version_tuple()[:2]),
            "sys_platform": sys.platform,
        }
"""

PIP = ROOT / "host/delivery/src/dependencies/pip.py"

pytestmark = pytest.mark.parametrize("transport", [pytest.param("nats", marks=pytest.mark.nats)], indirect=True)


def wheel(name, version, source, tag="py3-none-any", requires=()):
    """A package of one module, as an index has it: its file name and its bytes."""
    about = f"{name}-{version}.dist-info"
    required = "".join(f"Requires-Dist: {other}\n" for other in requires)
    files = {
        f"{name}.py": source.encode(),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}".encode(),
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    listed = "".join(f"{path},,\n" for path in [*files, f"{about}/RECORD"])
    return f"{name}-{version}-{tag}.whl", zip_archive(files | {f"{about}/RECORD": listed.encode()})


class Index(WebServer):
    """A package index (PEP 503)."""

    def offer(self, name, *wheels):
        links = []
        for file, data in wheels:
            self.serve(f"/wheels/{file}", Answer(data))
            links.append(f'<a href="/wheels/{file}#sha256={hashlib.sha256(data).hexdigest()}">{file}</a>')
        page = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>"
        self.serve(f"/simple/{name}/", Answer(page.encode(), headers={"Content-Type": "text/html"}))

    @property
    def simple(self):
        return self.url("/simple", "127.0.0.1")


GREET = "from words import HELLO\n\n\ndef greet(name):\n    return f'{HELLO}, {name}!'\n"
GREETING = wheel("greeting", "1.0", GREET, requires=["words"])
WORDS = wheel("words", "2.1", "HELLO = 'Good day'\n")
MARKED = wheel("greeting", "2.0", GREET, requires=[
    "words; sys_platform == 'wasi' and platform_machine == 'wasm32' and platform_system == 'wasi'",
    "fast; sys_platform == 'linux' or platform_machine == 'x86_64' or python_version < '3.14'",
])  # fmt: skip


@pytest.fixture(scope="module")
def index():
    server = Index()
    server.offer("greeting", GREETING, MARKED)
    server.offer("words", WORDS)
    server.offer("fast", wheel("fast", "3.0", "", tag="cp314-cp314-linux_x86_64"))
    server.offer("heavy", wheel("heavy", "1.0", "", requires=["fast>=1", "words"]))
    server.serve("/evil-1.0.tar.gz", Answer(b"no archive"))
    server.offer("sly", wheel("sly", "1.0", "", requires=[f"evil @ {server.url('/evil-1.0.tar.gz', '127.0.0.1')}"]))
    yield server
    server.close()


@pytest.fixture
def start(start_host, index):
    """Starts hosts with pip and the index; the operator's leave is for each test to give."""

    def begin(policy=None, **variables):
        arguments = ["--runners-dir", os.environ.get("MORTISE_RUNNERS") or ROOT / "target/runners"]
        if policy:
            arguments += ["--policy", policy]
        known = {"MORTISE_PYTHON": sys.executable, "PIP_INDEX_URL": index.simple, "PIP_NO_CACHE_DIR": "1"}
        return start_host(environment=known | variables, arguments=arguments)

    return begin


def plugin(*requirements, version="1.0"):
    manifest = {
        "id": "greeter", "version": version, "entry_point": "capability.py", "class_name": "Greeter",
        "dependencies": {"python": list(requirements)},
    }  # fmt: skip
    return Bundle(tar_gz({"manifest.json": json.dumps(manifest).encode(), "capability.py": SOURCE}))


def install(host, bundle, **extra):
    return host.call("install_plugin_from_bundle", bundle.params() | extra, limit=60)


def nothing_is_there(host):
    listed = host.call("list_plugins")
    return listed["loaded"] == {} and not (host.capabilities / "greeter").exists()


def test_what_is_declared_is_installed_with_the_plugin(start, index):
    host = start(DC_PLUGIN_INSTALL_DEPENDENCIES="1")
    installed = install(host, plugin("greeting>=1,<2"))
    assert installed["status"] == "success", installed
    assert installed["dependencies"] == ["greeting==1.0", "words==2.1"]
    assert host.call("greeting", {"name": "pip"}) == "Good day, pip!"
    lock = (host.capabilities / "greeter" / "dependencies.lock").read_text()
    assert f"words==2.1 --hash=sha256:{hashlib.sha256(WORDS[1]).hexdigest()}" in lock

    # What is there is enough for a reload and for a start, with or without an index.
    asked = index.requests("/simple/greeting/")
    assert host.call("reload_plugin", {"plugin_id": "greeter"})["status"] == "success"
    host.stop()
    host.start()
    assert host.call("greeting") == "Good day, world!"
    assert index.requests("/simple/greeting/") == asked

    # Asked for again, newer versions are taken; the old one serves until then.
    index.offer("words", WORDS, wheel("words", "2.2", "HELLO = 'Good evening'\n"))
    try:
        loaded = host.call("load_plugin", {"plugin_id": "greeter", "install_dependencies": True}, limit=60)
        assert loaded["status"] == "success", loaded
        assert host.call("greeting") == "Good evening, world!"
        assert host.call("rollback_plugin", {"plugin_id": "greeter"})["status"] == "success"
        assert host.call("greeting") == "Good day, world!"
    finally:
        index.offer("words", WORDS)


def test_without_the_operator_nothing_is_installed(start, index):
    host = start()
    asked = index.requests("/simple/greeting/")
    refused = install(host, plugin("greeting"), install_dependencies="true")
    assert (refused["status"], refused["code"]) == ("error", "dependencies_off"), refused
    assert "DC_PLUGIN_INSTALL_DEPENDENCIES" in refused["hint"]
    assert nothing_is_there(host)
    # Not asked for, the plugin is loaded as it is, and says what it lacks.
    refused = install(host, plugin("greeting"))
    assert refused["status"] == "error" and "greeting" in refused["message"], refused
    assert index.requests("/simple/greeting/") == asked


def test_a_caller_may_do_without(start, index):
    host = start(DC_PLUGIN_INSTALL_DEPENDENCIES="1")
    asked = index.requests("/simple/greeting/")
    refused = install(host, plugin("greeting"), install_dependencies=False)
    assert refused["status"] == "error" and "greeting" in refused["message"], refused
    assert index.requests("/simple/greeting/") == asked


def test_what_a_package_says_where_to_fetch_is_never_fetched(start, index):
    """pip would have a source build itself: on this machine, outside of the sandbox."""
    host = start(DC_PLUGIN_INSTALL_DEPENDENCIES="1")
    refused = install(host, plugin("sly"))
    assert (refused["status"], refused["code"]) == ("error", "invalid_requirement"), refused
    assert "package `sly` requires `evil @" in refused["message"], refused
    assert index.requests("/evil-1.0.tar.gz") == 0 and nothing_is_there(host)


def test_a_marker_is_judged_as_the_plugin_s_python_would(start, index, tmp_path):
    """A package for processors of servers alone is none of the sandbox's, whatever pip itself runs on."""
    policy = tmp_path / "policy.toml"
    policy.write_text('[dependencies]\ninstall = true\nallow = ["greeting", "words"]\n')
    host = start(policy)
    installed = install(host, plugin("greeting>=2", "fast; os_name == 'nt'"))
    assert installed["status"] == "success", installed
    assert installed["dependencies"] == ["greeting==2.0", "words==2.1"]
    assert host.call("greeting") == "Good day, world!"
    assert host.call("python") == runpy.run_path(str(PIP), run_name="read")["RUNNER"], "what pip is told"
    refused = install(host, plugin("greeting>=2", "fast; sys_platform == 'wasi'"))
    assert (refused["status"], refused["code"]) == ("error", "dependencies_unresolved"), refused
    assert "requires" not in refused["message"], "it is the plugin's own"


@pytest.mark.parametrize(
    "requirement, code, words",
    [
        ("fast", "dependencies_unresolved", "fast"),
        ("nowhere-at-all", "dependencies_unresolved", "nowhere-at-all"),
        ("greeting; osname == 'nt'", "dependencies_unresolved", "osname"),
        ("heavy", "dependencies_unresolved", "package `heavy` requires `fast>=1`"),
        ("greeting @ http://127.0.0.1:1/greeting.whl", "invalid_requirement", "greeting @"),
        ("--index-url=http://127.0.0.1:1", "invalid_requirement", "--index-url"),
    ],
)
def test_what_cannot_be_installed_is_refused(start, requirement, code, words):
    host = start(DC_PLUGIN_INSTALL_DEPENDENCIES="1")
    refused = install(host, plugin(requirement))
    assert (refused["status"], refused["code"]) == ("error", code), refused
    assert words in refused["message"], refused
    assert nothing_is_there(host)


def test_the_policy_names_index_and_packages(start, index, tmp_path):
    policy = tmp_path / "policy.toml"

    def allow(*names):
        fresh = policy.with_suffix(".new")
        fresh.write_text(f'[dependencies]\ninstall = true\nindex = "{index.simple}"\nallow = {json.dumps(names)}\n')
        fresh.rename(policy)

    allow("greeting")
    host = start(policy, PIP_INDEX_URL="http://127.0.0.1:1/simple")
    refused = install(host, plugin("greeting"))
    assert (refused["status"], refused["code"]) == ("error", "dependency_not_allowed"), refused
    assert "package `greeting` requires `words; " in refused["message"] and nothing_is_there(host)
    host.stop()
    allow("greeting", "Words")
    host.start()
    assert install(host, plugin("greeting"))["status"] == "success"
    with pytest.raises(CallError):
        host.call("greeting", {"nobody": 1})
    assert host.call("greeting") == "Good day, world!"
