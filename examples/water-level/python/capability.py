"""Watches a gauge and tells when the water is high."""

import tenon


class WaterLevel:
    """Asks the gauge that `config` names, and keeps the record over restarts."""

    def __init__(self, device=None):
        config = tenon.config()
        self.gauge = config["gauge"]
        self.limit = config["limit"]
        self.level = None
        self.problem = None

    @tenon.emit
    async def high_water(self, level: float, limit: float):
        """The water has risen above the limit.

        Args:
            level: Where it is, in metres.
            limit: What it is above.
        """

    @tenon.rpc
    async def get_readings(self) -> dict:
        """Tells the level of the water, and its record."""
        record = tenon.state.get("record", {"highest": None, "alarms": 0})
        return {"level": self.level, "problem": self.problem, "highest": record["highest"], "alarms": record["alarms"]}

    @tenon.periodic(interval=1.0)
    async def poll(self):
        """Asks the gauge."""
        try:
            level = (await tenon.invoke("get_level", device=self.gauge))["level"]
        except tenon.Failure as failure:
            self.level, self.problem = None, str(failure)
            return
        record = tenon.state.get("record", {"highest": None, "alarms": 0, "is_high": False})
        rises = level > self.limit and not record["is_high"]
        highest = level if record["highest"] is None else max(level, record["highest"])
        now = {"highest": highest, "alarms": record["alarms"] + rises, "is_high": level > self.limit}
        if now != record:
            tenon.state.set("record", now)
        self.level, self.problem = level, None
        if rises:
            await self.high_water(level=level, limit=self.limit)
