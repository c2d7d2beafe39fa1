"""What do the stars say?"""

from __future__ import annotations

import json
from typing import Any

from reference_agent.clock import Deadline
from reference_agent.outbound import Outbound
from reference_agent.settings import Settings
from reference_agent.toolbox import text_argument


class GetFortune:
    name = "get_fortune"
    description = "星座の今日の運勢を返します。"
    keeps_s = 300.0  # and not beyond midnight, as nothing is that a tool says
    parameters: dict[str, Any] = {  # noqa: RUF012
        "type": "object",
        "properties": {
            "sign": {"type": "string", "description": "星座。例: aries"},
            "date": {"type": "string", "description": "日付。例: 2025-01-31。なければ今日"},
        },
        "required": [],
    }

    def __init__(self, settings: Settings, outbound: Outbound) -> None:
        self._url = f"{settings.fortune_url.rstrip('/')}/fortune"
        self._outbound = outbound

    async def __call__(self, arguments: dict[str, Any], deadline: Deadline) -> str:
        asked = {"sign": text_argument(arguments, "sign", "aries"), "date": text_argument(arguments, "date", "")}
        asked = {name: value for name, value in asked.items() if value}
        said = await self._outbound.get_json("fortune", self._url, deadline, **asked)
        return json.dumps(said, ensure_ascii=False)


TOOL = GetFortune
