"""Sockets that speak HTTP and nothing else: what a client writes becomes a request that the host sends.

So `urllib`, `http.client`, `requests`, `urllib3` and whatever stands on them run unmodified. TLS, addresses, permissions and
limits are the host's. A request that was written whole is sent when its answer is first read, with the timeout that is set
by then (urllib3 has one for connecting and another for reading); the plugin stands still until the answer is there.
"""

import functools
import http.client
import io
import socket
import ssl

import bridge
import wire
from failure import TIMEOUTS, Failure, marked

_HINT = "plugins have no sockets, only requests over HTTP"


class HttpSocket:
    """A connection to one host and port, for one request at a time."""

    def __init__(self, family=socket.AF_INET, type=socket.SOCK_STREAM, proto=0, fileno=None) -> None:
        if type != socket.SOCK_STREAM or fileno is not None:
            raise OSError(_HINT)
        self.family, self.type, self.proto = family, type, proto
        self._timeout = socket.getdefaulttimeout()
        self._peer: tuple[str, int] | None = None
        self._scheme = "http"
        self._reader = wire.RequestReader()
        self._unsent: list[wire.Request] = []
        self._answers = bytearray()
        self._timed_out: Failure | None = None
        self._asked = False

    def connect(self, address) -> None:
        """Notes where requests go. Nothing is looked up or opened: the host does that with each request."""
        host, port = address[:2]
        self._peer = (host.decode("idna") if isinstance(host, bytes) else host, int(port))

    def start_tls(self, server_hostname: str | None) -> None:
        """From here on requests are `https`."""
        self._scheme = "https"
        if server_hostname and self._peer:
            self._peer = (server_hostname, self._peer[1])

    def sendall(self, data, _flags=0) -> None:
        """Takes a part of a request."""
        if self._peer is None:
            raise OSError(_HINT)
        try:
            request = self._reader.feed(bytes(data))
        except ValueError as error:
            raise OSError(f"{error}: {_HINT}") from None
        if request is not None:
            self._unsent.append(request)

    def send(self, data, flags=0) -> int:
        self.sendall(data, flags)
        return len(data)

    def exchange(self) -> None:
        """Sends what is written whole. A timeout is raised when the answer is read. Raises: OSError."""
        while self._unsent:
            self._exchange(self._unsent.pop(0))

    def _exchange(self, request: wire.Request) -> None:
        self._asked = True
        url = request.url(self._scheme, *self._peer)
        try:
            answer = bridge.perform_http(request.method, url, request.headers, request.body, self._timeout)
        except Failure as failure:
            if failure.code in TIMEOUTS:
                # A client waits for the answer when it reads.
                self._timed_out = failure
                return
            raise marked(as_os_error(failure), failure) from None
        self._answers += wire.answer(request.method, answer.status, answer.headers, answer.body)

    def _take(self, count: int) -> bytes:
        self.exchange()
        if self._timed_out:
            raise marked(TimeoutError("timed out"), self._timed_out)
        if not self._asked:
            raise OSError(_HINT)
        taken = bytes(self._answers[:count])
        del self._answers[:count]
        return taken

    def recv(self, count, _flags=0) -> bytes:
        return self._take(count)

    def recv_into(self, buffer, count=0, _flags=0) -> int:
        taken = self._take(count or len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)

    def makefile(self, mode="r", buffering=None, **options):
        """A reader of the answer, or a writer of the request."""
        raw = socket.SocketIO(self, "rw" if "w" in mode and "r" in mode else mode.strip("bt") or "r")
        if buffering == 0:
            return raw
        buffered = io.BufferedWriter(raw) if "w" in mode else io.BufferedReader(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, **options)

    def settimeout(self, timeout) -> None:
        self._timeout = timeout

    def gettimeout(self):
        return self._timeout

    def setblocking(self, flag) -> None:
        self._timeout = None if flag else 0.0

    def setsockopt(self, *_args) -> None:
        pass

    def getsockopt(self, *_args) -> int:
        return 0

    def getpeername(self):
        return self._peer

    def getsockname(self):
        return ("0.0.0.0", 0)

    def fileno(self) -> int:
        return -1

    def shutdown(self, _how) -> None:
        pass

    def close(self) -> None:
        pass

    detach = _decref_socketios = close

    def bind(self, *_args):
        raise OSError(f"{_HINT}: nothing can connect to a plugin, which offers functions instead")

    listen = accept = bind

    def __enter__(self):
        return self

    def __exit__(self, *_args) -> None:
        self.close()


def as_os_error(failure: Failure) -> OSError:
    """What a client expects to be raised by a socket."""
    match failure.code:
        case "permission_denied" | "address_not_allowed":
            return PermissionError(failure.message)
        case "host_not_found":
            return socket.gaierror(socket.EAI_NONAME, failure.message)
        case "tls":
            return ssl.SSLCertVerificationError(1, failure.message)
        case "connection_failed":
            return ConnectionError(failure.message)
        case _:
            return OSError(failure.message)


def _getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    # The host looks names up, when it sends the request.
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, int(port or 0)))]


def _refuse(*_args, **_options):
    raise OSError(_HINT)


def sending(request):
    """`http.client`'s `HTTPConnection.request`, after which the request is sent.

    The library's own connections have one timeout for everything, and urllib expects what goes wrong here. Other classes
    of connections, as urllib3's, are left to read.
    """

    @functools.wraps(request)
    def request_and_send(self, *arguments, **options):
        request(self, *arguments, **options)
        if type(self).__module__ == "http.client" and isinstance(self.sock, HttpSocket):
            self.sock.exchange()

    return request_and_send


def install() -> None:
    """Puts them in the place of the real ones, which can do nothing here."""
    socket.socket = socket.SocketType = HttpSocket
    socket.getaddrinfo = _getaddrinfo
    http.client.HTTPConnection.request = sending(http.client.HTTPConnection.request)
    for name in ("socketpair", "create_server", "fromfd", "gethostbyaddr", "gethostbyname", "gethostbyname_ex", "getnameinfo"):
        setattr(socket, name, _refuse)
    socket.gethostname = lambda: "plugin"
    socket.getfqdn = lambda name="": name or "plugin"
