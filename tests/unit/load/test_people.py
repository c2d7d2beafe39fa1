"""The population is the same for the same seed, and speaks several languages."""

import itertools
import random

import faker.providers.job.en_US
import faker.providers.job.ja_JP
import faker.providers.job.ko_KR

from harness.load.people import SMALL_TALK, population
from harness.upstreams.scripted_model import kinds_asked


def test_the_same_seed_makes_the_same_people() -> None:
    assert population(1, "some_scenario", 20) == population(1, "some_scenario", 20)
    assert population(1, "some_scenario", 20) != population(2, "some_scenario", 20)


def test_a_longer_population_begins_with_a_shorter_one() -> None:
    assert population(1, "some_scenario", 40)[:20] == population(1, "some_scenario", 20)


def test_people_have_ids_of_their_own_and_speak_several_languages() -> None:
    people = population(1, "some_scenario", 60)

    assert len({person.user_id for person in people}) == 60
    assert {person.language for person in people} == {"ja", "ko", "en"}
    assert all(person.small_talk(random.Random(1)) for person in people)


def test_small_talk_asks_for_no_tool_whatever_somebody_does_for_a_living() -> None:
    jobs = {
        "ja": faker.providers.job.ja_JP.Provider.jobs,
        "ko": faker.providers.job.ko_KR.Provider.jobs,
        "en": faker.providers.job.en_US.Provider.jobs,
    }
    people = population(1, "some_scenario", 20)
    assert {person.language for person in people} == set(jobs)
    for person in people:
        for job, text in itertools.product(jobs[person.language], SMALL_TALK[person.language]):
            said = text.format(name=person.name, city=person.city, job=job)
            assert kinds_asked(said) == (), said
    assert [kinds_asked(text) for text in ("占い師です", "占いをして", "占って")] == [(), ("fortune",), ("fortune",)]
