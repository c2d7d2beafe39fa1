"""Has every refusal words, in every language, and are they said in character?"""

from __future__ import annotations

import ast
import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest
from agent_stage import KeptLog, documented_failures, hardened_failures, settings

import reference_agent
from reference_agent import job_player
from reference_agent.caller import ASKING, LANGUAGES, Asking, Hints, Language
from reference_agent.errors import Refused
from reference_agent.language import LatinLanguages
from reference_agent.parts.locale import HardenedLocale
from reference_agent.parts.persona import HardenedPersona
from reference_agent.sentences import sentences

_OTHERS = ("openai_unavailable", "out_of_time", "conversation_gone", "generation_failed", "internal")
_OF_JOBS = ("waited_too_long", "workers_died")
_FIGURES = {"most": 100_000}


def _codes_of_refusals() -> Iterator[str]:
    """Yield the code of every refusal in the agent's source that says nothing plainly."""
    for module in pkgutil.walk_packages(reference_agent.__path__, "reference_agent."):
        if module.name.endswith("__main__"):
            continue
        for call in ast.walk(ast.parse(inspect.getsource(import_module(module.name)))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Refused":
                code = call.args[1]
                if isinstance(code, ast.Constant) and not any(one.arg == "plainly" for one in call.keywords):
                    yield str(code.value)


_CODES = sorted({*_codes_of_refusals(), *_OTHERS, *_OF_JOBS})


def test_the_codes_are_found() -> None:
    assert {"busy", "rate_limited", "message_too_long", "shutting_down", "queue_full"} <= set(_CODES)
    assert all(f'"{why}"' in inspect.getsource(job_player) for why in _OF_JOBS)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", _CODES)
def test_every_refusal_can_be_said_in_every_language_and_fits(code: str, language: Language) -> None:
    locale = HardenedLocale(settings())
    persona = HardenedPersona(settings(), locale, KeptLog())
    said = [sentence.format(**_FIGURES) for sentence in sentences(code, language)]
    words = persona.words(said, language)
    assert words.count("にゃん") == len(said), "all of it, and every sentence ends in character"
    assert words.endswith("にゃん")
    assert len(words) <= settings().reply_chars
    assert locale.is_in(words.replace("にゃん", " "), language)


@pytest.mark.parametrize("code", ["busy", "message_too_long"])
def test_the_persona_is_what_was_set(code: str) -> None:
    given = {"reply_ending": "ワン", "reply_chars": 14, "languages": "en,ko"}
    token = ASKING.set(Asking(text="こんにちは"))
    try:
        response = hardened_failures(KeptLog(), **given).answer(Refused(429, code, most=20))
    finally:
        ASKING.reset(token)
    assert response is not None
    words = bytes(response.body).decode()
    assert "very" in words or "At most" in words, "Japanese is not spoken here: the usual language"
    assert 'ワン"' in words
    assert "にゃん" not in words


def test_what_was_documented_was_said_in_japanese_whoever_asked() -> None:
    token = ASKING.set(Asking("en", "hello"))
    try:
        response = documented_failures().answer(Refused(429, "rate_limited", 60.0))
    finally:
        ASKING.reset(token)
    assert response is not None
    assert "ちょっと早すぎるにゃん。すこし待ってにゃん" in bytes(response.body).decode()


def test_no_words_are_looked_at_for_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics over words take 0.2 ms: ten times all the rest."""
    locale = HardenedLocale(settings())
    locale.warm_up()

    def looked(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(LatinLanguages, "of", looked)
    assert locale.at_first_sight(Asking("", "Guten Tag, wie ist das Wetter heute?")) == "en"
    assert locale.at_first_sight(Asking("de-DE,de;q=0.9", "x" * 100_000)) == "de"
    with pytest.raises(AssertionError):
        locale.caller("Guten Tag, wie ist das Wetter heute?", Hints())
