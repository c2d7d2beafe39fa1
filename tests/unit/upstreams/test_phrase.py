"""A phrase's words are in everything that its expression finds: looking for them first changes no answer."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.upstreams import scripted_model
from harness.upstreams.phrase import Phrase

PHRASES: tuple[Phrase, ...] = (
    *scripted_model._REQUEST.values(),
    scripted_model._ABOUT_A_TOOL,
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
