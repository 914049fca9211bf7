"""Requests as HTTP clients write them to a socket, and answers as they read them from it (HTTP/1.1, RFC 9112)."""

import http
from dataclasses import dataclass

#: The most that the head of a request may have, in bytes.
HEAD_MAX = 256 << 10

_PORTS = {"http": 80, "https": 443}

#: They say how a message is sent, which is the host's affair.
_OF_CONNECTION = frozenset({"connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "transfer-encoding"})


class NotHttp(ValueError):
    """What was written is no request."""


@dataclass(frozen=True)
class Request:
    """One request. `target` is what the client wrote: a path with its query, or a whole URL where it thinks of us as a proxy."""

    method: str
    target: str
    headers: list[tuple[str, bytes]]
    body: bytes

    def url(self, scheme: str, host: str, port: int) -> str:
        """Where it goes."""
        if not self.target.startswith("/"):
            return self.target
        name = f"[{host}]" if ":" in host else host
        return f"{scheme}://{name}{self.target}" if port == _PORTS[scheme] else f"{scheme}://{name}:{port}{self.target}"


class RequestReader:
    """Takes what a client writes, in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: tuple[str, str, list[tuple[str, bytes]]] | None = None
        self._length = 0
        self._chunked = False
        self._body = bytearray()

    def feed(self, data: bytes) -> Request | None:
        """The request once it is whole. Raises: NotHttp."""
        self._buffer += data
        if self._head is None and not self._read_head():
            return None
        whole = self._read_chunks() if self._chunked else self._read_length()
        if not whole:
            return None
        method, target, headers = self._head
        self._head = None
        body, self._body = bytes(self._body), bytearray()
        return Request(method, target, headers, body)

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_MAX:
                raise NotHttp("no end of the request's head was written")
            return False
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        words = first.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            raise NotHttp("what was written is no HTTP request")
        if words[0] == b"CONNECT":
            raise NotHttp("there are no proxies: the host sends the request")
        headers = []
        self._length, self._chunked = 0, False
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon:
                raise NotHttp("a header without a colon was written")
            name, value = name.decode("latin-1"), value.strip(b" \t")
            lower = name.lower()
            if lower == "upgrade":
                raise NotHttp(f"a connection cannot be upgraded to `{value.decode('latin-1')}`")
            if lower == "content-length":
                self._length = int(value)
            elif lower == "transfer-encoding":
                self._chunked = value.lower().endswith(b"chunked")
            if lower not in _OF_CONNECTION:
                headers.append((name, value))
        self._head = (words[0].decode("latin-1"), words[1].decode("latin-1"), headers)
        return True

    def _read_length(self) -> bool:
        if len(self._buffer) < self._length:
            return False
        self._body += self._buffer[: self._length]
        del self._buffer[: self._length]
        return True

    def _read_chunks(self) -> bool:
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return False
            size = int(bytes(self._buffer[:end]).partition(b";")[0], 16)
            # The last chunk is empty; what may follow it, trailers, is dropped.
            after = self._buffer.find(b"\r\n", end + 2) if size == 0 else end + 2 + size
            if after < 0 or len(self._buffer) < after + 2:
                return False
            self._body += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: after + 2]
            if size == 0:
                return True


def answer(method: str, status: int, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """The answer as a client reads it. The connection ends with it."""
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    # Without a body its length is that of the body which another method would have got.
    bodiless = method == "HEAD" or status in (204, 304)
    dropped = {"connection", "keep-alive", "transfer-encoding"} | (set() if bodiless else {"content-length"})
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers if name not in dropped)]
    if not bodiless:
        lines.append(f"content-length: {len(body)}")
    lines.append("connection: close")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if bodiless else body)
