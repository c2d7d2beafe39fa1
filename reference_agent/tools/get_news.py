"""What is in the news?"""

from __future__ import annotations

import json
from typing import Any

from reference_agent.caller import CALLER
from reference_agent.clock import Deadline
from reference_agent.outbound import Outbound
from reference_agent.settings import Settings
from reference_agent.toolbox import text_argument

_HEADLINES = 3
_COUNTRY = {"ja": "jp", "ko": "kr", "en": "us", "de": "de", "fr": "fr", "es": "es"}


class GetNews:
    name = "get_news"
    description = "最新のニュースの見出しを返します。"
    keeps_s = 300.0
    parameters: dict[str, Any] = {  # noqa: RUF012
        "type": "object",
        "properties": {"country": {"type": "string", "description": "国。例: jp"}},
        "required": [],
    }

    def __init__(self, settings: Settings, outbound: Outbound) -> None:
        self._url = f"{settings.news_url.rstrip('/')}/v2/top-headlines"
        self._key = settings.news_api_key
        self._outbound = outbound

    async def __call__(self, arguments: dict[str, Any], deadline: Deadline) -> str:
        country = text_argument(arguments, "country", _COUNTRY[CALLER.get().language])
        said = await self._outbound.get_json("news", self._url, deadline, country=country, apiKey=self._key)
        return json.dumps([article["title"] for article in said["articles"][:_HEADLINES]], ensure_ascii=False)


TOOL = GetNews
