"""`httpx` without sockets: it stands on the connection pools of `httpcore`, whose requests the host sends.

Asynchronous clients await the answer and leave the other calls going; synchronous ones stand still, as their callers expect.
"""

import bridge
from failure import TIMEOUTS, Failure, marked

_CONNECT = frozenset({"permission_denied", "address_not_allowed", "host_not_found", "tls", "connection_failed", "rate_limited"})


def install(httpcore) -> None:
    """Changes the package just after it was imported."""

    def parts(request) -> tuple:
        timeouts = request.extensions.get("timeout") or {}
        # Of one time for everything there is no better than that for the answer; None is for as long as it takes.
        timeout = timeouts.get("read")
        headers = [(name.decode("latin-1"), value) for name, value in request.headers]
        return request.method.decode("latin-1"), bytes(request.url).decode("latin-1"), headers, timeout

    def answer(response):
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        return httpcore.Response(
            response.status, headers=headers, content=response.body, extensions={"http_version": b"HTTP/1.1"}
        )

    def raised(failure: Failure) -> Exception:
        if failure.code in TIMEOUTS:
            raises = httpcore.ReadTimeout
        else:
            raises = httpcore.ConnectError if failure.code in _CONNECT else httpcore.ReadError
        return marked(raises(failure.message), failure)

    def handle_request(_pool, request):
        method, url, headers, timeout = parts(request)
        body = b"".join(request.stream)
        try:
            return answer(bridge.perform_http(method, url, _for_host(headers), body, timeout))
        except Failure as failure:
            raise raised(failure) from None

    async def handle_async_request(_pool, request):
        method, url, headers, timeout = parts(request)
        body = b"".join([piece async for piece in request.stream])
        try:
            return answer(await bridge.http(method, url, _for_host(headers), body, timeout))
        except Failure as failure:
            raise raised(failure) from None

    httpcore.ConnectionPool.handle_request = handle_request
    httpcore.AsyncConnectionPool.handle_async_request = handle_async_request


def _for_host(headers: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Without what says how the message is sent."""
    of_host = {"host", "content-length", "connection", "transfer-encoding"}
    return [(name, value) for name, value in headers if name.lower() not in of_host]
