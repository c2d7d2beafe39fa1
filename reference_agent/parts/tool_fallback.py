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
        **_PROPOSED,
        "get_fortune": "占いは今お休み中にゃん",
        "get_time": "時計が見られないにゃん",
        "calculate": "計算機が動かないにゃん",
    },
    "ko": {
        "get_weather": "날씨 정보는 지금 이용할 수 없어요",
        "get_news": "뉴스는 나중에 확인해 주세요",
        "get_fortune": "운세는 지금 쉬는 중이에요",
        "get_time": "시계를 볼 수 없어요",
        "calculate": "계산기를 쓸 수 없어요",
    },
    "en": {
        "get_weather": "The weather is unavailable right now",
        "get_news": "Please check the news later",
        "get_fortune": "The fortune teller is away",
        "get_time": "The clock cannot be read right now",
        "calculate": "The calculator does not work right now",
    },
    "de": {
        "get_weather": "Das Wetter ist gerade nicht abrufbar",
        "get_news": "Schau später nach den Nachrichten",
        "get_fortune": "Die Wahrsagerin ist gerade nicht da",
        "get_time": "Die Uhr lässt sich gerade nicht ablesen",
        "calculate": "Der Rechner geht gerade nicht",
    },
    "fr": {
        "get_weather": "La météo n'est pas disponible pour l'instant",
        "get_news": "Les nouvelles seront là plus tard",
        "get_fortune": "La voyante est absente",
        "get_time": "Impossible de lire l'heure pour l'instant",
        "calculate": "La calculatrice ne marche pas pour l'instant",
    },
    "es": {
        "get_weather": "El tiempo no está disponible ahora",
        "get_news": "Mira las noticias más tarde",
        "get_fortune": "La adivina no está",
        "get_time": "Ahora no se puede leer el reloj",
        "calculate": "La calculadora no funciona ahora",
    },
}
_INSTEAD_OF_ANY: dict[Language, str] = {
    "ja": "この機能はいま使えないにゃん",
    "ko": "이 기능은 지금 사용할 수 없어요",
    "en": "This is unavailable right now",
    "de": "Das geht gerade nicht",
    "fr": "Ce n'est pas disponible pour l'instant",
    "es": "Esto no está disponible ahora",
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
