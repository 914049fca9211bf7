"""Answers."""

import http
import json
from collections.abc import Mapping

from .errors import ClientResponseError, ContentTypeError


class Headers(Mapping):
    """Headers by name, in capitals or not. `getall` gives every value of a name."""

    def __init__(self, pairs) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()][0]

    def __iter__(self):
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def getall(self, name: str, default=()) -> list[str]:
        return list(self._values.get(name.lower(), default))


class ClientResponse:
    """An answer, whose body is there already."""

    def __init__(self, method: str, url: str, answer, history: tuple) -> None:
        self.method, self.url, self.history = method, url, history
        self.status = answer.status
        self.headers = Headers(answer.headers)
        self._body = answer.body
        self.closed = False

    @property
    def ok(self) -> bool:
        return self.status < 400

    @property
    def reason(self) -> str:
        try:
            return http.HTTPStatus(self.status).phrase
        except ValueError:
            return ""

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        for parameter in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = parameter.strip().partition("=")
            if name.lower() == "charset":
                return value.strip("\"'")
        return None

    async def read(self) -> bytes:
        return self._body

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        return self._body.decode(encoding or self.charset or "utf-8", errors)

    async def json(self, *, encoding=None, loads=json.loads, content_type: str | None = "application/json"):
        """The body as JSON. `content_type`: which type the answer must be of; None for any."""
        is_json = self.content_type == "application/json" or self.content_type.endswith("+json")
        expected = is_json if content_type == "application/json" else self.content_type == content_type
        if content_type is not None and not expected:
            message = f"Attempt to decode JSON with unexpected mimetype: {self.content_type}"
            raise ContentTypeError(self.url, self.history, status=self.status, message=message, headers=self.headers)
        text = (await self.text(encoding)).strip()
        return loads(text) if text else None

    def raise_for_status(self) -> None:
        if not self.ok:
            raise ClientResponseError(
                self.url, self.history, status=self.status, message=self.reason, headers=self.headers
            )

    def release(self) -> None:
        self.closed = True

    close = release

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_error) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<ClientResponse({self.url}) [{self.status} {self.reason}]>"
