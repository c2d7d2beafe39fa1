"""A phrase's words are in everything that its expression finds: looking for them first changes no answer."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.upstreams import scripted_model, wishes
from harness.upstreams.phrase import Phrase, kept_for_texts
from tests.unit.upstreams.conftest import Caller

PHRASES: tuple[Phrase, ...] = (
    *wishes._REQUEST.values(),
    *wishes._TOPIC.values(),
    wishes.ABOUT_A_TOOL,
    scripted_model._WHAT_DID_I_SAY,
    *(phrase for fact in scripted_model._FACTS for phrase in fact),
)
# Letters that no keyboard has and that are small letters of another one: "ſ" is an s to a regular expression.
LETTERS = st.characters(exclude_characters="ſKİı", codec="utf-8")


@pytest.mark.parametrize("phrase", PHRASES, ids=lambda phrase: phrase.words[0])
@settings(max_examples=50, deadline=None, derandomize=True)
@given(data=st.data())
def test_what_the_expression_finds_has_one_of_the_words(phrase: Phrase, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(re.compile(phrase.pattern, re.IGNORECASE), alphabet=LETTERS))
    assert phrase.search(text) is not None


def test_a_phrase_is_found_whatever_the_case() -> None:
    phrase = Phrase(("weather",), r"\bweather\b")
    found = phrase.search("The WEATHER?")
    assert found is not None
    assert found.start() == 4
    assert phrase.search("whether") is None
    assert phrase.search("weathered") is None


def test_long_texts_that_come_once_are_not_kept(caller: Caller) -> None:
    def chat(number: int) -> None:
        own = f"{number} " + "x" * 100_000
        function = {"name": "get_time", "description": own}
        body = {
            "model": "m",
            "messages": [{"role": "system", "content": own}, {"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "function": function}],
        }
        headers = {"authorization": f"Bearer {own}"}
        caller.call("openai", "POST", "/v1/chat/completions", body, headers=headers)
        caller.epoch.upstreams["openai"].limits.keys.clear()  # type: ignore[attr-defined]

    chat(0)
    tracemalloc.start()
    try:
        for number in range(1, 30):
            chat(number)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Six megabytes and more, when even one text of each call stays.
    assert kept_bytes < 1_000_000


def test_what_is_kept_of_short_texts_is_bounded() -> None:
    looked: list[str] = []

    @kept_for_texts(up_to=1000)
    def look(text: str) -> int:
        looked.append(text)
        return len(text)

    for text in ("a", "a", "a" * 1001, "a" * 1001, *map(str, range(1000)), "a"):
        assert look(text) == len(text)
    assert looked.count("a") == 2
    assert looked.count("a" * 1001) == 2
