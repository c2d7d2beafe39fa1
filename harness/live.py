"""What a terminal shows while a campaign is played: a moving line a scenario, or plain lines in a log."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from harness.model import Moment, Verdict
from reports.content.outside_text import one_line

STYLE = {
    Verdict.PASS: ("✔ pass", "green"),
    Verdict.FAIL: ("✘ fail", "red"),
    Verdict.INCONCLUSIVE: ("? inconclusive", "yellow"),
    Verdict.ERROR: ("! error", "bold red"),
}
_NANOSECONDS = 1e9


class LiveDisplay:
    """Follows one campaign. Use as a context manager, and hand `follow` every moment.

    Args:
        console: where to draw; one that is no terminal gets a line as each scenario begins and ends.
        title: what is played, e.g. the variant.
        scenarios: their names, in the order of play.

    Titles, names and summaries come from outside: they are printed as `Text`, which is never read as markup.
    """

    def __init__(self, console: Console, title: str, scenarios: tuple[str, ...]) -> None:
        self._console = console
        self._title = one_line(title)
        self._scenarios = scenarios
        self._verdicts: dict[str, Moment] = {}
        self._current: Moment | None = None
        self._ended: set[str] = set()
        self._began_ns = 0
        self._duration_s = 0.0
        self._spinner = Spinner("dots")
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=8, transient=False)

    def __enter__(self) -> LiveDisplay:
        if self._console.is_terminal:
            self._live.start()
        else:
            self._console.print(Text(f"{self._title}: {len(self._scenarios)} scenarios"), soft_wrap=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._current = None
        if self._console.is_terminal:
            self._live.stop()

    def follow(self, moment: Moment) -> None:
        """Take in what the campaign has just done."""
        if moment.what == "finished":
            self._current = None
            return
        if moment.what == "ended":
            self._ended.add(moment.scenario)
        if moment.what == "playing":
            self._began_ns, self._duration_s = moment.at_ns, moment.duration_s
        if moment.what == "preparing":
            self._duration_s = 0.0
        if moment.what == "judged":
            self._verdicts[moment.scenario] = moment
            if not self._console.is_terminal:
                mark, _ = STYLE[moment.verdict or Verdict.ERROR]
                line = one_line(f"{moment.scenario}: {moment.text}", limit=2000)
                self._console.print(Text(f"  {mark:15} {line}"), soft_wrap=True)
            return
        self._current = moment

    def _render(self) -> RenderableType:
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(width=14, no_wrap=True)
        table.add_column(width=max(len(name) for name in self._scenarios), no_wrap=True)
        table.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
        for name in self._scenarios:
            judged = self._verdicts.get(name)
            if judged is not None:
                mark, style = STYLE[judged.verdict or Verdict.ERROR]
                table.add_row(Text(mark, style), Text(name), Text(one_line(judged.text), "dim"))
            elif self._current is not None and self._current.scenario == name:
                table.add_row(self._spinner, Text(name, "bold"), self._progress(self._current))
            elif name in self._ended:
                # While the next one is prepared.
                table.add_row(self._spinner, Text(name, "bold"), Text("judging", "dim"))
            else:
                table.add_row(Text("·", "dim"), Text(name, "dim"), "")
        return Group(Text(self._title, "bold"), table)

    def _progress(self, moment: Moment) -> RenderableType:
        if moment.what == "preparing":
            return Text("starting a fresh target", "dim")
        if moment.what == "ended":
            return Text("judging", "dim")
        played_s = (moment.at_ns - self._began_ns) / _NANOSECONDS
        bar = ProgressBar(total=max(self._duration_s, 0.1), completed=min(played_s, self._duration_s), width=24)
        row = Table.grid(padding=(0, 2))
        row.add_column(width=24)
        row.add_column(width=9)
        row.add_column()
        phase = (moment.phase or "").replace("_", "-")
        counted = f"{moment.sent} sent, {moment.answered} answered, {moment.in_flight} in flight"
        row.add_row(bar, Text(phase), Text(counted))
        return row
