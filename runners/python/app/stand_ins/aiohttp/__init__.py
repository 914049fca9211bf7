"""The client of aiohttp, for plugins that do not bring the package, of which there is no version without native code.

What most programs use: sessions, requests with query, JSON, form or bytes, timeouts, redirects, `raise_for_status`. The host
sends the requests. There is no server, no WebSocket, no streaming (a body is there as a whole) and no jar for cookies.
"""

from .errors import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientOSError,
    ClientPayloadError,
    ClientResponseError,
    ClientSSLError,
    ContentTypeError,
    InvalidURL,
    ServerConnectionError,
    ServerTimeoutError,
    TooManyRedirects,
)
from .response import ClientResponse, Headers
from .session import BasicAuth, ClientSession, ClientTimeout, TCPConnector, request

__version__ = "3.0+mortise"
__all__ = [
    "BasicAuth",
    "ClientConnectionError",
    "ClientConnectorError",
    "ClientError",
    "ClientOSError",
    "ClientPayloadError",
    "ClientResponse",
    "ClientResponseError",
    "ClientSSLError",
    "ClientSession",
    "ClientTimeout",
    "ContentTypeError",
    "Headers",
    "InvalidURL",
    "ServerConnectionError",
    "ServerTimeoutError",
    "TCPConnector",
    "TooManyRedirects",
    "request",
]


def __getattr__(name: str):
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(
        f"aiohttp on this host is a client without `{name}`: use httpx, whose packages are pure Python, or what there is:"
        f" {', '.join(__all__)}"
    )
