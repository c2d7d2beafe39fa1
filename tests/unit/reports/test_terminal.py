"""Is the verdict table legible at 80 columns, without colour, in any encoding, whatever the target said?"""

import io
from pathlib import Path
from types import ModuleType

from rich.console import Console

from reports.terminal import print_table, write


def printed(runs: list[Path], width: int = 80) -> str:
    file = io.StringIO()
    print_table(runs, Console(file=file, width=width, color_system=None, force_terminal=False, legacy_windows=False))
    return file.getvalue()


def test_two_runs(pair: list[Path], golden: ModuleType) -> None:
    golden.assert_golden("terminal_pair.txt", printed(pair))


def test_awkward_runs(awkward: list[Path], golden: ModuleType) -> None:
    golden.assert_golden("terminal_awkward.txt", printed(awkward))


def test_many_runs_go_down_instead_of_across(pair: list[Path], awkward: list[Path], golden: ModuleType) -> None:
    golden.assert_golden("terminal_four.txt", printed([*pair, *awkward]))


def test_no_line_is_wider_than_the_terminal(pair: list[Path], awkward: list[Path]) -> None:
    measure = Console(width=1000)
    for runs in (pair, awkward, pair[:1]):
        for width in (60, 80, 100, 160):
            assert all(measure.measure(line).maximum <= width for line in printed(runs, width).splitlines()), (
                f"{width} columns"
            )


def test_text_from_outside_moves_no_cursor_and_is_no_markup(awkward: list[Path]) -> None:
    file = io.StringIO()
    print_table(awkward, Console(file=file, width=80, color_system="truecolor", force_terminal=True))
    shown = file.getvalue()
    assert "\x1b[2J" not in shown
    assert not set(shown) & set("\x00\x07\u202e\u2028")


def test_a_terminal_that_knows_only_ascii(awkward: list[Path]) -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii"), width=80, color_system=None)
    print_table(awkward, console)
    console.file.flush()
    shown = raw.getvalue().decode("ascii")
    assert "x FAIL" in shown
    assert "! ERROR" in shown


def test_colour_is_not_needed(pair: list[Path]) -> None:
    shown = printed(pair)
    assert "✗ FAIL" in shown
    assert "✓ PASS" in shown
    assert "\x1b" not in shown


def test_write(pair: list[Path], tmp_path: Path) -> None:
    write(pair, tmp_path / "report.txt")
    assert "Ship hardened, not documented." in (tmp_path / "report.txt").read_text(encoding="utf-8")
