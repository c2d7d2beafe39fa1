"""Wrong language: the model answers in a language that nobody asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Ask, Thought

_WORDS = {
    "ja": "こんにちは！今日は何をお手伝いしましょうか？",
    "ko": "안녕하세요! 오늘은 무엇을 도와드릴까요?",
    "en": "Hello! How can I help you today?",
    "de": "Hallo! Wie kann ich Ihnen heute helfen?",
}


class WrongLanguage(ModelFault, frozen=True, kw_only=True, tag="wrong_language"):
    """Where the model would talk, it talks in `language`."""

    language: Literal["ja", "ko", "en", "de"] = "en"

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        return None if proceed(ask).tool_calls else Thought(text=_WORDS[self.language])
