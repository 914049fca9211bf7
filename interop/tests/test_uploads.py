"""Archives that come in parts, since they are larger than one message of the mesh."""

import base64
import itertools

import pytest

from peers.bundle import bundle_of, files_of, folder_of
from peers.caller import NOBODY, Caller
from peers.cli import mortise
from peers.host import Host
from peers.transport import open_nats

BYTES_MAX = 400_000
"""What the host of this file accepts."""

PART = 20_000
"""Bytes of one part; a hello-world has three of them."""

PAYLOAD_MAX = 32 << 10
"""What the small broker carries at once."""

_versions = (f"3.0.{n}" for n in itertools.count(1))


def fresh():
    """A hello-world that no test has installed yet."""
    return bundle_of("hello-world", version=next(_versions))


@pytest.fixture(scope="module")
def upload_host(transport, tmp_path_factory):
    environment = {"DC_PLUGIN_MAX_PLUGIN_BYTES": str(BYTES_MAX)}
    host = Host(transport, tmp_path_factory.mktemp("upload"), environment=environment)
    with host.serving("hello-world"):
        yield host


@pytest.fixture
def connect(transport, upload_host):
    """Makes connections of the edge SDK that have found the host."""
    callers = []

    def connect():
        caller = Caller(transport)
        callers.append(caller)
        return caller.await_device(upload_host.device)

    yield connect
    for caller in callers:
        caller.close()


class Upload:
    """One upload to one host. Another connection may take it over."""

    def __init__(self, caller, host, bundle, digest=None):
        self.caller, self.host, self.data = caller, host, bundle.data
        begun = self.call("begin_plugin_upload", {"total_bytes": len(self.data), "digest": digest or bundle.digest})
        assert (begun["status"], begun["next_offset"]) == ("success", 0), begun
        assert begun["expires_in_seconds"] > 60
        self.id = begun["upload_id"]

    def call(self, method, params):
        return self.caller.call(self.host.device, method, params)

    def append(self, offset, data):
        chunk = base64.b64encode(data).decode()
        return self.call("append_plugin_upload", {"upload_id": self.id, "offset": offset, "chunk_b64": chunk})

    def append_from(self, offset, size=PART):
        """The parts from `offset` to the end, each of which must be taken."""
        for at in range(offset, len(self.data), size):
            part = self.data[at : at + size]
            assert self.append(at, part) == {"status": "success", "next_offset": at + len(part)}

    def commit(self, **params):
        return self.call("commit_plugin_upload", {"upload_id": self.id} | params)


def staged(host):
    return [path for path in host.files() if path.startswith(".mortise/staging/")]


def assert_serves(host, bundle, result):
    assert (result["status"], result["plugin_id"]) == ("success", "hello-world"), result
    assert result["digest"] == bundle.digest
    version = result["load_result"]["plugin"]["manifest"]["version"]
    assert host.call("list_plugins")["loaded"]["hello-world"]["manifest"]["version"] == version
    assert host.call("hello_world", {"name": version}) == {"message": f"Hello, {version}!"}
    assert staged(host) == [], "the parts are gone"


def test_an_archive_comes_in_parts(upload_host, connect):
    bundle = fresh()
    upload = Upload(connect(), upload_host, bundle)
    upload.append_from(0)
    assert_serves(upload_host, bundle, upload.commit())
    gone = upload.append(0, b"x")
    assert (gone["status"], gone["code"]) == ("error", "upload_not_found"), gone


def test_a_part_may_be_sent_again(upload_host, connect):
    bundle = fresh()
    upload = Upload(connect(), upload_host, bundle)
    for at in range(0, len(bundle.data), PART):
        end = min(at + PART, len(bundle.data))
        for begin in (at, at, max(0, at - PART // 2)):
            # The last one begins before what is there and ends where the first one does.
            assert upload.append(begin, bundle.data[begin:end]) == {"status": "success", "next_offset": end}
    assert_serves(upload_host, bundle, upload.commit())


def test_an_upload_outlives_the_connection_that_began_it(upload_host, connect):
    bundle = fresh()
    upload = Upload(connect(), upload_host, bundle)
    upload.append(0, bundle.data[:PART])
    upload.caller.close()
    # Whoever does not know whether the last part arrived sends it again, and is told where to go on.
    upload.caller = connect()
    assert upload.append(0, bundle.data[:PART])["next_offset"] == PART
    upload.append_from(PART)
    upload.caller.close()
    upload.caller = connect()
    assert_serves(upload_host, bundle, upload.commit(plugin_id="hello-world", format="tar.gz"))


# Each row: where a part begins, what it holds, given the whole archive of which PART bytes came; and the code.
MISPLACED = {
    "behind a gap": (lambda data: (PART + 1, data[PART + 1 : PART + 10]), "upload_gap"),
    "other bytes than before": (lambda data: (5, b"other"), "upload_conflict"),
    "beyond the end": (lambda data: (PART, data[PART:] + b"x"), "upload_beyond_end"),
    "far beyond the end": (lambda data: (1 << 62, b"x"), "upload_beyond_end"),
}


def test_a_part_out_of_place_is_refused_and_told_where_to_go_on(upload_host, connect):
    bundle = fresh()
    upload = Upload(connect(), upload_host, bundle)
    upload.append(0, bundle.data[:PART])
    with upload_host.unchanged():
        for row, (make, code) in MISPLACED.items():
            refusal = upload.append(*make(bundle.data))
            assert (refusal["status"], refusal["code"], refusal["next_offset"]) == ("error", code, PART), (row, refusal)
            assert refusal["message"] and refusal["hint"]
        early = upload.commit()
        assert (early["status"], early["code"], early["next_offset"]) == ("error", "upload_incomplete", PART), early
    # Nothing of that did any harm.
    upload.append_from(PART)
    assert_serves(upload_host, bundle, upload.commit())


def test_another_digest_is_refused_and_leaves_nothing(upload_host, connect):
    with upload_host.unchanged():
        upload = Upload(connect(), upload_host, fresh(), digest="sha256:" + "0" * 64)
        upload.append_from(0)
        for _ in range(2):
            refusal = upload.commit()
            assert (refusal["status"], refusal["code"]) == ("error", "digest_mismatch"), refusal
            assert refusal["message"].startswith("digest mismatch") and refusal["hint"]


def test_another_plugins_id_is_refused_and_can_be_put_right(upload_host, connect):
    bundle = fresh()
    upload = Upload(connect(), upload_host, bundle)
    upload.append_from(0)
    with upload_host.unchanged():
        for plugin_id, code in (("other", "plugin_id_mismatch"), ("../x", "invalid_plugin_id")):
            refusal = upload.commit(plugin_id=plugin_id)
            assert (refusal["status"], refusal["code"]) == ("error", code), refusal
    assert_serves(upload_host, bundle, upload.commit(plugin_id="hello-world"))


def test_an_upload_may_wait_to_be_loaded(upload_host, connect):
    before = upload_host.call("list_plugins")["loaded"]
    upload = Upload(connect(), upload_host, fresh())
    upload.append_from(0)
    result = upload.commit(load=False)
    assert (result["status"], result["loaded"]) == ("success", False), result
    assert upload_host.call("list_plugins")["loaded"] == before


DIGEST = "sha256:" + "0" * 64

# Each row: what is called with what, the code, what the message must say.
REFUSED = {
    "too large": (
        "begin_plugin_upload",
        {"total_bytes": BYTES_MAX + 1, "digest": DIGEST},
        "bundle_too_large",
        f"bundle exceeds max size ({BYTES_MAX} bytes)",
    ),
    "larger than any number": (
        "begin_plugin_upload",
        {"total_bytes": 10**30, "digest": DIGEST},
        "invalid_argument",
        "total_bytes",
    ),
    "nothing": ("begin_plugin_upload", {"total_bytes": 0, "digest": DIGEST}, "upload_empty", "empty"),
    "less than nothing": (
        "begin_plugin_upload",
        {"total_bytes": -1, "digest": DIGEST},
        "invalid_argument",
        "total_bytes",
    ),
    "no digest": ("begin_plugin_upload", {"total_bytes": 1, "digest": "xyz"}, "invalid_argument", "digest"),
    "a part of no upload": (
        "append_plugin_upload",
        {"upload_id": "0" * 32, "offset": 0, "chunk_b64": "eA=="},
        "upload_not_found",
        "no such upload",
    ),
    "a part of what never was an upload": (
        "append_plugin_upload",
        {"upload_id": "../../x", "offset": 0, "chunk_b64": "eA=="},
        "invalid_argument",
        "upload_id",
    ),
    "the end of no upload": ("commit_plugin_upload", {"upload_id": "0" * 32}, "upload_not_found", "no such upload"),
}


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.replace(" ", "-"))
def test_what_is_no_upload_is_refused(upload_host, row):
    method, params, code, message = REFUSED[row]
    with upload_host.unchanged():
        refusal = upload_host.refuse(method, params)
        assert refusal["code"] == code, refusal
        assert message in refusal["message"]


def test_a_part_that_is_no_base64_is_refused(upload_host, connect):
    bundle = fresh()
    upload = Upload(connect(), upload_host, bundle)
    for chunk in ("no base64!", "YWJjZA", base64.b64encode(bytes(BYTES_MAX + 1)).decode()):
        params = {"upload_id": upload.id, "offset": 0, "chunk_b64": chunk}
        assert upload.call("append_plugin_upload", params)["status"] == "error"
    upload.append_from(0)
    assert_serves(upload_host, bundle, upload.commit())


@pytest.fixture
def small_broker(loop, tmp_path):
    """A broker that carries small messages only."""
    config = tmp_path / "broker.conf"
    config.write_text(f"max_payload: {PAYLOAD_MAX}\n")
    transport = open_nats(loop, config)
    yield transport
    transport.close()


@pytest.fixture
def small_host(small_broker, tmp_path):
    host = Host(small_broker, tmp_path)
    with host.serving():
        yield host


@pytest.mark.nats
def test_what_no_message_can_carry_comes_in_parts(small_broker, small_host):
    bundle = fresh()
    assert len(bundle.data) > PAYLOAD_MAX
    caller = Caller(small_broker)
    with pytest.raises(NOBODY, match="maximum payload exceeded"):
        caller.call(small_host.device, "install_plugin_from_bundle", bundle.params())
    upload = Upload(caller, small_host, bundle)
    upload.append_from(0)
    assert_serves(small_host, bundle, upload.commit())
    caller.close()


@pytest.mark.nats
def test_the_deploy_command_sends_in_parts_what_no_message_can_carry(small_broker, small_host, tmp_path):
    requests = small_broker.wire.subscribe(f"{small_host.device}.cmd")
    deploy = ["deploy", "--json", "--host", small_host.device, *small_broker.deploy_arguments]
    ended = mortise(tmp_path, *deploy, "install", folder_of("hello-world"))
    result = ended.result()
    assert (result["status"], result["plugin_id"]) == ("success", "hello-world"), ended
    requests.wait(lambda message: message["method"] == "commit_plugin_upload", 5, "the last request is seen")
    sent = requests.messages()
    methods = [message.json()["method"] for message in sent]
    appends = methods.count("append_plugin_upload")
    assert appends > 1
    assert methods == ["begin_plugin_upload", *["append_plugin_upload"] * appends, "commit_plugin_upload"]
    assert max(len(message.data) for message in sent) <= PAYLOAD_MAX
    assert sent[0].json()["params"]["digest"] == result["digest"]
    assert small_host.call("hello_world") == {"message": "Hello, world!"}
    installed = small_host.capabilities / "hello-world" / "plugin.wasm"
    assert installed.read_bytes() == files_of("hello-world")["plugin.wasm"]
    assert staged(small_host) == []
