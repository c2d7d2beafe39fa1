"""Runaway tool loop: the model does not understand a tool's result and asks for the same tool again, and again."""

from locust import task

from harness import ConstantRate, Durations, Poisson, Scenario, check, fault
from harness.load import Attackers, RealUsers

# Names a tool, so that the model has something to loop on, and is said by nobody else here.
BAIT = "この文章の感情を分析して：なんだか悲しい"

scenario = Scenario(
    title="Runaway tool loop",
    category="bug",
    severity="major",
    story="The model asks for analyze_emotion, does not understand the scores, and asks for analyze_emotion again.",
    claim="Rounds and repeats are capped, the run is ended, and the caller gets an answer.",
    quick=Durations(warm_up_s=1, steady_s=5, attack_s=5, recovery_s=2, drain_s=8),
    full=Durations(warm_up_s=5, steady_s=30, attack_s=120, recovery_s=30, drain_s=30),
    not_played="the quick size lets 10 turns run away",
    faults=(
        fault(
            "loop",
            upstream="openai",
            text=BAIT,
            during=("attack", "recovery", "drain"),
            because="the documented confusion, for these callers only; a model does not come out of it by itself",
        ),
    ),
    checks=(
        check(
            "tool_calls_per_turn",
            at_most="declared:tool_calls_per_turn",
            because="what the agent declares a turn may cost; a loop has no end of its own",
        ),
        check(
            "answered_before_deadline",
            roles=("attacker",),
            because="whoever asked is waiting for an answer, not for the loop to end",
        ),
        check(
            "all_answered",
            roles=("attacker",),
            at_most_unanswered=1,
            because="to end the loop with an error is to fail the caller; one of ten is left for bad luck",
        ),
        check(
            "errors_are_clear",
            roles=("attacker",),
            because="whoever is not answered must be able to tell 'ask something else' from a broken agent",
        ),
        check("no_open_generations", because="a loop that goes on after its caller has left costs money for nothing"),
        check(
            "real_users_served",
            at_least_share=0.8,
            because="one answer lost in five is what people call down; the 95 % interval has to stay above it",
        ),
        check("target_survived", because="a process that has to be restarted forgets everyone"),
    ),
)


class ToolLoopUsers(RealUsers):
    """People who only talk."""

    arrivals = Poisson(per_s=8)

    @task
    def talk(self) -> None:
        self.say(self.person.small_talk(self.draw))


class ToolLoopCallers(Attackers):
    """People whose question the model cannot get out of. They mean no harm."""

    arrivals = ConstantRate(per_s=2, during=("attack",))

    @task
    def ask(self) -> None:
        self.say(BAIT, user_id=f"looper_{self.ordinal}")
