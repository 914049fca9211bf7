from device_connect_edge.drivers import before_emit, emit, rpc


class Events:
    def __init__(self, device=None):
        self.device = device
        self.seen = []
        self.results = []

    @emit()
    async def measured(self, value: float, unit: str = "C", tags: list = None):
        """A value was measured.

        Args:
            value: What it is
        """
        return {"kept": value}

    @emit(name="renamed-event", description="Under another name", labels={"safety": "critical", "modality": ["rgb", "ir"]})
    async def original_name(self, text: str):
        """Not this."""

    @emit()
    async def processed(self, rows: list):
        # What the body does to a value shows, what it does to a name does not.
        rows.append("added")
        rows = "gone"

    @emit()
    async def refused(self, value: int):
        if value < 0:
            raise ValueError(f"negative: {value}")

    @emit()
    async def intercepted(self, value: int):
        pass

    @before_emit("intercepted")
    async def on_intercepted(self, value: int, **rest):
        self.seen.append(value)
        return False

    @emit()
    async def anything(self, *args, **kw):
        pass

    @emit(name="event/prefixed")
    async def prefixed(self, a: int):
        pass

    @emit(name="not a name")
    async def misnamed(self, a: int):
        pass

    @rpc()
    async def measure(self, value: float) -> dict:
        return await self.measured(value)

    @rpc()
    async def measure_by_name(self, value: float) -> dict:
        return await self.measured(value=value, unit="K")

    @rpc()
    async def measure_all(self) -> list:
        return [await self.measured(1.5, "F", ["a"]), await self.measured(2, tags=None)]

    @rpc()
    async def rename(self, text: str) -> None:
        return await self.original_name(text)

    @rpc()
    async def process(self) -> list:
        rows = [1]
        await self.processed(rows)
        return rows

    @rpc()
    async def refuse(self, value: int):
        await self.refused(value=value)

    @rpc()
    async def intercept(self, value: int) -> list:
        await self.intercepted(value)
        return self.seen

    @rpc()
    async def emit_anything(self) -> None:
        await self.anything(1, 2, b=3)

    @rpc()
    async def own_fields(self) -> None:
        await self.anything(event_id="mine", ts="then", params={"x": [None, True]})

    @rpc()
    async def wrong_arguments(self) -> None:
        await self.measured()

    @rpc()
    async def unknown_argument(self) -> None:
        await self.measured(1, other=2)

    @rpc()
    async def directly(self, name: str, payload: dict) -> None:
        await self._emit_event_internal(name, payload)

    @rpc()
    async def unsendable(self) -> None:
        await self.anything(value={1, 2})

    @rpc()
    async def misname(self) -> None:
        await self.misnamed(1)

    @rpc()
    async def emit_prefixed(self) -> None:
        await self.prefixed(1)

    @rpc()
    async def burst(self, count: int) -> int:
        for number in range(count):
            await self.measured(number)
        return count
