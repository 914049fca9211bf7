"""Archives that the host fetches itself: from where, how much, and what is left when it fails (wire contract 10.6)."""

import itertools
import json

import pytest

from conftest import FETCHED_BYTES_MAX
from peers.bundle import bundle_of, files_of, with_manifest, zip_archive
from peers.host import Host
from peers.web import Answer, Authority, WebServer, redirect

UNTOUCHED = "/untouched.tgz"
"""A good archive that is where the host must not go."""

_versions = (f"1.0.{n}" for n in itertools.count(1))


def fresh():
    """A hello-world that no test has installed yet."""
    return bundle_of("hello-world", version=next(_versions))


@pytest.fixture(scope="module")
def plain_web():
    server = WebServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def strange_web(tmp_path_factory):
    """Has a certificate of an authority that the host was not told of."""
    server = WebServer(Authority(tmp_path_factory.mktemp("stranger")).context("localhost"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def guarded_host(transport, authority, tmp_path_factory):
    """A host that trusts `web` and whose operator allowed nothing else."""
    host = Host(transport, tmp_path_factory.mktemp("guarded"), arguments=["--install-ca-file", authority.path])
    with host.serving():
        yield host


def serving(host):
    """The version that is loaded, and answers."""
    assert host.call("hello_world", {"name": "web"}) == {"message": "Hello, web!"}
    return host.call("list_plugins")["loaded"]["hello-world"]["manifest"]["version"]


# Each row: what is served on the way to the archive; returns the URL that is asked for.
FETCHED = {
    "at once": lambda web, good: web.serve("/good.tgz", good),
    "without its size": lambda web, good: web.serve("/good.tgz", Answer(good.body, sized=False)),
    "with a query": lambda web, good: web.serve("/good.tgz", good) + "?token=s3cret",
    "without an ending": lambda web, good: web.serve("/good", good),
    "after a redirect": lambda web, good: web.serve("/here", redirect(web.serve("/good.tgz", good))),
    "after relative redirects": lambda web, good: (
        web.serve("/good.tgz", good)
        and web.serve("/b/there", redirect("../good.tgz", 307))
        and web.serve("/here", redirect("b/there", 308))
    ),
    "from a server that recovers": lambda web, good: web.serve(
        "/good.tgz", Answer(status=503), Answer(status=500), good
    ),
}


@pytest.mark.parametrize("pinned", [False, True], ids=["no-digest", "digest"])
@pytest.mark.parametrize("row", FETCHED, ids=lambda row: row.replace(" ", "-"))
def test_an_archive_is_fetched_and_installed(fetching_host, web, row, pinned):
    bundle = fresh()
    url = FETCHED[row](web, Answer(bundle.data))
    params = {"url": url} | ({"digest": bundle.digest} if pinned else {})
    installed = fetching_host.call("install_plugin_from_url", params, limit=30)
    assert (installed["status"], installed["plugin_id"]) == ("success", "hello-world"), installed
    assert installed["installed_to"] == str(fetching_host.capabilities / "hello-world")
    assert installed["digest"] == bundle.digest
    on_disk = json.loads((fetching_host.capabilities / "hello-world" / "manifest.json").read_text())
    assert on_disk["version"] == installed["load_result"]["plugin"]["manifest"]["version"] == serving(fetching_host)


def test_a_zip_is_known_by_its_name_and_by_its_bytes(fetching_host, web):
    for path in ("/good.zip", "/good"):
        version = next(_versions)
        archive = zip_archive(with_manifest(files_of("hello-world"), version=version))
        url = web.serve(path, Answer(archive))
        assert fetching_host.call("install_plugin_from_url", {"url": url})["status"] == "success"
        assert serving(fetching_host) == version


def test_what_is_fetched_may_wait_to_be_loaded(fetching_host, web):
    before = fetching_host.call("list_plugins")["loaded"]
    url = web.serve("/good.tgz", Answer(fresh().data))
    result = fetching_host.call("install_plugin_from_url", {"url": url, "load": False})
    assert (result["status"], result["loaded"]) == ("success", False), result
    assert fetching_host.call("list_plugins")["loaded"] == before


def test_an_archive_that_is_here_already_is_not_fetched_again(fetching_host, web):
    bundle = fresh()
    params = {"url": web.serve("/good.tgz", Answer(bundle.data)), "digest": bundle.digest}
    for _ in range(2):
        assert fetching_host.call("install_plugin_from_url", params)["status"] == "success"
    assert web.requests("/good.tgz") == 1


def test_what_the_server_has_not_changed_is_not_sent_again(fetching_host, web):
    """Not for another install, and not for a plan; a new archive under the old URL is."""
    bundle = fresh()
    path = "/tagged.tgz"
    params = {"url": web.serve(path, Answer(bundle.data, etag='"one"'))}
    digests = [fetching_host.call("install_plugin_from_url", params)["digest"] for _ in range(2)]
    planned = fetching_host.call("plan_plugin_install", params)
    assert (planned["action"], planned["digest"]) == ("unchanged", bundle.digest), planned
    assert digests == [bundle.digest] * 2
    assert (web.requests(path), web.unmodified(path)) == (3, 2)
    newer = fresh()
    web.serve(path, Answer(newer.data, etag='"two"'))
    assert fetching_host.call("install_plugin_from_url", params)["digest"] == newer.digest
    assert web.unmodified(path) == 0


def test_what_the_store_has_lost_is_fetched_again(fetching_host, web):
    bundle = fresh()
    path = "/tagged.tgz"
    params = {"url": web.serve(path, Answer(bundle.data, etag='"lost"'))}
    fetching_host.call("install_plugin_from_url", params)
    stored = fetching_host.capabilities / ".mortise" / "store" / "sha256" / bundle.digest.removeprefix("sha256:")
    for lose in (lambda: stored.write_bytes(b"damaged"), stored.unlink):
        lose()
        assert fetching_host.call("install_plugin_from_url", params)["digest"] == bundle.digest
        assert stored.read_bytes() == bundle.data


LIST = "is not in DC_PLUGIN_INSTALL_URL_ALLOWLIST"

# Each row: the parameters, given where a good archive lies; the code; what the message must say.
REFUSED = {
    "no URL": (lambda s: {"url": "nonsense"}, "invalid_url", "invalid URL: nonsense"),
    "plain http": (lambda s: {"url": s.plain_web.url(UNTOUCHED)}, "url_not_https", "is not https"),
    "another scheme": (lambda s: {"url": f"ftp://localhost{UNTOUCHED}"}, "url_not_https", "`ftp`"),
    "a password in it": (
        lambda s: {"url": s.web.url(UNTOUCHED, host="user:pa55word@localhost")},
        "url_credentials",
        "",
    ),
    "a host that is not on the list": (
        lambda s: {"url": s.web.url(UNTOUCHED, host="127.0.0.1")},
        "host_not_allowed",
        f"URL host '127.0.0.1' {LIST}",
    ),
    "a host that ends like one on the list": (
        lambda s: {"url": "https://badexample.invalid/x.tgz"},
        "host_not_allowed",
        f"URL host 'badexample.invalid' {LIST}",
    ),
    # It is past the list: all that it lacks is an address.
    "a host below one on the list": (
        lambda s: {"url": "https://plugins.example.invalid/x.tgz"},
        "host_not_found",
        "`plugins.example.invalid`",
    ),
    "a redirect to a host that is not on the list": (
        lambda s: {"url": s.web.serve("/here", redirect(s.web.url(UNTOUCHED, host="127.0.0.1")))},
        "host_not_allowed",
        f"URL host '127.0.0.1' {LIST}",
    ),
    "a redirect to http": (
        lambda s: {"url": s.web.serve("/here", redirect(s.plain_web.url(UNTOUCHED)))},
        "url_not_https",
        "which is not https",
    ),
    "redirects without end": (
        lambda s: {"url": s.web.serve("/here", redirect("/here"))},
        "bad_redirect",
        "redirects more than",
    ),
    "a server that nobody vouches for": (lambda s: {"url": s.strange_web.url(UNTOUCHED)}, "fetch_tls", ""),
    "nothing there": (lambda s: {"url": s.web.url("/nothing.tgz?token=s3cret")}, "http_status", "status 404"),
    "an error page": (
        lambda s: {"url": s.web.serve("/page", Answer(b"<html>moved</html>"))},
        "archive_corrupt",
        "",
    ),
    "too large, and it says so": (
        lambda s: {"url": s.web.serve("/large", Answer(bytes(FETCHED_BYTES_MAX + 1)))},
        "artifact_too_large",
        f"artifact exceeds max size ({FETCHED_BYTES_MAX} bytes)",
    ),
    "too large, and nobody says so": (
        lambda s: {"url": s.web.serve("/large", Answer(bytes(4 * FETCHED_BYTES_MAX), sized=False))},
        "artifact_too_large",
        f"artifact exceeds max size ({FETCHED_BYTES_MAX} bytes)",
    ),
    "another digest": (
        lambda s: {"url": s.web.serve("/other.tgz", Answer(s.bundle.data)), "digest": "sha256:" + "0" * 64},
        "digest_mismatch",
        "digest mismatch",
    ),
    "no digest": (
        lambda s: {"url": s.web.serve("/other.tgz", Answer(s.bundle.data)), "digest": "sha256:xyz"},
        "digest_mismatch",
        "digest",
    ),
    "another plugin": (
        lambda s: {"url": s.web.serve("/other.tgz", Answer(s.bundle.data)), "plugin_id": "other"},
        "plugin_id_mismatch",
        "hello-world",
    ),
    "an id that is a path": (
        lambda s: {"url": s.web.url(UNTOUCHED), "plugin_id": "../x"},
        "invalid_plugin_id",
        "invalid plugin id",
    ),
}


class Servers:
    """Every server there is, each with a good archive at a place that must not be asked."""

    def __init__(self, web, plain_web, strange_web):
        self.web, self.plain_web, self.strange_web = web, plain_web, strange_web
        self.bundle = fresh()
        for server in self._all():
            server.serve(UNTOUCHED, Answer(self.bundle.data))

    def _all(self):
        return (self.web, self.plain_web, self.strange_web)

    def touched(self):
        return sum(server.requests(UNTOUCHED) for server in self._all())


@pytest.fixture
def servers(web, plain_web, strange_web):
    return Servers(web, plain_web, strange_web)


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.replace(" ", "-"))
def test_what_must_not_or_cannot_be_fetched_leaves_nothing(fetching_host, servers, row):
    params, code, message = REFUSED[row]
    with fetching_host.unchanged():
        refusal = fetching_host.refuse("install_plugin_from_url", params(servers))
        print(f"{row}: {refusal}")
        assert refusal["code"] == code, refusal
        assert message in refusal["message"]
        assert refusal["hint"]
        assert "url" in refusal or code == "invalid_plugin_id", "callers learn which URL it was"
        assert "s3cret" not in json.dumps(refusal)
    assert servers.touched() == 0


# No operator's permission makes the last ones a place for archives.
PRIVATE = {
    "a name of this machine": ("localhost", "loopback"),
    "an address of this machine": ("127.0.0.1", "loopback"),
    "another address of this machine": ("127.9.8.7", "loopback"),
    "an address as one number": ("2130706433", "loopback"),
    "an address in IPv6": ("[::1]", "loopback"),
    "an address of IPv4 in IPv6": ("[::ffff:127.0.0.1]", "loopback"),
    "a private network": ("10.0.0.1", "private"),
    "the own cable": ("169.254.1.1", "link-local"),
    "where clouds keep credentials": ("169.254.169.254", "cloud metadata"),
    "this host on this network": ("0.0.0.0", "unspecified"),
}


@pytest.mark.parametrize("row", PRIVATE, ids=lambda row: row.replace(" ", "-"))
def test_private_addresses_are_refused_unless_the_operator_allows_them(guarded_host, servers, row):
    host, kind = PRIVATE[row]
    with guarded_host.unchanged():
        refusal = guarded_host.refuse("install_plugin_from_url", {"url": servers.web.url(UNTOUCHED, host=host)})
        assert refusal["code"] == "address_not_allowed", refusal
        assert refusal["message"].endswith(f"{kind} address"), refusal
    assert servers.touched() == 0


def test_a_url_that_is_not_allowed_is_refused_though_the_archive_is_here(fetching_host):
    bundle = fresh()
    fetching_host.install(bundle)
    for url in ("https://elsewhere.invalid/x.tgz", "ftp://localhost/x.tgz", "nonsense"):
        with fetching_host.unchanged():
            fetching_host.refuse("install_plugin_from_url", {"url": url, "digest": bundle.digest})


def test_a_password_is_not_repeated(fetching_host, web):
    url = web.url(UNTOUCHED, host="user:pa55word@localhost")
    refusal = fetching_host.refuse("install_plugin_from_url", {"url": url})
    assert "pa55word" not in json.dumps(refusal)
