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
        said = await self._outbound.get_json(
            "weather",
            self._url,
            deadline,
            q=text_argument(arguments, "city", "Tokyo,JP"),
            appid=self._key,
            units="metric",
            lang=_LANGUAGE[CALLER.get().language],
        )
        main = said["main"]
        told = {
            "weather": said["weather"][0]["description"],
            "temp_c": main["temp"],
            # In both, so that what one caller was told is right for the next one from elsewhere.
            "temp_f": round(main["temp"] * 1.8 + 32, 1),
            "humidity": main["humidity"],
        }
        return json.dumps(told, ensure_ascii=False)


TOOL = GetWeather
