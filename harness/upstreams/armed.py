"""Which faults are in force, which calls do they meet, and how often did they fire?"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import TypeVarTuple

from harness.faults import Fault, FaultError, MatchedFault, ModelFault, NetworkFault, UpstreamFault
from harness.model import NEVER_FIRED, FaultEvent
from harness.upstreams.chance import fraction
from harness.upstreams.exchange import Exchange
from harness.upstreams.thought import Ask, Fate, Thought
from harness.upstreams.wire import Reply

_Ts = TypeVarTuple("_Ts")
_NONE = Fate()
_HAS_MODEL = "openai"


class Armed:
    """One fault in force."""

    __slots__ = ("draws", "fault", "fired", "id")

    def __init__(self, id_: str, fault: Fault) -> None:
        self.id = id_
        self.fault = fault
        self.fired = 0
        self.draws: dict[str, int] = {}
        """How often each subject was drawn for, so that a retry is a draw of its own."""


class ArmedFaults:
    """The faults of one epoch.

    Args:
        seed: the epoch's seed.
        routes: what may be called, by the names that `upstream` may have.
        record: is given every event.
        listening: is told (upstream, fault id, name of the fault) when nobody is to listen there any more, and the
            same with None when the fault is over.
        released: is told the id of a fault that was lifted, so that what hangs on it ends.
    """

    def __init__(self, seed: int, routes: Mapping[str, tuple[str, ...]], record: Callable[[FaultEvent], None]) -> None:
        self._seed = seed
        self._routes = routes
        self._upstreams = tuple(routes)
        self._record = record
        self._armed: dict[str, Armed] = {}
        self._planned: dict[str, Armed] = {}
        self._count = 0
        self._answering: dict[str, list[Armed]] = {}
        self._thinking: list[Armed] = []
        self._on_route: dict[tuple[str, str], tuple[Armed, ...]] = {}
        """What of `_answering` may meet a call, by upstream and route; kept until something is armed or lifted."""
        self.listening: Callable[[str, str, str | None], None] = lambda upstream, fault_id, ended_by: None
        self.released: Callable[[str], None] = lambda fault_id: None

    def arm(self, fault: Fault, now_ns: int) -> str:
        """Put a fault in force and return its id.

        Raises:
            FaultError: an upstream cannot carry it out, or there is no such upstream.
        """
        armed = self._new(fault)
        self._put_in_force(armed, now_ns)
        return armed.id

    def plan(self, fault: Fault, now_ns: int) -> str:
        """Note a fault that is to be put in force later, with `arm_planned`, and return its id.

        Raises:
            FaultError: as for `arm`.
        """
        armed = self._new(fault)
        self._planned[armed.id] = armed
        self._event(armed, "planned", now_ns)
        return armed.id

    def arm_planned(self, id_: str, now_ns: int) -> None:
        """Put a planned fault in force; one that was lifted meanwhile stays away."""
        armed = self._planned.pop(id_, None)
        if armed is not None:
            self._put_in_force(armed, now_ns)

    def _new(self, fault: Fault) -> Armed:
        if not isinstance(fault, MatchedFault | NetworkFault):
            msg = f"The fault `{fault.name}` is a {fault.family} fault: upstreams cannot carry it out. " + (
                f'The load does: plan it in a scenario, with `fault("{fault.name}", ...)`.'
                if fault.family == "caller"
                else "Give it to the supervisor."
            )
            raise FaultError(msg)
        if fault.upstream != "*" and fault.upstream not in self._upstreams:
            msg = f"There is no upstream `{fault.upstream}`; expected one of {', '.join(self._upstreams)}, or `*`."
            raise FaultError(msg)
        if isinstance(fault, ModelFault) and fault.upstream not in ("*", _HAS_MODEL):
            msg = (
                f"`{fault.name}` is a fault of the model, which is asked by `{_HAS_MODEL}` only: `upstream` is"
                f" `{fault.upstream}`, expected `{_HAS_MODEL}`, or nothing."
            )
            raise FaultError(msg)
        if isinstance(fault, MatchedFault) and fault.route is not None:
            self._check_route(fault.route, self._names(fault.upstream))
        self._count += 1
        return Armed(f"f{self._count}", fault)

    def _check_route(self, pattern: str, upstreams: tuple[str, ...]) -> None:
        """Refuse a pattern that no call can meet, since such a fault would wait in silence for ever."""
        known = [route for name in upstreams for route in self._routes[name]]
        if any(fnmatchcase(route, pattern) for route in known):
            return
        near = difflib.get_close_matches(pattern, known, n=1, cutoff=0.3)
        msg = f"`route` is {pattern!r}, which no route of {', '.join(upstreams)} matches."
        raise FaultError(msg + (f" Did you mean `{near[0]}`?" if near else ""))

    def _put_in_force(self, armed: Armed, now_ns: int) -> None:
        fault = armed.fault
        self._armed[armed.id] = armed
        self._on_route.clear()
        self._event(armed, "armed", now_ns)
        if isinstance(fault, UpstreamFault):
            for name in self._names(fault.upstream):
                self._answering.setdefault(name, []).append(armed)
        elif isinstance(fault, ModelFault):
            self._thinking.append(armed)
        elif isinstance(fault, NetworkFault):
            for name in self._names(fault.upstream):
                self.listening(name, armed.id, fault.name)
                self._fire(armed, now_ns, f"{name}: nobody listens any more")

    def lift(self, id_: str, now_ns: int) -> None:
        """Take a fault out of force, or give up one that is planned.

        Raises:
            KeyError: there is no such fault.
        """
        planned = self._planned.pop(id_, None)
        if planned is not None:
            self._event(planned, "lifted", now_ns, NEVER_FIRED)
            return
        armed = self._armed.pop(id_)
        self._on_route.clear()
        for faults in (*self._answering.values(), self._thinking):
            if armed in faults:
                faults.remove(armed)
        self._event(armed, "lifted", now_ns, "" if armed.fired else NEVER_FIRED)
        if isinstance(armed.fault, NetworkFault):
            for name in self._names(armed.fault.upstream):
                self.listening(name, armed.id, None)
        self.released(id_)

    def lift_all(self, now_ns: int) -> None:
        """Take all faults out of force, and give up those that are planned."""
        for id_ in [*self._planned, *self._armed]:
            self.lift(id_, now_ns)

    @property
    def in_force(self) -> tuple[Armed, ...]:
        """The faults in the order in which they were armed."""
        return tuple(self._armed.values())

    @property
    def planned(self) -> tuple[Armed, ...]:
        """The faults that are to come."""
        return tuple(self._planned.values())

    def answer(self, exchange: Exchange, answer: Callable[[*_Ts], Reply], *given: *_Ts) -> Reply:
        """Return the reply to a call, through every fault that meets it; the fault armed first is the outermost.

        Args:
            exchange: the call.
            answer: lets the upstream do what was asked.
            given: what `answer` is given.
        """
        armed = self._on_route.get((exchange.upstream, exchange.route))
        if armed is None:
            armed = self._armed_on(exchange)
        for one in armed:
            if _meets(one, exchange):
                break
        else:
            return answer(*given)
        met = tuple(one for one in armed if _meets(one, exchange))
        return self._through(exchange, met, partial(answer, *given))

    def _armed_on(self, exchange: Exchange) -> tuple[Armed, ...]:
        """Return the faults of answers on a call's route."""
        armed = self._answering.get(exchange.upstream, ())
        armed_on_route = tuple(one for one in armed if _is_on_route(one.fault, exchange.route))
        if not exchange.unexpected:
            # Of the routes that there are, none is held against a pattern twice.
            self._on_route[exchange.upstream, exchange.route] = armed_on_route
        return armed_on_route

    def _through(self, exchange: Exchange, armed: tuple[Armed, ...], answer: Callable[[], Reply]) -> Reply:
        if not armed:
            return answer()
        outermost, inner = armed[0], armed[1:]
        fault = outermost.fault
        assert isinstance(fault, UpstreamFault)

        untouched: list[Reply] = []

        def proceed() -> Reply:
            untouched.append(self._through(exchange, inner, answer))
            return untouched[0]

        draw = self._draw(outermost, fault, exchange.subject, exchange.route)
        if draw is None:
            return proceed()
        reply = fault.around(exchange, proceed, draw)
        if reply is None:
            return proceed()
        if untouched and reply is untouched[0]:
            return reply
        self._fire(outermost, exchange.begin_ns, exchange.route)
        exchange.fault = fault.name
        exchange.fault_id = outermost.id
        return reply

    def think(self, exchange: Exchange, ask: Ask, model: Callable[[Ask], Thought]) -> Thought:
        """Return what the model says, through every model fault that meets the call which made it think."""
        return self._think_through(exchange, ask, tuple(self._thinking), model) if self._thinking else model(ask)

    def _think_through(
        self, exchange: Exchange, ask: Ask, armed: tuple[Armed, ...], model: Callable[[Ask], Thought]
    ) -> Thought:
        if not armed:
            return model(ask)
        outermost, inner = armed[0], armed[1:]
        fault = outermost.fault
        assert isinstance(fault, ModelFault)

        def proceed(of: Ask) -> Thought:
            return self._think_through(exchange, of, inner, model)

        if not (_is_on_route(fault, exchange.route) and _meets(outermost, exchange)):
            return proceed(ask)
        draw = self._draw(outermost, fault, ask.subject, exchange.route)
        thought = None if draw is None else fault.think(ask, proceed, draw)
        if thought is None:
            return proceed(ask)
        self._fire(outermost, exchange.begin_ns, exchange.route)
        exchange.fault = fault.name
        return thought

    def fate(self, exchange: Exchange) -> Fate:
        """Return what is in store for a generation that this call begins."""
        for armed in self._thinking:
            fault = armed.fault
            assert isinstance(fault, ModelFault)
            fate = fault.fate
            if fate is None or not (_is_on_route(fault, exchange.route) and _meets(armed, exchange)):
                continue
            if self._draw(armed, fault, exchange.subject, exchange.route) is not None:
                self._fire(armed, exchange.begin_ns, exchange.route)
                exchange.fault = fault.name
                return fate
        return _NONE

    def _draw(self, armed: Armed, fault: MatchedFault, subject: str, route: str) -> float | None:
        """Return a number in [0, 1) for this call, None where its lot is to be spared."""
        key = f"{subject}\x1f{route}"
        ordinal = armed.draws.get(key, 0)
        armed.draws[key] = ordinal + 1
        if fault.probability < 1.0 and fraction(self._seed, armed.id, key, ordinal) >= fault.probability:
            return None
        return fraction(self._seed, armed.id, key, ordinal, "draw")

    def _fire(self, armed: Armed, now_ns: int, detail: str) -> None:
        armed.fired += 1
        self._event(armed, "fired", now_ns, detail)

    def _event(self, armed: Armed, event: str, now_ns: int, detail: str = "") -> None:
        self._record(
            FaultEvent(
                at_ns=now_ns,
                fault=armed.fault.name,
                id=armed.id,
                event=event,  # type: ignore[arg-type]
                family=armed.fault.family,
                where=getattr(armed.fault, "upstream", ""),
                detail=detail,
            )
        )

    def _names(self, upstream: str) -> tuple[str, ...]:
        return self._upstreams if upstream == "*" else (upstream,)


def _is_on_route(fault: Fault, route: str) -> bool:
    assert isinstance(fault, MatchedFault)
    return fault.route is None or fnmatchcase(route, fault.route)


def _meets(armed: Armed, exchange: Exchange) -> bool:
    """Return whether a fault meets a call of its route."""
    fault = armed.fault
    assert isinstance(fault, MatchedFault)
    return (
        (fault.text is None or fault.text in exchange.said or fault.text in exchange.text)
        and (fault.times is None or armed.fired < fault.times)
        and (fault.caller is None or fault.caller == exchange.caller)
    )
