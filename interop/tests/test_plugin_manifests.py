"""The delivery manifests of `examples/plugin-manifests`, as they stand there but for an archive's bytes, digest and place."""

import base64
import json
import os

import nats
import pytest
from peers.bundle import Bundle, files_of, tar_gz
from peers.host import ROOT, Host
from peers.transport import open_nats
from peers.web import Answer

pytestmark = pytest.mark.nats

EXAMPLES = ROOT / "examples"
MANIFESTS = EXAMPLES / "plugin-manifests"


@pytest.fixture(scope="module")
def transport(loop, tmp_path_factory):
    """A broker of its own, with an object store."""
    folder = tmp_path_factory.mktemp("broker")
    config = folder / "nats.conf"
    config.write_text(f'jetstream {{ store_dir: "{folder}" }}\n')
    opened = open_nats(loop, config)
    yield opened
    opened.close()


@pytest.fixture
def host(transport, authority, tmp_path):
    runners = os.environ.get("MORTISE_RUNNERS") or ROOT / "target/runners"
    host = Host(
        transport,
        tmp_path,
        environment={"DC_PLUGIN_INSTALL_URL_ALLOWLIST": "localhost"},
        arguments=["--runners-dir", runners, "--install-ca-file", authority.path, "--install-allow-private"],
    )
    with host.serving():
        yield host


def archive(plugin):
    """The example that a manifest names, packed."""
    folder = EXAMPLES / plugin
    if (folder / "Cargo.toml").is_file():
        return Bundle(tar_gz(files_of(plugin)))
    return Bundle(tar_gz({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}))


def put(transport, bucket, name, data):
    """Keeps an object in a new bucket of the broker's."""

    async def keep():
        client = await nats.connect(transport.broker.url)
        try:
            store = await client.jetstream().create_object_store(bucket)
            await store.put(name, data)
        finally:
            await client.close()

    transport.loop.run(keep())


def test_each_is_an_example():
    assert {path.name for path in MANIFESTS.glob("*.json")} == {"bundle.json", "object.json", "url.json"}
    told = (MANIFESTS / "README.md").read_text()
    assert all(f"({path.name})" in told for path in MANIFESTS.glob("*.json"))


@pytest.mark.parametrize("name", ["bundle", "url", "object"])
def test_an_example_installs_what_it_names(name, host, transport, web):
    manifest = json.loads((MANIFESTS / f"{name}.json").read_text())
    bundle = archive(manifest["id"])
    assert manifest["digest"] == "sha256:<64 hex digits>"
    manifest["digest"] = bundle.digest
    if name == "bundle":
        manifest["bundle_b64"] = base64.b64encode(bundle.data).decode()
    elif name == "url":
        path = "/" + manifest["url"].removeprefix("https://").partition("/")[2]
        manifest["url"] = web.serve(path, Answer(bundle.data))
    else:
        put(transport, **manifest["object"], data=bundle.data)
    installed = host.call("install_plugin_from_manifest", {"manifest": manifest}, limit=60)
    assert (installed["status"], installed["plugin_id"]) == ("success", manifest["id"]), installed
    assert installed["digest"] == bundle.digest
    assert installed["load_result"]["plugin"]["manifest"]["id"] == manifest["id"]
