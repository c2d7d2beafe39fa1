"""A target that somebody else started is watched: its process, its log file, its metrics, and its end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness import evidence
from harness.model import FaultEvent, LogLine, TelemetryPoint
from harness.observe import figures_in, main
from harness.target import Observe, TargetError, bare_target, parse_target

METRICS = """\
# HELP process_resident_memory_bytes Resident memory size in bytes.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 2.5e+07
process_cpu_seconds_total 1.25
process_open_fds 12.0
process_start_time_seconds 1.7e+09
http_requests_total{path="/process_open_fds 9"} 3
"""


def until(condition: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end_s, f"never: {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def watching(directory: Path, *arguments: str) -> Iterator[None]:
    """Watch as a campaign does, and end it by closing its standard input."""
    watcher = subprocess.Popen(
        [sys.executable, "-m", "harness.observe", "--directory", str(directory), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert watcher.stdin is not None
    assert watcher.stdout is not None
    try:
        assert watcher.stdout.readline() == b"ready\n"
        yield
    finally:
        watcher.stdin.close()
        watcher.stdout.close()
        assert watcher.wait(timeout=20) == 0


@contextlib.contextmanager
def metrics(page: dict[str, Any]) -> Iterator[str]:
    """Serve a page that a test may change; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(page.get("status", 200))
            self.send_header("Content-Type", page.get("type", "text/plain; version=0.0.4"))
            self.end_headers()
            self.wfile.write(page["text"].encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def points(directory: Path) -> list[TelemetryPoint]:
    return evidence.read_jsonl(directory / evidence.TELEMETRY, TelemetryPoint)


def events(directory: Path) -> list[FaultEvent]:
    return evidence.read_jsonl(directory / evidence.EVENTS, FaultEvent)


def test_a_process_is_measured_and_its_end_is_noticed(tmp_path: Path) -> None:
    target = subprocess.Popen([sys.executable, "-c", "import time; held = bytearray(30_000_000); time.sleep(60)"])
    try:
        page_bytes = os.sysconf("SC_PAGESIZE")
        until(
            lambda: int(Path(f"/proc/{target.pid}/statm").read_text().split()[1]) * page_bytes > 30_000_000,
            "it has its memory",
        )
        with watching(tmp_path, "--pid", str(target.pid)):
            until(lambda: len(points(tmp_path)) > 2, "it is measured")
            target.kill()
            target.wait()
            until(lambda: len(events(tmp_path)) > 0, "its end is seen")
    finally:
        target.kill()
        target.wait()

    (end,) = events(tmp_path)
    assert (end.event, end.family, end.fault) == ("exited", "process", "target")
    assert end.detail == f"the process {target.pid} has ended"
    seen = points(tmp_path)
    assert seen
    assert all(point.rss_bytes > 30_000_000 and point.processes == 1 for point in seen)
    assert all(point.at_ns <= end.at_ns for point in seen)
    assert not (tmp_path / evidence.TARGET_LOG).exists()


def test_a_process_that_lives_on_has_no_end(tmp_path: Path) -> None:
    with watching(tmp_path, "--pid", str(os.getpid())):
        until(lambda: len(points(tmp_path)) > 2, "it is measured")

    assert events(tmp_path) == []


def test_lines_are_read_as_they_come_through_rotation_and_truncation(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    log.write_text("from before\n", encoding="utf-8")
    directory = tmp_path / "records"

    def add(text: str) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(text)

    def seen(*texts: str) -> None:
        until(lambda: lines() == list(texts), f"{texts} are seen")

    def lines() -> list[str]:
        return [line.text for line in evidence.read_jsonl(directory / evidence.TARGET_LOG, LogLine)]

    with watching(directory, "--log-file", str(log)):
        add("one\ntw")
        seen("one")
        add("o\n")
        seen("one", "two")
        log.rename(tmp_path / "agent.log.1")
        log.write_text("three\n", encoding="utf-8")
        seen("one", "two", "three")
        log.write_text("4\n", encoding="utf-8")  # cut, and shorter than before
        seen("one", "two", "three", "4")
        add("no end of line")

    assert lines() == ["one", "two", "three", "4", "no end of line"]
    assert not (directory / evidence.TELEMETRY).exists()  # a log file alone does not show that the target lives


def test_metrics_are_telemetry_and_a_new_process_behind_them_is_the_end_of_the_old_one(tmp_path: Path) -> None:
    page = {"text": METRICS}
    with metrics(page) as url, watching(tmp_path, "--metrics-url", url):
        until(lambda: len(points(tmp_path)) > 0, "it is measured")
        page["text"] = METRICS.replace("1.7e+09", str(time.time() + 10))
        until(lambda: len(events(tmp_path)) > 0, "the new one is seen")

    assert {(point.rss_bytes, point.cpu_s, point.open_files, point.threads) for point in points(tmp_path)} == {
        (25_000_000, 1.25, 12, None)
    }
    (end,) = events(tmp_path)
    assert end.event == "exited"
    assert "has been started again" in end.detail


def test_metrics_that_nobody_gives_any_more_are_the_end(tmp_path: Path) -> None:
    with contextlib.ExitStack() as serving:
        url = serving.enter_context(metrics({"text": METRICS}))
        with watching(tmp_path, "--metrics-url", url):
            serving.close()
            until(lambda: len(events(tmp_path)) > 0, "its end is seen")

    (end,) = events(tmp_path)
    assert end.detail == f"nobody listens at {url} any more"


def test_figures_of_several_processes_are_added_up() -> None:
    text = 'process_open_fds{worker="1"} 3\nprocess_open_fds{worker="2"} 4 1700000000\nprocess_open_fds\nprocess_x 1\n'
    assert figures_in(text) == {"process_open_fds": 7.0}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--pid", "4194999"], "There is no process 4194999 on this machine"),
        (["--pid", "-1"], "There is no process -1 on this machine"),
        (["--log-file", "/no/such/file"], "--log-file /no/such/file cannot be read: No such file or directory."),
        (["--log-file", "/"], "--log-file / is no file"),
        (["--metrics-url", "http://127.0.0.1:1/metrics"], "Nothing can be read at --metrics-url http://127.0.0.1:1"),
        (["--pid", "1", "--metrics-url", "http://127.0.0.1:1"], "give the nearer one, --pid"),
    ],
)
def test_what_cannot_be_watched_is_told_in_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["--check", *arguments]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ({"text": "<html></html>", "type": "text/html"}, "answers with text/html: expected metrics"),
        ({"text": "process_open_fds 3\n"}, "has no process_resident_memory_bytes and no process_cpu_seconds_total"),
        ({"text": "", "status": 404}, "Not Found"),
    ],
)
def test_a_url_without_metrics_is_told_in_a_sentence(
    capsys: pytest.CaptureFixture[str], page: dict[str, Any], says: str
) -> None:
    with metrics(page) as url:
        assert main(["--check", "--metrics-url", url]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_a_file_says_where_and_the_command_line_has_the_last_word() -> None:
    target = parse_target({"observe": {"pid": 7, "log_file": "agent.log"}}, "/somewhere/target.toml")

    assert target.observed(None, None, None) == Observe(pid=7, log_file="/somewhere/agent.log")
    assert target.observed(8, "x.log", None) == Observe(pid=8, log_file="x.log")
    assert target.observed(None, None, "http://h/m") == Observe(
        log_file="/somewhere/agent.log", metrics_url="http://h/m"
    )
    assert bare_target().observed(None, None, None).options() == []
    assert bare_target().observed(9, None, None).options() == ["--pid", "9"]
    with pytest.raises(TargetError, match="--pid is 0: expected the id of a process"):
        bare_target().observed(0, None, None)


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"observe": {}}, "[observe] is empty: expected pid, metrics_url or log_file."),
        ({"observe": {"pid": "7"}}, 'observe.pid is "7": expected a whole number.'),
        ({"observe": {"pid": 0}}, "observe.pid is 0: expected the id of a process, 1 or more."),
        ({"observe": {"pid": 1, "metrics_url": "http://x/"}}, "expected one of them."),
        ({"observe": {"metrics_url": "x"}}, 'observe.metrics_url is "x": expected a URL'),
        ({"observe": {"pid": 1}, "start": {"command": ["x"]}}, "[observe] and [start] are both there"),
        ({"observe": {"pdi": 1}}, "Did you mean 'pid'?"),
    ],
)
def test_mistakes_in_a_file_are_named(tables: dict[str, Any], says: str) -> None:
    with pytest.raises(TargetError) as refused:
        parse_target(tables, "target.toml")

    assert says in str(refused.value)
