"""Bundles good and bad (wire contract 10.5): a refused one leaves nothing on disk and changes nothing that runs."""

import base64
import json
import tarfile

import pytest

from peers.bundle import (
    CORE_MODULE,
    EMPTY_COMPONENT,
    Bundle,
    bundle_of,
    files_of,
    link,
    tar_gz,
    with_manifest,
    zip_archive,
)
from peers.host import Host

BYTES_MAX = 400_000
"""What the host of this file accepts, so that one byte more still fits a NATS message."""


@pytest.fixture(scope="module")
def picky_host(transport, tmp_path_factory):
    host = Host(transport, tmp_path_factory.mktemp("picky"), environment={"DC_PLUGIN_MAX_PLUGIN_BYTES": str(BYTES_MAX)})
    with host.serving("hello-world"):
        yield host


def replacing(**members):
    """The hello-world bundle with members replaced, so that a success would be seen in what runs."""
    files = files_of("hello-world") | {name.replace("_", "."): data for name, data in members.items()}
    return Bundle(tar_gz(files))


def with_member(name, data=b"x"):
    return Bundle(tar_gz(list(files_of("hello-world").items()) + [(name, data)]))


def without_manifest():
    files = files_of("hello-world")
    del files["manifest.json"]
    return Bundle(tar_gz(files))


def manifest(**changes):
    return Bundle(tar_gz(with_manifest(files_of("hello-world"), **changes)))


def device_node():
    info = tarfile.TarInfo("node")
    info.type = tarfile.CHRTYPE
    return info


def truncated():
    data = tar_gz(files_of("hello-world"))
    return Bundle(data[: len(data) // 2])


# Each row: what is wrong, the bundle, what the message must say. Texts in quotes are the reference's own.
BROKEN = {
    "not base64": (lambda: Bundle(b"", {"bundle_b64": "no base64!", "digest": None}), "invalid base64 bundle"),
    "base64 without padding": (lambda: Bundle(b"", {"bundle_b64": "YWJjZA", "digest": None}), "invalid base64 bundle"),
    "empty": (lambda: Bundle(b"", {"digest": None}), ""),
    "not an archive": (lambda: Bundle(b"this is text, and long enough to be read as a header" * 20), ""),
    "cut off": (truncated, ""),
    "wrong digest": (
        lambda: Bundle(bundle_of("hello-world").data, {"digest": "sha256:" + "0" * 64}),
        "digest mismatch",
    ),
    "no digest at all": (lambda: Bundle(bundle_of("hello-world").data, {"digest": "sha256:xyz"}), "digest"),
    "no manifest": (without_manifest, "archive must contain manifest.json at root or in a single top-level folder"),
    "two top-level folders": (
        lambda: Bundle(tar_gz({f"{top}/{n}": d for top in "ab" for n, d in files_of("hello-world").items()})),
        "archive must contain manifest.json at root or in a single top-level folder",
    ),
    "manifest is not JSON": (lambda: replacing(manifest_json=b"{"), "manifest"),
    "manifest is no object": (lambda: replacing(manifest_json=b"[]"), "manifest"),
    "entry point is missing": (lambda: manifest(entry_point="other.wasm"), "other.wasm"),
    "entry point leaves the folder": (lambda: manifest(entry_point="../plugin.wasm"), ""),
    "unknown limit": (lambda: manifest(limits={"memmory": "1MiB"}), "memmory"),
    "unknown permission": (lambda: manifest(permissions={"htp": []}), "htp"),
    "unknown type": (lambda: manifest(type="cobol"), "cobol"),
    "id is a dot": (lambda: Bundle(bundle_of("hello-world").data, {"plugin_id": "."}), "invalid plugin id"),
    "id leaves the folder": (lambda: Bundle(bundle_of("hello-world").data, {"plugin_id": "../x"}), "invalid plugin id"),
    "id has a slash": (lambda: Bundle(bundle_of("hello-world").data, {"plugin_id": "a/b"}), "invalid plugin id"),
    "id is the state folder": (
        lambda: Bundle(bundle_of("hello-world").data, {"plugin_id": ".mortise"}),
        "invalid plugin id",
    ),
    "id of the manifest leaves the folder": (lambda: manifest(id="../../x"), "invalid plugin id"),
    "member leaves the folder": (lambda: with_member("../escape.txt"), "unsafe path in archive: ../escape.txt"),
    "member leaves it on the way": (lambda: with_member("a/../../escape.txt"), "unsafe path in archive:"),
    "member is absolute": (lambda: with_member("/tmp/escape.txt"), "unsafe path in archive: /tmp/escape.txt"),
    "zip member leaves the folder": (
        lambda: Bundle(zip_archive(files_of("hello-world") | {"../escape.txt": b"x"})),
        "unsafe path in archive: ../escape.txt",
    ),
    "member leaves it for a folder whose name begins alike": (
        # What the reference unpacks into begins like this, and its check compares beginnings (wire contract 11, S4).
        lambda: Bundle(zip_archive(files_of("hello-world") | {"../.staging-plugin-2/escape.txt": b"x"})),
        "unsafe path in archive: ../.staging-plugin-2/escape.txt",
    ),
    "symbolic link": (lambda: with_member(link("here", "/etc/passwd"), b""), "here"),
    "hard link": (lambda: with_member(link("here", "plugin.wasm", tarfile.LNKTYPE), b""), "here"),
    "device node": (lambda: with_member(device_node(), b""), "node"),
    "the same member twice": (lambda: with_member("plugin.wasm"), "plugin.wasm"),
    "too many bytes": (
        lambda: Bundle(b"\x1f\x8b" + bytes(BYTES_MAX - 1)),
        f"bundle exceeds max size ({BYTES_MAX} bytes)",
    ),
    "too many bytes unpacked": (lambda: with_member("zeros", bytes(101 << 20)), ""),
    "too many members": (
        lambda: Bundle(tar_gz(list(files_of("hello-world").items()) + [(f"f/{n}", b"") for n in range(10_001)])),
        "",
    ),
    "a core module": (lambda: replacing(plugin_wasm=CORE_MODULE), "component"),
    "a component without our exports": (lambda: replacing(plugin_wasm=EMPTY_COMPONENT), "export"),
    "no WebAssembly": (lambda: replacing(plugin_wasm=b"not wasm"), ""),
}


def message_of(result):
    assert result["status"] == "error", f"refused with nothing left behind: {result}"
    assert result["message"], result
    return result["message"]


@pytest.mark.parametrize("row", BROKEN, ids=lambda row: row.replace(" ", "-"))
def test_a_broken_bundle_leaves_nothing(picky_host, row):
    make, expected = BROKEN[row]
    with picky_host.unchanged():
        message = message_of(picky_host.call("install_plugin_from_bundle", make().params(), limit=30))
        print(f"{row}: {message}")
        assert expected in message
        assert picky_host.capabilities.as_posix() not in message, "no path of the host in an answer"
    assert picky_host.call("hello_world", {"name": row}) == {"message": f"Hello, {row}!"}
    assert not (picky_host.capabilities.parent / "escape.txt").exists()


def test_each_kind_of_breakage_has_a_message_of_its_own(picky_host):
    alike = [
        {"not base64", "base64 without padding"},
        {"no manifest", "two top-level folders"},
        {"wrong digest", "no digest at all"},
        {"manifest is not JSON", "manifest is no object"},
        {"id is a dot", "id leaves the folder", "id has a slash", "id is the state folder",
         "id of the manifest leaves the folder"},
        {"member leaves the folder", "zip member leaves the folder", "member leaves it on the way",
         "member leaves it for a folder whose name begins alike", "member is absolute"},
        {"empty", "not an archive", "cut off"},
        {"a core module", "no WebAssembly"},
    ]  # fmt: skip
    slow = {"too many bytes unpacked", "too many members"}
    kind = {row: min(group) for group in alike for row in group}
    seen = {}
    for row, (make, _) in BROKEN.items():
        if row in slow:
            continue
        message = message_of(picky_host.call("install_plugin_from_bundle", make().params(), limit=30))
        other = seen.setdefault(message, row)
        assert kind.get(other, other) == kind.get(row, row), f"`{other}` and `{row}` both say: {message}"


def test_parameters_of_the_wrong_kind_are_refused(picky_host):
    files = picky_host.files()
    for params in ({"bundle_b64": 7}, {"bundle_b64": None}, {"bundle_b64": ["x"]}):
        reply = picky_host.request("install_plugin_from_bundle", params)
        refused = reply.get("error", {}).get("code") == -32000 or reply.get("result", {}).get("status") == "error"
        assert refused, reply
    assert picky_host.files() == files


GOOD = {
    "tar.gz with the files at the root": lambda files: Bundle(tar_gz(files)),
    "tar.gz with one folder": lambda files: Bundle(tar_gz({f"hello-world/{n}": d for n, d in files.items()})),
    "zip with the files at the root": lambda files: Bundle(zip_archive(files)),
    "zip with one folder": lambda files: Bundle(zip_archive({f"hello-world/{n}": d for n, d in files.items()})),
    "loose files beside the folder": lambda files: Bundle(
        tar_gz({f"hello-world/{n}": d for n, d in files.items()} | {"README.md": b"loose"})
    ),
    "a format nobody knows": lambda files: Bundle(tar_gz(files), {"format": "rar"}),
    "zip named as zip": lambda files: Bundle(zip_archive(files), {"format": "zip"}),
    "tar.gz named as tgz": lambda files: Bundle(tar_gz(files), {"format": "tgz"}),
    "a bare digest": lambda files: Bundle(tar_gz(files), {"digest": Bundle(tar_gz(files)).digest[7:]}),
    "no digest": lambda files: Bundle(tar_gz(files), {"digest": None}),
    "install_dependencies as text": lambda files: Bundle(tar_gz(files), {"install_dependencies": "False"}),
    "install_dependencies as null": lambda files: Bundle(tar_gz(files), {"install_dependencies": None}),
}


@pytest.mark.parametrize("row", GOOD, ids=lambda row: row.replace(" ", "-"))
def test_a_good_bundle_is_installed_and_answers(start_host, row):
    host = start_host()
    host.install(GOOD[row](files_of("hello-world")))
    assert host.call("hello_world", {"name": row}) == {"message": f"Hello, {row}!"}
    assert (host.capabilities / "hello-world" / "manifest.json").is_file()
    assert (host.capabilities / "hello-world" / "plugin.wasm").is_file()


def test_a_digest_in_capitals_with_blanks_around_it_is_the_same_digest(host):
    bundle = bundle_of("hello-world")
    bundle.extra["digest"] = f"  {bundle.digest.upper()}\n"
    host.install(bundle)


def test_an_archive_whose_manifest_has_no_id_takes_its_folders_name(host):
    files = with_manifest(files_of("hello-world"), id=None)
    installed = host.call(
        "install_plugin_from_bundle", Bundle(tar_gz({f"greeter/{n}": d for n, d in files.items()})).params()
    )
    assert (installed["status"], installed["plugin_id"]) == ("success", "greeter"), installed
    refused = host.call("install_plugin_from_bundle", Bundle(tar_gz(files)).params())
    assert refused["status"] == "error" and refused["message"].startswith("invalid plugin id"), refused


def test_the_manifest_of_a_loaded_plugin_is_listed_with_unknown_keys(host):
    host.install(bundle_of("hello-world", x_vendor={"a": 1}))
    (listed,) = host.call("list_plugins")["available"]
    on_disk = json.loads((host.capabilities / "hello-world" / "manifest.json").read_text())
    assert listed["manifest"] == on_disk
    assert listed["manifest"]["x_vendor"] == {"a": 1}


def folder_with_plugin(parent):
    source = parent / "source"
    source.mkdir(parents=True)
    for name, data in files_of("hello-world").items():
        (source / name).write_bytes(data)
    return source


def test_a_folder_of_the_host_is_not_installed_from_unless_the_operator_allows_it(host, tmp_path):
    source = folder_with_plugin(tmp_path)
    reply = host.request("install_plugin", {"source_path": str(source)})
    assert "error" in reply or reply["result"]["status"] == "error", reply
    assert host.call("list_plugins")["available"] == []


def test_a_folder_of_the_host_is_installed_from_where_the_operator_allows_it(start_host, tmp_path):
    source = folder_with_plugin(tmp_path / "allowed")
    forbidden = folder_with_plugin(tmp_path / "forbidden")
    (tmp_path / "allowed" / "link").symlink_to(forbidden)
    host = start_host(arguments=["--install-source-root", tmp_path / "allowed"])
    for path in (forbidden, tmp_path / "allowed" / "link", tmp_path / "allowed" / ".." / "forbidden" / "source"):
        refused = host.call("install_plugin", {"source_path": str(path)})
        assert refused["status"] == "error", (path, refused)

    installed = host.call("install_plugin", {"source_path": str(source)})
    assert (installed["status"], installed["plugin_id"]) == ("success", "hello-world"), installed
    assert host.call("hello_world") == {"message": "Hello, world!"}

    # Unlike an archive, a folder never overwrites (wire contract 10.3).
    again = host.call("install_plugin", {"source_path": str(source)})
    assert again["status"] == "error"
    assert again["message"].startswith("Plugin 'hello-world' already exists at "), again
    missing = host.call("install_plugin", {"source_path": str(source / "nothing")})
    assert missing["status"] == "error", missing


def test_the_same_bundle_again_is_a_success_without_a_second_copy(host):
    bundle = bundle_of("hello-world")
    host.install(bundle)
    files = host.files()
    again = host.call("install_plugin_from_bundle", bundle.params())
    assert again["status"] == "success", again
    assert base64.b64decode(bundle.params()["bundle_b64"]) == bundle.data
    assert [f for f in host.files() if f not in files and not f.startswith(".mortise/generations/")] == []
