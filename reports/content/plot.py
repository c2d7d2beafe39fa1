"""How is a timeline drawn? As one SVG per run, on the same scales, in colours that the page decides.

The drawing is done with stand-in colours, which are replaced by CSS variables: one drawing serves light, dark and
print. Text stays text. Equal input gives equal bytes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from reports.content.outside_text import plot_label
from reports.content.timeline import OUTCOME_GROUPS, Timeline, bin_width_s, rates

WIDTH = 480
_LEFT, _RIGHT = 58, 6
_LANE, _LATENCY, _MEMORY, _OUTCOMES, _UPSTREAM = 15, 132, 50, 60, 30
_TITLE, _GAP, _AXIS = 16, 7, 20
_FAULT_LANES = 6
_UPSTREAM_ROWS = 10
_PROCESS_ENDS = 12
_DECADES = {-3: "1 ms", -2: "10 ms", -1: "100 ms", 0: "1 s", 1: "10 s", 2: "100 s", 3: "1000 s"}
_FEW = 60
"""Dots of attackers up to which they are drawn as plainly as those of real callers."""
_MANY = 5000
"""Dots from which on one for every four pixels is enough: they lie upon one another anyway."""
_FLOOR_S = 0.001
"""Where the logarithmic axis ends: what took less than a millisecond is drawn there."""

# Stand-in colour -> CSS variable of the page.
_INK, _FAINT, _SHADE, _FAULT = "#010101", "#010102", "#010103", "#010104"
_REAL, _ATTACKER, _PROBE, _MEMORY_LINE, _CALLS = "#010105", "#010106", "#010107", "#010108", "#010109"
_GROUP_COLOURS = {"answered": "#01010a", "refused": "#01010b", "clear error": "#01010c", "lost": "#01010d"}
_SURFACE = "#01010e"
_VARIABLES = {
    _INK: "--plot-ink",
    _FAINT: "--plot-grid",
    _SHADE: "--plot-attack-window",
    _FAULT: "--plot-fault",
    _REAL: "--plot-real",
    _ATTACKER: "--plot-attacker",
    _PROBE: "--plot-probe",
    _MEMORY_LINE: "--plot-memory",
    _CALLS: "--plot-calls",
    _GROUP_COLOURS["answered"]: "--plot-answered",
    _GROUP_COLOURS["refused"]: "--plot-refused",
    _GROUP_COLOURS["clear error"]: "--plot-clear-error",
    _GROUP_COLOURS["lost"]: "--plot-lost",
    _SURFACE: "--surface",
}
_ROLE_COLOURS = {"attacker": _ATTACKER, "probe": _PROBE, "real": _REAL}

_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_IDENTITY = re.compile(r'\bid="([^"]*)"')
_REFERENCE = re.compile(r'(?:xlink:)?href="#([^"]+)"|url\(#([^)]+)\)')
_STYLE_SHEET = re.compile(r"<style[^>]*>.*?</style>", re.S)
_FONT = re.compile(r" ?font-family: [^;\"]*;?")
_EMPTY_GROUP = re.compile(r"<(?:g|defs) ?/>|<(g|defs)>\s*</\1>")


class _Scales:
    """What all drawings of one scenario have in common, so that they can be compared by eye."""

    def __init__(self, timelines: Sequence[Timeline]) -> None:
        self.span_s = max(one.span_s for one in timelines)
        self.width_s = bin_width_s(self.span_s)
        latencies = [one.requests["latency_s"] for one in timelines if len(one.requests)]
        longest = max([float(column.max()) for column in latencies if column.notna().any()], default=0.0)
        longest = max([longest, _FLOOR_S * 100, *(one.deadline_s for one in timelines)])
        shortest = min((float(column[column > 0].min()) for column in latencies if (column > 0).any()), default=longest)
        # Two decades at least, so that the axis has two marks at least.
        self.latency_s = (max(_FLOOR_S, min(shortest, longest / 100)), longest)
        memories = [one.memory["rss_bytes"] for one in timelines if one.memory is not None and len(one.memory)]
        self.memory_mb = max((float(column.max()) / 2**20 for column in memories), default=1.0) * 1.1
        self.outcomes = [
            rates(one.requests, "group", list(OUTCOME_GROUPS), self.span_s, self.width_s) for one in timelines
        ]
        self.outcomes_per_s = max(max(float(table.sum(axis=1).max()) for table in self.outcomes), 0.1) * 1.08
        totals: dict[str, int] = {}
        for one in timelines:
            for upstream in one.calls["upstream"] if one.calls is not None else ():
                totals[upstream] = totals.get(upstream, 0) + 1
        self.upstreams = sorted(totals, key=lambda name: (-totals[name], name))[:_UPSTREAM_ROWS]
        self.calls = [
            None if one.calls is None else rates(one.calls, "upstream", self.upstreams, self.span_s, self.width_s)
            for one in timelines
        ]
        self.calls_per_s = {
            name: max(max(float(table[name].max()) for table in self.calls if table is not None), 0.1)
            for name in self.upstreams
        }
        self.fault_lanes = min(_FAULT_LANES, max(len(one.faults) for one in timelines))


def _panel(figure: Figure, top: float, height: float, total: float, span_s: float, title: str = "") -> Axes:
    axes = figure.add_axes(
        (_LEFT / WIDTH, 1 - (top + height) / total, (WIDTH - _LEFT - _RIGHT) / WIDTH, height / total), facecolor="none"
    )
    axes.set_xlim(0, span_s)
    axes.tick_params(length=0, colors=_INK, labelsize=9, pad=4)
    # Only the lowest one says the time. Marks that nobody sees take a third of the drawing.
    axes.xaxis.set_major_locator(matplotlib.ticker.NullLocator())
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_FAINT)
    if title:
        axes.set_title(title, loc="left", fontsize=9.5, color=_INK, pad=4, x=-(_LEFT - 2) / (WIDTH - _LEFT - _RIGHT))
    return axes


def _shade(axes: Axes, timeline: Timeline, *, grid: bool = True) -> None:
    for phase, begin, end in timeline.phases:
        if phase == "attack":
            axes.axvspan(begin, end, facecolor=_SHADE, edgecolor="none", zorder=0)
        if grid:
            axes.axvline(begin, color=_FAINT, linewidth=0.7, zorder=0.5)
    for fault in timeline.faults:
        for at_s in (fault.armed_s, fault.lifted_s):
            if at_s is not None and grid:
                axes.axvline(at_s, color=_FAULT, linewidth=0.7, linestyle=(0, (2, 2)), zorder=0.6)
    if grid:
        axes.yaxis.grid(True, color=_FAINT, linewidth=0.5)
        axes.set_axisbelow(True)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _missing(axes: Axes, words: str) -> None:
    axes.set_yticks([])
    axes.text(
        0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", fontsize=9, color=_INK, style="italic"
    )


def _phase_lane(axes: Axes, timeline: Timeline, span_s: float) -> None:
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    _shade(axes, timeline)
    per_s = (WIDTH - _LEFT - _RIGHT) / span_s
    for phase, begin, end in timeline.phases:
        name = phase.replace("_", "-")
        if (end - begin) * per_s >= 5.4 * len(name):
            weight = "bold" if phase == "attack" else "normal"
            axes.text((begin + end) / 2, 0.45, name, ha="center", va="center", fontsize=8.5, color=_INK, weight=weight)


def _fault_lane(axes: Axes, timeline: Timeline, index: int, last: bool) -> None:
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    _shade(axes, timeline, grid=False)
    if index >= len(timeline.faults):
        return
    fault = timeline.faults[index]
    more = len(timeline.faults) - index - 1 if last else 0
    name = plot_label(" ".join(filter(None, (fault.fault, fault.where))), 30) + (f"  (+{more} more)" if more else "")
    if fault.armed_s is None:
        axes.text(0.005, 0.5, f"{name}: never armed", transform=axes.transAxes, va="center", fontsize=8, color=_INK)
        return
    end = timeline.span_s if fault.lifted_s is None else fault.lifted_s
    axes.barh(
        0.5, max(end - fault.armed_s, 0), 0.86, left=fault.armed_s, facecolor=_FAULT, alpha=0.28, edgecolor="none"
    )
    if fault.fired_s:
        pixel_s = axes.get_xlim()[1] / (WIDTH - _LEFT - _RIGHT)
        ticks = sorted({round(at_s / pixel_s) * pixel_s for at_s in fault.fired_s})
        axes.vlines(ticks, 0.0, 0.24, color=_FAULT, linewidth=1)
    right = fault.armed_s > 0.75 * axes.get_xlim()[1]
    axes.text(
        end if right else fault.armed_s,
        0.6,
        f"{name} " if right else f" {name}",
        ha="right" if right else "left",
        va="center",
        fontsize=8,
        color=_INK,
    )


def _thin(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], cell_x: float, cell_y: float) -> np.ndarray[Any, Any]:
    """Return the indices of one point per cell: what is drawn over another point of the same colour is not seen."""
    cells = np.stack([np.floor(x / cell_x), np.floor(y / cell_y)], axis=1)
    return np.sort(np.unique(cells, axis=0, return_index=True)[1])


def _dots(axes: Axes, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], size: float, colour: str, alpha: float) -> None:
    """Draw many dots as one path of zero-length strokes with round ends: a tenth of the bytes of a scatter plot."""
    vertices = np.repeat(np.stack([x, y], axis=1), 2, axis=0)
    codes = np.tile([Outline.MOVETO, Outline.LINETO], len(x))
    patch = PathPatch(
        Outline(vertices, codes), fill=False, edgecolor=colour, linewidth=size, capstyle="round", alpha=alpha, zorder=3
    )
    axes.add_patch(patch)


def _latency(axes: Axes, timeline: Timeline, scales: _Scales) -> None:
    _shade(axes, timeline)
    low, high = (math.log10(bound) for bound in scales.latency_s)
    low, high = low - 0.12, high + 0.3
    axes.set_ylim(low, high)
    ticks = [exponent for exponent in _DECADES if low <= exponent <= high]
    axes.set_yticks(ticks, [_DECADES[tick] for tick in ticks])
    if not len(timeline.requests):
        _missing(axes, "no requests")
        return
    deadline = math.log10(max(timeline.deadline_s, _FLOOR_S))
    axes.axhline(deadline, color=_INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=2)
    axes.text(
        scales.span_s,
        deadline,
        f"deadline {timeline.deadline_s:g} s ",
        fontsize=8,
        color=_INK,
        ha="right",
        va="bottom",
        zorder=5,
    )
    cell_x = scales.span_s / (WIDTH - _LEFT - _RIGHT)
    cell_y = (high - low) / _LATENCY
    requests = timeline.requests
    # What was never sent has no latency; it is drawn at the upper edge.
    height = np.log10(requests["latency_s"].clip(lower=10**low).fillna(10 ** (high - 0.06)).to_numpy(dtype=float))
    at_s = requests["at_s"].to_numpy(dtype=float)
    lost = (requests["group"] == "lost").to_numpy(dtype=bool)
    for role, colour in _ROLE_COLOURS.items():
        chosen = (requests["role"] == role).to_numpy(dtype=bool) & ~lost
        if chosen.any():
            coarse = 2 if chosen.sum() > _MANY else 1
            kept = _thin(at_s[chosen], height[chosen], cell_x * coarse, cell_y * coarse)
            size, alpha = (2.2, 0.55) if role == "attacker" and len(kept) > _FEW else (3.4, 0.9)
            _dots(axes, at_s[chosen][kept], height[chosen][kept], size, colour, alpha)
    # Whose loss it was matters: what the attack did to real callers lies on top of what it did to the attackers.
    for real, order in ((False, 2.5), (True, 4.0)):
        chosen = lost & ((requests["role"] == "attacker").to_numpy(dtype=bool) != real)
        if chosen.any():
            kept = _thin(at_s[chosen], height[chosen], cell_x * 2.5, cell_y * 2.5)
            size, alpha = (4.2, 1.0) if real else (3.4, 0.8) if len(kept) <= _FEW else (3.0, 0.4)
            axes.plot(
                at_s[chosen][kept],
                height[chosen][kept],
                linestyle="none",
                marker="x",
                markersize=size,
                markeredgewidth=1.1,
                color=_GROUP_COLOURS["lost"],
                alpha=alpha,
                zorder=order,
                clip_on=False,
            )


def _memory(axes: Axes, timeline: Timeline, scales: _Scales) -> None:
    _shade(axes, timeline)
    axes.set_ylim(0, scales.memory_mb)
    if timeline.memory is None:
        _missing(axes, "not observed: no process vantage")
        return
    if not len(timeline.memory):
        _missing(axes, "no telemetry")
        return
    for _, points in timeline.memory.groupby("replica"):
        # The highest of each stretch: thinning must not hide a peak.
        highest = points.groupby(np.arange(len(points)) // max(1, len(points) // 400)).max()
        axes.plot(highest["at_s"], highest["rss_bytes"] / 2**20, color=_MEMORY_LINE, linewidth=1.4, zorder=3)
    ends = [event for event in timeline.process_events if event.event in ("exited", "oom", "killed")]
    for event in ends[:_PROCESS_ENDS]:
        if 0 <= event.at_s <= scales.span_s:
            axes.axvline(event.at_s, color=_GROUP_COLOURS["lost"], linewidth=1.2, zorder=4)
            left = event.at_s > 0.8 * scales.span_s
            name = f"{event.event} " if left else f" {event.event}"
            axes.text(
                event.at_s,
                scales.memory_mb * 0.95,
                name,
                ha="right" if left else "left",
                va="top",
                fontsize=8,
                color=_INK,
            )
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3, min_n_ticks=2))


def _outcomes(axes: Axes, timeline: Timeline, scales: _Scales, index: int) -> None:
    _shade(axes, timeline)
    axes.set_ylim(0, scales.outcomes_per_s)
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3, min_n_ticks=2))
    axes.yaxis.set_major_formatter(lambda value, _: _figure(value))
    if not len(timeline.requests):
        _missing(axes, "no requests")
        return
    table = scales.outcomes[index]
    left = table.index.to_numpy(dtype=float)
    bottom = np.zeros(len(table))
    for group, colour in _GROUP_COLOURS.items():
        height = table[group].to_numpy(dtype=float)
        _steps(axes, left, bottom, bottom + height, scales.width_s, colour)
        bottom = bottom + height


def _steps(
    axes: Axes,
    left: np.ndarray[Any, Any],
    low: np.ndarray[Any, Any],
    high: np.ndarray[Any, Any],
    width: float,
    colour: str,
) -> None:
    """Draw bars from `low` to `high` as one path: a bar chart without an element for every bar."""
    bars = [
        Outline([(x, a), (x, b), (x + width * 0.9, b), (x + width * 0.9, a), (x, a)], closed=True)
        for x, a, b in zip(left, low, high, strict=True)
        if b > a
    ]
    if bars:
        outline = Outline.make_compound_path(*bars)
        axes.add_patch(PathPatch(outline, facecolor=colour, edgecolor="none", linewidth=0, zorder=3))


def _upstream(axes: Axes, timeline: Timeline, scales: _Scales, index: int, name: str) -> None:
    _shade(axes, timeline)
    axes.yaxis.grid(False)
    most = scales.calls_per_s[name]
    axes.set_ylim(0, most * 1.6)  # room above the bars for their peak in words
    axes.set_yticks([most * 0.5], [plot_label(name, 10)])
    table = scales.calls[index]
    if table is None:
        _missing(axes, "not observed: no upstream vantage")
        axes.set_yticks([most * 0.5], [plot_label(name, 10)])
        return
    height = table[name].to_numpy(dtype=float)
    _steps(axes, table.index.to_numpy(dtype=float), np.zeros(len(table)), height, scales.width_s, _CALLS)
    axes.text(
        0.004,
        0.96,
        f"peak {_figure(float(height.max()))}/s",
        transform=axes.transAxes,
        ha="left",
        va="top",
        fontsize=8,
        color=_INK,
        zorder=5,
    )


def _draw(timeline: Timeline, scales: _Scales, index: int) -> Figure:
    rows = max(1, len(scales.upstreams))
    total = (
        _LANE * (1 + scales.fault_lanes)
        + sum(_TITLE + _GAP + height for height in (_LATENCY, _MEMORY, _OUTCOMES, rows * _UPSTREAM))
        + _AXIS
    )
    figure = Figure(figsize=(WIDTH / 72, total / 72), dpi=72, facecolor="none")
    top = 0.0
    _phase_lane(_panel(figure, top, _LANE, total, scales.span_s), timeline, scales.span_s)
    top += _LANE
    for lane in range(scales.fault_lanes):
        last = lane == scales.fault_lanes - 1
        _fault_lane(_panel(figure, top, _LANE, total, scales.span_s), timeline, lane, last)
        top += _LANE
    top += _TITLE
    _latency(_panel(figure, top, _LATENCY, total, scales.span_s, "Latency, from the intended start"), timeline, scales)
    top += _LATENCY + _GAP + _TITLE
    _memory(_panel(figure, top, _MEMORY, total, scales.span_s, "Resident memory, MB"), timeline, scales)
    top += _MEMORY + _GAP + _TITLE
    _outcomes(
        _panel(figure, top, _OUTCOMES, total, scales.span_s, "Requests per second, by outcome"), timeline, scales, index
    )
    top += _OUTCOMES + _GAP + _TITLE
    title = "Calls to upstreams per second"
    axes = None
    for name in scales.upstreams:
        axes = _panel(figure, top, _UPSTREAM, total, scales.span_s, title)
        _upstream(axes, timeline, scales, index, name)
        title = ""
        top += _UPSTREAM
    if axes is None:
        axes = _panel(figure, top, _UPSTREAM, total, scales.span_s, title)
        _shade(axes, timeline)
        _missing(axes, "not observed: no upstream vantage" if timeline.calls is None else "no calls")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(7, integer=scales.span_s > 8))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} s")
    return figure


def _finish(svg: str, key: str) -> str:
    """Turn a file of matplotlib's into something to be put into a page beside others."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true" focusable="false">', svg)
    svg = _NUMBER.sub(lambda match: f"{float(match[0]):.1f}".removesuffix(".0"), svg)
    referenced = {one or other for one, other in _REFERENCE.findall(svg)}
    svg = _IDENTITY.sub(lambda match: f'id="{key}-{match[1]}"' if match[1] in referenced else "", svg)
    svg = _REFERENCE.sub(
        lambda match: f'href="#{key}-{match[1]}"' if match[1] else f"url(#{key}-{match[2]})",
        svg,
    )
    svg = _STYLE_SHEET.sub("", _FONT.sub("", svg)).replace("<g >", "<g>")
    while (smaller := _EMPTY_GROUP.sub("", svg)) != svg:
        svg = smaller
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return re.sub(r"\s*\n\s*", "\n", svg).strip()


def timeline_svgs(timelines: Sequence[Timeline | None], key: str) -> list[str]:
    """Draw the timelines of one scenario, one for each run, all on the same scales.

    Args:
        timelines: one for each run; None where there is nothing to draw.
        key: what makes the ids in these drawings unique in the page: letters and digits.

    Returns:
        For each timeline an `<svg>` element, empty where there was nothing to draw.
    """
    present = [one for one in timelines if one is not None]
    if not present:
        return ["" for _ in timelines]
    scales = _Scales(present)
    drawings = []
    settings: dict[Any, Any] = {
        "svg.hashsalt": key,
        "svg.fonttype": "none",
        "path.simplify": False,
        "font.size": 9,
        "axes.titley": 1.0,  # right above the panel; left to itself, each title is measured against every mark
    }
    with matplotlib.rc_context(settings):
        index = 0
        for number, one in enumerate(timelines):
            if one is None:
                drawings.append("")
                continue
            buffer = io.StringIO()
            figure = _draw(one, scales, index)
            canvas = FigureCanvasSVG(figure)
            canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
            drawings.append(_finish(buffer.getvalue(), f"{key}v{number}"))
            index += 1
    return drawings
