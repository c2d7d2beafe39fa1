"""Steady talk: real users at one rate and nothing else, to measure the load side by. Rate and length: BENCH_*."""

import os

from locust import task

from harness import ConstantRate, Durations, Poisson, Scenario, check
from harness.load import RealUsers

PER_S = float(os.environ.get("BENCH_PER_S", "100"))
STEADY_S = float(os.environ.get("BENCH_STEADY_S", "10"))
POISSON = os.environ.get("BENCH_ARRIVALS", "constant") == "poisson"
DURATIONS = Durations(warm_up_s=2, steady_s=STEADY_S, attack_s=0, recovery_s=0, drain_s=6)

scenario = Scenario(
    title="Steady talk",
    category="production",
    severity="ungraded",
    story="People talk to a server that answers after a known time; how true is what the load side says of it?",
    claim="Everybody is answered.",
    quick=DURATIONS,
    full=DURATIONS,
    not_played="nothing",
    checks=(
        check("real_users_served", at_least_share=0.8, because="the server of the benchmark answers everybody in time"),
    ),
    max_in_flight=2000,
)


class SteadyTalkers(RealUsers):
    """People who only talk."""

    arrivals = (
        Poisson(per_s=PER_S, during=("warm_up", "steady"))
        if POISSON
        else ConstantRate(per_s=PER_S, during=("warm_up", "steady"))
    )

    @task
    def talk(self) -> None:
        self.say(self.person.small_talk(self.draw))
