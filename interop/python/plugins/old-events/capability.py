from device_connect_edge.drivers.decorators import rpc


class OldEvents:
    def __init__(self, device=None):
        self._send = None

    def set_event_callback(self, callback):
        self._send = callback

    @rpc()
    async def send(self, name: str, payload: dict) -> bool:
        self._send(name, payload)
        return True
