"""What HTTP clients write to sockets, and read from them."""

import http.client
import urllib.error
import urllib.request

import pytest
from fake_host import denied, failure, response
from wit_world.imports import host as contract

import sockets
import wire


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


def test_nothing_but_http_goes_through(clients):
    with sockets.socket.create_connection(("h", 25)) as connection:
        with pytest.raises(OSError, match="no sockets"):
            connection.recv(1)
        with pytest.raises(OSError, match="no sockets"):
            connection.sendall(b"HELO me\r\n\r\n")
    with pytest.raises(OSError, match="functions"):
        sockets.HttpSocket().bind(("", 80))
