"""Emotion DoS: a text of ten thousand characters is sent on, whole, to the small server that analyses emotions."""

from locust import task

from harness import ConstantRate, Durations, Poisson, Scenario, check
from harness.load import Attackers, Probes, RealUsers

# Characters. A page has about 2,000, and a door that bounds messages seldom lets less through; what a small server
# takes for a sentence is seldom above 500.
_LETTERS = (550, 1_000, 1_900)

scenario = Scenario(
    title="Emotion analysis flooded with long texts",
    category="attack",
    severity="ungraded",
    story="「この文章の感情を分析して：」 followed by ten thousand あ overloads the self-hosted emotion server.",
    claim="The text is refused or cut; the emotion server never sees it whole, and real users notice nothing.",
    quick=Durations(warm_up_s=1, steady_s=5, attack_s=5, recovery_s=2, drain_s=8),
    full=Durations(warm_up_s=5, steady_s=30, attack_s=120, recovery_s=30, drain_s=30),
    not_played=(
        "the quick size sends 25 long texts and 15 letters; how many the emotion server could bear is not measured"
    ),
    checks=(
        check(
            "characters_bounded",
            upstream="emotion",
            at_most="declared:emotion_chars",
            because="the longest text that the agent declares it sends on; beyond it one caller can occupy the server",
        ),
        check(
            "answered_before_deadline",
            roles=("attacker", "probe"),
            because="a text that is too long is refused or cut at once; there is nothing to wait for",
        ),
        check(
            "errors_are_clear",
            roles=("attacker", "probe", "real"),
            because="a person who pasted a long letter by mistake must be told so",
        ),
        check(
            "real_users_served",
            at_least_share=0.8,
            because="one answer lost in five is what people call down; the 95 % interval has to stay above it",
        ),
        check("target_survived", because="a process that has to be restarted forgets everyone"),
    ),
)


class EmotionDosUsers(RealUsers):
    """People who talk, and now and then ask how a short sentence of theirs sounds."""

    arrivals = Poisson(per_s=8)

    @task(2)
    def talk(self) -> None:
        self.say(self.person.small_talk(self.draw))

    @task(1)
    def ask_for_emotion(self) -> None:
        # The control: these have to reach the emotion server, or its silence would prove nothing.
        self.say("この文章の感情を分析して：明日の発表が楽しみです")


class EmotionDosAttackers(Attackers):
    """The documented payload, exact to the letter."""

    arrivals = ConstantRate(per_s=5, during=("attack",))

    @task
    def flood(self) -> None:
        self.say("この文章の感情を分析して：" + "あ" * 10_000, user_id=f"flooder_{self.ordinal}", exact=True)


class EmotionDosLetters(Probes):
    """Letters that people paste: short enough for an agent that refuses very long messages.

    An agent whose door is the only thing that stops the flood would send these on whole.
    """

    arrivals = ConstantRate(per_s=3, during=("attack",))

    @task
    def paste(self) -> None:
        characters = _LETTERS[self.ordinal % len(_LETTERS)]
        self.say("この文章の感情を分析して：" + "い" * characters, user_id=f"writer_{self.ordinal}")
