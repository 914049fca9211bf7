"""Sessions and requests."""

import base64
import json as json_text
import sys
from dataclasses import dataclass
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

import bridge
from failure import Failure, marked

from .errors import InvalidURL, TooManyRedirects, raised
from .response import ClientResponse

_REDIRECTS = (301, 302, 303, 307, 308)

#: What aiohttp says of itself where the program does not.
_DEFAULTS = {"accept": "*/*", "user-agent": f"Python/{sys.version_info.major}.{sys.version_info.minor} aiohttp/3"}

#: What a request that a redirect has turned into a GET no longer has.
_OF_BODY = ("content-type", "content-length", "content-encoding")


@dataclass(frozen=True)
class ClientTimeout:
    """Seconds; none and 0 are no limit. All that counts here is the shortest: a request is answered as a whole."""

    total: float | None = 300.0
    connect: float | None = None
    sock_read: float | None = None
    sock_connect: float | None = None

    def shortest(self) -> float | None:
        given = [each for each in (self.total, self.connect, self.sock_read, self.sock_connect) if each]
        return min(given, default=None)


@dataclass(frozen=True)
class BasicAuth:
    """A name and a password."""

    login: str
    password: str = ""
    encoding: str = "latin1"

    def encode(self) -> str:
        return "Basic " + base64.b64encode(f"{self.login}:{self.password}".encode(self.encoding)).decode()


class TCPConnector:
    """Without effect: connections are the host's."""

    def __init__(self, **_settings) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class _Request:
    """What `session.get(…)` gives: to be awaited, or entered with `async with`."""

    def __init__(self, sending) -> None:
        self._sending = sending
        self._response: ClientResponse | None = None

    def __await__(self):
        return self._sending.__await__()

    async def __aenter__(self) -> ClientResponse:
        self._response = await self._sending
        return self._response

    async def __aexit__(self, *_error) -> None:
        if self._response is not None:
            self._response.release()


class ClientSession:
    """What requests have in common."""

    def __init__(self, base_url=None, *, headers=None, auth=None, timeout=ClientTimeout(), raise_for_status=False,
                 json_serialize=json_text.dumps, connector=None, trust_env=False) -> None:
        self._base_url = None if base_url is None else str(base_url)
        self._headers = dict(headers or {})
        self._auth = auth
        self._timeout = timeout
        self._raise_for_status = raise_for_status
        self._json_serialize = json_serialize
        self.closed = False

    def request(self, method: str, url, **options) -> _Request:
        return _Request(self._request(method.upper(), str(url), **options))

    def get(self, url, **options) -> _Request:
        return self.request("GET", url, **options)

    def post(self, url, **options) -> _Request:
        return self.request("POST", url, **options)

    def put(self, url, **options) -> _Request:
        return self.request("PUT", url, **options)

    def patch(self, url, **options) -> _Request:
        return self.request("PATCH", url, **options)

    def delete(self, url, **options) -> _Request:
        return self.request("DELETE", url, **options)

    def head(self, url, *, allow_redirects=False, **options) -> _Request:
        return self.request("HEAD", url, allow_redirects=allow_redirects, **options)

    def options(self, url, **options) -> _Request:
        return self.request("OPTIONS", url, **options)

    async def _request(self, method, url, *, params=None, data=None, json=None, headers=None, auth=None, timeout=None,
                       allow_redirects=True, max_redirects=10, raise_for_status=None, ssl=None) -> ClientResponse:
        if self.closed:
            raise RuntimeError("Session is closed")
        url = _with_query(urljoin(self._base_url, url) if self._base_url else url, params)
        # By lower-case name: what a request says of its own wins.
        sent = {}
        for given in (_DEFAULTS, self._headers, headers or {}):
            sent.update((name.lower(), value) for name, value in dict(given).items())
        body = self._body(sent, data, json)
        if (auth or self._auth) is not None:
            sent["authorization"] = (auth or self._auth).encode()
        wait = _seconds(self._timeout if timeout is None else timeout)
        history = []
        while True:
            try:
                answer = await bridge.http(method, url, list(sent.items()), body, wait)
            except Failure as failure:
                raise marked(raised(failure), failure) from None
            response = ClientResponse(method, url, answer, tuple(history))
            leads_to = response.headers.get("location")
            if not (allow_redirects and response.status in _REDIRECTS and leads_to):
                break
            history.append(response)
            if len(history) > max_redirects:
                raise TooManyRedirects(url, tuple(history), status=response.status, message="Too many redirects")
            if response.status == 303 and method != "HEAD" or response.status in (301, 302) and method == "POST":
                method, body = "GET", b""
                sent = {name: value for name, value in sent.items() if name not in _OF_BODY}
            next_url = urljoin(url, leads_to)
            if urlsplit(next_url)[:2] != urlsplit(url)[:2]:
                # Credentials are for the server that they were given for.
                sent = {name: value for name, value in sent.items() if name not in ("authorization", "cookie")}
            url = next_url
        if self._raise_for_status if raise_for_status is None else raise_for_status:
            response.raise_for_status()
        return response

    def _body(self, headers: dict, data, json) -> bytes:
        if json is not None:
            if data is not None:
                raise ValueError("data and json parameters can not be used at the same time")
            headers.setdefault("content-type", "application/json")
            return self._json_serialize(json).encode()
        if data is None:
            return b""
        if isinstance(data, (bytes, bytearray, memoryview)):
            headers.setdefault("content-type", "application/octet-stream")
            return bytes(data)
        if isinstance(data, str):
            headers.setdefault("content-type", "text/plain; charset=utf-8")
            return data.encode()
        headers.setdefault("content-type", "application/x-www-form-urlencoded")
        return urlencode(data, doseq=True).encode()

    async def close(self) -> None:
        self.closed = True

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_error) -> None:
        await self.close()


def request(method: str, url, **options) -> _Request:
    """One request in a session of its own."""
    return ClientSession().request(method, url, **options)


def _with_query(url: str, params) -> str:
    parts = urlsplit(url)
    if not parts.scheme or not parts.netloc:
        raise InvalidURL(url)
    query = params if isinstance(params, str) else urlencode(params or {}, doseq=True)
    return urlunsplit(parts._replace(query="&".join(each for each in (parts.query, query) if each), fragment=""))


def _seconds(timeout) -> float | None:
    return timeout.shortest() if isinstance(timeout, ClientTimeout) else timeout or None
