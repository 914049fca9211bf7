"""The artifact store and its server (wire contract 10.3, 10.8, 10.9)."""

import base64
import hashlib
import http.client
import json
import re

import pytest

from peers.bundle import bundle_of, files_of, folder_of, tar_gz, zip_archive
from peers.cli import mortise
from peers.host import Host

RECORD = {"plugin_id", "filename", "digest", "size", "version", "created_at", "url"}


@pytest.fixture(scope="module")
def serving_host(transport, tmp_path_factory):
    """A host that serves artifacts, on a port that the system chose, and may fetch from nowhere on this machine."""
    host = Host(
        transport,
        tmp_path_factory.mktemp("serving"),
        environment={"DC_PLUGIN_ARTIFACT_PORT": "0"},
        arguments=["--artifact-serve"],
    )
    with host.serving("hello-world"):
        yield host


def publish(host, bundle=None, **params):
    """Publishes hello-world, the installed one or another; returns its record."""
    if bundle:
        params |= {"bundle_b64": bundle.params()["bundle_b64"]}
    published = host.call("publish_plugin_artifact", {"plugin_id": "hello-world"} | params)
    assert published["status"] == "success", published
    return published["artifact"]


class Web:
    """The server at a URL, asked for paths as they are: no client tidies them up."""

    def __init__(self, url):
        self._address, self.path = re.fullmatch(r"http://([^/]+)(/.*)", url).groups()

    def get(self, path=None, **headers):
        connection = http.client.HTTPConnection(self._address, timeout=10)
        try:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("GET", path or self.path, headers=fields)
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()
        finally:
            connection.close()


def test_an_installed_plugin_is_published_listed_and_found(serving_host):
    artifact = publish(serving_host)
    assert artifact.keys() == RECORD | {"artifact_dir"}
    assert (artifact["plugin_id"], artifact["version"]) == ("hello-world", "0.1.0")
    assert artifact["filename"] == "0.1.0.tgz"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", artifact["created_at"])
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/artifacts/hello-world/0\.1\.0\.tgz", artifact["url"])
    stored = (serving_host.capabilities / ".artifacts" / "hello-world" / "0.1.0.tgz").read_bytes()
    assert artifact["digest"] == "sha256:" + hashlib.sha256(stored).hexdigest()
    assert artifact["size"] == len(stored)

    record = {key: artifact[key] for key in RECORD}
    listed = serving_host.call("list_plugin_artifacts")
    assert (listed["status"], listed["serve_enabled"], listed["artifacts"]) == ("success", True, [record])
    assert listed["artifact_dir"] == artifact["artifact_dir"]
    latest = serving_host.call("get_plugin_artifact_url", {"plugin_id": "hello-world"})
    assert latest == {"status": "success", "artifact": record}
    # By its version it is found among the files, and those know no date.
    by_version = serving_host.call("get_plugin_artifact_url", {"plugin_id": "hello-world", "version": "0.1.0"})
    assert by_version == {"status": "success", "artifact": {k: v for k, v in record.items() if k != "created_at"}}
    # What is published is no plugin.
    assert [entry["id"] for entry in serving_host.call("list_plugins")["available"]] == ["hello-world"]


def test_an_archive_is_published_as_it_is_and_may_have_no_version(serving_host):
    bundle = bundle_of("hello-world", version=None)
    artifact = publish(serving_host, bundle)
    assert (artifact["digest"], artifact["size"], artifact["version"]) == (bundle.digest, len(bundle.data), None)
    assert artifact["filename"] == bundle.digest.removeprefix("sha256:")[:12] + ".tgz"
    newer = publish(serving_host, bundle, version="9.9.9-rc.1+build_5")
    assert newer["filename"] == "9.9.9-rc.1+build_5.tgz"
    assert serving_host.call("get_plugin_artifact_url", {"plugin_id": "hello-world"})["artifact"]["url"] == newer["url"]


def test_every_version_is_listed_and_the_newest_alone_where_the_reference_has_it(host):
    for version in ("2.0.0", "1.0.0"):
        publish(host, bundle_of("hello-world", version=version), version=version)
    listed = host.call("list_plugin_artifacts")
    assert [record["version"] for record in listed["artifacts"]] == ["1.0.0"]
    newest, older = listed["versions"]
    assert newest == listed["artifacts"][0]
    assert (older["version"], older.keys()) == ("2.0.0", RECORD - {"created_at"})
    by_version = host.call("get_plugin_artifact_url", {"plugin_id": "hello-world", "version": "2.0.0"})
    assert older == by_version["artifact"]


def test_what_is_published_can_be_downloaded(serving_host):
    bundle = bundle_of("hello-world", version="4.0.0")
    artifact = publish(serving_host, bundle, version="4.0.0")
    web = Web(artifact["url"])
    status, headers, listing = web.get("/artifacts")
    assert (status, headers.get_content_type()) == (200, "application/json")
    listed = serving_host.call("list_plugin_artifacts")
    assert json.loads(listing) == {key: listed[key] for key in ("artifacts", "versions")}

    status, headers, body = web.get()
    assert (status, headers["Content-Type"]) == (200, "application/gzip")
    assert body == bundle.data
    assert "sha256:" + hashlib.sha256(body).hexdigest() == artifact["digest"]
    assert headers["Content-Length"] == str(artifact["size"])
    assert headers["Last-Modified"] and headers["Accept-Ranges"] == "bytes"

    status, headers, record = web.get("/artifacts/hello-world/artifact.json")
    assert (status, json.loads(record)["filename"]) == (200, artifact["filename"])


def test_a_part_is_served_and_what_a_client_has_is_not_sent_again(serving_host):
    bundle = bundle_of("hello-world", version="5.0.0")
    artifact = publish(serving_host, bundle, version="5.0.0")
    web, size = Web(artifact["url"]), len(bundle.data)
    for given, begin, end in (("10-19", 10, 20), (f"{size - 7}-", size - 7, size), ("-7", size - 7, size)):
        status, headers, body = web.get(Range=f"bytes={given}")
        assert (status, headers["Content-Range"]) == (206, f"bytes {begin}-{end - 1}/{size}")
        assert body == bundle.data[begin:end]
    status, headers, _ = web.get(Range=f"bytes={size}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{size}")

    tag = web.get()[1]["ETag"]
    status, headers, body = web.get(If_None_Match=tag)
    assert (status, headers["ETag"], body) == (304, tag, b"")
    # Published again, it is something else.
    publish(serving_host, bundle_of("hello-world", version="5.0.1"), version="5.0.0")
    status, headers, body = web.get(If_None_Match=tag)
    assert (status, headers["ETag"] == tag, body == bundle.data) == (200, False, False)


# Ways out of the store, each to a file that is there; the reference goes the first ones (wire contract 11, S6).
ATTACKS = [
    "/artifacts/..%2Fhello-world/plugin.wasm",
    "/artifacts/..%2fhello-world/plugin.wasm",
    "/artifacts/..%2F.mortise/lock",
    "/artifacts/..%2F..%2F..%2F..%2F..%2F..%2F..%2F..%2F..%2F..%2Fetc/passwd",
    "/artifacts/hello-world/..%2F..%2Fhello-world%2Fmanifest.json",
    "/artifacts/hello-world/..%2f..%2f..%2fhost.log",
    "/artifacts/%2e%2e/hello-world/manifest.json",
    "/artifacts/%2e%2e%2fhello-world/manifest.json",
    "/artifacts/../hello-world/manifest.json",
    "/artifacts/..%5Chello-world/manifest.json",
    "/artifacts/..%252Fhello-world/manifest.json",
    "/artifacts/%2Fetc/passwd",
    "/artifacts/hello-world/.lock",
    "/artifacts/hello-world/%00",
]


@pytest.mark.parametrize("path", ATTACKS)
def test_nothing_but_artifacts_is_served(serving_host, path):
    web = Web(publish(serving_host)["url"])
    status, _, body = web.get(path)
    assert (status, body) == (404, b"404: Not Found")


def test_what_is_not_there_is_not_found(serving_host):
    web = Web(publish(serving_host)["url"])
    nowhere = ("/", "/artifacts/", "/artifacts/hello-world", "/artifacts/hello-world/9.tgz", "/artifacts/nobody/1.tgz")
    for path in nowhere:
        status, _, body = web.get(path)
        assert (status, body) == (404, b"404: Not Found"), path


def test_our_own_artifacts_are_installed_without_a_connection(serving_host):
    version = "6.0.0"
    artifact = publish(serving_host, bundle_of("hello-world", version=version), version=version)
    params = {"url": artifact["url"]}
    installed = serving_host.call("install_plugin_from_url", params | {"digest": artifact["digest"]})
    assert (installed["status"], installed["digest"]) == ("success", artifact["digest"]), installed
    assert serving_host.call("list_plugins")["loaded"]["hello-world"]["manifest"]["version"] == version
    assert serving_host.call("install_plugin_from_url", params)["status"] == "success"
    # That is no permission to fetch from anywhere else on this machine, and not from a store that lacks it.
    address = re.match(r"http://([^/]+)", artifact["url"])[1]
    elsewhere = artifact["url"].replace(address, "127.0.0.1:1")
    missing = artifact["url"].replace(version, "8.8.8")
    with serving_host.unchanged():
        for wrong, code in (
            ({"url": elsewhere}, "url_not_https"),
            ({"url": missing}, "artifact_not_found"),
            (params | {"digest": "0" * 64}, "digest_mismatch"),
        ):
            assert serving_host.refuse("install_plugin_from_url", wrong)["code"] == code


def b64(data):
    return {"bundle_b64": base64.b64encode(data).decode()}


# Each row: what is asked for, the code, the message. Texts are the reference's own where it has them.
REFUSED = {
    "nothing": ({}, "missing_source", "plugin_id or bundle_b64 required"),
    "nobody's archive": (b64(b"x"), "missing_plugin_id", "plugin_id required with bundle_b64"),
    "what is not installed": ({"plugin_id": "nobody"}, "plugin_not_found", "plugin not found: "),
    "an id that is a path": ({"plugin_id": "../x"}, "invalid_plugin_id", "invalid plugin id"),
    "an id that is a dot": ({"plugin_id": "."}, "invalid_plugin_id", "invalid plugin id"),
    "the folder of the state": ({"plugin_id": ".mortise"}, "invalid_plugin_id", "invalid plugin id"),
    "a version that is a path": ({"plugin_id": "hello-world", "version": "../../x"}, "invalid_version", ""),
    "a version with a slash": ({"plugin_id": "hello-world", "version": "1/2"}, "invalid_version", ""),
    "a version with a dot in front": ({"plugin_id": "hello-world", "version": ".1"}, "invalid_version", ""),
    "a version that is dots": ({"plugin_id": "hello-world", "version": ".."}, "invalid_version", ""),
    "no base64": ({"plugin_id": "x", "bundle_b64": "no base64!"}, "invalid_base64", "invalid base64 bundle"),
    "no archive": ({"plugin_id": "x"} | b64(b"text"), "archive_corrupt", ""),
}


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.replace(" ", "-"))
def test_what_cannot_be_published_leaves_nothing(serving_host, row):
    params, code, message = REFUSED[row]
    with serving_host.unchanged():
        refusal = serving_host.refuse("publish_plugin_artifact", params)
        print(f"{row}: {refusal}")
        assert refusal["code"] == code, refusal
        assert refusal["message"].startswith(message)
        assert refusal["hint"]
    assert sorted(path.name for path in serving_host.capabilities.parent.iterdir()) == ["capabilities", "host.log"]


def test_an_archive_that_could_not_be_installed_is_not_published(serving_host):
    files = files_of("hello-world")
    with serving_host.unchanged():
        for data in (zip_archive(files), tar_gz(files | {"../escape.txt": b"x"}), tar_gz({"plugin.wasm": b"x"})):
            serving_host.refuse("publish_plugin_artifact", {"plugin_id": "hello-world"} | b64(data))
        other = {"plugin_id": "other"} | b64(tar_gz(files))
        assert serving_host.refuse("publish_plugin_artifact", other)["code"] == "plugin_id_mismatch"


@pytest.mark.parametrize("plugin_id", ["nobody", "../x", "", "."])
def test_an_artifact_that_is_not_there_is_not_found(serving_host, plugin_id):
    refusal = serving_host.refuse("get_plugin_artifact_url", {"plugin_id": plugin_id})
    assert (refusal["code"], refusal["message"]) == ("artifact_not_found", f"artifact not found for {plugin_id}")


def test_the_artifact_command_and_the_host_share_one_store(serving_host, tmp_path):
    where = ["--capabilities-dir", serving_host.capabilities, "--json"]
    plugin = folder_of("counter")
    published = mortise(tmp_path, "artifact", "publish", plugin, "--version", "1.0.0", *where)
    assert published.code == 0, published
    record = published.json()["artifact"]
    assert (record["plugin_id"], record["filename"]) == ("counter", "1.0.0.tgz")
    found = serving_host.call("get_plugin_artifact_url", {"plugin_id": "counter"})["artifact"]
    assert found["digest"] == record["digest"]
    assert Web(found["url"]).get()[0] == 200
    listed = mortise(tmp_path, "artifact", "list", *where)
    assert listed.code == 0 and "counter" in [each["plugin_id"] for each in listed.json()["artifacts"]]
    refused = mortise(tmp_path, "artifact", "publish", plugin, "--version", "../../x", *where)
    assert refused.code == 1 and refused.json()["code"] == "invalid_version"


def test_nothing_is_served_unless_the_operator_wants_it(host):
    assert host.call("list_plugin_artifacts")["serve_enabled"] is False
