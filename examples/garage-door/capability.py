"""A garage door that closes itself when it was forgotten."""

import logging
import time

from device_connect_edge.drivers.decorators import emit, periodic, rpc

logger = logging.getLogger(__name__)

FORGOTTEN_AFTER = 300.0  # seconds


class GarageDoorCapability:
    """A garage door."""

    def __init__(self, device=None):
        self.device = device
        self.opened_at = None

    @emit()
    async def door_moved(self, position: str):
        """The door has moved.

        Args:
            position: open or closed
        """

    @rpc()
    async def get_position(self) -> dict:
        """Tell whether the door is open or closed."""
        return {"position": "closed" if self.opened_at is None else "open"}

    @rpc()
    async def open_door(self, reason: str = "") -> dict:
        """Open the door.

        Args:
            reason: Why, for the log
        """
        if self.opened_at is not None:
            raise ValueError("the door is open already")
        logger.info("opening: %s", reason or "no reason given")
        self.opened_at = time.monotonic()
        await self.door_moved(position="open")
        return await self.get_position()

    @rpc()
    async def close_door(self) -> dict:
        """Close the door."""
        self.opened_at = None
        await self.door_moved(position="closed")
        return await self.get_position()

    @periodic(interval=10.0)
    async def close_when_forgotten(self):
        """Close a door that was left open."""
        if self.opened_at is not None and time.monotonic() - self.opened_at > FORGOTTEN_AFTER:
            await self.close_door()
