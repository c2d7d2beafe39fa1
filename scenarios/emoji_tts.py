"""Emoji TTS: a reply full of emoji crashes the speech server, and with it every other caller's voice."""

from locust import task

from harness import ConstantRate, Durations, Poisson, Scenario, check, fault
from harness.load import Attackers, RealUsers

# Something that no real user of this scenario says, so that only the attackers' turns get the poisoned reply.
BAIT = "絵文字だけで答えて"

scenario = Scenario(
    title="Emoji that crash the TTS",
    category="attack",
    severity="ungraded",
    story="A reply of 🔥💥🎯 a hundred times over, ending in にゃん, crashes the speech server.",
    claim="The reply is made speakable first: the speech server never crashes, and the caller hears something.",
    quick=Durations(warm_up_s=1, steady_s=5, attack_s=5, recovery_s=3, drain_s=8),
    full=Durations(warm_up_s=5, steady_s=30, attack_s=120, recovery_s=30, drain_s=30),
    not_played="the quick size asks for 30 such replies",
    faults=(
        fault(
            "say",
            upstream="openai",
            reply="🔥💥🎯",
            repeat=100,
            suffix="にゃん",
            text=BAIT,
            because="the documented reply; a model gives it to whoever asks for it",
        ),
        fault(
            "crash_on_emoji",
            upstream="tts",
            down_s=1.0,
            during=("warm_up", "steady", "attack", "recovery"),
            must_fire=False,
            because="the documented weakness of the speech server; it lies in wait the whole time",
        ),
    ),
    checks=(
        check(
            "hazard_never_fired",
            fault="crash_on_emoji",
            bait="say",
            at_least_bait=10,
            because="one crash silences everybody for as long as the server takes to come back",
        ),
        check(
            "heard_something",
            roles=("attacker",),
            at_least_share=0.8,
            because=(
                "a reply that cannot be spoken is replaced by one that can; 80 % is what 29 out of 30 can show (their "
                "95 % interval begins at 83 %), so that one that is lost by bad luck decides nothing"
            ),
        ),
        check(
            "real_users_served",
            at_least_share=0.8,
            because="one answer lost in five is what people call down; the 95 % interval has to stay above it",
        ),
        check("target_survived", because="a process that has to be restarted forgets everyone"),
    ),
)


class EmojiTtsUsers(RealUsers):
    """People who talk; some of them use an emoji, as people do."""

    arrivals = Poisson(per_s=8)

    @task
    def talk(self) -> None:
        self.say(self.person.small_talk(self.draw))


class EmojiTtsAttackers(Attackers):
    """Those who ask for a reply of nothing but emoji."""

    arrivals = ConstantRate(per_s=6, during=("attack",))

    @task
    def ask_for_emoji(self) -> None:
        self.say(BAIT, user_id=f"emoji_{self.ordinal}")
