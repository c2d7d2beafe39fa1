"""The ledger: numbered, found by mark and conversation, on disk as it falls."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.evidence import LEDGER, read_jsonl
from harness.model import Call, FaultEvent, GenerationState, LedgerEntry
from harness.upstreams.epoch import Epoch, EpochSettings
from harness.upstreams.exchange import Exchange, mark_in
from harness.upstreams.server import Server, UpstreamHandler
from harness.upstreams.wire import Request


def speak(epoch: Epoch, text: str, now_ns: int = 0) -> Any:
    return epoch.begin("tts", Request("POST", "/speak", body=f'{{"text": "{text}"}}'.encode()), now_ns)


def finish(epoch: Epoch, exchange: Any, **how: Any) -> None:
    epoch.finish(exchange, 5, **({"status": 200, "response_bytes": 1, "client_gone": False} | how))


def test_numbers_increase_and_queries_find(epoch: Epoch) -> None:
    for text in ("a #haaaaaaaa", "b #hbbbbbbbb", "c #haaaaaaaa"):
        finish(epoch, speak(epoch, text))
    assert [entry.seq for entry in epoch.ledger.entries()] == [1, 2, 3]
    assert [entry.seq for entry in epoch.ledger.entries(mark="#haaaaaaaa")] == [1, 3]
    assert [entry.seq for entry in epoch.ledger.entries(after=1, mark="#haaaaaaaa")] == [3]
    assert [entry.seq for entry in epoch.ledger.entries(after=2)] == [3]
    assert len(list(epoch.ledger.lines(limit=2))) == 2
    assert [entry.seq for entry in epoch.ledger.entries(mark="haaaaaaaa")] == [1, 3]
    assert epoch.ledger.entries(mark="#hnothing00") == []


def test_a_caller_that_left_is_noted(epoch: Epoch) -> None:
    finish(epoch, speak(epoch, "x"), status=None, client_gone=True)
    call = epoch.ledger.calls[0]
    assert (call.client_gone, call.status) == (True, None)


def test_every_field_of_a_call_is_in_its_own_place() -> None:
    exchange = Exchange("tts", Request("POST", "/speak", "a=b", {}, b"body"), "POST /speak", {}, 3)
    kept = [field.name for field in msgspec.structs.fields(Call) if hasattr(exchange, field.name)]
    for number, name in enumerate(kept):
        if name not in ("upstream", "route", "begin_ns", "unexpected"):
            setattr(exchange, name, number if isinstance(getattr(exchange, name), int) else f"{name} {number}")
    entry = exchange.entry(1, 4, 200, 5, client_gone=True)
    assert {name: getattr(entry, name) for name in kept} == {name: getattr(exchange, name) for name in kept}
    rest = {"seq": 1, "path": "/speak?a=b", "end_ns": 4, "status": 200, "request_bytes": 4, "response_bytes": 5}
    assert {name: getattr(entry, name) for name in rest} == rest
    assert entry.client_gone
    assert [field.name for field in msgspec.structs.fields(entry)] == [
        field.name for field in msgspec.structs.fields(Call)
    ]
    exchange.cost_usd, exchange.earlier_answers = 0.5, 2
    line = msgspec.json.encode(exchange.entry(1, 4, 200, 5, client_gone=True))
    assert msgspec.json.encode(msgspec.json.decode(line, type=LedgerEntry)) == line  # type: ignore[call-overload]


def test_a_call_is_recorded_once(epoch: Epoch) -> None:
    exchange = speak(epoch, "x")
    epoch.record_unfinished(10)
    finish(epoch, exchange)
    assert len(epoch.ledger.calls) == 1
    assert epoch.ledger.calls[0].status is None


def test_only_what_has_been_under_way_for_long_is_recorded_as_it_stands(epoch: Epoch) -> None:
    speak(epoch, "old", 0)
    speak(epoch, "new", 2_000_000_000)
    epoch.record_unfinished(2_500_000_000, older_than_s=1.0)
    assert [call.text for call in epoch.ledger.calls] == ["old"]


def test_equal_bodies_have_equal_hashes(epoch: Epoch) -> None:
    for text in ("x", "x", "y"):
        finish(epoch, speak(epoch, text))
    hashes = [call.body_hash for call in epoch.ledger.calls]
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    epoch = Epoch(EpochSettings(name="x"), directory=tmp_path / "x")
    assert (tmp_path / "x" / "ledger.jsonl").read_bytes() == b""
    finish(epoch, speak(epoch, "こんにちは #haaaaaaaa"))
    hanging = speak(epoch, "never")
    epoch.ledger.flush()
    written = read_jsonl(tmp_path / "x" / "ledger.jsonl", LedgerEntry)
    assert written == epoch.ledger.entries()
    assert isinstance(written[0], Call)
    epoch.close(10)
    assert len(read_jsonl(tmp_path / "x" / "ledger.jsonl", LedgerEntry)) == 2
    assert hanging.recorded
    assert read_jsonl(tmp_path / "x" / "faults.jsonl", FaultEvent) == []


def test_the_first_epoch_leaves_no_files_where_nothing_happened(tmp_path: Path) -> None:
    epoch = Epoch(EpochSettings(), directory=tmp_path / "start", record_at_once=False)
    epoch.close(1)
    assert not (tmp_path / "start").exists()


@pytest.mark.parametrize(
    ("text", "mark"),
    [("hi #h12345678", "#h12345678"), ("#habcdefghijkl", "#habcdefghijkl"), ("#h123", None), ("#H12345678", None)],
)
def test_marks(text: str, mark: str | None) -> None:
    assert mark_in(text) == mark


@pytest.mark.parametrize("name", ["", "../x", ".x", "a/b"])
def test_an_epoch_is_named_for_a_directory(name: str) -> None:
    with pytest.raises(ValueError, match="expected a name for a directory"):
        EpochSettings(name=name)


def test_a_full_disk_is_said_once_and_serving_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.evidence import EvidenceError, JsonLinesWriter

    epoch = Epoch(EpochSettings(name="x"), directory=tmp_path / "x")
    said: list[str] = []
    epoch.ledger.complain = said.append

    def full(self: Any, lines: bytes) -> None:
        if not said:
            raise EvidenceError("Cannot write: No space left on device.")

    monkeypatch.setattr(JsonLinesWriter, "add_lines", full)
    for text in ("a", "b"):
        finish(epoch, speak(epoch, text))
        epoch.ledger.flush()
    assert said == ["Cannot write: No space left on device."]
    assert len(epoch.ledger.calls) == 2
    epoch.close(9)


def test_a_mistake_of_ours_is_answered_and_recorded_as_such(epoch: Epoch) -> None:
    exchange = epoch.failed("tts", Request("POST", "/speak"), 0, KeyError("x"))
    assert exchange.reply is not None
    assert exchange.reply.status == 500
    finish(epoch, exchange, status=500)
    call = epoch.ledger.calls[0]
    assert call.unexpected
    assert call.error.startswith("The stand-in broke: KeyError('x').")


async def test_answers_go_out_when_their_calls_are_in_the_file(tmp_path: Path) -> None:
    server = Server(record=tmp_path, settings=EpochSettings(name="e", latency_scale=0.0))
    handler = UpstreamHandler(server, "tts")
    in_file: list[list[str]] = []

    def send() -> None:
        in_file.append([entry.text for entry in read_jsonl(tmp_path / "e" / LEDGER, Call)])

    for text in "ab":
        call = handler.begin(Request("POST", "/speak", body=f'{{"text": "{text}"}}'.encode()))
        handler.finish(call, status=200, response_bytes=1, client_gone=False, send=send)
    assert in_file == []
    await asyncio.sleep(0)
    assert in_file == [["a", "b"], ["a", "b"]]
    # What ends without an answer, by a reset, say, is recorded at once: nothing waits for it.
    call = handler.begin(Request("POST", "/speak", body=b'{"text": "c"}'))
    handler.finish(call, status=None, response_bytes=0, client_gone=True)
    send()
    assert in_file[-1] == ["a", "b", "c"]
    server.close()


def test_a_million_entries_would_stay_within_a_gigabyte(epoch: Epoch) -> None:
    ledger = epoch.ledger

    def turn(number: int) -> None:
        """Record a call and the two states of its response; three turns have a mark in common."""
        mark, conversation, generation = f"#h{number // 3:08d}", f"conv_{number // 9:024d}", f"resp_{number:024d}"
        body = f'{{"model": "gpt-4o", "input": "こんにちは、今日は何をしましょうか？ {number} {mark}"}}'
        exchange = Exchange(
            "openai", Request("POST", "/v1/responses", "", {}, body.encode()), "POST /v1/responses", {}, number
        )
        exchange.about(f"こんにちは、今日は何をしましょうか？ {number} {mark}")
        exchange.conversation, exchange.generation, exchange.model = conversation, generation, "gpt-4o"
        exchange.prompt_tokens, exchange.completion_tokens, exchange.cost_usd = 100 + number % 100, 40, 0.001
        states: tuple[GenerationState, ...] = ("in_progress", "completed")
        for state in states:
            ledger.record_generation(generation, state, number, conversation=conversation, mark=mark, model="gpt-4o")
        ledger.record_call(exchange, end_ns=number + 1, status=200, response_bytes=1500, client_gone=False)

    tracemalloc.start()
    try:
        for number in range(6_667):
            turn(number)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    entries = len(list(ledger.lines()))
    assert entries >= 20_000
    assert len(list(ledger.lines(mark="#h00000007"))) == 9
    assert 1_000_000 * held_bytes / entries < 1_000_000_000
