"""Is a process read as it is: its lines whole and bounded, its tree complete, its health timed?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import LogLine
from harness.telemetry import LINE_CHARS, LineReader, LineSplitter, Machine, ProcessTree, ask

S = 1_000_000_000


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


# --- lines ----------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=30), max_size=8),
    st.data(),
)
def test_lines_come_whole_however_they_are_cut(lines: list[str], data: st.DataObject) -> None:
    written = "".join(f"{line}\n" for line in lines).encode()
    splitter = LineSplitter("stdout")
    got: list[LogLine] = []
    while written:
        length = data.draw(st.integers(1, len(written)))
        got += splitter.feed(written[:length], 7)
        written = written[length:]
    assert texts(got + splitter.end(7)) == lines


def test_a_last_line_without_its_end_is_kept() -> None:
    splitter = LineSplitter("stderr", replica=1)
    assert texts(splitter.feed(b"a\r\nlast wor", 5)) == ["a"]
    assert splitter.end(9) == [LogLine(at_ns=9, replica=1, stream="stderr", text="last wor")]
    assert splitter.end(9) == []


def test_bytes_that_are_no_text_are_still_a_line() -> None:
    assert texts(LineSplitter("stdout").feed(b"\xff\xfe\n", 1)) == ["\ufffd\ufffd"]


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    splitter = LineSplitter("stdout")
    lines: list[LogLine] = []
    for _ in range(200):
        lines += splitter.feed(b"x" * 10_000, 1)
    lines += splitter.feed(b"x\nnext\n", 1)
    assert texts(lines) == ["x" * LINE_CHARS + "… [cut by the harness]", "next"]


def test_a_flood_of_lines_is_counted_instead_of_stored() -> None:
    splitter = LineSplitter("stdout", lines_per_s=3)
    assert texts(splitter.feed(b"a\n" * 10, 1 * S)) == ["a"] * 3
    assert splitter.feed(b"a\n" * 100 + b"a", 1 * S) == []
    assert splitter.feed(b"\n" * 3, 1 * S) == []
    assert texts(splitter.feed(b"b\n", 2 * S)) == ["[the harness did not store 110 lines: over 3 a second]", "b"]
    assert texts(splitter.feed(b"c\n" * 3, 2 * S)) == ["c"] * 2
    assert texts(splitter.end(2 * S)) == ["[the harness did not store 1 lines: over 3 a second]"]


def test_a_pipe_is_read_without_waiting_and_to_its_end() -> None:
    reading, writing = os.pipe()
    got: list[LogLine] = []
    reader = LineReader(reading, LineSplitter("stdout"), got.append)
    assert reader.read()
    os.write(writing, b"one\ntw")
    assert reader.read()
    assert texts(got) == ["one"]
    os.write(writing, b"o\nthree")
    os.close(writing)
    reader.close()
    reader.close()
    assert texts(got) == ["one", "two", "three"]
    assert not reader.read()


# --- process tree ---------------------------------------------------------------------------------------------------

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "x = b'x' * 50_000_000; print('up', flush=True); input()"],
                         stdin=subprocess.PIPE)
input()
child.communicate(b"\\n")
began = time.process_time()
print("down", flush=True)
input()
"""


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        yield process
        process.kill()


def test_a_tree_is_read_as_a_whole(family: subprocess.Popen[bytes]) -> None:
    assert family.stdin is not None
    assert family.stdout is not None
    tree = ProcessTree(family.pid)
    assert family.stdout.readline() == b"up\n"
    tree.relist()
    assert len(tree.pids()) == 2
    assert tree.pids()[0] == family.pid
    assert tree.rss_bytes() > 60_000_000
    both = tree.read(1, replica=2, health_ms=3.0, health_status=200)
    assert both is not None
    assert (both.replica, both.processes, both.threads, both.health_status) == (2, 2, 2, 200)
    assert both.open_files >= 6
    assert both.rss_bytes == pytest.approx(tree.rss_bytes(), rel=0.2)
    family.stdin.write(b"\n")
    family.stdin.flush()
    assert family.stdout.readline() == b"down\n"
    tree.relist()
    one = tree.read(2)
    assert one is not None
    assert one.processes == 1
    assert one.rss_bytes < 60_000_000
    assert one.cpu_s >= both.cpu_s > 0, "the time of a child that ended is not lost"
    family.kill()
    family.wait()
    tree.relist()
    assert tree.pids() == ()
    assert tree.rss_bytes() == 0
    assert tree.read(3) is None
    tree.close()


FORKING = """
import os, sys
weight = b"x" * 50_000_000
print("up", flush=True)
os.read(0, 1)
# As subprocess does it: the child has its parent's memory, and its parent waits, until the program's files are open.
program = "import time; print('own', flush=True); time.sleep(60)"
os.posix_spawn(sys.executable, [sys.executable, "-c", program], os.environ,
               file_actions=[(os.POSIX_SPAWN_OPEN, 3, sys.argv[1], os.O_RDONLY, 0)])
waits, _ = os.pipe()
os.read(0, 1)
if os.fork() == 0:
    print("forked", flush=True)
    os.read(0, 1)
    more = b"y" * 40_000_000
    print("grown", flush=True)
os.read(waits, 1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel does not tell a fork from a program started")
def test_who_was_only_forked_does_not_have_its_parents_memory_again(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(
        [sys.executable, "-c", FORKING, fifo], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        tree = ProcessTree(process.pid)

        def grown_to(members: int) -> int:
            until_s = time.monotonic() + 30.0
            while len(tree.pids()) < members and time.monotonic() < until_s:
                tree.relist()
            assert len(tree.pids()) == members
            point = tree.read(1)
            assert point is not None
            assert point.rss_bytes == pytest.approx(tree.rss_bytes(), abs=1_000_000)
            return point.rss_bytes

        def tell() -> None:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()

        try:
            assert process.stdout.readline() == b"up\n"
            alone = tree.rss_bytes()
            assert alone > 50_000_000
            tell()
            # Its child cannot go on to its own program before somebody writes.
            assert grown_to(2) == pytest.approx(alone, abs=2_000_000)
            fifo.write_bytes(b"")
            assert process.stdout.readline() == b"own\n"
            with_program = grown_to(2)
            assert with_program > alone + 5_000_000, "a program of its own counts wholly"
            tell()
            assert process.stdout.readline() == b"forked\n"
            assert grown_to(3) == pytest.approx(with_program, abs=2_000_000)
            tell()
            assert process.stdout.readline() == b"grown\n"
            assert grown_to(3) > with_program + 35_000_000, "what it has of its own counts"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            tree.close()


def test_a_process_that_is_gone_is_an_empty_tree() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    tree = ProcessTree(process.pid)
    tree.relist()
    assert tree.pids() == ()
    assert tree.read(1) is None


# --- machine --------------------------------------------------------------------------------------------------------

BURNING = "import time\nwhile time.process_time() < 1.0: pass"


def test_the_runs_own_work_is_told_from_that_of_others() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as idle:
        run, idle_run = Machine(os.getpid()), Machine(idle.pid)
        began = (run.read(1), idle_run.read(1))
        with subprocess.Popen([sys.executable, "-c", BURNING]) as burning:
            burning.wait()
        ended = (run.read(2), idle_run.read(2))
        idle.kill()
    assert idle_run.read(3) is None, "of a run that is over nothing is said"
    own_s = [after.own_s - before.own_s for before, after in zip(began, ended, strict=True) if before and after]
    assert own_s[0] >= 0.9, "the kernel counts in ticks"
    assert own_s[1] < 0.5, "what others burn is not laid to the run"
    for machine in (run, idle_run):
        machine.close()


class CpuTimes(NamedTuple):
    user: float = 50.0
    nice: float = 9.0
    system: float = 20.0
    idle: float = 1000.0
    iowait: float = 5.0
    irq: float = 1.0
    softirq: float = 2.0
    steal: float = 4.0
    guest: float = 30.0
    """Within the user's."""
    guest_nice: float = 3.0
    """Within that of the nice."""


def test_who_waits_for_a_disk_leaves_the_cpus_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_times", CpuTimes)
    machine = Machine(os.getpid())
    point = machine.read(7)
    machine.close()
    assert point is not None
    assert (point.at_ns, point.cpus, point.busy_s) == (7, os.cpu_count(), 50.0 + 9.0 + 20.0 + 1.0 + 2.0 + 4.0)


# --- health ---------------------------------------------------------------------------------------------------------

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def asked(handler: Handler, within_s: float = 5.0, **order: object) -> object:
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await handler(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        served.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answer = await ask("127.0.0.1", port, "/health", within_s=within_s, **order)  # type: ignore[arg-type]
        await served.wait()
    return answer


def answering(raw: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)

    return handler


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 503, b"no"),
        (b"HTTP/1.0 200 OK\r\n\r\nto the end", 200, b"to the end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", None, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Le", None, b""),
        (b"SSH-2.0\r\n\r\n", None, b""),
        (b"", None, b""),
    ],
)
async def test_an_answer_is_whole_or_none(raw: bytes, status: int | None, body: bytes) -> None:
    answer = await asked(answering(raw))
    assert (answer.status, answer.body) == (status, body)  # type: ignore[attr-defined]
    assert (answer.error == "") == (status is not None)  # type: ignore[attr-defined]


async def test_a_server_that_says_nothing_costs_only_the_limit() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    began_s = time.monotonic()
    answer = await asked(silent, within_s=0.1)
    assert answer.status is None  # type: ignore[attr-defined]
    assert answer.error == "no answer within 0.1 s"  # type: ignore[attr-defined]
    assert 0.1 <= time.monotonic() - began_s < 3
    assert answer.ms >= 100  # type: ignore[attr-defined]


async def test_nobody_there_and_a_body_sent() -> None:
    assert (await ask("127.0.0.1", 1, "/", within_s=1)).error == "connection refused"
    got = b""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        got = await reader.readuntil(b"}")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    answer = await asked(handler, method="POST", body=b"{}")
    assert answer.status == 204  # type: ignore[attr-defined]
    assert got.startswith(b"POST /health HTTP/1.1\r\n")
    assert b"Content-Length: 2\r\n" in got
