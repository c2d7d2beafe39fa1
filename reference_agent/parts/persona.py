"""Is what the model says in character?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from reference_agent.caller import Caller, Language
from reference_agent.errors import AgentError
from reference_agent.language import script_for, script_of
from reference_agent.parts.locale import Locale
from reference_agent.parts.logging import Logging
from reference_agent.phrases import phrases_of, sentences_of
from reference_agent.settings import Settings


class Persona(Protocol):
    """Knows who answers: a cat."""

    def instructions(self) -> str:
        """Return what the model is told about itself."""
        ...

    async def in_character(self, reply: str, caller: Caller, again: Callable[[str], Awaitable[str]]) -> str:
        """Return the reply as the user gets it.

        Args:
            reply: what the model said.
            caller: to whom.
            again: asks the model once more, with an order in words; costs what a reply costs.
        """
        ...

    def words(self, sentences: Sequence[str], language: Language) -> str:
        """Return sentences of ours as the persona says them.

        Args:
            sentences: the most telling one first, without full stops.
            language: they are in.
        """
        ...

    def beginning(self, text: str, caller: Caller) -> str:
        """Return the beginning of a reply that may be shown while the model is still at it.

        Args:
            text: what the model has said so far.
            caller: to whom.
        """
        ...


def _instructions(settings: Settings, locale: Locale) -> str:
    return (
        f"あなたは猫です。{locale.language_order}、{settings.reply_chars}文字以内で、親しみやすく答えてください。"
        f"文の終わりには必ず「{settings.reply_ending}」をつけてください。\n"
        "時刻、天気、占い、ニュース、感情分析、計算が必要なときは、用意されたツールを使ってください。"
    )


class DocumentedPersona:
    """The model is told, and trusted."""

    def __init__(self, settings: Settings, locale: Locale) -> None:
        self._instructions = _instructions(settings, locale)
        self._ending = settings.reply_ending

    def instructions(self) -> str:
        return self._instructions

    async def in_character(self, reply: str, caller: Caller, again: Callable[[str], Awaitable[str]]) -> str:
        return reply

    def words(self, sentences: Sequence[str], language: Language) -> str:
        return _joined([sentence + self._ending for sentence in sentences], language)

    def beginning(self, text: str, caller: Caller) -> str:
        return text


_SAY_IT_IN: dict[Language, str] = {
    "ja": "日本語で言い直して",
    "ko": "한국어로 다시 말해 줘",
    "en": "Say it again in English",
    "de": "Sag es noch einmal auf Deutsch",
    "fr": "Redis-le en français",
    "es": "Dilo otra vez en español",
}
_SAFE: dict[Language, str] = {
    "ja": "うまく言えなかったけど、聞いているよ",
    "ko": "듣고 있어요",
    "en": "I am listening",
    "de": "Ich höre dir zu",
    "fr": "Je t'écoute",
    "es": "Te escucho",
}
_TELLING_CHARS = 5  # fewer do not tell a language
_LOOKED_AT = 4  # times the length of a reply: what comes after cannot fit, whatever is taken out
_TAIL = " 。．.、,!！?？〜～♪…\n"


class HardenedPersona:
    """Checked for language, length and ending. The ending and the length are mended here; for another language the
    model is asked once more, and a safe reply in character stands in when that does not help either.
    """

    def __init__(self, settings: Settings, locale: Locale, logging: Logging) -> None:
        self._instructions = _instructions(settings, locale)
        self._chars = settings.reply_chars
        self._ending = settings.reply_ending
        self._locale = locale
        self._logging = logging

    def instructions(self) -> str:
        return self._instructions

    async def in_character(self, reply: str, caller: Caller, again: Callable[[str], Awaitable[str]]) -> str:
        if not self._is_in(caller.language, reply):
            self._logging.noted("persona_language", expected=caller.language)
            first = reply
            try:
                reply = await again(_SAY_IT_IN[caller.language])
            except AgentError:
                reply = ""  # too late, or too dear
            except Exception as bug:
                self._logging.bug("persona_not_repaired", bug)
                reply = ""
            if not self._is_in(caller.language, reply):
                # English for somebody who speaks German says more than any safe reply.
                reply = first if script_of(first) == script_for(caller.language) else ""
        return self._mended(reply or _SAFE[caller.language])

    def beginning(self, text: str, caller: Caller) -> str:
        if len(text) < _TELLING_CHARS or not self._is_in(caller.language, text):
            return ""
        body = text[: self._chars - len(self._ending)]
        for length in range(len(self._ending), 0, -1):
            # Perhaps the ending has just begun, and perhaps it is the one that is mended.
            if body.endswith(self._ending[:length]):
                body = body[:-length]
                break
        return body.rstrip(_TAIL)

    def words(self, sentences: Sequence[str], language: Language) -> str:
        said: list[str] = []
        for sentence in sentences:
            said.append(sentence + self._ending)
            if len(_joined(said, language)) > self._chars:
                said.pop()
                break
        return _joined(said, language) or self._mended(sentences[0])

    def _is_in(self, language: Language, reply: str) -> bool:
        # Without the ending, which is the same in every language; a reply without letters is in none.
        return self._locale.is_in(reply.replace(self._ending, " "), language)

    def _mended(self, reply: str) -> str:
        room = self._chars - len(self._ending)
        body = self._without_ending(reply[: _LOOKED_AT * self._chars])
        if len(reply) <= self._chars and reply.rstrip(_TAIL) == body + self._ending:
            return reply  # with the stop that the model has put behind it
        if len(body) > room:
            self._logging.noted("persona_shortened", chars=len(reply))
            body = self._without_ending(self._shortened(body, room))
        return body + self._ending

    def _without_ending(self, text: str) -> str:
        """Return a text without the ending, how often ever it ends with it; of what stands behind, emoji stay."""
        while True:
            text = text.rstrip(_TAIL)
            at = len(text)
            while at and not text[at - 1].isalnum() and not text.endswith(self._ending, 0, at):
                at -= 1
            if not text.endswith(self._ending, 0, at):
                return text
            text = text[: at - len(self._ending)] + text[at:]

    def _shortened(self, text: str, room: int) -> str:
        """Return as much of the beginning as fits: whole sentences, else whole phrases, else what there is room for."""
        text = text[: 2 * room]  # what comes after cannot fit
        for parts in (sentences_of, phrases_of, list):
            kept = ""
            for part in parts(text):
                if len(kept) + len(part) > room:
                    break
                kept += part
            if kept:
                break
        for begun in range(1, len(self._ending)):
            if begun <= len(kept) and text.startswith(self._ending, len(kept) - begun):
                return kept[:-begun]  # cut in the middle of an ending, and that comes anyway
        return kept


def _joined(sentences: Sequence[str], language: Language) -> str:
    return ("。" if language == "ja" else ". ").join(sentences)


VARIANTS = {
    "documented": DocumentedPersona,
    "proposed": DocumentedPersona,  # nothing was proposed
    "hardened": HardenedPersona,
}
