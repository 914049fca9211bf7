"""Capability plugin for plugin-template"""

import logging
from typing import Any, Dict, Optional

from device_connect_edge.drivers.decorators import rpc

logger = logging.getLogger(__name__)


class PluginTemplateCapability:
    """Capability plugin for plugin-template"""

    def __init__(self, device=None):
        self.device = device
        self.actions = 0

    @rpc()
    async def get_service_status(self) -> dict:
        """Return the status of the service."""
        return {"status": "ok", "actions": self.actions}

    @rpc()
    async def run_action(self, action: str, params: Optional[Dict[str, Any]] = None) -> dict:
        """Run an action.

        Args:
            action: What to do
            params: Anything the action needs
        """
        if not action:
            raise ValueError("the action has no name")
        self.actions += 1
        logger.info("action %s", action)
        return {"action": action, "params": params or {}, "done": True}
