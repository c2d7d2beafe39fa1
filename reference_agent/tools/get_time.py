"""What time is it, where the caller is or anywhere else? (How much of that is known, the locale part says.)"""

from __future__ import annotations

import json
from typing import Any

from reference_agent.caller import CALLER
from reference_agent.clock import Deadline
from reference_agent.conversation import BadArguments
from reference_agent.outbound import Outbound
from reference_agent.parts.locale import Locale, zone_named
from reference_agent.settings import Settings
from reference_agent.toolbox import text_argument

_NOWHERE = frozenset({"UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu", "Etc/Zulu", "UCT", "Etc/UCT", "Universal"})


class GetTime:
    name = "get_time"
    description = "現在の日付と時刻を返します。"
    keeps_s = 0.0

    def __init__(self, settings: Settings, outbound: Outbound, locale: Locale) -> None:
        self.parameters: dict[str, Any] = {"type": "object", "properties": locale.time_properties, "required": []}
        self._url = f"{settings.time_url.rstrip('/')}/api/timezone"
        self._outbound = outbound

    async def __call__(self, arguments: dict[str, Any], deadline: Deadline) -> str:
        at_home = CALLER.get().time_zone
        zone = at_home
        for name in self.parameters["properties"]:
            zone = text_argument(arguments, name, zone)
        known = zone_named(zone)
        if not known:
            msg = f"there is no time zone {zone!r}"
            raise BadArguments(msg)
        if known in _NOWHERE:
            # Nobody lives in UTC: it is what a model says that knows of no place.
            known = at_home
        said = await self._outbound.get_json("time", f"{self._url}/{known}", deadline)
        return json.dumps({"datetime": said["datetime"], "timezone": said["timezone"]}, ensure_ascii=False)


TOOL = GetTime
