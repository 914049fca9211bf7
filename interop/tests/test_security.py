"""What the reference host lets through and this one must not (wire contract 11, rows S1, S2 and S9).

The other rows have tests where their subject is: S3 and S6 in `test_artifacts.py`, S4 and S5 in `test_bundles.py`, S7
in `test_urls.py`.
"""

import pytest

from peers.bundle import Bundle, bundle_of, files_of, tar_gz, with_manifest

# None of it is about the transport.
pytestmark = [pytest.mark.nats, pytest.mark.parametrize("transport", ["nats"], indirect=True)]

OUTSIDE = ["../elsewhere/hello-world", "../elsewhere", "hello-world/../../elsewhere/hello-world", "..", ".", ".mortise"]


@pytest.fixture
def exposed_host(start_host, tmp_path):
    """A host with a plugin that is loaded, one in a folder beside its own, and one in a folder to install from."""
    host = start_host(arguments=["--install-source-root", tmp_path / "allowed"])
    for folder in (host.capabilities.parent / "elsewhere" / "hello-world", tmp_path / "allowed" / "source"):
        folder.mkdir(parents=True)
        for name, data in files_of("hello-world").items():
            (folder / name).write_bytes(data)
    host.install(bundle_of("hello-world"))
    return host


def tree(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def test_an_id_is_never_a_way_out_of_the_folder(exposed_host, tmp_path):
    # S1: the reference runs `load_plugin("../elsewhere/hello-world")`.
    elsewhere = exposed_host.capabilities.parent / "elsewhere"
    before = tree(elsewhere)
    source = str(tmp_path / "allowed" / "source")
    for given in [*OUTSIDE, str(elsewhere / "hello-world")]:
        with exposed_host.unchanged():
            for method in ("load_plugin", "reload_plugin", "unload_plugin", "rollback_plugin", "uninstall_plugin",
                           "list_plugin_versions", "publish_plugin_artifact", "get_plugin_artifact_url"):  # fmt: skip
                exposed_host.refuse(method, {"plugin_id": given})
            exposed_host.refuse("install_plugin", {"source_path": source, "plugin_id": given})
            exposed_host.refuse("install_plugin_from_bundle", bundle_of("hello-world").params() | {"plugin_id": given})
            manifest = {"id": given, "bundle_b64": bundle_of("hello-world").params()["bundle_b64"]}
            exposed_host.refuse("install_plugin_from_manifest", {"manifest": manifest})
    assert tree(elsewhere) == before
    assert exposed_host.call("hello_world") == {"message": "Hello, world!"}


@pytest.mark.parametrize("own", [False, True], ids=["asked-for", "in-the-manifest"])
def test_no_archive_takes_the_place_of_what_belongs_to_the_host(exposed_host, own):
    # S2: the reference deletes its whole folder for `.`, and replaces these for their names.
    exposed_host.call("publish_plugin_artifact", {"plugin_id": "hello-world"})
    for given in (".", ".artifacts", ".deps", ".mortise", ".staging-x"):
        files = with_manifest(files_of("hello-world"), id=given) if own else files_of("hello-world")
        params = Bundle(tar_gz(files)).params() | ({} if own else {"plugin_id": given})
        with exposed_host.unchanged():
            refusal = exposed_host.refuse("install_plugin_from_bundle", params)
            assert refusal["message"].startswith("invalid plugin id"), refusal


def test_no_plugin_takes_a_function_of_the_host(host):
    # S9: in the reference the plugin's function is called from then on. The name of the component's one function is
    # replaced by one of the host's that has as many letters.
    host.install(bundle_of("hello-world"))
    files = with_manifest(files_of("hello-world"), id="taker")
    assert len("hello_world") == len("load_plugin") and b"hello_world" in files["plugin.wasm"]
    files["plugin.wasm"] = files["plugin.wasm"].replace(b"hello_world", b"load_plugin")
    installed = host.install(Bundle(tar_gz(files)))
    assert installed["load_result"]["plugin"]["functions"] == ["load_plugin"], "that is what it offers"
    names = [function["name"] for function in host.call("requestRegistration")["capabilities"]["functions"]]
    assert names.count("load_plugin") == 1 and "taker.load_plugin" in names
    loaded = host.call("load_plugin", {"plugin_id": "hello-world"})
    assert (loaded["status"], loaded["plugin"]["id"]) == ("success", "hello-world")
    host.call("unload_plugin", {"plugin_id": "taker"})
    assert host.call("load_plugin", {"plugin_id": "hello-world"})["status"] == "success"


def test_a_plugin_sees_nothing_of_the_process_it_runs_in(start_host, tmp_path):
    # S9: in the reference a plugin has the host's environment, its files and its network.
    secret = tmp_path / "broker.creds"
    secret.write_text("s3cret")
    host = start_host(environment={"INTEROP_SECRET": "s3cret"})
    host.install(bundle_of("wasi"))
    assert host.call("environment") == {"variables": {}, "arguments": [], "input": ""}
    assert host.call("folders") == 0
    manifest = host.capabilities / "wasi" / "manifest.json"
    for path in (secret, manifest, "/proc/self/environ", f"/proc/{host.pid}/environ"):
        error = host.request("read_file", {"path": str(path)})["error"]
        assert error["code"] == -32000 and "s3cret" not in error["message"]
    assert "error" in host.request("write_file", {"path": str(tmp_path / "new")})
    assert not (tmp_path / "new").exists()
