"""Can an operator see what goes on, without anybody's text or an endless number of labels?"""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from agent_stage import HeldClock, settings
from fastapi import FastAPI

from reference_agent.caller import CALLER, Caller
from reference_agent.errors import Refused, Unavailable
from reference_agent.parts.breaker import HardenedBreaker
from reference_agent.parts.metrics import DocumentedMetrics, HardenedMetrics

_HELP = re.compile(r"# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)")
_TYPE = re.compile(r"# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)")
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\+Inf|-Inf|NaN|-?[0-9][0-9.e+-]*)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)')

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


def parsed(text: str) -> Samples:
    """Read Prometheus' text format as its specification has it, and hold the text to it."""
    assert text.endswith("\n")
    kinds: dict[str, str] = {}
    samples: Samples = {}
    family = ""
    for line in text.splitlines():
        if line.startswith("# HELP"):
            found = _HELP.fullmatch(line)
            assert found, line
            family = found[1]
            assert family not in kinds, "all lines of a name stand together"
        elif line.startswith("# TYPE"):
            found = _TYPE.fullmatch(line)
            assert found, line
            assert found[1] == family
            kinds[family] = found[2]
        else:
            found = _SAMPLE.fullmatch(line)
            assert found, line
            name, inside, value = found[1], found[2] or "", found[3]
            assert (
                re.sub("_(bucket|sum|count)$", "", name) == family if kinds[family] == "histogram" else name == family
            )
            labels = tuple((label[1], label[2]) for label in _LABEL.finditer(inside))
            assert "".join(label[0] for label in _LABEL.finditer(inside)) == inside, line
            assert labels not in samples.setdefault(name, {}), f"twice: {line}"
            samples[name][labels] = float(value)
            if kinds[family] == "counter":
                assert family.endswith("_total")
                assert float(value) >= 0
    for name in (name for name, kind in kinds.items() if kind == "histogram"):
        _hold_to_histogram(name, samples)
    return samples


def _hold_to_histogram(name: str, samples: Samples) -> None:
    buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for labels, value in samples.get(f"{name}_bucket", {}).items():
        rest = tuple(label for label in labels if label[0] != "le")
        buckets.setdefault(rest, []).append((float(dict(labels)["le"]), value))
    assert set(buckets) == set(samples.get(f"{name}_count", {})) == set(samples.get(f"{name}_sum", {}))
    for rest, of in buckets.items():
        assert of == sorted(of), "cumulative, in order"
        assert of[-1] == (float("inf"), samples[f"{name}_count"][rest])


class Lag:
    def seconds(self) -> float:
        return 0.25


class Hardened:
    """Hardened metrics with what stands around them."""

    def __init__(self) -> None:
        self.clock = HeldClock()
        self.breaker = HardenedBreaker(settings(), self.clock)
        self.metrics = HardenedMetrics(self.clock, self.breaker, Lag())  # type: ignore[arg-type]

    def value(self, name: str, **labels: str) -> float | None:
        series = parsed(self.metrics.text()).get(name, {})
        return next((value for of, value in series.items() if dict(of) == labels), None)


async def _get(metrics: Any) -> httpx2.Response:
    app = FastAPI()
    metrics.install(app)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://agent") as client:
        return await client.get("/metrics")


def _play(metrics: DocumentedMetrics | HardenedMetrics, clock: HeldClock) -> None:
    token = CALLER.set(Caller("en", "Europe/Berlin"))
    with metrics.turn():
        metrics.heard("こんにちは🔥", Caller())
        with metrics.tool("get_time"), metrics.upstream("time"):
            clock.time += 0.3
        metrics.spent("gpt-4o", 1_234_567, 0.03)
        metrics.looked_up("reply", "")
        metrics.assistant_created()
        metrics.noticed("emotion_labels")
        metrics.played("tama", ["get_time"])
    CALLER.reset(token)
    metrics.heard("hello", Caller("en"))
    with pytest.raises(Unavailable), metrics.turn(), metrics.tool("get_time"):
        raise Unavailable("time", "down", never_arrived=True)
    with pytest.raises(Refused), metrics.turn():
        raise Refused(429, "rate_limited")
    with pytest.raises(TimeoutError), metrics.upstream("openai"):
        raise TimeoutError
    metrics.watch("jobs_waiting", lambda: 7)


async def test_documented_one_has_none() -> None:
    _play(DocumentedMetrics(), HeldClock())
    assert (await _get(DocumentedMetrics())).status_code == 404


async def test_hardened_one_counts_what_an_operator_asks_for() -> None:
    hardened = Hardened()
    with hardened.breaker.around("openai"):
        pass
    _play(hardened.metrics, hardened.clock)
    response = await _get(hardened.metrics)
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    parsed(response.text)
    for value, name, labels in (
        (1, "agent_turns_total", {"outcome": "answered"}),
        (1, "agent_turns_total", {"outcome": "unavailable"}),
        (1, "agent_turns_total", {"outcome": "refused"}),
        (1, "agent_refusals_total", {"code": "rate_limited"}),
        (1, "agent_messages_total", {"language": "en"}),
        (1, "agent_messages_total", {"language": "ja"}),
        (1, "agent_messages_with_emoji_total", {}),
        (2, "agent_tool_calls_total", {"tool": "get_time"}),
        (1, "agent_tool_failures_total", {"tool": "get_time"}),
        (1, "agent_upstream_calls_total", {"upstream": "time", "outcome": "answered"}),
        (1, "agent_upstream_calls_total", {"upstream": "openai", "outcome": "no answer in time"}),
        (1, "agent_upstream_seconds_bucket", {"upstream": "time", "le": "0.5"}),
        (0, "agent_upstream_seconds_bucket", {"upstream": "time", "le": "0.25"}),
        (1_234_567, "agent_units_total", {"of": "gpt-4o"}),
        (0.03, "agent_spend_usd_total", {"of": "gpt-4o"}),
        (0, "agent_turn_seconds_bucket", {"region": "Europe", "le": "0.25"}),
        (1, "agent_turn_seconds_bucket", {"region": "Europe", "le": "0.5"}),
        (1, "agent_turn_seconds_count", {"region": "Europe"}),
        (1, "agent_turn_seconds_count", {"region": "Asia"}),
        (1, "agent_assistants_created_total", {}),
        (1, "agent_oddities_total", {"what": "emotion_labels"}),
        (1, "agent_cache_lookups_total", {"what": "reply", "found": "nowhere"}),
        (0, "agent_breaker_state", {"upstream": "openai"}),
        (7, "agent_now", {"what": "jobs_waiting"}),
        (0, "agent_now", {"what": "turns_under_way"}),
        (0.25, "agent_event_loop_lag_seconds", {}),
    ):
        assert hardened.value(name, **labels) == value, name
    assert (hardened.value("process_resident_memory_bytes") or 0) > 10**6
    assert (hardened.value("process_start_time_seconds") or 0) > 10**9
    assert "tama" not in response.text


def test_whether_people_go_on_after_a_tool_was_used() -> None:
    hardened = Hardened()
    metrics, clock = hardened.metrics, hardened.clock
    for tool in ("get_weather", "get_time"):
        with metrics.tool(tool):
            pass
    metrics.played("a", ["get_weather", "what a model made up"])
    metrics.played("b", ["get_weather", "get_time"])
    clock.time += 60
    metrics.played("a", [])
    assert hardened.value("agent_turns_after_tool_total", tool="get_weather", then="went_on") == 1
    assert hardened.value("agent_turns_after_tool_total", tool="get_weather", then="left") is None
    clock.time += 1800
    assert hardened.value("agent_turns_after_tool_total", tool="get_weather", then="left") == 1
    assert hardened.value("agent_turns_after_tool_total", tool="get_time", then="left") == 1
    assert "made up" not in metrics.text()
    assert hardened.value("agent_session_seconds_count") == 2
    assert hardened.value("agent_session_seconds_sum") == 60
    assert hardened.value("agent_session_turns_total") == 3
    metrics.played("a", [])
    assert hardened.value("agent_session_turns_total") == 3, "a new session has begun"


def test_memory_is_bounded_whoever_comes_and_whatever_models_are_called() -> None:
    hardened = Hardened()
    for i in range(10_100):
        hardened.metrics.played(f"attacker_{i}", [])
    assert len(hardened.metrics._sessions) == 10_000
    assert hardened.value("agent_session_seconds_count") == 100
    for i in range(1000):
        hardened.metrics.spent(f"model-{i}", 1, 0.001)
    assert hardened.value("agent_units_total", of="other") == 800
    assert len(parsed(hardened.metrics.text())["agent_units_total"]) == 201


@pytest.mark.parametrize(
    ("text", "has_emoji"),
    [
        ("🔥", True),
        ("한국🇰🇷", True),
        ("👨‍👩‍👧", True),
        ("1️⃣", True),
        ("☕️", True),
        ("#1 *", False),
        ("今日は眠い！", False),
    ],
)
def test_emoji_are_seen(text: str, has_emoji: bool) -> None:
    hardened = Hardened()
    hardened.metrics.heard(text, Caller())
    assert hardened.value("agent_messages_with_emoji_total") == (1 if has_emoji else None)


def test_labels_are_written_so_that_they_can_be_read() -> None:
    hardened = Hardened()
    hardened.metrics.spent('a "model"\\\n', 1, 0.0)
    assert (("of", 'a \\"model\\"\\\\\\n'),) in parsed(hardened.metrics.text())["agent_units_total"]
