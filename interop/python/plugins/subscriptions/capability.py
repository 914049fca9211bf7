from device_connect_edge.drivers import before_emit, emit, on, rpc


class Subscriptions:
    def __init__(self, device=None):
        self.asked = 0
        self.heard = []

    def get_event_subscriptions(self):
        self.asked += 1
        return [
            {"device_type": "camera", "event": "motion", "handler": self.heard.append},
            {"handler": self.heard.append},
            {"event": "without-handler"},
        ]

    @on(device_type="camera", event_name="motion")
    async def on_motion(self, device_id: str, event_name: str, payload: dict):
        self.heard.append(payload)

    @on(event_name="echoed")
    async def _on_own(self, device_id: str, event_name: str, payload: dict):
        self.heard.append(payload)

    @emit()
    async def echoed(self, value: int):
        pass

    @before_emit("echoed", suppress_propagation=True)
    def before_echoed(self, value: int, **rest):
        self.heard.append(value)

    @rpc()
    async def echo(self, value: int) -> list:
        await self.echoed(value)
        return self.heard

    @rpc()
    async def times_asked(self) -> int:
        return self.asked
