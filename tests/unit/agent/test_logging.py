"""Does what users say end up in a log?"""

from __future__ import annotations

import io
import json

import pytest

from reference_agent.parts.logging import DocumentedLogging, HardenedLogging

_SECRET = "私のメールは tama@example.com です"


def test_documented_one_prints_it_in_clear_text(capsys: pytest.CaptureFixture[str]) -> None:
    DocumentedLogging().heard("tama", _SECRET)
    DocumentedLogging().said("tama", "はいにゃん")
    assert _SECRET in capsys.readouterr().out


def test_hardened_one_writes_lines_without_any_of_it() -> None:
    stream = io.StringIO()
    log = HardenedLogging(stream)
    log.heard("tama@example.com", _SECRET)
    log.said("tama@example.com", _SECRET)
    try:
        raise ValueError(_SECRET)
    except ValueError as bug:
        log.bug("turn_failed", bug)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["heard", "said", "turn_failed"]
    assert "tama" not in stream.getvalue().replace("test_logging", "")
    assert lines[0]["user"] == lines[1]["user"]
    assert lines[2]["exception"] == "ValueError"
