"""A disk that is full or read-only: nothing that runs is lost, and what is refused leaves nothing behind."""

import json
import os
import subprocess

import pytest

from peers.bundle import Bundle, bundle_of, files_of, tar_gz
from peers.host import Host, binary, environment

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")

DISK = "4m"


@pytest.fixture
def small_disk(transport, tmp_path):
    """A host whose folder is a small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr}")
    host = Host(transport, folder)
    try:
        with host.serving("hello-world"):
            yield host
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def works(host):
    return host.call("hello_world", {"name": "disk"}) == {"message": "Hello, disk!"}


def large():
    """A newer `hello-world` that fits into a message, and unpacked does not fit on the disk."""
    noise = bin(int.from_bytes(os.urandom(3 << 17)))[2:].encode()
    return Bundle(tar_gz(files_of("hello-world") | {"ballast.txt": noise}))


def test_a_plugin_that_does_not_fit_changes_nothing(small_disk):
    with small_disk.unchanged():
        refusal = small_disk.refuse("install_plugin_from_bundle", large().params(), limit=60)
        print(refusal)
        assert refusal["code"] == "disk", refusal
        assert refusal["hint"]
    assert works(small_disk)


def fill(ballast):
    """Leaves no room on the disk."""
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(1 << 12))


def test_a_full_disk_is_survived(small_disk):
    small_disk.install(bundle_of("hello-world", description="newer"))
    ballast = small_disk.capabilities.parent / "ballast"
    with small_disk.unchanged():
        fill(ballast)
        for method, params in (
            ("install_plugin_from_bundle", bundle_of("counter").params()),
            ("install_plugin_from_bundle", bundle_of("hello-world", description="newest").params()),
            ("publish_plugin_artifact", {"plugin_id": "hello-world"}),
        ):
            refusal = small_disk.refuse(method, params, limit=60)
            print(refusal)
            assert str(small_disk.capabilities) not in json.dumps(refusal), "no path of this machine"
            assert works(small_disk)
        ballast.unlink()
    small_disk.install(bundle_of("counter"))
    small_disk.kill()
    small_disk.start()
    assert works(small_disk)


def test_on_a_full_disk_a_plugin_is_changed_wholly_or_not_at_all(small_disk):
    # These need next to no room, so that either outcome is right; what is not is half of one.
    small_disk.install(bundle_of("hello-world", description="newer"))
    one = {"plugin_id": "hello-world"}
    ballast = small_disk.capabilities.parent / "ballast"
    fill(ballast)
    before = small_disk.call("list_plugins")["loaded"]["hello-world"]
    reloaded = small_disk.call("reload_plugin", one, limit=60)
    print(reloaded)
    assert works(small_disk)
    rolled_back = small_disk.call("rollback_plugin", one, limit=60)
    print(rolled_back)
    now = small_disk.call("list_plugins")["loaded"]["hello-world"]
    assert (now["generation"] != before["generation"]) == (rolled_back["status"] == "success")
    assert works(small_disk)
    uninstalled = small_disk.call("uninstall_plugin", one, limit=60)
    print(uninstalled)
    assert "edits_kept_at" not in uninstalled, "nobody edited anything"
    ballast.unlink(missing_ok=True)
    small_disk.kill()
    small_disk.start()
    if uninstalled["status"] == "success":
        assert small_disk.call("list_plugins")["available"] == []
        small_disk.install(bundle_of("hello-world"))
    assert works(small_disk)


def test_a_read_only_disk_is_named_and_costs_nothing(small_disk):
    disk = small_disk.capabilities.parent
    small_disk.stop()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    arguments = ["run", "--device-id", "reader", "--capabilities-dir", small_disk.capabilities]
    ended = subprocess.run(
        [binary(), *arguments, *small_disk.transport.host_arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=15,
    )
    print(ended.returncode, ended.stderr)
    assert ended.returncode not in (0, 101)
    assert str(small_disk.capabilities) in ended.stderr
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    small_disk.start()
    assert works(small_disk)
