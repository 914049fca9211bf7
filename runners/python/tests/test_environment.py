"""Variables that the host is asked for."""

import os

import pytest
from fake_host import as_json, denied, failure
from wit_world.imports import host as contract

import environment


@pytest.fixture
def variables(host, monkeypatch):
    """`os.environ` as plugins see it."""
    kind = os.environ.__class__
    monkeypatch.setattr(environment.Environment, "_asked", {})
    monkeypatch.setattr(environment.Environment, "_told", set())
    os.environ.__class__ = environment.Environment
    yield host
    os.environ.__class__ = kind


def asked(host):
    return [op.value for op in host.performed]


def test_what_is_set_is_not_asked_for(variables):
    os.environ["GRANTED"] = "yes"
    assert os.environ["GRANTED"] == os.getenv("GRANTED") == "yes"
    del os.environ["GRANTED"]
    assert asked(variables) == []


def test_a_denied_variable_is_absent_and_the_operator_is_told_once(variables, caplog):
    variables.answers[contract.Op_Env] = lambda op: denied(f"grant it `{op.value}`")
    assert os.environ.get("WANTED") is None and "WANTED" not in os.environ
    with pytest.raises(KeyError):
        os.environ["WANTED"]
    assert asked(variables) == ["WANTED"]
    assert caplog.messages == ["grant it `WANTED`"]


def test_a_later_grant_is_seen(variables, monkeypatch):
    variables.answers[contract.Op_Env] = denied("no")
    assert os.getenv("WANTED") is None
    variables.answers[contract.Op_Env] = as_json("now")
    monkeypatch.setattr(environment.time, "monotonic", lambda: float("inf"))
    assert os.getenv("WANTED") == "now"


def test_a_variable_that_is_not_set_is_absent(variables):
    variables.answers[contract.Op_Env] = as_json(None)
    assert os.getenv("WANTED", "default") == "default"
    variables.answers[contract.Op_Env] = failure("invalid_name", "no")
    assert os.getenv("a=b") is None


@pytest.mark.parametrize("name", ["\udc80", "x" * (20 << 20)], ids=["a lone surrogate", "20 MiB"])
def test_a_name_that_cannot_cross_is_absent_and_not_asked_for(variables, name):
    variables.answers[contract.Op_Env] = as_json("never")
    assert os.environ.get(name) is None and name not in os.environ
    with pytest.raises(KeyError):
        os.environ[name]
    assert asked(variables) == [] and not environment.Environment._asked


@pytest.mark.parametrize("name", ["HTTP_PROXY", "no_proxy", "PYTHONPATH", "HOME", "LC_ALL", "SSL_CERT_FILE"])
def test_what_libraries_probe_is_not_asked_for(variables, monkeypatch, name):
    monkeypatch.delenv(name, raising=False)
    assert os.getenv(name) is None
    assert asked(variables) == []
