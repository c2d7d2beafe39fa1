"""What time is it? (In Tokyo, wherever the caller is: the documented agent knows no other place.)"""

from __future__ import annotations

import json
from typing import Any

from reference_agent.clock import Deadline
from reference_agent.outbound import Outbound
from reference_agent.settings import Settings

_ZONE = "Asia/Tokyo"


class GetTime:
    name = "get_time"
    description = "現在の日付と時刻を返します。"
    parameters: dict[str, Any] = {"type": "object", "properties": {}, "required": []}  # noqa: RUF012

    def __init__(self, settings: Settings, outbound: Outbound) -> None:
        self._url = f"{settings.time_url.rstrip('/')}/api/timezone/{_ZONE}"
        self._outbound = outbound

    async def __call__(self, arguments: dict[str, Any], deadline: Deadline) -> str:
        said = await self._outbound.get_json("time", self._url, deadline)
        return json.dumps({"datetime": said["datetime"], "timezone": said["timezone"]}, ensure_ascii=False)


TOOL = GetTime
