import asyncio

from device_connect_edge.drivers import rpc


class Composite:
    def __init__(self, device=None):
        self.device = device

    @rpc()
    async def double(self, value: int) -> int:
        return value * 2

    @rpc()
    async def fail(self, text: str) -> None:
        raise ValueError(text)

    @rpc()
    async def slow(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "slept"

    @rpc()
    async def result_of(self, device_id: str, name: str, params: dict) -> dict:
        reply = await self.device.invoke(device_id, name, **params)
        return {"result": reply["result"]} if "result" in reply else {"message": reply["error"]["message"], "code": reply["error"]["code"]}

    @rpc()
    async def many(self, device_id: str, name: str, count: int) -> list:
        replies = await asyncio.gather(*(self.device.invoke(device_id, name, value=each) for each in range(count)))
        return [reply["result"] for reply in replies]

    @rpc()
    async def impatient(self, device_id: str, name: str) -> str:
        try:
            await self.device.invoke(device_id, name, timeout=0.1, seconds=5)
        except Exception as error:
            return type(error).__name__
        return "answered"
