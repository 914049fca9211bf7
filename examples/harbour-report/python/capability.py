"""Puts what other plugins know on the harbour's sign."""

import asyncio

import tenon


class HarbourReport:
    """Asks the plugins `tides` and `water-level`, and writes to the sign that `config` names."""

    def __init__(self, device=None):
        self.sign = tenon.config()["sign"]

    @tenon.rpc
    async def report(self, station: str) -> dict:
        """Shows the next tide and the level of the water on the sign.

        Args:
            station: The station, as the tides' service names it.
        """
        tides, water = await asyncio.gather(
            tenon.invoke("tides.next_tides", {"station": station, "count": 1}),
            tenon.invoke("water-level.get_readings"),
        )
        if not tides["tides"]:
            raise tenon.Failure(f"no tide of `{station}` is known", "no_tide")
        tide = tides["tides"][0]
        level = "unknown" if water["level"] is None else f"{water['level']:.1f} m"
        text = f"{tide['type']} water {tide['time']}, level {level}"
        await tenon.invoke("show", {"text": text}, device=self.sign)
        return {"text": text, "tide": tide, "level": water["level"]}
