"""Written with this host's own package, which does what the reference's leaves out."""

import asyncio
import sys

import tenon


class WithTenon:
    def __init__(self, device=None):
        self.unit = tenon.config()["unit"]

    @tenon.rpc
    async def bare(self, a: int, b: str | None = None) -> list:
        """Without parentheses."""
        return [a, b]

    @tenon.rpc
    def not_async(self, a: int = 1) -> int:
        """Not async."""
        return a + 1

    @tenon.rpc(labels={"direction": "read", "size": 3, "modality": ["rgb"]})
    async def bad_label(self, default: object = object()) -> str:
        """With a label and a default that JSON cannot tell."""
        return type(default).__name__

    @tenon.rpc()
    async def reserved(self, function: str, function_name: str) -> list:
        return [function, function_name]

    @tenon.rpc
    async def number_keys(self) -> dict:
        return {"a": {1: 2}}

    @tenon.rpc
    async def fail(self, retryable: bool = False) -> None:
        raise tenon.Failure("the motor is stuck", code="stuck", retryable=retryable)

    @tenon.rpc
    async def told(self) -> list:
        return [self.unit, await tenon.secret("api-token") is not None, tenon.caller()]

    @tenon.rpc
    async def remember(self, key: str, value) -> list:
        tenon.state.set(key, value)
        tenon.state.set_bytes("raw", b"\x00\xff")
        await tenon.state.flush()
        kept = [tenon.state.get(key), tenon.state.keys(), list(tenon.state.get_bytes("raw"))]
        tenon.state.delete(key)
        return [*kept, tenon.state.get(key, "gone"), tenon.state.keys()]

    @tenon.rpc
    async def fetch(self, url: str) -> list:
        answer = await tenon.http.get(url, params={"q": "a b"})
        return [answer.status, answer.headers["x-kind"], answer.text()]

    @tenon.rpc
    async def fetch_strictly(self, url: str):
        return (await tenon.http.get(url)).raise_for_status().json()

    @tenon.rpc
    async def through_host(self, a: int) -> list:
        return await tenon.invoke("with-tenon.bare", {"a": a})

    @tenon.rpc
    async def devices(self) -> list:
        return [device["device_id"] for device in await tenon.discover()]

    @tenon.emit
    async def level(self, value: int):
        """A level."""

    @tenon.before_emit("level")
    def hold_low_ones_back(self, value: int, **rest):
        if value < 0:
            return False
        if value > 100:
            return {"value": 100, "was": value}
        if value == 50:
            raise RuntimeError("changes nothing")

    @tenon.rpc
    async def emit_levels(self, values: list[int]) -> None:
        for value in values:
            await self.level(value)

    @tenon.rpc
    async def leave(self, how: str):
        if how == "exit":
            sys.exit(3)
        raise {"interrupt": KeyboardInterrupt, "base": BaseException}[how]("left")

    @tenon.rpc
    async def not_a_number(self):
        return float("nan")

    @tenon.rpc
    async def leave_behind(self, value: int, seconds: float = 0) -> str:
        """Answers at once, and leaves a task behind."""

        async def later():
            await asyncio.sleep(seconds)
            await self.level(value)

        self.left_behind = asyncio.create_task(later())
        return "left"
