from device_connect_edge.drivers import emit, rpc


class Mixin:
    @rpc()
    async def inherited(self, text: str = "x") -> str:
        """Comes with the base class."""
        await self.announced(text)
        return text.upper()

    @emit()
    async def announced(self, text: str):
        """From the base class."""
