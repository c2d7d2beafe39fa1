"""What do three tools cost, and what does one that fails cost the others?"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from agent_stage import HeldClock, KeptLog, asks, settings

from reference_agent.clock import Deadline, LoopClock
from reference_agent.parts.tool_fallback import DocumentedToolFallback, HardenedToolFallback
from reference_agent.parts.tool_running import DocumentedToolRunning, HardenedToolRunning, ProposedToolRunning
from reference_agent.toolbox import Toolbox


class Meeting:
    """Notes how many tools are under way at once."""

    def __init__(self) -> None:
        self.at_once = 0
        self.most = 0
        self.ended: list[str] = []


class MeetingTool:
    keeps_s = 0.0
    description = ""
    parameters: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, name: str, meeting: Meeting, fails: Exception | None = None, hangs: bool = False) -> None:
        self.name = name
        self._meeting = meeting
        self._fails = fails
        self._hangs = hangs

    async def __call__(self, arguments: dict[str, Any], deadline: Deadline) -> str:
        self._meeting.at_once += 1
        self._meeting.most = max(self._meeting.most, self._meeting.at_once)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            if self._hangs:
                await asyncio.Event().wait()
            if self._fails:
                raise self._fails
            self._meeting.ended.append(self.name)
            return f"{self.name} done"
        finally:
            self._meeting.at_once -= 1


async def test_documented_one_takes_them_one_after_the_other() -> None:
    meeting = Meeting()
    toolbox = Toolbox([MeetingTool(name, meeting) for name in "abc"])
    outputs = await DocumentedToolRunning(toolbox, DocumentedToolFallback()).run(
        asks("a", "b", "c").calls, HeldClock().deadline()
    )
    assert [output.text for output in outputs] == ["a done", "b done", "c done"]
    assert meeting.most == 1


async def test_documented_one_fails_with_the_first_failure() -> None:
    meeting = Meeting()
    toolbox = Toolbox([MeetingTool("a", meeting, fails=OSError("down")), MeetingTool("b", meeting)])
    with pytest.raises(OSError, match="down"):
        await DocumentedToolRunning(toolbox, DocumentedToolFallback()).run(asks("a", "b").calls, HeldClock().deadline())
    assert meeting.ended == []


async def test_hardened_one_takes_them_at_once_in_order() -> None:
    meeting = Meeting()
    toolbox = Toolbox([MeetingTool(name, meeting) for name in "abc"])
    running = HardenedToolRunning(settings(), HeldClock(), toolbox, HardenedToolFallback(KeptLog()))
    outputs = await running.run(asks("a", "b", "c").calls, HeldClock().deadline())
    assert [output.text for output in outputs] == ["a done", "b done", "c done"]
    assert meeting.most == 3


async def test_hardened_one_keeps_the_others_when_one_hangs_and_one_fails() -> None:
    meeting = Meeting()
    toolbox = Toolbox(
        [
            MeetingTool("get_weather", meeting, hangs=True),
            MeetingTool("get_news", meeting, fails=TypeError("a bug")),
            MeetingTool("get_time", meeting),
        ]
    )
    log = KeptLog()
    running = HardenedToolRunning(settings(tool_deadline_s=0.01), LoopClock(), toolbox, HardenedToolFallback(log))
    outputs = await running.run(
        asks("get_weather", "get_news", "get_time", "no_such_tool").calls, Deadline.after(LoopClock(), 5)
    )
    texts = [output.text for output in outputs]
    assert texts[:3] == ["いま不明", "また後で", "get_time done"]
    assert "no tool called no_such_tool" in texts[3]
    assert sorted(log.events) == ["bug:tool_failed", "tool_unavailable"]


async def test_hardened_one_bounds_what_is_under_way_in_all_turns() -> None:
    meeting = Meeting()
    toolbox = Toolbox([MeetingTool(f"t{i}", meeting) for i in range(10)])
    running = HardenedToolRunning(settings(tools_at_once=2), HeldClock(), toolbox, HardenedToolFallback(KeptLog()))
    await running.run(asks(*(f"t{i}" for i in range(10))).calls, HeldClock().deadline())
    assert meeting.most == 2


async def test_hardened_one_keeps_places_for_others_when_all_calls_of_one_tool_hang() -> None:
    slow, quick = Meeting(), Meeting()
    toolbox = Toolbox([MeetingTool("slow", slow, hangs=True), MeetingTool("quick", quick)])
    running = HardenedToolRunning(settings(tools_at_once=4), HeldClock(), toolbox, HardenedToolFallback(KeptLog()))
    hanging = asyncio.create_task(running.run(asks(*["slow"] * 8).calls, HeldClock().deadline(60)))
    for _ in range(20):
        await asyncio.sleep(0)
    outputs = await running.run(asks("quick", "made_up").calls, HeldClock().deadline())
    assert outputs[0].text == "quick done"
    assert slow.most == 2, "of four places"
    hanging.cancel()
    await asyncio.wait({hanging})


class BlockingTool(MeetingTool):
    """Holds its thread until all three have come together."""

    def __init__(self, name: str, together: threading.Barrier) -> None:
        super().__init__(name, Meeting())
        self._together = together

    async def __call__(self, arguments: dict[str, Any], deadline: Deadline) -> str:
        self._together.wait(timeout=5)
        return f"{self.name} done"


async def test_proposed_one_runs_them_at_once_and_holds_everybody_else() -> None:
    together = threading.Barrier(3)
    toolbox = Toolbox([BlockingTool(name, together) for name in "abc"])
    others = 0

    async def somebody_else() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(somebody_else())
    await asyncio.sleep(0)
    before = others
    outputs = await ProposedToolRunning(toolbox, DocumentedToolFallback()).run(
        asks("a", "b", "c").calls, HeldClock().deadline()
    )
    assert [output.text for output in outputs] == ["a done", "b done", "c done"]
    assert others == before, "the loop stood still while the tools ran"
    other.cancel()


async def test_proposed_one_loses_all_with_the_first_failure() -> None:
    meeting = Meeting()
    toolbox = Toolbox([_Failing("a", meeting), _Failing("b", meeting)])
    with pytest.raises(OSError, match="a is down"):
        await ProposedToolRunning(toolbox, DocumentedToolFallback()).run(asks("a", "b").calls, HeldClock().deadline())


class _Failing(MeetingTool):
    async def __call__(self, arguments: dict[str, Any], deadline: Deadline) -> str:
        msg = f"{self.name} is down"
        raise OSError(msg)
