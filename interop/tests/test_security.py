"""What the reference host lets through and this one must not (wire contract 11, rows S1, S2, S8, S9 and S11).

The other rows have tests where their subject is: S3 and S6 in `test_artifacts.py`, S4 and S5 in `test_bundles.py`, S7
in `test_urls.py`; S10 in `host/mesh/tests/all/nats_tls.rs` and S12 in `host/tests/all/cli.rs`. S13 is about
commissioning, which this host does not offer.
"""

import pytest

from peers.bundle import Bundle, bundle_of, files_of, tar_gz, with_manifest
from peers.host import CallError

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
                           "list_plugin_versions", "get_plugin_logs", "get_plugin_stats", "get_plugin_permissions", "publish_plugin_artifact",
                           "get_plugin_artifact_url"):  # fmt: skip
                exposed_host.refuse(method, {"plugin_id": given})
            exposed_host.refuse("install_plugin", {"source_path": source, "plugin_id": given})
            for method in ("install_plugin_from_bundle", "plan_plugin_install"):
                exposed_host.refuse(method, bundle_of("hello-world").params() | {"plugin_id": given})
            exposed_host.refuse("get_plugin_template", {"plugin_id": given})
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


@pytest.mark.parametrize("way", ["parameter", "metadata"])
def test_a_sender_who_is_claimed_is_no_permission(host, tmp_path, way):
    # S8: anybody may write any name there. The reference calls it authenticated.
    folder = tmp_path / "hello-world"
    folder.mkdir()
    for name, data in files_of("hello-world").items():
        (folder / name).write_bytes(data)
    for claimed in (host.device, "operator", "control", "local", "root"):
        claim = {"source_device": claimed}
        params = {"source_path": str(folder)} | (claim if way == "parameter" else {"_dc_meta": claim})
        with host.unchanged():
            refusal = host.refuse("install_plugin", params)
            assert refusal["code"] == "not_allowed", refusal
    # Nor does it take anybody's answer: two that share a request id and are told apart by their claim are two calls.
    host.install(bundle_of("hello-world"))
    incarnations = []
    for claimed in ("one", "other"):
        params = {"plugin_id": "hello-world", "_dc_meta": {"source_device": claimed}}
        message = {"jsonrpc": "2.0", "id": "shared", "method": "reload_plugin", "params": params}
        incarnations.append(host.send(message)["result"]["incarnation"])
    assert len(set(incarnations)) == 2


def test_nothing_runs_outside_the_sandbox(host):
    # S11: the reference opens a sidecar's port to the network and mounts all plugins into it.
    image = {"id": "cam", "type": "docker", "image": "example/cam:1"}
    for method, params in (
        ("deploy_sidecar", {"plugin_id": "hello-world"}),
        ("undeploy_sidecar", {"plugin_id": "hello-world"}),
        ("install_plugin_from_docker", {"manifest": image}),
    ):
        with host.unchanged(), pytest.raises(CallError) as raised:
            host.call(method, params)
        assert raised.value.code == -32601, method
    with host.unchanged():
        refusal = host.refuse("install_plugin_from_manifest", {"manifest": image})
        assert refusal["code"] == "sidecars_disabled", refusal
        for kind, entry_point in (("native", "plugin.so"), ("docker", "plugin.wasm"), ("python", "plugin.py")):
            files = with_manifest(files_of("hello-world"), type=kind, entry_point=entry_point, image="example/cam:1")
            bundle = Bundle(tar_gz(files | {entry_point: b"\x7fELF"}))
            refusal = host.refuse("install_plugin_from_bundle", bundle.params())
            print(refusal)
            assert "hello_world" not in [f["name"] for f in host.call("requestRegistration")["capabilities"]["functions"]]


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
