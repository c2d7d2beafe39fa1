"""What is the model told when a tool fails?"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Protocol

from reference_agent.caller import CALLER, Language
from reference_agent.conversation import BadArguments, ToolCall, UnknownTool
from reference_agent.errors import OutOfTime, Unavailable
from reference_agent.parts.logging import Logging
from reference_agent.trouble import trouble_in


class ToolFallback(Protocol):
    """Runs one tool and sees to it that there is an output."""

    async def output(self, call: ToolCall, run: Callable[[], Awaitable[str]]) -> str:
        """Return what the tool said, or what is said in its place."""
        ...


class DocumentedToolFallback:
    """Nothing in its place: one tool that fails fails everything."""

    async def output(self, call: ToolCall, run: Callable[[], Awaitable[str]]) -> str:
        return await run()


_NEUTRAL = '{"emotion": "中立", "all_scores": {"中立": 1.0}}'
_PROPOSED = {
    "get_weather": "天気情報は現在利用できませんにゃん",
    "get_news": "ニュースは後でチェックしてにゃん",
    "analyze_emotion": '{"all_scores": {"中立": 1.0}}',
}
_INSTEAD: dict[Language, dict[str, str]] = {
    "ja": {
        "get_weather": "いま不明",
        "get_news": "また後で",
        "get_fortune": "お休み中",
        "get_time": "何時かわからない",
        "calculate": "計算できない",
    },
    "ko": {
        "get_weather": "지금 알 수 없어요",
        "get_news": "나중에 봐요",
        "get_fortune": "쉬는 중이에요",
        "get_time": "몇 시인지 몰라요",
        "calculate": "계산할 수 없어요",
    },
    "en": {
        "get_weather": "unknown",
        "get_news": "not there yet",
        "get_fortune": "hidden",
        "get_time": "hard to tell",
        "calculate": "too hard for me",
    },
    "de": {
        "get_weather": "unbekannt",
        "get_news": "noch nicht da",
        "get_fortune": "verborgen",
        "get_time": "schwer zu sagen",
        "calculate": "zu schwer für mich",
    },
    "fr": {
        "get_weather": "inconnue",
        "get_news": "pas encore là",
        "get_fortune": "cachée",
        "get_time": "difficile à dire",
        "calculate": "trop dur pour moi",
    },
    "es": {
        "get_weather": "desconocido",
        "get_news": "aún por llegar",
        "get_fortune": "oculta",
        "get_time": "difícil de decir",
        "calculate": "difícil de calcular",
    },
}
"""What is said of what a tool would have told: few words, which leave room in a reply for what the others told, and go
on from whatever a sentence about it begins with. The persona ends it."""
_INSTEAD_OF_ANY: dict[Language, str] = {
    "ja": "わからない",
    "ko": "알 수 없어요",
    "en": "not available",
    "de": "nicht verfügbar",
    "fr": "pas disponible",
    "es": "no disponible",
}


class ProposedToolFallback:
    """A sentence per tool, in a table of functions of which only the weather's is ever called.

    Every other tool that fails has said nothing. Everything is caught, a programming error as well, and nothing is
    written down.
    """

    async def output(self, call: ToolCall, run: Callable[[], Awaitable[str]]) -> str:
        try:
            return await run()
        except Exception:  # the documented hole
            return _PROPOSED["get_weather"] if call.name == "get_weather" else "null"


class HardenedToolFallback:
    """Tells apart whose fault it is: an upstream's (a sentence per tool), the model's (told what to change), ours.

    Ours is logged as a bug: a fallback that catches everything silently would hide it for ever.
    """

    def __init__(self, logging: Logging) -> None:
        self._logging = logging

    async def output(self, call: ToolCall, run: Callable[[], Awaitable[str]]) -> str:
        try:
            return await run()
        except UnknownTool:
            return _to_model(f"there is no tool called {call.name}; answer without it")
        except BadArguments as bad:
            return _to_model(str(bad))
        except Exception as failure:
            if isinstance(failure, Unavailable | OutOfTime) or trouble_in(failure) is not None:
                self._logging.warned("tool_unavailable", tool=call.name, reason=type(failure).__name__)
            else:
                self._logging.bug("tool_failed", failure)
            language = CALLER.get().language
            if call.name == "analyze_emotion":
                return _NEUTRAL
            return _INSTEAD[language].get(call.name, _INSTEAD_OF_ANY[language])


def _to_model(error: str) -> str:
    return json.dumps({"error": error}, ensure_ascii=False)


VARIANTS = {"documented": DocumentedToolFallback, "proposed": ProposedToolFallback, "hardened": HardenedToolFallback}
