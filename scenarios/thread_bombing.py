"""Thread bombing: every request comes from a new user id, and each opens a conversation that is never closed."""

from time import sleep

from locust import task

from harness import ConstantRate, Durations, Poisson, Scenario, check
from harness.load import Attackers, Probes, RealUsers

scenario = Scenario(
    title="Thread bombing",
    category="attack",
    severity="critical",
    repair_phase=2,
    story=(
        "An attacker sends 「hi」 from 100,000 different user ids. Each of them gets a conversation upstream and a "
        "place in the agent's memory, and keeps both for ever."
    ),
    claim="Live conversations stay within the bound that the agent declares; real users are served and keep theirs.",
    quick=Durations(warm_up_s=1, steady_s=5, attack_s=8, recovery_s=5, drain_s=8),
    full=Durations(warm_up_s=5, steady_s=30, attack_s=4000, recovery_s=60, drain_s=30),
    not_played="the quick size sends 120 new user ids, the documented attack has 100,000 (--full, 69 minutes)",
    checks=(
        check(
            "live_conversations_bounded",
            at_most="declared:live_conversations",
            because="what the agent declares it can hold is what its operator has memory and money for",
        ),
        check(
            "conversations_kept",
            minimum_users=10,
            known_after_turns=2,
            during=("warm_up", "steady", "attack"),
            because=(
                "a defence that throws out real users to make room for attackers has done the attacker's work; who was "
                "there only once cannot be told from an attacker, and in recovery attackers who come back are known as "
                "well"
            ),
        ),
        check(
            "real_users_served",
            at_least_share=0.8,
            because="one answer lost in five is what people call down; the 95 % interval has to stay above it",
        ),
        check(
            "memory_bounded",
            at_most_growth_mb=50,
            because="an agent that forgets what it cannot keep stays within 50 MB, however many ids have come",
        ),
        check("no_open_generations", because="a generation that nobody waits for still costs money"),
        check("target_survived", because="a process that has to be restarted forgets everyone"),
    ),
)


class ThreadBombingUsers(RealUsers):
    """People in conversations of several turns, who were there before the attack began."""

    arrivals = Poisson(per_s=8)
    # Each comes back every two seconds: all of them are known, with two turns and more, when the attack begins.
    people = 16

    @task
    def talk(self) -> None:
        self.say(self.person.small_talk(self.draw))


class ThreadBombers(Attackers):
    """The attack as documented: a new id for every request, and nothing but 「hi」."""

    # The documented agent must fail by what it keeps, not by being overrun: it has 40 threads and needs 1.0 to 1.15 s a
    # turn, so that it can take about 35 a second. With the real users' 8, 15 is well below that, and 25 is just what it
    # can take: 100,000 ids in 4,000 s, which is why the full size takes 69 minutes.
    arrivals = ConstantRate(per_s=15, full_per_s=25, during=("attack",))

    @task
    def bomb(self) -> None:
        self.say("hi", user_id=f"attacker_{self.ordinal}", exact=True)


_BOMBS = {
    "quick": round(scenario.quick.attack_s * ThreadBombers.arrivals.per_s),
    "full": round(scenario.full.attack_s * (ThreadBombers.arrivals.full_per_s or 0)),
}


class ReturningBombers(Probes):
    """Some of the attackers' ids once more, with a mark: whoever still knows them has kept their conversations.

    Where conversations are created upstream, the ledger has counted them. Where the target keeps them itself (chat
    completions), what it tells the model of earlier turns is the only thing that shows. The newest come first: the
    oldest would make it forget, one by one, those who come next.
    """

    # In all more than the bound has room for: 60 of 120, and 1,500 of 100,000.
    arrivals = ConstantRate(per_s=12, full_per_s=25, during=("recovery",))

    @task
    def come_back(self) -> None:
        # Who is refused has not been looked at: whether they are known shows when they are let in.
        for _ in range(4):
            came = self.say("hi", user_id=f"attacker_{_BOMBS[self.size] - 1 - self.ordinal}")
            if came.outcome != "refused":
                return
            sleep(0.5)
