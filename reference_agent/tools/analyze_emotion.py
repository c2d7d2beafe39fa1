"""What does a text feel like?"""

from __future__ import annotations

from typing import Any

from reference_agent.clock import Deadline
from reference_agent.parts.emotion import Emotion
from reference_agent.toolbox import text_argument


class AnalyzeEmotion:
    name = "analyze_emotion"
    description = "文章の感情を分析します。"
    keeps_s = 0.0  # what people feel is theirs: nobody else hears of it, and it is not kept
    parameters: dict[str, Any] = {  # noqa: RUF012
        "type": "object",
        "properties": {"text": {"type": "string", "description": "分析する文章"}},
        "required": ["text"],
    }

    def __init__(self, emotion: Emotion) -> None:
        self._emotion = emotion

    async def __call__(self, arguments: dict[str, Any], deadline: Deadline) -> str:
        return await self._emotion.analyze(text_argument(arguments, "text"), deadline)


TOOL = AnalyzeEmotion
