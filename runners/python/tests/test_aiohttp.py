"""The client that plugins know as aiohttp."""

import json
import sys
from pathlib import Path

import pytest
from fake_host import denied, failure, response
from wit_world.imports import host as contract

sys.path.insert(0, str(Path(__file__).parents[1] / "app" / "stand_ins"))
import aiohttp  # noqa: E402

sys.path.pop(0)

import outcome  # noqa: E402


@pytest.fixture
def run(loop, host):
    def run(coroutine):
        task = loop.create_task(coroutine)
        host.turn(loop, task.done)
        return task.result()

    run.host = host
    run.sent = []
    return run


def replying(run, *answers):
    """The host gives these answers, one to each request."""
    left = list(answers)

    def answer(op):
        run.sent.append(op.value)
        return left.pop(0)

    run.host.answers[contract.Op_Http] = answer


def test_a_request_and_its_answer(run):
    replying(run, response(b'{"a": 1}', headers=[("content-type", "application/json; charset=utf-8")]))

    async def ask():
        async with aiohttp.ClientSession("https://h", headers={"X-A": "1"}, timeout=aiohttp.ClientTimeout(total=2)) as session:
            async with session.post("/p", params={"q": ["1", "2"]}, json={"k": "ü"}, headers={"x-a": "2"}) as answer:
                return answer.status, answer.ok, await answer.json(), answer.headers["Content-Type"], answer.url

    assert run(ask()) == (200, True, {"a": 1}, "application/json; charset=utf-8", "https://h/p?q=1&q=2")
    [sent] = run.sent
    headers = dict(sent.headers)
    assert (sent.method, sent.timeout_ns, headers["x-a"]) == ("POST", 2_000_000_000, b"2")
    assert headers["content-type"] == b"application/json" and json.loads(sent.body) == {"k": "ü"}


@pytest.mark.parametrize("timeout", [0, aiohttp.ClientTimeout(total=0), aiohttp.ClientTimeout(total=None, sock_read=0)])
def test_a_timeout_of_zero_is_none(run, timeout):
    replying(run, response(b""))
    run(aiohttp.ClientSession().get("https://h/", timeout=timeout)._sending)
    assert run.sent[0].timeout_ns is None


def test_redirects_are_followed_without_credentials_for_others(run):
    to_other = response(status=302, headers=[("location", "https://other/x")])
    back = response(status=303, headers=[("location", "/y")])
    replying(run, to_other, back, response(b"end"))

    async def ask():
        session = aiohttp.ClientSession()
        answer = await session.post("https://h/a", data=b"sent", auth=aiohttp.BasicAuth("me", "pw"))
        return answer.url, [each.status for each in answer.history], await answer.text()

    assert run(ask()) == ("https://other/y", [302, 303], "end")
    first, second, _ = run.sent
    assert dict(first.headers)["authorization"] == b"Basic bWU6cHc="
    assert second.method == "GET" and second.body == b"" and "authorization" not in dict(second.headers)


def test_redirects_end(run):
    replying(run, *[response(status=301, headers=[("location", "/again")])] * 3)
    with pytest.raises(aiohttp.TooManyRedirects):
        run(aiohttp.ClientSession().get("https://h/", max_redirects=2)._sending)


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (denied("grant it"), aiohttp.ClientConnectorError),
        (failure("deadline_exceeded", "late"), TimeoutError),
        (failure("tls", "unknown issuer"), aiohttp.ClientSSLError),
        (failure("response_too_large", "too much"), aiohttp.ClientPayloadError),
    ],
)
def test_failures_are_its_own_exceptions(run, answer, raised):
    replying(run, answer)
    with pytest.raises(raised, match=answer.value.message) as caught:
        run(aiohttp.ClientSession().get("https://h/")._sending)
    assert isinstance(caught.value, aiohttp.ClientError)
    assert outcome.of_exception(caught.value, "it").value.code == answer.value.code


def test_statuses_are_raised_where_asked_for(run):
    replying(run, response(status=404))
    with pytest.raises(aiohttp.ClientResponseError, match="404, message='Not Found'") as caught:
        run(aiohttp.ClientSession(raise_for_status=True).get("https://h/")._sending)
    assert caught.value.status == 404


def test_what_is_no_json_is_said_to_be_none(run):
    replying(run, response(b"<html>", headers=[("content-type", "text/html")]))

    async def ask():
        return await (await aiohttp.ClientSession().get("https://h/")).json()

    with pytest.raises(aiohttp.ContentTypeError, match="text/html"):
        run(ask())


def test_what_is_not_there_says_what_is():
    with pytest.raises(AttributeError, match="use httpx"):
        aiohttp.web
    with pytest.raises(TypeError):
        aiohttp.ClientSession(cookie_jar=1)
