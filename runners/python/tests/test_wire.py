"""What HTTP clients write to sockets, and read from them."""

import http.client
import urllib.error
import urllib.request

import httpcore
import httpx
import pytest
import requests
from fake_host import denied, failure, response
from wit_world.imports import host as contract

import httpcore_seam
import outcome
import sockets
import wire
from failure import Failure


def read(data, size):
    reader = wire.RequestReader()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    requests = [reader.feed(piece) for piece in pieces]
    assert all(request is None for request in requests[:-1])
    return requests[-1]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"\r\n", b""),
        (b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=1\r\nlo\r\n0\r\n\r\n", b"hello"),
    ],
)
def test_a_request_comes_in_pieces_of_any_size(body, expected, size):
    request = read(b"POST /a?b HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n" + body, size)
    assert (request.method, request.headers, request.body) == ("POST", [("X-A", b"1")], expected)
    assert request.url("https", "h", 443) == "https://h/a?b"
    assert request.url("http", "::1", 8080) == "http://[::1]:8080/a?b"


@pytest.mark.parametrize(
    "data",
    [
        b"HELO me\r\n\r\n",
        b"CONNECT h:443 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nnonsense\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(data):
    with pytest.raises(wire.NotHttp):
        wire.RequestReader().feed(data)


def test_a_head_without_end_is_refused():
    reader = wire.RequestReader()
    with pytest.raises(wire.NotHttp, match="no end"):
        for _ in range(wire.HEAD_MAX // 1024 + 2):
            reader.feed(b"x" * 1024)


@pytest.fixture
def clients(host, monkeypatch):
    """The library's own clients over our sockets."""
    for name in ("socket", "getaddrinfo"):
        monkeypatch.setattr(sockets.socket, name, getattr(sockets.socket, name))
    monkeypatch.setattr(sockets.socket, "socket", sockets.HttpSocket)
    monkeypatch.setattr(sockets.socket, "getaddrinfo", sockets._getaddrinfo)
    plain = http.client.HTTPConnection
    monkeypatch.setattr(plain, "request", sockets.sending(plain.request))
    return host


def test_urllib_sends_through_the_host(clients):
    clients.answers[contract.Op_Http] = response(b"body", headers=[("content-type", "text/plain"), ("x-b", "2")])
    with urllib.request.urlopen("http://h:8080/a?b=1", data=b"sent", timeout=3) as answer:
        assert (answer.status, answer.read(), answer.headers["x-b"]) == (200, b"body", "2")
    [op] = clients.performed
    assert (op.value.method, op.value.url, op.value.body) == ("POST", "http://h:8080/a?b=1", b"sent")
    assert op.value.timeout_ns == 3_000_000_000
    assert not {"host", "content-length", "connection"} & {name.lower() for name, _ in op.value.headers}


def test_connections_can_be_used_again(clients):
    clients.answers[contract.Op_Http] = lambda op: response(op.value.url.encode())
    connection = http.client.HTTPConnection("h")
    for path in ("/1", "/2"):
        connection.request("GET", path)
        assert connection.getresponse().read() == b"http://h" + path.encode()


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(clients, status):
    clients.answers[contract.Op_Http] = response(status=status)
    connection = http.client.HTTPConnection("h")
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (status, b"")


def test_the_hosts_words_reach_the_program(clients):
    clients.answers[contract.Op_Http] = denied("the plugin may not send it: `mortise deploy grant p http:…`")
    with pytest.raises(urllib.error.URLError, match="mortise deploy grant"):
        urllib.request.urlopen("http://h/")
    clients.answers[contract.Op_Http] = failure("deadline_exceeded", "too late", True)
    with pytest.raises(TimeoutError):
        urllib.request.urlopen("http://h/", timeout=1)


def _insistently(url):
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(max_retries=1))
    return session.get(url)


@pytest.mark.parametrize(
    ("code", "retryable"),
    [("permission_denied", False), ("tls", False), ("connection_failed", True), ("deadline_exceeded", True)],
)
@pytest.mark.parametrize(
    "ask",
    [urllib.request.urlopen, requests.get, _insistently, httpx.get],
    ids=["urllib", "requests", "requests-again", "httpx"],
)
def test_a_client_s_exception_has_the_hosts_code(clients, ask, code, retryable):
    clients.answers[contract.Op_Http] = failure(code, "so it is", retryable)
    with pytest.raises(Exception) as raised:
        ask("http://h/")
    told = outcome.of_exception(raised.value, "it").value
    assert (told.code, told.retryable) == (code, retryable)


def test_what_a_plugin_makes_of_a_failure_is_its_own(host):
    for own in (ValueError("closed"), OSError("no such file"), TimeoutError("the sensor is silent")):
        try:
            try:
                raise Failure("no", "permission_denied", True)
            except Failure as failure:
                raise own from failure
        except (ValueError, OSError) as error:
            told = outcome.of_exception(error, "it").value
            assert (told.code, told.retryable) == ("error", False)
    endless = requests.ConnectionError("again")
    endless.__context__ = endless
    assert outcome.of_exception(endless, "it").value.code == "error"


def test_requests_waits_for_the_answer_with_the_timeout_for_that(clients):
    clients.answers[contract.Op_Http] = response(b"body")
    assert requests.get("http://h/", timeout=(0.5, 27)).content == b"body"
    assert requests.get("http://h/", timeout=(0.5, None)).content == b"body"
    assert [op.value.timeout_ns for op in clients.performed] == [27_000_000_000, None]


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (denied("grant it"), requests.ConnectionError),
        (failure("host_not_found", "no such host"), requests.ConnectionError),
        (failure("connection_failed", "refused"), requests.ConnectionError),
        (failure("deadline_exceeded", "too late", True), requests.ReadTimeout),
    ],
)
def test_requests_raises_its_own(clients, answer, raised):
    clients.answers[contract.Op_Http] = answer
    with pytest.raises(raised) as caught:
        requests.get("http://h/", timeout=(1, 2))
    assert type(caught.value) is raised


@pytest.mark.parametrize(
    ("timeout", "expected"), [(httpx.Timeout(5, read=None), None), (httpx.Timeout(5, read=2), 2_000_000_000), (None, None)]
)
def test_httpx_waits_as_long_as_it_is_told_to_read(host, monkeypatch, timeout, expected):
    for pool, name in ((httpcore.ConnectionPool, "handle_request"), (httpcore.AsyncConnectionPool, "handle_async_request")):
        monkeypatch.setattr(pool, name, getattr(pool, name))
    httpcore_seam.install(httpcore)
    host.answers[contract.Op_Http] = response(b"body")
    assert httpx.get("http://h/", timeout=timeout, trust_env=False).content == b"body"
    assert host.performed[0].value.timeout_ns == expected


def test_nothing_but_http_goes_through(clients):
    with sockets.socket.create_connection(("h", 25)) as connection:
        with pytest.raises(OSError, match="no sockets"):
            connection.recv(1)
        with pytest.raises(OSError, match="no sockets"):
            connection.sendall(b"HELO me\r\n\r\n")
    with pytest.raises(OSError, match="functions"):
        sockets.HttpSocket().bind(("", 80))
