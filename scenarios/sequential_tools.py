"""Sequential tools: a question for three tools costs the sum of their times instead of the longest of them."""

from locust import task

from harness import ConstantRate, Durations, Poisson, Scenario, check, fault
from harness.load import Probes, RealUsers

WHOLE = ("warm_up", "steady", "attack", "recovery")

scenario = Scenario(
    title="Tools run one after the other",
    category="bug",
    severity="minor",
    story="「今何時で、天気はどうで、ついでに運勢も教えて」 costs three tools in a row: users see 9 s instead of 3 s.",
    claim="Tools that were asked for together run together: they cost about the longest of them.",
    # 18 s are ten or eleven questions: one that a busy moment spoils leaves nine, whose interval still tells.
    quick=Durations(warm_up_s=1, steady_s=5, attack_s=18, recovery_s=1, drain_s=8),
    full=Durations(warm_up_s=5, steady_s=30, attack_s=120, recovery_s=10, drain_s=30),
    not_played="the quick size plays the documented tool times (1.2 s, 3.5 s, 0.8 s) at a tenth",
    faults=(
        # A tenth of the documented times keeps their proportions: 0.55 s in a row, 0.35 s side by side.
        fault("slow", upstream="time", delay_s=0.12, full={"delay_s": 1.2}, during=WHOLE, because="documented: 1.2 s"),
        fault(
            "slow", upstream="weather", delay_s=0.35, full={"delay_s": 3.5}, during=WHOLE, because="documented: 3.5 s"
        ),
        fault(
            "slow", upstream="fortune", delay_s=0.08, full={"delay_s": 0.8}, during=WHOLE, because="documented: 0.8 s"
        ),
    ),
    checks=(
        check(
            "tools_overlap",
            at_least_turns=5,
            at_most_cost_ratio=1.3,
            because="in a row the three cost 1.57 times the longest; 1.3 lies half-way to running side by side",
        ),
        check(
            "answered_before_deadline",
            roles=("probe", "real"),
            because="nothing is broken here: everybody is to be answered",
        ),
        check(
            "all_answered",
            roles=("probe",),
            at_most_unanswered=1,
            because="tools that fail at once overlap, too: the answer has to come; one of ten is left for bad luck",
        ),
        check(
            "real_users_served",
            at_least_share=0.8,
            because="one answer lost in five is what people call down; the 95 % interval has to stay above it",
        ),
        check("no_open_generations", because="a generation that nobody waits for still costs money"),
        check("target_survived", because="a process that has to be restarted forgets everyone"),
    ),
)


class SequentialToolsUsers(RealUsers):
    """People who only talk."""

    arrivals = Poisson(per_s=8)

    @task
    def talk(self) -> None:
        self.say(self.person.small_talk(self.draw))


# Each asks for a city and a sign of its own: an agent may remember what it was told a moment ago, and rightly.
CITIES = ("東京", "大阪", "京都", "札幌", "福岡", "名古屋", "横浜", "神戸", "仙台", "広島", "那覇", "金沢")
SIGNS = (
    "牡羊座",
    "牡牛座",
    "双子座",
    "蟹座",
    "獅子座",
    "乙女座",
    "天秤座",
    "蠍座",
    "射手座",
    "山羊座",
    "水瓶座",
    "魚座",
)


class SequentialToolsProbes(Probes):
    """The documented question for three tools."""

    # 1.7 s apart: an agent that polls once a second and runs its tools in a row has finished with one turn's tools by
    # then, so that it is plain which calls belong to which turn.
    arrivals = ConstantRate(per_s=0.6, full_per_s=0.1, during=("attack",))

    @task
    def ask_for_three(self) -> None:
        city, sign = CITIES[self.ordinal % len(CITIES)], SIGNS[self.ordinal % len(SIGNS)]
        self.say(f"今何時で、{city}の天気はどうで、ついでに{sign}の運勢も教えて", user_id=f"asker_{self.ordinal}")
