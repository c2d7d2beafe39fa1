"""Is what must not be written down found in any text, in a bounded time, and is all else left alone?"""

from __future__ import annotations

import random
import string
import time
from typing import Any

import phonenumbers
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reference_agent.redaction import redacted, redacted_text

_SENTENCES = ("連絡は{}まで。", "제 번호는 {}입니다", "Call {} now", "{}", "a={}&b=2", '{{"to": "{}"}}')
_REGIONS = ("JP", "KR", "US")
_TYPES = (
    phonenumbers.PhoneNumberType.MOBILE,
    phonenumbers.PhoneNumberType.FIXED_LINE,
    phonenumbers.PhoneNumberType.TOLL_FREE,
)
_WIDE = str.maketrans("0123456789-() +", "０１２３４５６７８９－（）　＋")


@st.composite
def phones(draw: st.DrawFn) -> str:
    """Draw a telephone number of Japan, Korea or the United States, written in one of the usual ways."""
    region = draw(st.sampled_from(_REGIONS))
    number = phonenumbers.example_number_for_type(region, draw(st.sampled_from(_TYPES)))
    assert number is not None
    digits = phonenumbers.national_significant_number(number)
    last = draw(st.integers(0, 9999))
    number.national_number = int(f"{digits[:-4]}{last:04d}")
    assume(phonenumbers.is_valid_number(number))
    way = draw(
        st.sampled_from(
            (
                phonenumbers.PhoneNumberFormat.E164,
                phonenumbers.PhoneNumberFormat.INTERNATIONAL,
                phonenumbers.PhoneNumberFormat.NATIONAL,
            )
        )
    )
    written = phonenumbers.format_number(number, way)
    if way == phonenumbers.PhoneNumberFormat.NATIONAL and draw(st.booleans()):
        written = "".join(filter(str.isdigit, written))
    return written.translate(_WIDE) if draw(st.booleans()) else written


@st.composite
def cards(draw: st.DrawFn) -> str:
    """Draw a number that passes Luhn's check, in groups or not."""
    body = draw(st.text("0123456789", min_size=12, max_size=18))
    total = sum((d * 2 - 9 * (d > 4)) if i % 2 == 0 else d for i, d in enumerate(map(int, reversed(body))))
    number = body + str(-total % 10)
    separator = draw(st.sampled_from(("", " ", "-")))
    return separator.join(number[i : i + 4] for i in range(0, len(number), 4))


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isdigit())


@given(phones(), st.sampled_from(_SENTENCES))
@settings(max_examples=300, deadline=None)
def test_a_telephone_number_is_found_however_it_is_written(phone: str, sentence: str) -> None:
    clean = redacted_text(sentence.format(phone))
    assert len(_digits(clean)) <= 1, "the 2 of one sentence"
    assert "[phone]" in clean or "[number]" in clean


@given(cards(), st.sampled_from(_SENTENCES))
@settings(max_examples=200, deadline=None)
def test_a_card_number_is_found(card: str, sentence: str) -> None:
    clean = redacted_text(sentence.format(card))
    assert len(_digits(clean)) <= 1
    assert "[card]" in clean


@given(st.emails(), st.sampled_from(_SENTENCES))
@settings(max_examples=200, deadline=None)
def test_an_address_is_found(address: str, sentence: str) -> None:
    local, _, domain = address.rpartition("@")
    assume(len(local) <= 64)
    clean = redacted_text(sentence.format(address))
    assert address not in clean
    assert f"@{domain}" not in clean


@pytest.mark.parametrize(
    "address",
    [
        "tama@example.com",
        "tama＠example.com",
        "ｔａｍａ＠ｅｘａｍｐｌｅ．ｃｏｍ",
        "tama%40example.com",
        '"ta ma"@example.com',
        "太郎@例え.jp",
        "tama@[192.0.2.1]",
        "Tama+cat@mail.example.co.jp",
    ],
)
def test_addresses_as_they_come(address: str) -> None:
    clean = redacted_text(f"to <{address}>, please")
    assert "[email]" in clean
    assert "ta" not in clean.replace("[email]", "")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Incorrect API key provided: sk-abcd****wxyz.", "Incorrect API key provided: [key]"),
        ("sk-proj-abc_DEF-0123456789", "[key]"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer [key]"),
        ("GET /data?q=Tokyo&appid=0123abcd&lang=ja", "GET /data?q=Tokyo&appid=[key]&lang=ja"),
        ("/v2/top-headlines?country=jp&apiKey=abcdef", "/v2/top-headlines?country=jp&apiKey=[key]"),
        ('{"password": "hunter22"}', '{"password": "[key]"}'),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "[key]"),
        ("AKIAIOSFODNN7EXAMPLE", "[key]"),
        ("ours is hush-hush-1", "ours is [key]"),
    ],
)
def test_keys_are_found(text: str, clean: str) -> None:
    assert redacted_text(text, secrets=("hush-hush-1",)) == clean


@pytest.mark.parametrize(
    "text",
    [
        "2025-01-31T12:00:00.123+09:00",
        "2025-01-31 12:00:00",
        "thread_0123456789012345 of run_8005551234",
        "123e4567-e89b-12d3-a456-426614174000",
        "8f14e45f09012345678d7ea1",
        "127.0.0.1:54321 took 0.123456 s, 1048576 bytes, 12345 tokens",
        "prompt_tokens=100000 max_tokens: 4096",
        "@tama は言った: 10**10**10 = ?",
        "a @ b",
        "가격은 12,000원",
    ],
)
def test_what_is_nobodys_secret_stays(text: str) -> None:
    assert redacted_text(text) == text


@given(st.text("abcxyzあい가나 .,:;!?-()", max_size=200))
def test_a_text_without_anything_to_find_is_returned_as_it_is(text: str) -> None:
    assert redacted_text(text) == text


@given(st.lists(st.one_of(phones(), cards(), st.emails(), st.text(max_size=20)), max_size=6))
@settings(deadline=None)
def test_what_is_clean_stays_as_it_is(pieces: list[str]) -> None:
    clean = redacted_text(" ; ".join(pieces))
    assert redacted_text(clean) == clean


def _of_100_kb(piece: str) -> str:
    return (piece * (100_000 // len(piece) + 1))[:100_000]


_RANDOM = random.Random(7)


@pytest.mark.parametrize(
    "text",
    [
        *map(_of_100_kb, ("a", "@", "a@", '"@', "%40", "7", "7 ", "1...2---", "+(", "1234a")),
        *map(_of_100_kb, ("123-4567x", "2025-01-31 ", "eyJ.", "sk-", "bearer   ", "0123456789abcdef-")),
        *map(_of_100_kb, ("key=", "key   ", "１２３４－５６７８あ")),
        "x".join(f"0{_RANDOM.randrange(10**9)}" for _ in range(9000)),
        "x".join(["1 2 3 4 5 6 7"] * 7000),
        "".join(_RANDOM.choices(string.printable, k=100_000)),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_time_grows_with_the_length_and_no_faster(text: str) -> None:
    """CPU time of this thread, which other processes do not stretch; measured 0.02 to 0.4 s for all of it."""

    def cpu_s(piece: str) -> float:
        begin = time.thread_time()
        redacted_text(piece)
        return time.thread_time() - begin

    quarter_s, whole_s = cpu_s(text[:25_000]), cpu_s(text)
    # A quadratic pattern takes 16 times as long for four times the text, and minutes instead of a fraction of a second.
    assert whole_s < 0.1 + 10 * quarter_s
    assert whole_s < 5


def test_every_value_is_looked_through_whatever_it_is() -> None:
    class Odd:
        def __repr__(self) -> str:
            return "<to tama@example.com>"

    deep: Any = "tama@example.com"
    for _ in range(50):
        deep = [deep]
    clean = redacted(
        {
            "to": ["tama@example.com", ("090-1234-5678",), {"x": b"tama@example.com"}],
            "tama@example.com": 1,
            "headers": {"Authorization": "anything", "x-api-key": "anything"},
            "card": 4242424242424242,
            "huge": 10**5000,
            "figures": [1, 2.5, None, True, 10**8],
            "failure": ValueError("tama@example.com"),
            "odd": Odd(),
            "deep": deep,
        }
    )
    assert "tama" not in repr(clean)
    assert clean["to"] == ["[email]", ["[phone]"], {"x": "[email]"}]
    assert clean["[email]"] == 1
    assert clean["headers"] == {"Authorization": "[key]", "x-api-key": "[key]"}
    assert (clean["card"], clean["huge"], clean["failure"]) == ("[card]", "[number]", "ValueError")
    assert clean["figures"] == [1, 2.5, None, True, 10**8]
