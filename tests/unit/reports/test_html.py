"""Does the page say what the runs say, the same every time, and nothing that text from outside wants it to?"""

import html.parser
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from harness.evidence import PLAN, EvidenceError
from reports import ReportError
from reports.html import render, write

_BLOCKS = {"h1", "h2", "h3", "h4", "p", "li", "tr", "dt", "dd", "pre", "summary", "title", "table", "figure"}
_VOID = {"meta", "link", "br", "img", "input", "hr"}


class Skeleton(html.parser.HTMLParser):
    """The text of a page as a reader meets it, with a placeholder for each plot, and what could act in it."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.unclosed: list[str] = []
        self._skipping = 0
        self._line = ""
        self.feed(page)
        self.close()
        self._end()

    def _end(self) -> None:
        line = re.sub(r"\s+", " ", self._line).strip()
        if line:
            self.lines.append(line)
        self._line = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in _VOID:
            self.unclosed.append(tag)
        if tag in ("svg", "style", "script"):
            if tag == "svg" and not self._skipping:
                self._line += "[plot]"
            self._skipping += 1
        if tag in _BLOCKS and not self._skipping:
            self._end()
            self._line = {"h1": "# ", "h2": "## ", "h3": "### ", "h4": "#### ", "li": "- "}.get(tag, "")
        if tag in ("td", "th") and not self._skipping:
            self._line += " | "

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed, f"</{tag}> closes nothing"
        assert self.unclosed.pop() == tag, f"</{tag}> closes something else"
        if tag in ("svg", "style", "script"):
            self._skipping -= 1
        if tag in ("h1", "h2", "h3", "h4", "tr", "title"):
            self._end()

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self._line += data


@pytest.fixture(scope="module")
def page(pair: list[Path]) -> str:
    return render(pair)


@pytest.fixture(scope="module")
def awkward_page(awkward: list[Path]) -> str:
    return render(awkward)


def test_the_text_is_as_it_was_last_approved(page: str, golden: ModuleType) -> None:
    golden.assert_golden("pair.txt", "\n".join(Skeleton(page).lines) + "\n")


def test_the_text_of_awkward_runs_is_as_it_was_last_approved(awkward_page: str, golden: ModuleType) -> None:
    golden.assert_golden("awkward.txt", "\n".join(Skeleton(awkward_page).lines) + "\n")


def test_the_same_runs_give_the_same_bytes(page: str, pair: list[Path]) -> None:
    """In another process too, where sets and dictionaries of strings may come in another order."""
    program = "import sys, pathlib, reports.html as h; print(h.render([pathlib.Path(a) for a in sys.argv[1:]]), end='')"
    again = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, pair)],
        env={"PYTHONHASHSEED": "1", "PATH": "", "HOME": str(pair[0].parent), "PYTHONUTF8": "1"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=True,
    )
    assert again.stdout.decode() == page


def test_every_element_is_closed_and_every_id_is_unique(page: str) -> None:
    skeleton = Skeleton(page)
    assert skeleton.unclosed == []
    ids = [attributes["id"] for _, attributes in skeleton.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"] for tag, attributes in skeleton.elements if tag == "a"}
    assert targets <= {f"#{identity}" for identity in ids}


def test_nothing_is_fetched(page: str) -> None:
    for tag, attributes in Skeleton(page).elements:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_both_runs_are_drawn_on_the_same_scales(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(drawings) == 4
    first, second = drawings[:2]
    assert re.findall(r">\d+ m?s</text>", first) == re.findall(r">\d+ m?s</text>", second)
    assert re.findall(r'viewBox="[^"]*"', first) == re.findall(r'viewBox="[^"]*"', second)


def test_plots_take_their_colours_from_the_page(page: str) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, re.S))
    assert "var(--plot-ink)" in drawings
    assert not re.search(r"#[0-9a-f]{6}\b", drawings)


def test_hostile_text_is_text(awkward_page: str, page: str) -> None:
    """No element and no attribute comes of it: the tags are those of a page of harmless runs."""
    skeleton = Skeleton(awkward_page)
    assert {tag for tag, _ in skeleton.elements} - {tag for tag, _ in Skeleton(page).elements} == set()
    assert [tag for tag, _ in skeleton.elements].count("script") == 1
    assert all(not name.startswith("on") for _, attributes in skeleton.elements for name in attributes)
    assert "<script>alert(1)</script>" in " ".join(skeleton.lines)


def test_nothing_invisible_gets_in(awkward_page: str) -> None:
    assert not re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]", awkward_page)


def test_endless_text_is_cut(awkward_page: str) -> None:
    assert "あ" * 5000 not in awkward_page
    assert "(10,149 characters)" in awkward_page
    assert len(awkward_page) < 600_000


def test_what_is_missing_is_said(awkward_page: str) -> None:
    text = "\n".join(Skeleton(awkward_page).lines)
    assert "not by upstream and process" in text
    assert "Interrupted: Ctrl-C after 4.0 s." in text
    assert "The run was stopped before the scenario had ended." in text
    assert "Played, but not judged" in text
    assert "This run's plan does not have it." in text
    assert "ZeroDivisionError" in text
    assert "not observed: no upstream vantage" in awkward_page
    assert "not observed: no process vantage" in awkward_page


def test_questions_that_held_everywhere_are_folded_away(page: str, pair: list[Path]) -> None:
    assert "1 question to which every run has a good answer" in page
    assert '<details class="held">' in page
    assert '<details class="held" open><summary>3 questions with a good answer</summary>' in render(pair[1:])


def test_a_run_that_was_never_played(synthetic: ModuleType, tmp_path: Path) -> None:
    page = render([synthetic.write_unplayed(tmp_path)])
    assert '<h1 id="verdict">unplayed is not proven.</h1>' in page
    assert "The run ended before its turn." in page


def test_a_run_without_scenarios(synthetic: ModuleType, tmp_path: Path) -> None:
    page = render([synthetic.write_empty(tmp_path)])
    assert "No verdict on empty." in page
    assert "which proves nothing" in page


def test_unreadable_evidence_is_shown_and_the_rest_too(synthetic: ModuleType, tmp_path: Path) -> None:
    runs = synthetic.write_pair(tmp_path, synthetic.STORIES[:2])
    broken = runs[0] / "scenarios" / "thread_bombing"
    (broken / "samples.jsonl").write_text("{}\n{}\n")
    (broken / "judgement.json").write_text("nonsense")
    page = render(runs)
    assert "Was it edited, or written by another version?" in page
    assert page.count("<svg") == 3


def test_no_runs_at_all() -> None:
    with pytest.raises(ReportError, match="no run directory was given"):
        render([])


def test_something_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=PLAN):
        render([tmp_path])


def test_a_place_that_cannot_be_written(synthetic: ModuleType, tmp_path: Path) -> None:
    run = synthetic.write_empty(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match=r"Cannot write .*file/report\.html"):
        write([run], tmp_path / "file" / "report.html")


def test_write_makes_the_directory(synthetic: ModuleType, tmp_path: Path) -> None:
    run = synthetic.write_empty(tmp_path)
    write([run], tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == render([run])
