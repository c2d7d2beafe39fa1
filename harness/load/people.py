"""Who the real users are: a population with names, languages and habits, the same for the same seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from faker import Faker

Language = Literal["ja", "ko", "en"]

# The documented agent is Japanese only; most of its users are. The others are those whom it serves badly.
_LANGUAGES: tuple[Language, ...] = ("ja", "ja", "ja", "ja", "ja", "ja", "ja", "ko", "en", "en")
_LOCALES: dict[Language, str] = {"ja": "ja_JP", "ko": "ko_KR", "en": "en_US"}
_TIME_ZONES: dict[Language, tuple[str, ...]] = {
    "ja": ("Asia/Tokyo",),
    "ko": ("Asia/Seoul",),
    "en": ("America/New_York", "Europe/Berlin", "Australia/Sydney"),
}

# Small talk that asks for no tool, so that a turn is one generation and one utterance.
SMALL_TALK: dict[Language, tuple[str, ...]] = {
    "ja": (
        "こんにちは、{name}です。元気ですか？",
        "おはよう！今日はなんだか眠いです😀",
        "ただいま。今日は{job}の仕事で疲れました。",
        "好きな食べ物は何ですか？私はカレーが好きです🍛",
        "{city}に引っ越しました。よろしくね！",
        "週末は映画を見に行きます🎬",
    ),
    "ko": (
        "안녕하세요, 저는 {name}입니다. 잘 지냈어요?",
        "오늘은 {city}에 있어요😀",
        "고양이를 정말 좋아해요🐱",
    ),
    "en": (
        "Hello, my name is {name}. How are you?",
        "I moved to {city} last month 😀",
        "I work as a {job} and I am a bit tired.",
        "Do you like cats? I do 🐈",
    ),
}


@dataclass(frozen=True)
class Person:
    """One real user."""

    number: int
    user_id: str
    name: str
    language: Language
    time_zone: str
    city: str
    job: str

    def small_talk(self, draw: random.Random) -> str:
        """Return something to say that needs no tool."""
        text = draw.choice(SMALL_TALK[self.language])
        return text.format(name=self.name, city=self.city, job=self.job)


@lru_cache(maxsize=8)
def population(seed: int, scenario: str, count: int) -> tuple[Person, ...]:
    """Return `count` people: the same for the same arguments, and more of them begin with the fewer.

    Args:
        seed: the run's seed.
        scenario: people of different scenarios have different ids, so that a deployment that is not restarted
            between them meets strangers.
        count: how many, 1 or more.
    """
    fakers = {language: Faker(locale) for language, locale in _LOCALES.items()}
    for language, faker in fakers.items():
        faker.seed_instance(f"{seed}/{scenario}/{language}")
    people = []
    for number in range(count):
        draw = random.Random(f"{seed}/{scenario}/person/{number}")
        language = draw.choice(_LANGUAGES)
        faker = fakers[language]
        people.append(
            Person(
                number=number,
                user_id=f"user-{scenario}-{seed}-{number}",
                name=faker.name(),
                language=language,
                time_zone=draw.choice(_TIME_ZONES[language]),
                city=faker.city(),
                job=faker.job(),
            )
        )
    return tuple(people)
