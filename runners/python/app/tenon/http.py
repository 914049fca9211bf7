"""Requests over HTTP. The host sends them, and judges each by the plugin's permission `http`.

Redirects are answers, and what is sent compressed stays so. For more, use a client: httpx, aiohttp, requests and urllib
work as they are.
"""

import json as json_text
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import bridge
from failure import Failure


@dataclass(frozen=True)
class Response:
    """An answer."""

    status: int
    headers: dict[str, str]
    """Names in lower case; values of the same name are joined with `, `."""
    body: bytes

    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON."""
        return json_text.loads(self.body)

    def raise_for_status(self) -> "Response":
        """The answer itself, if its status is 2xx; else fails with `http_status`, which may pass after 429 and 5xx."""
        if 200 <= self.status < 300:
            return self
        raise Failure(
            f"the server answered with status {self.status}", "http_status", self.status >= 500 or self.status == 429
        )


async def request(
    method: str,
    url: str,
    *,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    body: bytes | str = b"",
    timeout: float | None = None,
) -> Response:
    """Sends a request and waits for its answer; other calls of the plugin go on.

    Args:
        params: what is added to the URL as its query.
        json: what is sent as JSON in place of `body`.
        timeout: in seconds; never longer than the call on whose behalf it is sent.

    Raises:
        tenon.Failure: in the host's words; `permission_denied` where the plugin may not send it.
    """
    sent = dict(headers or {})
    if json is not None:
        body = json_text.dumps(json, allow_nan=False)
        sent = {"content-type": "application/json"} | sent
    if params:
        url += ("&" if "?" in url else "?") + urlencode(params, doseq=True)
    content = body.encode() if isinstance(body, str) else body
    answer = await bridge.http(method, url, list(sent.items()), content, timeout)
    received: dict[str, str] = {}
    for name, value in answer.headers:
        received[name] = f"{received[name]}, {value}" if name in received else value
    return Response(answer.status, received, answer.body)


async def get(url: str, **options: Any) -> Response:
    """`request("GET", …)`."""
    return await request("GET", url, **options)


async def post(url: str, **options: Any) -> Response:
    """`request("POST", …)`."""
    return await request("POST", url, **options)
