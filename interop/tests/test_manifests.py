"""Delivery manifests: what they bring along, and which kinds there are (wire contract 10.3)."""

import itertools

import pytest

from peers.bundle import Bundle, bundle_of
from peers.web import Answer

_versions = (f"2.0.{n}" for n in itertools.count(1))


def bundle_b64(bundle):
    return bundle.params()["bundle_b64"]


# Each row: the manifest, given an archive and where it is served.
GOOD = {
    "a bundle": lambda bundle, url: {"bundle_b64": bundle_b64(bundle)},
    "a URL": lambda bundle, url: {"url": url},
    "with everything": lambda bundle, url: {
        "id": "hello-world",
        "type": "python",
        "url": url,
        "digest": bundle.digest,
        "format": "tar.gz",
        "install_dependencies": False,
    },
    # The bundle's own manifest says what it is.
    "of another type": lambda bundle, url: {"type": "wasm", "bundle_b64": bundle_b64(bundle)},
    "of no type": lambda bundle, url: {"type": None, "url": url},
    "no bundle but a URL": lambda bundle, url: {"bundle_b64": None, "url": url},
}


@pytest.mark.parametrize("row", GOOD, ids=lambda row: row.replace(" ", "-"))
def test_a_manifest_is_installed(fetching_host, web, row):
    version = next(_versions)
    bundle = bundle_of("hello-world", version=version)
    manifest = GOOD[row](bundle, web.serve("/good.tgz", Answer(bundle.data)))
    installed = fetching_host.call("install_plugin_from_manifest", {"manifest": manifest}, limit=30)
    assert (installed["status"], installed["plugin_id"]) == ("success", "hello-world"), installed
    assert installed["digest"] == bundle.digest
    assert installed["load_result"]["plugin"]["manifest"]["version"] == version
    assert fetching_host.call("hello_world", {"name": row}) == {"message": f"Hello, {row}!"}


def test_a_bundle_wins_over_a_url(fetching_host, web):
    bundle = bundle_of("hello-world", version=next(_versions))
    url = web.serve("/other.tgz", Answer(b"something else"))
    manifest = {"bundle_b64": bundle_b64(bundle), "url": url, "digest": bundle.digest}
    assert fetching_host.call("install_plugin_from_manifest", {"manifest": manifest})["status"] == "success"
    assert web.requests("/other.tgz") == 0


def test_what_a_manifest_brings_may_wait_to_be_loaded(fetching_host):
    before = fetching_host.call("list_plugins")["loaded"]
    manifest = {"bundle_b64": bundle_b64(bundle_of("hello-world", version=next(_versions)))}
    result = fetching_host.call("install_plugin_from_manifest", {"manifest": manifest, "load": False})
    assert (result["status"], result["loaded"]) == ("success", False), result
    assert fetching_host.call("list_plugins")["loaded"] == before


def fresh():
    return bundle_of("hello-world", version=next(_versions))


# Each row: the manifest, the code, the message. Texts are the reference's own where it has them.
REFUSED = {
    "neither bundle nor URL": (
        lambda web: {"id": "hello-world"},
        "missing_source",
        "python manifest requires bundle_b64 or url",
    ),
    "an unknown type": (lambda web: {"type": "cobol"}, "unsupported", "unsupported manifest type: cobol"),
    "docker": (
        lambda web: {"type": "docker", "id": "cam", "image": "registry.example/cam:1"},
        "sidecars_disabled",
        "Sidecars disabled. Restart with --enable-sidecars or DC_PLUGIN_ENABLE_SIDECARS=1",
    ),
    "no base64": (lambda web: {"bundle_b64": "no base64!"}, "invalid_base64", "invalid base64 bundle"),
    "another digest": (
        lambda web: {"bundle_b64": bundle_b64(fresh()), "digest": "0" * 64},
        "digest_mismatch",
        "digest mismatch",
    ),
    "another digest than the URL's": (
        lambda web: {"url": web.serve("/good.tgz", Answer(fresh().data)), "digest": "0" * 64},
        "digest_mismatch",
        "digest mismatch",
    ),
    "a URL that is not allowed": (
        lambda web: {"url": "https://elsewhere.invalid/x.tgz"},
        "host_not_allowed",
        "URL host 'elsewhere.invalid' is not in DC_PLUGIN_INSTALL_URL_ALLOWLIST",
    ),
    "an id that is a path": (
        lambda web: {"id": "../x", "bundle_b64": bundle_b64(fresh())},
        "invalid_plugin_id",
        "invalid plugin id",
    ),
    "another plugin's id": (
        lambda web: {"id": "other", "bundle_b64": bundle_b64(fresh())},
        "plugin_id_mismatch",
        "plugin id mismatch",
    ),
    "not an archive": (
        lambda web: {"bundle_b64": bundle_b64(Bundle(b"text"))},
        "archive_corrupt",
        "",
    ),
}


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.replace(" ", "-"))
def test_a_manifest_that_is_refused_leaves_nothing(fetching_host, web, row):
    make, code, message = REFUSED[row]
    with fetching_host.unchanged():
        refusal = fetching_host.refuse("install_plugin_from_manifest", {"manifest": make(web)})
        print(f"{row}: {refusal}")
        assert refusal["code"] == code, refusal
        assert refusal["message"].startswith(message)
        assert refusal["hint"]


@pytest.mark.parametrize("manifest", ["text", [], None, 7], ids=repr)
def test_a_manifest_that_is_no_object_is_refused(fetching_host, manifest):
    with fetching_host.unchanged():
        reply = fetching_host.request("install_plugin_from_manifest", {"manifest": manifest})
        refused = reply.get("error", {}).get("code") == -32000 or reply.get("result", {}).get("status") == "error"
        assert refused, reply
