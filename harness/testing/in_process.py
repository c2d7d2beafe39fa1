"""All upstreams of one test: what is armed, who is called at which address, and what the ledger says."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from types import TracebackType
from typing import Any, Literal

import msgspec

from harness.faults import Fault, FaultError, TimedFault, parse_timed
from harness.model import Call, FaultEvent, Generation, LedgerEntry
from harness.testing.clock import JumpingClock, RealClock
from harness.testing.flight import Errors, Flight, Patience
from harness.upstreams import wire
from harness.upstreams.armed import Armed
from harness.upstreams.epoch import Epoch, EpochSettings, Extras
from harness.upstreams.ledger import Ledger, Retried, Summary

Door = Literal["open", "refused", "swallowed"]
"""What becomes of somebody who connects."""

# Where the upstreams are as long as nobody says otherwise. Agents leave OpenAI's address as the client has it; the
# others have no common one, and `.test` is a name that never resolves.
_OPENAI_URL = "https://api.openai.com/v1"


class InProcess:
    """The upstreams of one test, without sockets.

    Args:
        settings: seed, latencies and the like.
        clock: how time passes.
        extras: rules for the model, upstreams of a team's own, prices.
    """

    def __init__(self, settings: EpochSettings, clock: JumpingClock | RealClock, extras: Extras | None = None) -> None:
        self.clock = clock
        self.epoch = Epoch(settings, extras=extras, wall_anchor_s=time.time(), monotonic_anchor_ns=clock.now_ns())
        self.epoch.faults.listening = self._listening
        self.epoch.faults.released = self._released
        self.faults = Faults(self)
        self.ledger = LedgerView(self)
        self.unanswered: list[str] = []
        """Requests to addresses where no upstream is, e.g. "GET https://example.com/"."""
        self._addresses: list[tuple[str, str]] = []
        self._let_through: list[str] = []
        self._flights: set[Flight] = set()
        self._closed_by: dict[str, dict[str, Door]] = {}
        self._down_until_ns: dict[str, int] = {}
        self._numbers = count()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        # Clients of several threads share one epoch, which knows no threads.
        self._lock = threading.RLock()

    # --- addresses ---------------------------------------------------------------------------------------------------

    def serve(self, upstream: str) -> InProcessUpstream:
        """Let an upstream answer at its usual address, and return it.

        Args:
            upstream: its name, e.g. "openai".

        Raises:
            ValueError: there is no such upstream.
        """
        if upstream not in self.epoch.upstreams:
            msg = f"There is no upstream {upstream!r}; expected one of {', '.join(self.epoch.upstreams)}."
            raise ValueError(msg)
        served = InProcessUpstream(self, upstream)
        self.answer_at(upstream, served.url)
        return served

    def answer_at(self, upstream: str, url: str) -> None:
        """Let an upstream answer at this address too; the longest address that fits is taken."""
        self._addresses.append((_as_prefix(url), upstream))
        self._addresses.sort(key=lambda address: -len(address[0]))

    def let_through(self, url: str) -> None:
        """Let requests to this address pass to the real network."""
        self._let_through.append(_as_prefix(url))

    def passes(self, url: str) -> bool:
        """Return whether requests to this address pass to the real network."""
        return any(_is_below(url, prefix) for prefix in self._let_through)

    def find(self, url: str) -> tuple[str, str] | None:
        """Return (upstream, path there) of an address without its query; None where no upstream is."""
        for prefix, upstream in self._addresses:
            if _is_below(url, prefix):
                return upstream, self.epoch.upstreams[upstream].path + url[len(prefix) :]
        return None

    # --- time --------------------------------------------------------------------------------------------------------

    def after_ns(self, seconds: float | None) -> int | None:
        """Return when so many seconds will have passed; None: never."""
        return None if seconds is None else self.now_ns() + round(seconds * 1e9)

    def until(self, end_ns: int | None) -> tuple[float | None, float | None]:
        """Return (seconds until then, seconds until something planned happens before it); None where there is none."""
        now_ns = self.now_ns()
        with self._lock:
            due_ns = self._due[0][0] if self._due else None
        left_s = None if end_ns is None else max(0.0, (end_ns - now_ns) / 1e9)
        is_before = due_ns is not None and (end_ns is None or due_ns < end_ns)
        return left_s, max(0.0, (due_ns - now_ns) / 1e9) if is_before and due_ns is not None else None

    def happen_in(self, seconds: float, happen: Callable[[], None]) -> None:
        """Let something happen after so many seconds of the test's clock, as soon as anybody looks."""
        with self._lock:
            heapq.heappush(self._due, (self.now_ns() + round(seconds * 1e9), next(self._numbers), happen))

    def settle(self) -> None:
        """Let everything happen that is due by now."""
        with self._lock:
            while self._due and self._due[0][0] <= self.now_ns():
                heapq.heappop(self._due)[2]()
            self.epoch.advance(self.now_ns())

    # --- calls -------------------------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """Return monotonic nanoseconds of the test's clock."""
        return self.clock.now_ns()

    def call(self, upstream: str, request: wire.Request, errors: Errors, patience: Patience) -> Flight:
        """Return the flight of a call; arguments as for `Flight`."""
        return Flight(self, upstream, request, errors, patience)

    def door(self, upstream: str) -> Door:
        """Return what becomes of somebody who connects now."""
        self.settle()
        closed_by = self._closed_by.get(upstream, {}).values()
        if "refused" in closed_by or self._down_until_ns.get(upstream, 0) > self.now_ns():
            return "refused"
        return "swallowed" if closed_by else "open"

    def is_in_force(self, fault_id: str) -> bool:
        """Return whether a fault is in force now."""
        with self._lock:
            return any(armed.id == fault_id for armed in self.epoch.faults.in_force)

    def enter(self, flight: Flight) -> None:
        """Take note of a call that begins to connect."""
        with self._lock:
            self._flights.add(flight)

    def begin(self, flight: Flight, request: wire.Request) -> Iterator[wire.Step]:
        """Let the upstream hear a request, and return the steps of its reply."""
        with self._lock:
            flight.exchange = self.epoch.begin(flight.upstream, request, self.now_ns())
            assert flight.exchange.reply is not None
            return flight.exchange.reply.steps()

    def next_step(self, steps: Iterator[wire.Step]) -> wire.Step | None:
        """Return the next step of a reply, None where it is over."""
        # Time goes on in a stream by its own waits: what is due meanwhile happens when the reply comes to it.
        with self._lock:
            return next(steps, None)

    def finish(self, flight: Flight, *, status: int | None, response_bytes: int, client_gone: bool) -> None:
        """Record how a call ended."""
        with self._lock:
            self._flights.discard(flight)
            if flight.exchange is not None:
                self.epoch.finish(
                    flight.exchange,
                    self.now_ns(),
                    status=status,
                    response_bytes=response_bytes,
                    client_gone=client_gone,
                )

    def go_down(self, flight: Flight, seconds: float) -> None:
        """Let a flight's upstream crash: whatever is under way is reset, connecting is refused for `seconds`."""
        fault = flight.exchange.fault if flight.exchange is not None else None
        self._down_until_ns[flight.upstream] = self.now_ns() + round(seconds * 1e9)
        self._interrupt(lambda other: other is not flight and other.upstream == flight.upstream, "reset", fault)

    def __enter__(self) -> InProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything; what is under way is recorded as it stands."""
        with self._lock:
            self.epoch.close(self.now_ns())
        if isinstance(self.clock, JumpingClock):
            self.clock.let_go()

    # --- what faults do to connections -------------------------------------------------------------------------------

    def _listening(self, upstream: str, reason: str, ended_by: str | None) -> None:
        closed_by = self._closed_by.setdefault(upstream, {})
        if ended_by is None:
            closed_by.pop(reason, None)
            for flight in self._of(lambda flight: flight.upstream == upstream and flight.is_at_door):
                flight.wake()
        elif ended_by == "blackhole":
            closed_by[reason] = "swallowed"
            for flight in self._of(lambda flight: flight.upstream == upstream and not flight.is_at_door):
                flight.hangs_on = reason
                flight.interrupt("frozen", ended_by)
        else:
            closed_by[reason] = "refused"
            for flight in self._of(lambda flight: flight.upstream == upstream and flight.is_at_door):
                flight.wake()
            self._interrupt(lambda flight: flight.upstream == upstream and not flight.is_at_door, "reset", ended_by)

    def _released(self, fault_id: str) -> None:
        self._interrupt(lambda flight: flight.hangs_on == fault_id, "closed", None)

    def _interrupt(self, which: Callable[[Flight], bool], what: Literal["closed", "reset"], fault: str | None) -> None:
        for flight in self._of(which):
            flight.interrupt(what, fault)

    def _of(self, which: Callable[[Flight], bool]) -> list[Flight]:
        with self._lock:
            return [flight for flight in self._flights if which(flight)]

    def locked(self) -> threading.RLock:
        """Return the lock that keeps the epoch to one thread at a time."""
        return self._lock


def _as_prefix(url: str) -> str:
    return url.rstrip("/")


def _is_below(url: str, prefix: str) -> bool:
    return url.startswith(prefix) and (len(url) == len(prefix) or url[len(prefix)] in "/")


class InProcessUpstream:
    """One upstream of a test."""

    def __init__(self, home: InProcess, name: str) -> None:
        self._home = home
        self.name = name
        """As the ledger and the faults call it."""
        self.url = _OPENAI_URL if name == "openai" else f"http://{name}.upstream.test{home.epoch.upstreams[name].path}"
        """Its base URL."""
        self.exports: tuple[str, ...] = home.epoch.upstreams[name].exports
        """Environment variables by which agents commonly find it."""

    def answer_at(self, url: str) -> None:
        """Let it answer at another base URL too, e.g. the one that is written into the agent."""
        self._home.answer_at(self.name, url)

    @property
    def calls(self) -> list[Call]:
        """The calls that it has had."""
        return [call for call in self._home.ledger.calls if call.upstream == self.name]

    def __repr__(self) -> str:
        return f"<upstream {self.name} at {self.url}>"


class ArmedFault:
    """A fault in force; as a context manager, it is lifted at the end of the block."""

    def __init__(self, home: InProcess, armed: Armed, *, may_stay_unused: bool) -> None:
        self._home = home
        self._armed = armed
        self.may_stay_unused = may_stay_unused
        """Whether a test may pass that it never met."""

    @property
    def id(self) -> str:
        """Its id in the events."""
        return self._armed.id

    @property
    def fault(self) -> Fault:
        """What it is."""
        return self._armed.fault

    @property
    def fired(self) -> int:
        """How often it has fired."""
        return self._armed.fired

    def lift(self) -> None:
        """Take it out of force, or give it up where it is still to come; a second time does nothing."""
        with self._home.locked():
            faults = self._home.epoch.faults
            if self._armed in (*faults.in_force, *faults.planned):
                faults.lift(self.id, self._home.now_ns())

    def __enter__(self) -> ArmedFault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lift()

    def __str__(self) -> str:
        said = [
            f"{field.name}={given!r}"
            for field in msgspec.structs.fields(self.fault)
            if (given := getattr(self.fault, field.name)) != field.default
        ]
        return f"{self.fault.name}({', '.join(said)})"

    def __repr__(self) -> str:
        return f"<fault {self.id} {self}, fired {self.fired} times>"


class Faults:
    """The faults of one test."""

    def __init__(self, home: InProcess) -> None:
        self._home = home
        self.armed: list[ArmedFault] = []
        """All that were armed, in order, those included that were lifted."""

    def arm(
        self,
        fault: str | Fault,
        /,
        *,
        from_s: float = 0.0,
        for_s: float | None = None,
        may_stay_unused: bool = False,
        **fields: Any,
    ) -> ArmedFault:
        """Put a fault in force.

        Args:
            fault: its name, e.g. "hang", or the record itself.
            from_s: when, in seconds of the test's clock from now.
            for_s: how long it stays, in seconds; None: until it is lifted.
            may_stay_unused: whether the test may pass though the fault never fired.
            fields: the fault's own, e.g. `upstream="openai"`.

        Raises:
            FaultError: there is no such fault or field, or the value makes no sense; the message says what would.
        """
        if isinstance(fault, Fault):
            if fields:
                msg = f"`{fault.name}` was given whole; its fields ({', '.join(fields)}) belong into it."
                raise FaultError(msg)
            timed = TimedFault(fault=fault, from_s=from_s, for_s=for_s)
        else:
            timed = parse_timed({"fault": fault, "from_s": from_s, "for_s": for_s, **fields})
        home, faults = self._home, self._home.epoch.faults
        with home.locked():
            id_ = (
                faults.plan(timed.fault, home.now_ns()) if timed.from_s > 0 else faults.arm(timed.fault, home.now_ns())
            )
            armed = next(one for one in (*faults.in_force, *faults.planned) if one.id == id_)
            handle = ArmedFault(home, armed, may_stay_unused=may_stay_unused)
            self.armed.append(handle)
            if timed.from_s > 0:
                home.happen_in(timed.from_s, lambda: faults.arm_planned(id_, home.now_ns()))
            if timed.for_s is not None:
                home.happen_in(timed.from_s + timed.for_s, handle.lift)
        return handle

    def lift_all(self) -> None:
        """Take all faults out of force."""
        for armed in self.armed:
            armed.lift()

    @property
    def unused(self) -> list[ArmedFault]:
        """The faults that never fired, though they were expected to."""
        return [armed for armed in self.armed if armed.fired == 0 and not armed.may_stay_unused]

    @property
    def events(self) -> tuple[FaultEvent, ...]:
        """What became of the faults."""
        self._home.settle()
        return self._home.epoch.ledger.events


class LedgerView:
    """What the upstreams of a test were asked, as of now: what has become due meanwhile has happened."""

    def __init__(self, home: InProcess) -> None:
        self._home = home

    def entries(self, *, mark: str | None = None, conversation: str | None = None) -> list[LedgerEntry]:
        """Return calls and states of generations, in the order of their numbers.

        Args:
            mark: only those of this mark, with its # or without.
            conversation: only those of this thread or conversation.
        """
        with self._settled() as ledger:
            return ledger.entries(mark=mark, conversation=conversation)

    @property
    def calls(self) -> list[Call]:
        """All calls that are over."""
        return [entry for entry in self.entries() if isinstance(entry, Call)]

    @property
    def generations(self) -> list[Generation]:
        """All states that generations entered."""
        return [entry for entry in self.entries() if isinstance(entry, Generation)]

    @property
    def unexpected(self) -> list[Call]:
        """The calls that no route answers."""
        return [call for call in self.calls if call.unexpected]

    def summary(self) -> Summary:
        """Return the ledger in figures: live conversations, open generations, calls, cost."""
        with self._settled() as ledger:
            return ledger.summary()

    def open_generations(self) -> list[Generation]:
        """Return the latest state of every run, response and completion that still costs or blocks."""
        with self._settled() as ledger:
            return ledger.open_generations()

    def tool_calls_by_turn(self) -> dict[str, int]:
        """Return how many tools the model asked for in each turn of a user, by the turn's name: its mark, if any."""
        with self._settled() as ledger:
            return ledger.tool_calls_by_turn()

    def retries(self, *, mark: str | None = None, conversation: str | None = None) -> list[Retried]:
        """Return what was asked more than once with the same body within a turn, of all or of those chosen."""
        with self._settled() as ledger:
            return ledger.retries(mark=mark, conversation=conversation)

    def spend(self) -> dict[str, dict[str, float]]:
        """Return US dollars by caller ("" where none was told) and by model (speech: by upstream)."""
        with self._settled() as ledger:
            return ledger.spend()

    @contextmanager
    def _settled(self) -> Iterator[Ledger]:
        with self._home.locked():
            self._home.settle()
            yield self._home.epoch.ledger
