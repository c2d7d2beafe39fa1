"""Upstream outage: OpenAI hangs, refuses, cuts the line, says 503, rejects the key, or leaves a run open for ever."""

from locust import task

from harness import Durations, Poisson, Scenario, check, fault
from harness.load import RealUsers

scenario = Scenario(
    title="Endless polling in an OpenAI outage",
    category="outage",
    severity="critical",
    repair_phase=1,
    story=(
        "OpenAI is down, the network is cut, the key has expired, or a run never ends. The documented agent waits and "
        "polls without a deadline, or answers with a bare 500 and leaves its run open."
    ),
    claim="Every caller gets an answer or a clear error before the deadline, no run is left open, recovery is prompt.",
    quick=Durations(warm_up_s=1, steady_s=5, attack_s=12, recovery_s=5, drain_s=8),
    full=Durations(warm_up_s=5, steady_s=30, attack_s=100, recovery_s=60, drain_s=30),
    not_played="each kind of outage lasts two seconds",
    # In this order, because what was cut off or refused ends a call that hangs: whatever never ends comes last.
    faults=(
        fault("refuse", upstream="openai", from_s=0, for_s=2, because="nothing listens any more"),
        fault("reset", upstream="openai", from_s=2, for_s=2, because="the line is cut in the middle of a call"),
        fault("status", upstream="openai", status=503, from_s=4, for_s=2, because="it is up, and says that it is not"),
        fault("status", upstream="openai", status=401, from_s=6, for_s=2, because="the key was revoked"),
        fault(
            "hang",
            upstream="openai",
            when_lifted="stay",
            from_s=8,
            for_s=2,
            because="the network swallows every packet; a call that was under way then is never answered",
        ),
        fault(
            "stuck",
            upstream="openai",
            state="in_progress",
            from_s=10,
            for_s=2,
            because="a run that never ends, not even when new ones do again",
        ),
    ),
    checks=(
        check(
            "answered_before_deadline",
            roles=("real",),
            because="an error in time can be shown to a person; silence cannot",
        ),
        check(
            "errors_are_clear",
            roles=("real",),
            because="whoever calls must be able to tell 'come back later' from a broken agent",
        ),
        check(
            "no_open_generations",
            because="a run that was started and not ended still costs money, and blocks its conversation",
        ),
        check(
            "upstream_calls_bounded",
            upstream="openai",
            at_most_per_request=6.0,
            during=("attack", "recovery"),
            because=(
                "an undisturbed turn makes 5 to 6 calls (message, run, polls, reply), and an outage must not make it "
                "dearer; most turns of an outage end at their first call (measured: 2.4 and 3.2 a turn, hardened and "
                "documented), so that trying each call three times is above it"
            ),
        ),
        check(
            "retries_bounded",
            upstream="openai",
            at_most_per_request=0.2,
            because=(
                "a budget of one repeat for five requests is Linkerd's default; the client's own two repeats of"
                " whatever fails come to 0.5 here, with a loop of three around them to 1.0 (hardened: 0.02)"
            ),
        ),
        check(
            "recovers",
            within_s=3.0,
            because="a breaker that probes once a second has noticed by then; an agent that still waits has not",
        ),
        check("target_survived", because="a process that has to be restarted forgets everyone"),
    ),
)


class UpstreamOutageUsers(RealUsers):
    """People who want an answer while OpenAI is away."""

    arrivals = Poisson(per_s=8)

    @task
    def talk(self) -> None:
        self.say(self.person.small_talk(self.draw))
