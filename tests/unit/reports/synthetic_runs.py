"""What do stored runs look like that nobody has played? Writes run directories, seeded, for the tests of the reports.

`python tests/unit/reports/synthetic_runs.py DIR` writes them all, to look at the reports that come of them.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import evidence
from harness.evidence import Ended, JsonLinesWriter, write_json
from harness.model import (
    Call,
    CheckPlan,
    ConstantRate,
    Durations,
    FaultEvent,
    FaultPlan,
    Finding,
    Judgement,
    LoadPlan,
    Outcome,
    PhaseWindow,
    Plan,
    PlannedScenario,
    Poisson,
    Sample,
    Scenario,
    TelemetryPoint,
    Vantage,
    Verdict,
)
from harness.verdict import worst

ANCHOR_NS = 1_000_000_000_000
SECOND_NS = 1_000_000_000
COMPLETE = Ended(how="complete")
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=\"document.title='pwned'\">\"'`${7*7}{{7*7}}]]>--></svg></style></pre>"
    "\u202eRTL\u202c\x00\x1b[2J\x07\u2028\ud7ff 안녕하세요😀こんにちは🇰🇷 &lt;b&gt; "
)
ENDLESS = "あ" * 10_000


@dataclass(frozen=True)
class Story:
    """One scenario of the synthetic runs."""

    name: str
    title: str
    category: str
    severity: str
    repair_phase: int | None
    story: str
    claim: str
    fault: dict[str, object] | None
    not_played: str
    questions: tuple[tuple[str, tuple[Vantage, ...], str, str, str, str], ...]
    """Question, vantages, expected, observed when it fails, observed when it passes, because."""
    summary: str
    upstreams: tuple[tuple[str, str], ...] = (("openai", "POST /v1/threads/{thread_id}/runs"), ("tts", "POST /speak"))


STORIES = (
    Story(
        "thread_bombing",
        "Thread bombing",
        "attack",
        "critical",
        2,
        "100,000 requests, each from a new id: conversations pile up until memory is gone.",
        "Live conversations stay within what the agent declares, and real callers keep being served.",
        None,
        "1,000 instead of 100,000 user ids; memory at that size is not judged.",
        (
            (
                "How many conversations stay alive upstream?",
                ("upstream",),
                "at most 40 (declared: live_conversations)",
                "612 alive at the end of the attack, and growing by 118 a second",
                "38 alive at most",
                "The bound is the agent's own declaration.",
            ),
            (
                "Do real callers get their answers during the attack?",
                ("client",),
                "at least 95 % answered within 5 s",
                "71 of 96 (74 %, 95 % interval 64 to 82 %)",
                "96 of 96 (100 %, 95 % interval 96 to 100 %)",
                "Against 100 % in the steady state just before.",
            ),
            (
                "Does a real caller keep its conversation?",
                ("client", "upstream"),
                "every turn of a caller lands in the same conversation",
                "31 of 32 callers kept theirs",
                "32 of 32 callers kept theirs",
                "A bound that forgets people who are still talking is no defence.",
            ),
        ),
        "612 conversations stayed alive where 40 are declared.",
    ),
    Story(
        "upstream_outage",
        "Endless polling",
        "outage",
        "critical",
        1,
        "OpenAI is down, the connection is cut, or the key is revoked: the caller never gets an answer.",
        "Every caller gets an answer or a clear error before the deadline, and service resumes promptly.",
        {"fault": "hang", "upstream": "openai"},
        "",
        (
            (
                "Does every caller hear something before the deadline?",
                ("client",),
                "at least 99 % end with an answer or a clear error within 5 s",
                "4 of 118 (3 %); 97 timed out, 17 opaque errors 500",
                "118 of 118 (100 %)",
                "A caller that hears nothing calls again.",
            ),
            (
                "Are runs left open?",
                ("upstream",),
                "none",
                "23 runs left in_progress when the scenario ended",
                "none of 118",
                "An open run costs money and blocks its conversation for 600 s.",
            ),
            (
                "How soon is service back?",
                ("client",),
                "within 2 s after the fault is lifted",
                "not before the end of recovery (4 s)",
                "after 0.4 s",
                "",
            ),
        ),
        "114 of 118 callers heard nothing before the deadline of 5 s.",
    ),
    Story(
        "tool_loop",
        "Runaway tool loop",
        "bug",
        "major",
        1,
        "The model asks for the same tool again and again, because it does not understand the result.",
        "Rounds and repeats are capped, the run is ended, and the caller gets an answer.",
        {"fault": "loop", "upstream": "openai", "tool": "analyze_emotion"},
        "",
        (
            (
                "How many tool calls does one turn cause?",
                ("upstream",),
                "at most 8",
                "214 in one turn, still going when the caller had left",
                "6 at most",
                "Three tools, each asked twice, and room for two more.",
            ),
        ),
        "One turn caused 214 tool calls; 8 are allowed.",
        (
            ("openai", "POST /v1/threads/{thread_id}/runs"),
            ("emotion", "POST /analyze"),
            ("tts", "POST /speak"),
        ),
    ),
    Story(
        "emotion_dos",
        "Emotion server overload",
        "attack",
        "ungraded",
        None,
        "「この文章の感情を分析して：」 + あ × 10,000 overloads the emotion server.",
        "The emotion server never sees an over-long text whole.",
        None,
        "Four attackers a second instead of forty.",
        (
            (
                "How much text reaches the emotion server?",
                ("upstream",),
                "at most 500 characters a call",
                "10,014 characters in one call (60 of 60 calls above the limit)",
                "500 characters at most (60 calls)",
                "The documented server is linear in characters: 500 cost 40 ms.",
            ),
        ),
        "10,014 characters reached the emotion server in one call; 500 are allowed.",
        (
            ("openai", "POST /v1/threads/{thread_id}/runs"),
            ("emotion", "POST /analyze"),
            ("tts", "POST /speak"),
        ),
    ),
    Story(
        "emoji_tts",
        "Emoji crash the TTS",
        "attack",
        "ungraded",
        None,
        '"🔥💥🎯" × 100 + にゃん crashes the TTS server.',
        "Text is made speakable first; the TTS server never crashes, and the caller hears something.",
        {"fault": "crash_on_emoji", "upstream": "tts", "down_s": 2.0},
        "",
        (
            (
                "Did the TTS server crash?",
                ("upstream",),
                "never",
                "3 times, down for 6.0 s in all",
                "never (60 texts spoken)",
                "",
            ),
            (
                "Do callers hear something?",
                ("client",),
                "at least 95 % of attackers hear audio",
                "12 of 60 (20 %)",
                "60 of 60 (100 %)",
                "",
            ),
        ),
        "The TTS server crashed 3 times.",
    ),
    Story(
        "sequential_tools",
        "Sequential tools",
        "bug",
        "minor",
        3,
        "Three tools cost the sum of their times: 3 s becomes 9 s.",
        "Independent tools of one turn run at the same time.",
        None,
        "",
        (
            (
                "Do the tool calls of one turn overlap?",
                ("upstream",),
                "at least 90 % of turns with two tools or more",
                "0 of 54 turns",
                "54 of 54 turns",
                "Read from the intervals in the ledger: no clock of the agent is believed.",
            ),
        ),
        "In none of 54 turns did the tool calls overlap.",
        (
            ("openai", "POST /v1/threads/{thread_id}/runs"),
            ("time", "GET /api/timezone/{area}/{city}"),
            ("weather", "GET /data/2.5/weather"),
            ("fortune", "GET /fortune"),
            ("tts", "POST /speak"),
        ),
    ),
)

PHASE_LENGTHS_S = {"warm_up": 1.0, "steady": 3.0, "attack": 5.0, "recovery": 3.0, "drain": 1.0}
_DURATIONS = Durations(warm_up_s=1, steady_s=3, attack_s=5, recovery_s=3, drain_s=10)


def planned(story: Story) -> PlannedScenario:
    """Return the scenario of a story as a plan has it."""
    return PlannedScenario(
        name=story.name,
        path=f"scenarios/{story.name}.py",
        declaration=Scenario(
            title=story.title,
            category=story.category,  # type: ignore[arg-type]
            severity=story.severity,  # type: ignore[arg-type]
            repair_phase=story.repair_phase,  # type: ignore[arg-type]
            story=story.story,
            claim=story.claim,
            quick=_DURATIONS,
            full=_DURATIONS,
            faults=(FaultPlan(spec=dict(story.fault)),) if story.fault else (),
            checks=tuple(
                CheckPlan(name=f"check_{index}", limits={}, because=question[5])
                for index, question in enumerate(story.questions)
            ),
            not_played=story.not_played,
        ),
        load=(
            LoadPlan(callers="RealCallers", role="real", arrivals=Poisson(per_s=12)),
            LoadPlan(callers="Attackers", role="attacker", arrivals=ConstantRate(per_s=60, during=("attack",))),
        ),
    )


def plan(stories: Sequence[Story], variant: str | None, seed: int = 7) -> Plan:
    """Return a plan for these stories."""
    return Plan(
        run_id=f"20261122T154200-{variant or 'bare'}",
        seed=seed,
        size="quick",
        target_name="reference agent",
        variant=variant,
        host=None,
        scenarios=tuple(planned(story) for story in stories),
        declared={"live_conversations": 40.0},
        deadline_s=5.0,
        expect={"documented": Verdict.FAIL, "hardened": Verdict.PASS}.get(variant or ""),
        versions={"harness": "0.1.0", "python": "3.11.9", "locust": "2.42.0"},
        git_revision="b4b502c0ffee",
        wall_clock_anchor="2026-11-22T15:42:00+00:00",
        monotonic_anchor_ns=ANCHOR_NS,
        command=("harness", "run", "--target", "reference_agent/target.toml"),
    )


def windows(begin_ns: int, phases: Sequence[str] = tuple(PHASE_LENGTHS_S)) -> list[PhaseWindow]:
    """Return the windows of these phases, one after another."""
    result = []
    for phase in phases:
        end_ns = begin_ns + round(PHASE_LENGTHS_S[phase] * SECOND_NS)
        result.append(PhaseWindow(phase=phase, begin_ns=begin_ns, end_ns=end_ns))  # type: ignore[arg-type]
        begin_ns = end_ns
    return result


def _samples(
    story: Story, weak: bool, phases: Sequence[PhaseWindow], draw: random.Random, message: str
) -> list[Sample]:
    samples = []
    ordinals = {"RealCallers": 0, "Attackers": 0}
    for window in phases:
        if window.phase == "drain":
            continue
        for callers, role, per_s in (("RealCallers", "real", 12), ("Attackers", "attacker", 60)):
            if role == "attacker" and window.phase != "attack":
                continue
            for number in range(round(per_s * (window.end_ns - window.begin_ns) / SECOND_NS)):
                intended = window.begin_ns + round((number + draw.random() * 0.8) / per_s * SECOND_NS)
                hurt = weak and window.phase in ("attack", "recovery")
                outcome, latency, status = Outcome.ANSWERED, draw.lognormvariate(-1.6, 0.35), 200
                lot = draw.random()
                if role == "attacker" and not weak and lot < 0.7:
                    outcome, latency, status = Outcome.REFUSED, draw.uniform(0.002, 0.01), 429
                elif hurt and lot < (0.9 if story.fault else 0.2):
                    outcome, latency, status = Outcome.TIMEOUT, 5.0, 0
                elif hurt and lot < (0.95 if story.fault else 0.3):
                    outcome, latency, status = Outcome.OPAQUE_ERROR, draw.lognormvariate(-0.5, 0.4), 500
                elif hurt and lot > 0.97:
                    outcome, latency, status = Outcome.UNSERVED, 0.0, 0
                elif hurt:
                    latency *= draw.uniform(2, 9)
                elif story.fault and window.phase == "attack" and lot < 0.8:
                    outcome, latency, status = Outcome.CLEAR_ERROR, draw.uniform(0.3, 1.2), 200
                sent = None if outcome is Outcome.UNSERVED else intended + round(draw.expovariate(1500) * SECOND_NS)
                samples.append(
                    Sample(
                        callers=callers,
                        role=role,  # type: ignore[arg-type]
                        task="speak",
                        ordinal=ordinals[callers],
                        phase=window.phase,
                        user_id=f"{callers}_{ordinals[callers]}",
                        intended_ns=intended,
                        sent_ns=sent,
                        end_ns=(sent or intended) + round(min(latency, 5.0) * SECOND_NS),
                        outcome=outcome,
                        status=status or None,
                        message=message[:200],
                        message_chars=len(message),
                    )
                )
                ordinals[callers] += 1
    return samples


def _calls(story: Story, weak: bool, samples: Sequence[Sample], draw: random.Random) -> list[Call]:
    calls = []
    for sample in samples:
        if sample.outcome in (Outcome.REFUSED, Outcome.UNSERVED):
            continue
        for index, (upstream, route) in enumerate(story.upstreams):
            for _ in range(draw.randint(2, 9) if weak and index < 2 else 1):
                begin = (sample.sent_ns or 0) + round(draw.random() * 0.3 * SECOND_NS)
                calls.append(
                    Call(
                        seq=len(calls) + 1,
                        upstream=upstream,
                        route=route,
                        path=route.split(" ", 1)[1],
                        begin_ns=begin,
                        end_ns=begin + 20_000_000,
                        status=200,
                        characters=len(sample.message),
                        cost_usd=0.0004 if upstream == "openai" else 0.0,
                    )
                )
    return calls


def _judgement(story: Story, weak: bool, vantages: tuple[Vantage, ...]) -> Judgement:
    findings = []
    for index, (question, seen_from, expected, failed, passed, because) in enumerate(story.questions):
        missing = [vantage for vantage in seen_from if vantage not in vantages]
        verdict = Verdict.INCONCLUSIVE if missing else Verdict.FAIL if weak and index != 2 else Verdict.PASS
        findings.append(
            Finding(
                check=f"check_{index}",
                verdict=verdict,
                vantages=seen_from,
                question=question,
                expected=expected,
                observed="" if missing else failed if verdict is Verdict.FAIL else passed,
                because=because,
                reason=f"The {missing[0]} vantage is missing." if missing else "",
                counted="" if missing else f"counted over the attack window. {story.not_played}".strip(),
                evidence=(
                    tuple(f"ledger {900 + line}: {story.upstreams[0][1]} thread_{line:04x} 200" for line in range(5))
                    if verdict is Verdict.FAIL
                    else ()
                ),
            )
        )
    verdict = worst(finding.verdict for finding in findings)
    return Judgement(
        scenario=story.name,
        title=story.title,
        verdict=verdict,
        summary={
            Verdict.FAIL: story.summary,
            Verdict.PASS: f"Held: {story.questions[0][4]}.",
            Verdict.INCONCLUSIVE: "The upstream vantage is missing: nothing can be said about what was called.",
        }[verdict],
        findings=tuple(findings),
        replay=f"harness run {story.name} --target reference_agent/target.toml --variant NAME --seed 7",
        vantages=vantages,
    )


def write_scenario(
    run: Path,
    story: Story,
    *,
    weak: bool,
    begin_s: float = 1.0,
    seed: int = 7,
    vantages: tuple[Vantage, ...] = ("client", "upstream", "process"),
    phases: Sequence[str] = tuple(PHASE_LENGTHS_S),
    ended: Ended | None = COMPLETE,
    judged: bool = True,
    message: str = "hi",
) -> None:
    """Write the records of one scenario.

    Args:
        run: the run directory.
        story: what is played.
        weak: whether the agent falls for it.
        begin_s: when it began, in seconds after the anchor of the run.
        seed: of every choice.
        vantages: those whose files are written.
        phases: those that were played.
        ended: how it ended; None where the run was killed.
        judged: whether a judgement is written.
        message: what the callers say.
    """
    draw = random.Random(f"{seed} {story.name} {weak}")
    directory = evidence.scenario_directory(run, story.name)
    played = windows(ANCHOR_NS + round(begin_s * SECOND_NS), phases)
    write_json(directory / evidence.SCENARIO, planned(story))
    samples = _samples(story, weak, played, draw, message)

    def lines(name: str, records: Sequence[object]) -> None:
        writer = JsonLinesWriter(directory / name)
        for record in records:
            writer.add(record)
        writer.close()

    lines(evidence.PHASES, played)
    lines(evidence.SAMPLES, samples)
    if "upstream" in vantages:
        lines(evidence.LEDGER, _calls(story, weak, samples, draw))
    attack = next((window for window in played if window.phase == "attack"), None)
    faults = []
    if story.fault and attack:
        name = str(story.fault["fault"])
        common = {
            "fault": name,
            "id": "f1",
            "family": "upstream",
            "where": str(story.fault.get("upstream", "")),
        }
        faults.append(FaultEvent(at_ns=attack.begin_ns, event="armed", **common))  # type: ignore[arg-type]
        faults.extend(
            FaultEvent(at_ns=attack.begin_ns + round(draw.random() * 5 * SECOND_NS), event="fired", **common)  # type: ignore[arg-type]
            for _ in range(12)
        )
        faults.append(FaultEvent(at_ns=attack.end_ns, event="lifted", **common))  # type: ignore[arg-type]
    lines(evidence.FAULTS, sorted(faults, key=lambda event: event.at_ns))
    if "process" in vantages:
        begin, end = played[0].begin_ns, played[-1].end_ns
        megabytes = 84.0
        points = []
        for at_ns in range(begin, end, SECOND_NS // 10):
            in_attack = attack is not None and attack.begin_ns <= at_ns < attack.end_ns
            megabytes += (
                (draw.uniform(0, 3) if weak else draw.uniform(-0.3, 0.4)) if in_attack else draw.uniform(-0.1, 0.12)
            )
            points.append(
                TelemetryPoint(
                    at_ns=at_ns,
                    rss_bytes=round(megabytes * 2**20),
                    cpu_s=(at_ns - begin) / 4e9,
                    threads=12,
                    open_files=30,
                )
            )
        lines(evidence.TELEMETRY, points)
        events = [FaultEvent(at_ns=begin, fault="", id="target", event="ready", family="process", where="target")]
        if weak and story.name == "emoji_tts" and attack:
            events.append(
                FaultEvent(
                    at_ns=attack.end_ns,
                    fault="",
                    id="target",
                    event="oom",
                    family="process",
                    where="target",
                    detail="702 MB",
                )
            )
        lines(evidence.EVENTS, events)
    if judged:
        write_json(directory / evidence.JUDGEMENT, _judgement(story, weak, vantages))
    if ended is not None:
        write_json(directory / evidence.ENDED, ended)


def write_pair(directory: Path, stories: Sequence[Story] = STORIES) -> list[Path]:
    """Write two whole runs, of an agent that falls for everything and of one that holds; return their directories."""
    runs = []
    for variant in ("documented", "hardened"):
        run = directory / variant
        write_json(run / evidence.PLAN, plan(stories, variant))
        for index, story in enumerate(stories):
            write_scenario(run, story, weak=variant == "documented", begin_s=1.0 + 14 * index)
        runs.append(run)
    return runs


def write_awkward(directory: Path) -> list[Path]:
    """Write two runs with everything that can be wrong with a run; return their directories.

    The first was interrupted, has a scenario without ledger and telemetry, a check that crashed, a scenario without a
    judgement, and hostile text wherever text comes from outside. The second was killed after its first scenario.
    """
    hostile = Story(
        "hostile_text",
        HOSTILE,
        "attack",
        "critical",
        1,
        HOSTILE + ENDLESS,
        HOSTILE,
        {"fault": "say<b>" + HOSTILE, "upstream": "opénai 音声" + HOSTILE},
        HOSTILE,
        ((HOSTILE, ("client",), HOSTILE, HOSTILE + ENDLESS, HOSTILE, HOSTILE),),
        HOSTILE,
        (("openai", "POST /v1/threads"), ("<b>音声\u202e\x00", "POST /" + HOSTILE)),
    )
    bombing, outage, loop, dos, emoji, sequential = STORIES
    stories = (bombing, hostile, loop, dos, emoji, sequential)

    run = directory / "interrupted"
    write_json(run / evidence.PLAN, plan(stories, HOSTILE))
    write_scenario(run, bombing, weak=True, vantages=("client",))
    write_scenario(run, hostile, weak=True, begin_s=15.0, message=HOSTILE)
    write_json(
        evidence.scenario_directory(run, hostile.name) / evidence.JUDGEMENT,
        Judgement(
            scenario=hostile.name,
            title=HOSTILE,
            verdict=Verdict.FAIL,
            summary=HOSTILE + ENDLESS,
            findings=(
                Finding(
                    check=HOSTILE,
                    verdict=Verdict.FAIL,
                    vantages=("client",),
                    question=HOSTILE,
                    expected=HOSTILE,
                    observed=HOSTILE + ENDLESS,
                    because=HOSTILE,
                    reason=HOSTILE,
                    counted=HOSTILE,
                    evidence=(HOSTILE, ENDLESS),
                ),
            ),
            replay=f"harness run --target '{HOSTILE}'",
            vantages=("client", "upstream", "process"),
        ),
    )
    write_scenario(run, loop, weak=False, begin_s=29.0)
    write_json(
        evidence.scenario_directory(run, loop.name) / evidence.JUDGEMENT,
        Judgement(
            scenario=loop.name,
            title=loop.title,
            verdict=Verdict.ERROR,
            summary="The check tool_calls_per_turn crashed: ZeroDivisionError: division by zero.",
            findings=(
                Finding(
                    check="tool_calls_per_turn",
                    verdict=Verdict.ERROR,
                    vantages=("upstream",),
                    question="How many tool calls does one turn cause?",
                    expected="at most 8",
                    observed="",
                    reason="The check crashed: ZeroDivisionError: division by zero.",
                    traceback='Traceback (most recent call last):\n  File "checks/upstream.py", line 12, in check\n'
                    "    return calls / turns\nZeroDivisionError: division by zero\n",
                ),
            ),
            replay=f"harness run {loop.name}",
            vantages=("client", "upstream", "process"),
        ),
    )
    write_scenario(run, dos, weak=False, begin_s=43.0, judged=False)
    write_scenario(
        run,
        emoji,
        weak=True,
        begin_s=57.0,
        phases=("warm_up", "steady"),
        judged=False,
        ended=Ended(how="interrupted", reason="Ctrl-C after 4.0 s"),
    )

    killed = directory / "killed"
    write_json(killed / evidence.PLAN, plan((bombing, outage), "killed", seed=8))
    write_scenario(killed, bombing, weak=False, phases=("warm_up",), ended=None, judged=False)
    return [run, killed]


def write_unplayed(directory: Path) -> Path:
    """Write a run that has a plan and nothing else; return its directory."""
    run = directory / "unplayed"
    write_json(run / evidence.PLAN, plan(STORIES[:2], "unplayed"))
    return run


def write_empty(directory: Path) -> Path:
    """Write a run that plans no scenario at all; return its directory."""
    run = directory / "empty"
    write_json(run / evidence.PLAN, plan((), "empty"))
    return run


if __name__ == "__main__":
    where = Path(sys.argv[1])
    write_pair(where / "pair")
    write_awkward(where / "awkward")
    write_unplayed(where)
    write_empty(where)
