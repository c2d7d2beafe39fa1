"""Which exit code does the command line reach, and is what comes from outside shown as it is?"""

from __future__ import annotations

import io
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import pytest
from rich.console import Console

from harness import Scenario, catalog, cli, launch
from harness.evidence import JUDGEMENT, PLAN, EvidenceError, scenario_directory, write_json
from harness.launch import Order, Played
from harness.live import LiveDisplay
from harness.model import Durations, Judgement, Moment, Plan, PlannedScenario, Verdict

_SHORT = Durations(warm_up_s=1, steady_s=1, attack_s=1, recovery_s=1, drain_s=1)
_TARGET = """\
name = "my [/agent]"
host = "http://127.0.0.1:9"
[variants.documented]
expect = "fail"
[variants.hardened]
expect = "pass"
"""


def planned(name: str) -> PlannedScenario:
    declaration = Scenario(
        title=name, category="attack", severity="major", story="-", claim="It [b]holds[/b] :smile:.",
        quick=_SHORT, full=_SHORT, faults=(), checks=(),
    )  # fmt: skip
    return PlannedScenario(name=name, path=f"scenarios/{name}.py", declaration=declaration, load=())


def plan(names: Sequence[str], variant: str | None) -> Plan:
    return Plan(
        run_id="1", seed=1, size="quick", target_name="agent", variant=variant, host=None,
        scenarios=tuple(planned(name) for name in names), declared={}, deadline_s=5.0,
        expect={"documented": Verdict.FAIL, "hardened": Verdict.PASS}.get(variant or ""),
        versions={}, git_revision=None, wall_clock_anchor="2026-11-22T15:42:00+00:00", monotonic_anchor_ns=1,
        command=("harness", "run"),
    )  # fmt: skip


def judgement(name: str, verdict: Verdict) -> Judgement:
    return Judgement(scenario=name, title=name, verdict=verdict, summary="said", findings=(), replay="harness run")


def store(run_dir: Path, variant: str | None, verdicts: dict[str, Verdict | None]) -> None:
    """Write a run as a campaign leaves it; None: that scenario was not judged."""
    write_json(run_dir / PLAN, plan(list(verdicts), variant))
    for name, verdict in verdicts.items():
        if verdict is not None:
            write_json(scenario_directory(run_dir, name) / JUDGEMENT, judgement(name, verdict))


@pytest.fixture(autouse=True)
def signals_and_hooks() -> Iterator[None]:
    """The command line ends a process; here it must leave this one as it was."""
    import sys

    hook, handler = sys.excepthook, signal.getsignal(signal.SIGINT)
    yield
    sys.excepthook = hook
    signal.signal(signal.SIGINT, handler)


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as leaving:
        cli.command_line(arguments)
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


# --- what ends a command -----------------------------------------------------------------------------------------


def test_replicas_of_an_agent_that_is_not_started_here_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("run", "--host", "http://127.0.0.1:1", "--replicas", "2") == 2
    assert "--replicas has no effect: the harness does not start this agent." in capsys.readouterr().err
    assert code_of("run", "--host", "http://127.0.0.1:1", "--replicas", "0") == 2
    assert "0 is not in the range 1<=x<=32" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "Interrupted."),
        (click.Abort(), 130, "Interrupted."),
        (click.ClickException("not so"), 2, "Error: not so"),
        (catalog.CatalogError("no [such] file"), 2, "no [such] file"),
        (EvidenceError("disk full"), 4, "disk full"),
    ],
)
def test_what_is_known_ends_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    def broken(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli.main.commands["list"], "callback", broken)
    assert code_of("list") == code
    assert capsys.readouterr().err.strip() == said


def test_a_mistake_of_ours_is_shown_whole_and_is_never_a_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli.main.commands["list"], "callback", broken)
    monkeypatch.setattr(cli.main.commands["list"], "params", [])
    assert code_of("list") == 4
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "ZeroDivisionError" in said


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["lst"], 2), (["run", "--sed", "1"], 2)])
def test_help_and_usage(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*arguments) == code
    assert "Traceback" not in capsys.readouterr().err


# --- what several campaigns add up to ----------------------------------------------------------------------------


Campaigns = Callable[..., int]


@pytest.fixture
def campaigns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Campaigns:
    """Run campaigns that end as given: for each variant the verdicts on its scenarios, and how the child ended."""
    target = tmp_path / "target.toml"
    target.write_text(_TARGET, encoding="utf-8")
    monkeypatch.setattr(catalog, "read", lambda directory: (planned("one"), planned("two")))
    monkeypatch.setattr(cli, "_report", lambda console, run_dirs, place: None)

    def run(stories: dict[str, tuple[dict[str, Verdict | None] | None, Played]], *more: str) -> int:
        def play(order: Order, follow: Callable[[Moment], None]) -> Played:
            verdicts, played = stories[order.variant or ""]
            if verdicts is not None:
                store(order.run_dir, order.variant, verdicts)
            if played.exit_code == -1:
                raise KeyboardInterrupt
            return played

        monkeypatch.setattr(cli, "play", play)
        variants = [word for variant in stories for word in ("--variant", variant)]
        return code_of("run", "--target", str(target), "--runs", str(tmp_path / "runs"), *variants, *more)

    return run


PASS, FAIL, UNSURE, ERROR = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.ERROR


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ((PASS, 0), (PASS, 0), 0),
        ((FAIL, 1), (UNSURE, 3), 1),
        ((UNSURE, 3), (FAIL, 1), 1),
        ((PASS, 0), (UNSURE, 3), 3),
        ((FAIL, 1), (ERROR, 4), 4),
        ((FAIL, 1), (None, 0), 1),  # a scenario without a judgement is inconclusive
        ((PASS, 0), (None, 0), 3),
        ((FAIL, 1), (PASS, 4), 4),  # what was recorded is not whole: more than its judgements say
        ((FAIL, 1), (PASS, 77), 4),  # no exit code of ours
        ((FAIL, 1), (PASS, 130), 130),
        ((FAIL, 1), (PASS, 2), 2),
    ],
)
def test_the_worst_verdict_decides(
    campaigns: Campaigns, first: tuple[Verdict, int], second: tuple[Verdict | None, int], code: int
) -> None:
    stories = {
        "documented": ({"one": first[0], "two": PASS}, Played(first[1])),
        "hardened": ({"one": second[0], "two": PASS}, Played(second[1])),
    }
    assert campaigns(stories) == code


def test_a_wrong_usage_ends_at_once(campaigns: Campaigns) -> None:
    stories = {"documented": (None, Played(2, "There is no such thing.")), "hardened": ({"one": FAIL}, Played(1))}
    assert campaigns(stories) == 2


@pytest.mark.parametrize(
    ("documented", "hardened", "code"),
    [
        ((FAIL, 1), (PASS, 0), 0),
        ((FAIL, 1), (FAIL, 1), 1),
        ((PASS, 0), (PASS, 0), 1),
        ((FAIL, 1), (UNSURE, 3), 3),
        ((FAIL, 4), (PASS, 0), 4),
        ((FAIL, 1), (PASS, 130), 130),
    ],
)
def test_with_expected_a_surprise_decides(
    campaigns: Campaigns, documented: tuple[Verdict, int], hardened: tuple[Verdict, int], code: int
) -> None:
    stories = {
        "documented": ({"one": documented[0]}, Played(documented[1])),
        "hardened": ({"one": hardened[0]}, Played(hardened[1])),
    }
    assert campaigns(stories, "--expected") == code


def test_a_campaign_that_could_not_be_played_is_no_expected_one(campaigns: Campaigns) -> None:
    stories = {"documented": ({"one": FAIL}, Played(1)), "hardened": (None, Played(3, "Nothing answers."))}
    assert campaigns(stories, "--expected") == 3


def test_a_judgement_that_cannot_be_read_is_an_error(campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(run_dir: Path, name: str) -> None:
        raise EvidenceError(name)

    monkeypatch.setattr("harness.cli.evidence.read_judgement", unreadable)
    assert campaigns({"hardened": ({"one": PASS}, Played(0))}) == 4


@pytest.mark.parametrize("recorded", [True, False])
def test_ctrl_c_says_what_is_left(campaigns: Campaigns, recorded: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaigns({"hardened": ({"one": None} if recorded else None, Played(-1))}) == 130
    said = " ".join(capsys.readouterr().err.split())
    if recorded:
        assert said.startswith("Interrupted; what was recorded is in ")
        assert "judge it again with `harness judge " in said
    else:
        assert said == "Interrupted before anything was recorded."


def test_ctrl_c_during_the_final_report(
    campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_report", pressed)
    assert campaigns({"hardened": ({"one": PASS}, Played(0))}) == 130
    assert "Interrupted; what was recorded is in" in capsys.readouterr().err


# --- text from outside -------------------------------------------------------------------------------------------


def test_a_display_shows_what_looks_like_markup_as_it_is() -> None:
    written = io.StringIO()
    moment = Moment(at_ns=1, what="judged", scenario="one", verdict=FAIL, text="It [said] [/so] :smile: \x1b[2J")
    with LiveDisplay(Console(file=written, width=200), "my [/agent]", ("one",)) as display:
        display.follow(moment)
    assert "my [/agent]: 1 scenarios" in written.getvalue()
    assert "one: It [said] [/so] :smile: " in written.getvalue()
    assert "\x1b" not in written.getvalue()


def test_a_display_in_a_terminal_does_so_too() -> None:
    written = io.StringIO()
    console = Console(file=written, width=200, force_terminal=True, color_system=None)
    with LiveDisplay(console, "my [/agent]", ("one", "[two]")) as display:
        display.follow(Moment(at_ns=1, what="judged", scenario="one", verdict=FAIL, text="It [said] [/so] :smile:"))
        display.follow(Moment(at_ns=2, what="playing", scenario="[two]", duration_s=3))
    for text in ("my [/agent]", "It [said] [/so] :smile:", "[two]"):
        assert text in written.getvalue()


def test_names_of_targets_and_claims_are_no_markup(campaigns: Campaigns, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaigns({"hardened": ({"one": FAIL}, Played(1))}, "--expected") == 1
    said = capsys.readouterr().out
    assert "my [/agent] (hardened): 2 scenarios" in said
    assert "hardened: one was expected to pass and is fail." in said
    assert code_of("list") == 0
    assert "It [b]holds[/b] :smile:." in " ".join(capsys.readouterr().out.split())


_PARTS = """
[start]
command = ["agent"]
[variants.good]
[ablation]
variant = "good"
engine_switch = "ENGINE"
engines = ["threads", "chat"]
[parts."door[/]"]
switch = "DOOR"
engines = ["threads"]
weaker.none.one = "red by no_open_generations"
weaker.low = {}
"""


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (_PARTS, 0, "door[/] DOOR=none one: red by no_open_generations matters for threads DOOR=low green in every"),
        (_PARTS.replace("none.one", "none.oen"), 2, "there is no scenario 'oen'. Did you mean 'one'?"),
        (_PARTS.replace("no_open_gen", "on_open_gen"), 2, "there is no check 'on_open_generations'. Did you mean"),
        ('host = "http://127.0.0.1:9"', 2, "has no [ablation] and [parts]"),
    ],
)
def test_what_the_parts_of_a_target_are_there_for_is_listed(
    campaigns: Campaigns, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, code: int, said: str
) -> None:
    del campaigns  # which stands in for the catalogue
    path = tmp_path / "parts.toml"
    path.write_text(text, encoding="utf-8")
    assert code_of("list", "--target", str(path)) == code
    shown = capsys.readouterr()
    assert said in " ".join((shown.out + shown.err).split())


@pytest.mark.parametrize("option", ["--host", "--upstreams"])
@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:9", "http://127.0.0.1:99999", "http://127.0.0.1:abc", "http://127.0.0.1:0", "http://", "ftp://a", ""],
)
def test_a_url_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, url: str) -> None:
    host = [] if option == "--host" else ["--host", "http://127.0.0.1:1"]
    assert code_of("run", "tool_loop", *host, option, url, "--runs", str(tmp_path / "runs")) == 2
    told = capsys.readouterr()
    said = " ".join((told.out + told.err).split())
    for part in (option, f"{url!r} is no URL of", "expected something like http://127.0.0.1:8"):
        assert part in said
    assert not (tmp_path / "runs").exists(), "nothing is written for a mistake"


# --- the child that plays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code", "trouble"),
    [
        ("raise SystemExit(2)", 2, "Locust ended with exit code 2 and said nothing."),
        ("import sys; print('harness: Nothing answers.', file=sys.stderr); sys.exit(3)", 3, "Nothing answers."),
        ("raise ValueError('ours')", 4, "ValueError: ours"),  # Python's own 1 is no verdict
        ("import os; os.kill(os.getpid(), 9)", 4, "Locust was killed by signal 9 and said nothing."),
        ("pass", 4, "Locust ended with exit code 0 and said nothing."),
    ],
)
def test_a_child_that_never_came_to_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, code: int, trouble: str
) -> None:
    monkeypatch.setattr(Order, "command", lambda order: [launch.sys.executable, "-c", script])  # type: ignore[attr-defined]
    played = launch.play(Order(run_dir=tmp_path, scenario_files=[]), lambda moment: None)
    assert played == Played(code, trouble)


# --- the catalogue -----------------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of one scenario, with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "scenarios"
    place.mkdir()
    (place / "mine.py").write_text("", encoding="utf-8")
    return place


def answers(monkeypatch: pytest.MonkeyPatch, stdout: bytes) -> list[object]:
    """Stand in for the child that reads; return the list that grows with every reading."""
    readings: list[object] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        readings.append(command)
        return subprocess.CompletedProcess(command, 0, stdout, b"")

    monkeypatch.setattr(catalog.subprocess, "run", run)  # type: ignore[attr-defined]
    return readings


def test_a_helper_file_that_changed_is_read_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = answers(monkeypatch, b"[]")
    for content, expected in (("", 1), ("", 1), ("more = 1", 2)):
        if not (directory / "_shared.py").exists() or content:
            (directory / "_shared.py").write_text(content, encoding="utf-8")
        catalog.read(directory)
        assert len(readings) == expected


def test_other_catalogues_are_kept_up_to_a_bound(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, b"[]")
    cache = directory.parent / "cache" / "agent-harness"
    for number in range(12):
        (directory / "_shared.py").write_text("#" * number, encoding="utf-8")
        catalog.read(directory)
        assert len(list(cache.glob("catalog-*.json"))) == min(number + 1, 8)
    assert [path.name for path in cache.iterdir() if not path.name.endswith(".json")] == []


def test_a_cache_that_cannot_be_written_costs_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, b"[]")
    (directory.parent / "cache").write_text("a file", encoding="utf-8")
    assert catalog.read(directory) == ()


def test_a_directory_that_takes_too_long_has_its_sentence(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 60)

    monkeypatch.setattr(catalog.subprocess, "run", run)  # type: ignore[attr-defined]
    with pytest.raises(catalog.CatalogError, match="could not be read within 60 s"):
        catalog.read(directory)


def test_a_file_that_prints_has_its_sentence(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, b"hello\n[]")
    with pytest.raises(catalog.CatalogError, match="what they print while they are imported"):
        catalog.read(directory)
