"""What time is it, where the caller is or anywhere else? (How much of that is known, the locale part says.)"""

from __future__ import annotations

import json
from typing import Any

from reference_agent.caller import CALLER
from reference_agent.clock import Deadline
from reference_agent.conversation import BadArguments
from reference_agent.outbound import Outbound
from reference_agent.parts.locale import Locale, known_zone
from reference_agent.settings import Settings
from reference_agent.toolbox import text_argument


class GetTime:
    name = "get_time"
    description = "現在の日付と時刻を返します。"
    keeps_s = 0.0

    def __init__(self, settings: Settings, outbound: Outbound, locale: Locale) -> None:
        self.parameters: dict[str, Any] = {"type": "object", "properties": locale.time_properties, "required": []}
        self._url = f"{settings.time_url.rstrip('/')}/api/timezone"
        self._outbound = outbound

    async def __call__(self, arguments: dict[str, Any], deadline: Deadline) -> str:
        zone = CALLER.get().time_zone
        for name in self.parameters["properties"]:
            zone = text_argument(arguments, name, zone)
        if not known_zone(zone):
            msg = f"there is no time zone {zone!r}"
            raise BadArguments(msg)
        said = await self._outbound.get_json("time", f"{self._url}/{zone}", deadline)
        return json.dumps({"datetime": said["datetime"], "timezone": said["timezone"]}, ensure_ascii=False)


TOOL = GetTime
