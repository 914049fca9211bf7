"""aiohttp's exceptions, by its names and in its order."""

import asyncio

from failure import TIMEOUTS, Failure


class ClientError(Exception):
    """Everything that goes wrong with a request."""


class ClientResponseError(ClientError):
    """The answer's status is 400 or more, and `raise_for_status` was asked for."""

    def __init__(self, request_info, history, *, status=0, message="", headers=None) -> None:
        super().__init__(request_info, history)
        self.request_info, self.history = request_info, history
        self.status, self.message, self.headers = status, message, headers

    def __str__(self) -> str:
        return f"{self.status}, message={self.message!r}, url={str(self.request_info)!r}"


class ContentTypeError(ClientResponseError):
    """The answer is not of the type that was asked for."""


class TooManyRedirects(ClientResponseError):
    """The answer leads on and on."""


class ClientConnectionError(ClientError):
    """There was no answer."""


class ClientOSError(ClientConnectionError, OSError):
    """There was no answer, in the host's words."""


class ClientConnectorError(ClientOSError):
    """The server could not be reached, or may not be."""


class ClientSSLError(ClientConnectorError):
    """The server's certificate was not accepted."""


class ServerConnectionError(ClientConnectionError):
    """The server did not keep up."""


class ServerTimeoutError(ServerConnectionError, asyncio.TimeoutError):
    """There was no answer in time."""


class ClientPayloadError(ClientError):
    """The answer is more than the plugin can be given."""


class InvalidURL(ClientError, ValueError):
    """What was given is no URL."""


def raised(failure: Failure) -> ClientError:
    """What a program expects in place of the host's failure."""
    if failure.code in TIMEOUTS:
        return ServerTimeoutError(failure.message)
    match failure.code:
        case "tls":
            return ClientSSLError(failure.message)
        case "response_too_large" | "result_too_large":
            return ClientPayloadError(failure.message)
        case "invalid_request":
            return InvalidURL(failure.message)
        case _:
            return ClientConnectorError(failure.message)
