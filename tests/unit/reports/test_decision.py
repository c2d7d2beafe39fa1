"""Is the sentence at the top true for every mixture of verdicts?"""

from pathlib import Path
from types import ModuleType

import pytest

from harness.evidence import JUDGEMENT, scenario_directory, write_json
from harness.model import Judgement, Verdict
from reports.content.decision import Decision, decide
from reports.content.stored import fix_first, read_runs

P, F, U, E = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.ERROR


def decision(synthetic: ModuleType, where: Path, **runs: list[Verdict]) -> Decision:
    """Decide between runs of which only plans and verdicts exist."""
    directories = []
    for variant, verdicts in runs.items():
        stories = synthetic.STORIES[: len(verdicts)]
        write_json(where / variant / "plan.json", synthetic.plan(stories, variant))
        for story, verdict in zip(stories, verdicts, strict=True):
            write_json(
                scenario_directory(where / variant, story.name) / JUDGEMENT,
                Judgement(
                    scenario=story.name, title=story.title, verdict=verdict, summary="Because.", findings=(), replay=""
                ),
            )
        directories.append(where / variant)
    return decide(read_runs(directories))


@pytest.mark.parametrize(
    ("runs", "headline", "lead"),
    [
        ({"a": [P, P]}, "a can ship.", "It held in all 2 scenarios."),
        ({"a": [P]}, "a can ship.", "It held in 1 scenario."),
        ({"a": [P, F]}, "Do not ship a.", "It failed 1 of 2 scenarios (upstream outage) and held in 1."),
        ({"a": [P, U]}, "a is not proven.", "It failed nothing, but left 1 of 2 scenarios unproven (upstream outage)"),
        ({"a": [P, E]}, "No verdict on a.", "It left 1 where the harness itself failed to judge (upstream outage)"),
        ({"a": []}, "No verdict on a.", "It played no scenario, which proves nothing."),
        ({"a": [F, F], "b": [P, P]}, "Ship b, not a.", "b held in all 2 scenarios. a failed 2 of 2 scenarios"),
        ({"a": [P, P], "b": [P, P]}, "Either can ship.", "No verdict tells them apart."),
        ({"a": [P], "b": [P], "c": [F]}, "Ship a or b, not c.", "c failed 1 of 1 scenario (thread bombing)."),
        ({"a": [F, F], "b": [P, F]}, "Ship neither yet.", "b is the nearer one."),
        ({"a": [F, F], "b": [P, U]}, "Ship neither yet.", "b left 1 of 2 scenarios unproven (upstream outage)"),
        ({"a": [F], "b": [F], "c": [F]}, "Ship none of them yet.", "c failed 1 of 1 scenario"),
        # What was put through fewer scenarios cannot win by that.
        ({"a": [F, F], "b": [P]}, "Ship neither yet.", "and was not put through upstream outage."),
    ],
)
def test_headline(
    synthetic: ModuleType, tmp_path: Path, runs: dict[str, list[Verdict]], headline: str, lead: str
) -> None:
    said = decision(synthetic, tmp_path, **runs)
    assert said.headline == headline
    assert lead in said.lead


def test_what_the_target_file_expects(synthetic: ModuleType, tmp_path: Path) -> None:
    said = decision(synthetic, tmp_path, documented=[F, P], hardened=[P, P])
    assert [reason.surprises for reason in said.reasons] == [
        "Not as the target file expects: upstream outage (pass instead of fail).",
        "",
    ]


def test_differences_between_the_runs_are_said(synthetic: ModuleType, tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "plan.json", synthetic.plan(synthetic.STORIES[:1], "a", seed=1))
    write_json(tmp_path / "b" / "plan.json", synthetic.plan(synthetic.STORIES[:1], "b", seed=2))
    caveats = decide(read_runs([tmp_path / "a", tmp_path / "b"])).caveats
    assert "Compare with care: the runs differ in seed." in caveats
    assert any(caveat.startswith("Quick size: ") for caveat in caveats)


def test_two_runs_of_one_variant_are_told_apart(synthetic: ModuleType, tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "plan.json", synthetic.plan((), "same"))
    runs = read_runs([tmp_path / "a", tmp_path / "a"])
    assert [run.label for run in runs] == ["same (20261122T154200-same)"] * 2


def test_repair_order_is_by_phase_then_severity(pair: list[Path], synthetic: ModuleType, tmp_path: Path) -> None:
    (documented, _) = read_runs(synthetic.write_pair(tmp_path))
    assert [scenario.name for scenario in fix_first(documented)] == [
        "upstream_outage",
        "tool_loop",
        "thread_bombing",
        "sequential_tools",
        "emotion_dos",
        "emoji_tts",
    ]
