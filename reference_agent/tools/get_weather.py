"""What is the weather like in a city?"""

from __future__ import annotations

import json
from typing import Any

from reference_agent.caller import CALLER
from reference_agent.clock import Deadline
from reference_agent.outbound import Outbound
from reference_agent.settings import Settings
from reference_agent.toolbox import text_argument

_LANGUAGE = {"ja": "ja", "ko": "kr", "en": "en", "de": "de", "fr": "fr", "es": "es"}
"""Languages as OpenWeatherMap names them."""
_FAHRENHEIT = (
    "US/",
    *(f"America/{place}" for place in ("New_York", "Chicago", "Denver", "Los_Angeles", "Phoenix", "Detroit", "Boise")),
    *(f"America/{place}" for place in ("Anchorage", "Juneau", "Indiana/", "Kentucky/", "North_Dakota/")),
    "Pacific/Honolulu",
)
"""How the zones begin in which temperatures are told in degrees Fahrenheit."""


class GetWeather:
    name = "get_weather"
    description = "指定した都市の現在の天気を返します。"
    keeps_s = 300.0  # the service itself renews it every ten minutes
    parameters: dict[str, Any] = {  # noqa: RUF012
        "type": "object",
        "properties": {"city": {"type": "string", "description": "都市名。例: Tokyo,JP"}},
        "required": [],
    }

    def __init__(self, settings: Settings, outbound: Outbound) -> None:
        self._url = f"{settings.weather_url.rstrip('/')}/data/2.5/weather"
        self._key = settings.weather_api_key
        self._outbound = outbound

    async def __call__(self, arguments: dict[str, Any], deadline: Deadline) -> str:
        caller = CALLER.get()
        city = text_argument(arguments, "city", "Tokyo,JP")
        fahrenheit = caller.time_zone.startswith(_FAHRENHEIT)
        said = await self._outbound.get_json(
            "weather",
            self._url,
            deadline,
            q=city,
            appid=self._key,
            units="imperial" if fahrenheit else "metric",
            lang=_LANGUAGE[caller.language],
        )
        main = said["main"]
        told = {
            "weather": said["weather"][0]["description"],
            "temp_f" if fahrenheit else "temp_c": main["temp"],
            "humidity": main["humidity"],
        }
        return json.dumps(told, ensure_ascii=False)


TOOL = GetWeather
