"""What did the target ask of its upstreams? Append-only, numbered, in memory and in a file, found by mark."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count
from pathlib import Path

import msgspec

from harness.evidence import FAULTS, LEDGER, EvidenceError, JsonLinesWriter
from harness.model import OPEN_STATES, Call, FaultEvent, Generation, GenerationState, LedgerEntry, ToolCall
from harness.upstreams.exchange import Exchange, mark_named

_DECODER: msgspec.json.Decoder[LedgerEntry] = msgspec.json.Decoder(LedgerEntry)


_Positions = int | array  # type: ignore[type-arg]
"""Where the entries of a name are: the only one, which most names of a flood of new users have, or all of them."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger in five figures."""

    live_conversations: int
    open_generations: int
    calls: int
    unexpected: int
    cost_usd: float


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was made more than once with the same body, within one turn of a user."""

    turn: str | None
    """None where nothing told of one."""
    upstream: str
    route: str
    seqs: tuple[int, ...]


class Ledger:
    """All calls and generations of one epoch, and the events of its faults.

    Entries are kept as the JSON lines that the file gets, about 400 bytes each: a million of them fit into 1 GB.

    Args:
        directory: where `ledger.jsonl` and `faults.jsonl` are written, or beside it where it has a ledger already;
            None: memory only.
        at_once: create the files at once: an empty file is a vantage that saw nothing. False: with the first entry.

    Raises:
        EvidenceError: the files cannot be written.
    """

    def __init__(self, directory: Path | None = None, *, at_once: bool = True) -> None:
        self._lines: list[bytes] = []
        self._by_mark: dict[str, _Positions] = {}
        self._by_conversation: dict[str, _Positions] = {}
        self._events: list[FaultEvent] = []
        self._encode = msgspec.json.Encoder().encode
        self._directory = directory
        self._writer: JsonLinesWriter | None = None
        self._event_writer: JsonLinesWriter | None = None
        self._written_lines = 0
        self._written_events = 0
        if at_once:
            self._open()
        self._live_conversations: set[str] = set()
        self._open_generations: dict[str, Generation] = {}
        self._tool_calls: dict[str, int] = {}
        self._spend_by_caller: dict[str, float] = {}
        self._spend_by_model: dict[str, float] = {}
        self._calls = 0
        self._unexpected = 0
        self._cost_usd = 0.0
        self.complain: Callable[[str], None] = lambda message: None
        """Is told, once, that the files can no longer be written: the disk is full, say."""

    def record_call(
        self, exchange: Exchange, *, end_ns: int, status: int | None, response_bytes: int, client_gone: bool
    ) -> None:
        """Record a call that is over; a second time for the same exchange does nothing."""
        if exchange.recorded:
            return
        exchange.recorded = True
        entry = exchange.entry(len(self._lines) + 1, end_ns, status, response_bytes, client_gone=client_gone)
        self._calls += 1
        self._unexpected += exchange.unexpected
        if entry.cost_usd:
            self._cost_usd += entry.cost_usd
            caller, model = entry.caller or "", entry.model or entry.upstream
            self._spend_by_caller[caller] = self._spend_by_caller.get(caller, 0.0) + entry.cost_usd
            self._spend_by_model[model] = self._spend_by_model.get(model, 0.0) + entry.cost_usd
        self._append(entry)

    def record_generation(
        self,
        id_: str,
        state: GenerationState,
        at_ns: int,
        *,
        conversation: str | None,
        mark: str | None,
        model: str | None,
        turn: str | None = None,
        tool_calls: tuple[ToolCall, ...] = (),
    ) -> None:
        """Record that a generation entered a state."""
        entry = Generation(
            seq=len(self._lines) + 1,
            at_ns=at_ns,
            id=id_,
            conversation=conversation,
            state=state,
            mark=mark,
            turn=turn,
            model=model,
            tool_calls=tool_calls,
        )
        if state in OPEN_STATES:
            self._open_generations[id_] = entry
        else:
            self._open_generations.pop(id_, None)
        if tool_calls:
            turn = turn or id_
            self._tool_calls[turn] = self._tool_calls.get(turn, 0) + len(tool_calls)
        self._append(entry)

    def record_event(self, event: FaultEvent) -> None:
        """Record what became of a fault."""
        self._events.append(event)

    def conversation_began(self, conversation: str) -> None:
        """Count a conversation as live."""
        self._live_conversations.add(conversation)

    def conversation_ended(self, conversation: str) -> None:
        """Count a conversation as deleted or expired."""
        self._live_conversations.discard(conversation)

    def _append(self, entry: Call | Generation) -> None:
        position = len(self._lines)
        self._lines.append(self._encode(entry))
        if entry.mark is not None:
            _add(position, self._by_mark, entry.mark)
        if entry.conversation is not None:
            _add(position, self._by_conversation, entry.conversation)

    def lines(
        self, *, after: int = 0, limit: int | None = None, mark: str | None = None, conversation: str | None = None
    ) -> Iterator[bytes]:
        """Return entries as JSON, in the order of their numbers.

        Args:
            after: only those with a greater sequence number.
            limit: at most so many.
            mark: only those of this mark, with its # or without.
            conversation: only those of this conversation.

        Raises:
            ValueError: no mark looks like that.
        """
        return self._chosen(after, limit, None if mark is None else mark_named(mark), conversation)

    def _chosen(self, after: int, limit: int | None, mark: str | None, conversation: str | None) -> Iterator[bytes]:
        positions: Iterator[int]
        if mark is not None:
            positions = iter(_found(self._by_mark, mark))
        elif conversation is not None:
            positions = iter(_found(self._by_conversation, conversation))
        else:
            # As long as the ledger is now: what is recorded while somebody reads comes with the next query.
            positions = iter(range(max(after, 0), len(self._lines)))
        both = mark is not None and conversation is not None
        within = set(_found(self._by_conversation, conversation or "")) if both else None
        count = 0
        for position in positions:
            if position < after or (within is not None and position not in within):
                continue
            if limit is not None and count >= limit:
                return
            count += 1
            yield self._lines[position]

    def entries(self, *, after: int = 0, mark: str | None = None, conversation: str | None = None) -> list[LedgerEntry]:
        """Return entries as records; arguments as for `lines`."""
        return [_DECODER.decode(line) for line in self.lines(after=after, mark=mark, conversation=conversation)]

    @property
    def calls(self) -> list[Call]:
        """All calls."""
        return [entry for entry in self.entries() if isinstance(entry, Call)]

    @property
    def generations(self) -> list[Generation]:
        """All states that generations entered."""
        return [entry for entry in self.entries() if isinstance(entry, Generation)]

    @property
    def events(self) -> tuple[FaultEvent, ...]:
        """What became of the faults."""
        return tuple(self._events)

    def summary(self) -> Summary:
        """Return the ledger in figures."""
        return Summary(
            live_conversations=len(self._live_conversations),
            open_generations=len(self._open_generations),
            calls=self._calls,
            unexpected=self._unexpected,
            cost_usd=round(self._cost_usd, 9),
        )

    def open_generations(self) -> list[Generation]:
        """Return the latest state of every generation that still costs or blocks."""
        return list(self._open_generations.values())

    def tool_calls_by_turn(self) -> dict[str, int]:
        """Return how many tools were asked for in each turn of a user, by the turn's name (see `Call.turn`)."""
        return dict(self._tool_calls)

    def spend(self) -> dict[str, dict[str, float]]:
        """Return US dollars by caller ("" where none was told) and by model (speech: by upstream)."""
        return {"by_caller": dict(self._spend_by_caller), "by_model": dict(self._spend_by_model)}

    def retries(self, *, mark: str | None = None, conversation: str | None = None) -> list[Retried]:
        """Return what was asked more than once within a turn: same upstream, route and body, the body not empty.

        What is said again in a later turn is no retry, though the body may be the same. Calls that nothing is known of
        but their bodies count as of one turn.
        """
        found: dict[tuple[str | None, str, str, str], list[int]] = {}
        for entry in self.entries(mark=mark, conversation=conversation):
            if isinstance(entry, Call) and entry.body_hash:
                found.setdefault((entry.turn, entry.upstream, entry.route, entry.body_hash), []).append(entry.seq)
        return [
            Retried(turn=turn, upstream=upstream, route=route, seqs=tuple(seqs))
            for (turn, upstream, route, _), seqs in found.items()
            if len(seqs) > 1
        ]

    @property
    def directory(self) -> Path | None:
        """Where the files are, or will be if nobody else begins a ledger there before; None: nowhere."""
        return self._directory

    def flush(self) -> None:
        """Hand everything to the operating system, so that a kill of this process loses nothing of it.

        What was recorded since the last flush goes out in one write for each file.
        """
        lines, events = self._lines[self._written_lines :], self._events[self._written_events :]
        if self._directory is None or not (lines or events):
            return
        self._written_lines += len(lines)
        self._written_events += len(events)
        try:
            if self._writer is None:
                self._open()
            if self._writer is not None and lines:
                self._writer.add_lines(b"\n".join(lines) + b"\n")
                self._writer.flush()
            if self._event_writer is not None and events:
                self._event_writer.add_lines(b"".join(self._encode(event) + b"\n" for event in events))
                self._event_writer.flush()
        except EvidenceError as error:
            if self._writer is None:
                # What cannot be opened is not tried again with every call.
                self._directory = None
            self.complain(str(error))

    def _open(self) -> None:
        if self._writer is None and self._directory is not None:
            self._directory = _without_ledger(self._directory)
            self._writer = JsonLinesWriter(self._directory / LEDGER)
            self._event_writer = JsonLinesWriter(self._directory / FAULTS)

    def close(self) -> None:
        """Flush and close the files. What is recorded afterwards stays in memory only."""
        self.flush()
        for writer in (self._writer, self._event_writer):
            if writer is not None:
                try:
                    writer.close()
                except EvidenceError as error:
                    self.complain(str(error))
        self._writer = self._event_writer = self._directory = None


def _without_ledger(directory: Path) -> Path:
    """Return the directory, or the first beside it that has no ledger yet: `start`, `start-2`, `start-3`.

    A second ledger in the same file would begin at 1 again, and nobody could tell its entries from those of the first.
    """
    beside = (directory.with_name(f"{directory.name}-{number}") for number in count(2))
    return next(one for one in chain((directory,), beside) if not (one / LEDGER).exists())


def _add(position: int, index: dict[str, _Positions], name: str) -> None:
    positions = index.get(name)
    if positions is None:
        index[name] = position
    elif isinstance(positions, int):
        index[name] = array("I", (positions, position))
    else:
        positions.append(position)


def _found(index: dict[str, _Positions], name: str) -> Sequence[int]:
    positions = index.get(name)
    return () if positions is None else (positions,) if isinstance(positions, int) else positions
