"""The published agent tools, connected; and what an agent does with them, in a form that tests can wait on."""

import device_connect_agent_tools as tools

from peers.waiting import wait_for


class Agent:
    """Exists once: the agent tools keep one connection per process."""

    def __init__(self):
        tools.disconnect()
        tools.connect(request_timeout=30.0)

    def close(self):
        tools.disconnect()

    def device(self, device_id, limit=5.0):
        """The device as the agent tools see it, once they do."""
        return wait_for(lambda: tools.get_connection().get_device(device_id), limit, f"the agent discovers {device_id}")

    def functions(self, device_id):
        """The functions that are advertised now, by name."""
        device = tools.get_connection().get_device(device_id) or {}
        return {function["name"]: function for function in device.get("functions", [])}

    def events(self, device_id):
        device = tools.get_connection().get_device(device_id) or {}
        return {event["name"]: event for event in device.get("events", [])}

    def invoke(self, device_id, function, params=None):
        """By selector, so only what is advertised can be reached. Returns the envelope."""
        return tools.invoke(f"device({device_id}).function({function})", params)

    def call(self, device_id, function, params=None):
        """By selector; must succeed. Returns the result."""
        envelope = self.invoke(device_id, function, params)
        assert envelope["success"], envelope
        return envelope["result"]
