"""Is a request worked on that should not be?"""

from __future__ import annotations

import pytest
from agent_stage import settings

from reference_agent.errors import Refused
from reference_agent.parts.input_guard import DocumentedInputGuard, HardenedInputGuard


def test_documented_one_takes_any_length() -> None:
    assert DocumentedInputGuard().check("u", "あ" * 100_000) == ("u", "あ" * 100_000)


@pytest.mark.parametrize(
    ("user_id", "message", "status"),
    [
        ("u", "あ" * 2001, 413),
        ("", "hi", 422),
        ("u" * 201, "hi", 422),
        (None, "hi", 422),
        ("u", None, 422),
        ("u", 5, 422),
        ("u", "  ", 422),
        ("u", "\ud83d", 422),
        ("u", "\x00", 422),
    ],
)
def test_hardened_one_refuses(user_id: object, message: object, status: int) -> None:
    with pytest.raises(Refused) as refused:
        HardenedInputGuard(settings()).check(user_id, message)
    assert refused.value.status == status


@pytest.mark.parametrize("message", ["안녕하세요😀こんにちは🇰🇷", "あ" * 2000, "👨‍👩‍👧", "two\nlines\tand a tab"])
def test_hardened_one_leaves_text_as_it_was_written(message: str) -> None:
    assert HardenedInputGuard(settings()).check("u", message) == ("u", message)
