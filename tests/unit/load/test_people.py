"""The population is the same for the same seed, and speaks several languages."""

import random

from harness.load.people import population


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
