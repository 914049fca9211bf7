"""Tells the next tides of a station, from a web service."""

import re

import tenon


class Tides:
    """Reads the service that `config` names."""

    def __init__(self, device=None):
        self.service = tenon.config()["service"]

    @tenon.rpc
    async def next_tides(self, station: str, count: int = 2) -> dict:
        """Tells the next tides of a station.

        Args:
            station: The station, as the service names it.
            count: How many, at most 10.
        """
        if not re.fullmatch("[a-z0-9-]+", station):
            raise tenon.Failure(f"`{station}` is no station: small letters, digits and `-` name one", "invalid_station")
        if not 1 <= count <= 10:
            raise tenon.Failure("count has to be from 1 to 10", "invalid_count")
        answer = await tenon.http.get(f"{self.service}/stations/{station}/tides", timeout=10)
        if answer.status == 404:
            raise tenon.Failure(f"the service knows no station `{station}`", "unknown_station")
        try:
            tides = [
                {"time": tide["time"], "type": tide["type"], "height": tide["height"]}
                for tide in answer.raise_for_status().json()["tides"]
            ]
        except (KeyError, TypeError, ValueError):
            raise tenon.Failure("the service's answer is no list of tides", "invalid_answer") from None
        return {"station": station, "tides": tides[:count]}
