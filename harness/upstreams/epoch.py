"""One epoch of the upstreams: all their state, faults and ledger, from a clean start. Pure: the clock is passed in."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import msgspec

import harness.upstreams
from harness.upstreams.armed import ArmedFaults
from harness.upstreams.described import Described, Description, DescriptionError
from harness.upstreams.exchange import Exchange, goes_on
from harness.upstreams.latency import Latency, Profile
from harness.upstreams.ledger import Ledger
from harness.upstreams.prices import Prices
from harness.upstreams.routing import Routes
from harness.upstreams.script import Rule, model_with
from harness.upstreams.service import Service
from harness.upstreams.thought import Ask, Thought
from harness.upstreams.wire import Reply, Request

_NO_REQUEST = Request("", "")
_LARGEST_SCALE = 1e4
"""A realistic answer would take days then; beyond what a timer can be set to, the stand-in itself would give way."""
LabelLanguage = Literal["ja", "ko", "en"]


class EpochSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an epoch is begun with."""

    name: str = "start"
    seed: int = 0
    latency: Profile = "fast"
    latency_scale: float = 1.0
    emotion_labels: LabelLanguage = "ja"
    """In which language the emotion server names the emotions."""
    api_keys: tuple[str, ...] = ()
    """The keys that OpenAI accepts; none: every key that is not empty."""
    requests_per_minute: int | None = None
    """What OpenAI takes from each key before it answers 429; None: everything."""
    tokens_per_minute: int | None = None
    """The same, in tokens."""
    adopt_unknown_ids: bool = False
    """What nobody created is brought to life by its first use, instead of 404: for agents whose ids are of elsewhere.
    Assistants, threads and conversations are new and empty; runs of a thread, responses and stored completions are
    completed and empty, and a response can be gone on from. What is a part of these (messages, steps, items) stays
    unknown: nobody could say what was in it. So does what was deleted."""

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                msg = f"`{name}` is {limit}, expected 1 or more."
                raise ValueError(msg)
        if not 0 <= self.latency_scale <= _LARGEST_SCALE:
            msg = f"`latency_scale` is {self.latency_scale:g}, expected 0 to {_LARGEST_SCALE:g}."
            raise ValueError(msg)
        if not all(self.api_keys):
            msg = "One of `api_keys` is empty, expected keys that a client can send."
            raise ValueError(msg)
        if not self.name or self.name.startswith(".") or any(letter in self.name for letter in "/\\\0"):
            msg = f"`name` is {self.name!r}, expected a name for a directory, without slashes or a leading dot."
            raise ValueError(msg)


class Extras(msgspec.Struct, frozen=True, kw_only=True):
    """What every epoch of a process has beside its settings."""

    rules: tuple[Rule, ...] = ()
    """What the model does before it does as usual."""
    described: tuple[Description, ...] = ()
    """Upstreams of a team's own."""
    prices: Prices = Prices()


class Upstream(Protocol):
    """What an upstream is. Its file in `harness/upstreams/` has one such class; it is found by itself.

    Such a class also has a `port_offset`: its port, counted from the control API's, where ports are fixed.
    """

    name: str
    """As the ledger and the faults call it."""
    path: str
    """Path of its base URL, e.g. "/v1"."""
    exports: tuple[str, ...]
    """Environment variables by which agents commonly find it."""
    routes: Routes[Callable[..., object]]
    """Templates and the methods (exchange) -> Reply that answer them."""

    def identify(self, exchange: Exchange) -> None:
        """Note whose call it is and what it is about, without doing any of it: by this faults are matched."""

    def error(self, status: int, message: str | None) -> Reply:
        """Return this upstream's own error of that status."""

    def unrouted(self, method: str, path: str) -> Reply:
        """Return this upstream's own error for a call that it has no route for."""

    def answer(self, exchange: Exchange, handler: Callable[..., object]) -> Reply:
        """Do what was asked."""

    def advance(self, now_ns: int) -> None:
        """Let everything happen that is due by now."""


def upstream_classes() -> tuple[type, ...]:
    """Return the classes of all upstreams, in the order of their ports.

    Raises:
        RuntimeError: two have the same name or the same port.
    """
    found: dict[str, type] = {}
    for module in pkgutil.iter_modules(harness.upstreams.__path__):
        if module.name.startswith("_"):
            continue
        loaded = importlib.import_module(f"{harness.upstreams.__name__}.{module.name}")
        for thing in vars(loaded).values():
            is_own = inspect.isclass(thing) and thing.__module__.startswith(loaded.__name__)
            if is_own and "port_offset" in vars(thing):
                if found.get(thing.name, thing) is not thing:
                    msg = f"The upstream {thing.name!r} is defined twice, the second time in {thing.__module__}."
                    raise RuntimeError(msg)
                found[thing.name] = thing
    ordered = sorted(found.values(), key=lambda one: int(one.port_offset))  # type: ignore[attr-defined]
    offsets = [one.port_offset for one in ordered]  # type: ignore[attr-defined]
    if len(set(offsets)) != len(offsets):
        msg = f"Two upstreams have the same port_offset: {offsets}."
        raise RuntimeError(msg)
    return tuple(ordered)


class Epoch:
    """All upstreams from a clean start, with their faults and their ledger.

    Args:
        settings: seed, latencies and the like.
        extras: rules for the model, upstreams of a team's own, prices.
        directory: where the ledger is written; None: memory only.
        record_at_once: create the files of the ledger at once, or with the first entry.
        wall_anchor_s: seconds since 1970 at `monotonic_anchor_ns`, for the times that answers carry.
        monotonic_anchor_ns: see `wall_anchor_s`.

    Raises:
        EvidenceError: the ledger cannot be written.
    """

    def __init__(
        self,
        settings: EpochSettings,
        *,
        extras: Extras | None = None,
        directory: Path | None = None,
        record_at_once: bool = True,
        wall_anchor_s: float = 1_767_225_600.0,
        monotonic_anchor_ns: int = 0,
    ) -> None:
        extras = extras or Extras()
        self.settings = settings
        self.seed = settings.seed
        self.latency = Latency(settings.latency, settings.latency_scale, settings.seed)
        self.prices = extras.prices
        self._model = model_with(extras.rules)
        self.ledger = Ledger(directory, at_once=record_at_once)
        self.wall_s_at_zero = wall_anchor_s - monotonic_anchor_ns / 1e9
        """Seconds since 1970 at the monotonic time 0."""
        self._ordinals: dict[str, int] = {}
        self._in_flight: dict[int, Exchange] = {}
        self.upstreams: dict[str, Upstream] = {one.name: one(self) for one in upstream_classes()}  # type: ignore[attr-defined]
        for description in extras.described:
            if description.name in self.upstreams:
                msg = (
                    f"There are two upstreams called {description.name!r}; choose another `name` for the described one."
                )
                raise DescriptionError(msg)
            self.upstreams[description.name] = Described(self, description)
        # Most upstreams have nothing that happens by itself; this is asked at every call.
        advances = [one.advance for one in self.upstreams.values()]
        self._advances = tuple(one for one in advances if getattr(one, "__func__", None) is not Service.advance)
        routes = {name: tuple(one.routes.templates) for name, one in self.upstreams.items()}
        self.faults = ArmedFaults(settings.seed, routes, self.ledger.record_event)

    # --- calls -----------------------------------------------------------------------------------------------------

    def begin(self, upstream: str, request: Request, now_ns: int) -> Exchange:
        """Answer a call; the exchange's `reply` says how. Call `finish` when it is over.

        Args:
            upstream: the name of the upstream that was called.
            request: the whole request.
            now_ns: monotonic nanoseconds.
        """
        for advance in self._advances:
            advance(now_ns)
        called = self.upstreams[upstream]
        found = called.routes.find(request.method, request.path)
        if found is None:
            exchange = Exchange(upstream, request, f"{request.method} {request.path}", {}, now_ns)
            exchange.unexpected = True
        else:
            route, handler, params = found
            exchange = Exchange(upstream, request, route, params, now_ns)
            called.identify(exchange)
        exchange.error_reply = called.error
        exchange.wall_s = self.wall_s_at_zero + now_ns / 1e9
        self._in_flight[id(exchange)] = exchange
        if found is None:
            exchange.reply = self.faults.answer(exchange, self._refuse, called, exchange)
        else:
            exchange.reply = self.faults.answer(exchange, called.answer, exchange, handler)
        return exchange

    @staticmethod
    def _refuse(called: Upstream, exchange: Exchange) -> Reply:
        method, path = exchange.request.method, exchange.request.path
        exchange.error = f"No stand-in answers {method} {path}."
        return called.unrouted(method, path)

    def failed(self, upstream: str, request: Request, now_ns: int, error: Exception) -> Exchange:
        """Return the answer to a call that broke the stand-in itself: an error, recorded as unexpected."""
        exchange = Exchange(upstream, request, f"{request.method} {request.path}", {}, now_ns)
        exchange.unexpected = True
        exchange.error = f"The stand-in broke: {error!r}. Its standard error has the traceback."
        exchange.reply = self.upstreams[upstream].error(500, exchange.error)
        self._in_flight[id(exchange)] = exchange
        return exchange

    def finish(
        self, exchange: Exchange, now_ns: int, *, status: int | None, response_bytes: int, client_gone: bool
    ) -> None:
        """Record a call that is over: answered, broken off, or left by its caller."""
        self._in_flight.pop(id(exchange), None)
        # It knows the exchange that it is noted on: such a ring would wait for the garbage collector with all that the
        # call was about, and looking for rings would cost more than the call.
        leaving, exchange.leaving = exchange.leaving, goes_on
        if client_gone:
            # What was due before the caller left has happened before.
            self.advance(now_ns)
            leaving(now_ns)
        self.ledger.record_call(
            exchange, end_ns=now_ns, status=status, response_bytes=response_bytes, client_gone=client_gone
        )

    def record_garbled(self, upstream: str, now_ns: int) -> None:
        """Record that something arrived at an upstream which is no HTTP, and was refused."""
        exchange = Exchange(upstream, _NO_REQUEST, "no HTTP", {}, now_ns)
        exchange.unexpected = True
        exchange.error = "What arrived is no HTTP/1.1."
        self.ledger.record_call(exchange, end_ns=now_ns, status=400, response_bytes=0, client_gone=False)
        self.ledger.flush()

    def is_under_way(self, exchange: Exchange) -> bool:
        """Return whether a call was begun in this epoch and is not over."""
        return id(exchange) in self._in_flight

    def record_unfinished(self, now_ns: int, *, older_than_s: float = 0.0) -> None:
        """Record calls that are still under way as they stand: what hangs for ever has happened too."""
        for exchange in self._in_flight.values():
            if now_ns - exchange.begin_ns >= older_than_s * 1e9:
                self.ledger.record_call(exchange, end_ns=now_ns, status=None, response_bytes=0, client_gone=False)

    def close(self, now_ns: int) -> None:
        """End the epoch: faults are lifted, what is under way is recorded, the files are closed."""
        self.advance(now_ns)
        self.faults.lift_all(now_ns)
        self.record_unfinished(now_ns)
        self.ledger.close()

    # --- what upstreams need ----------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> None:
        """Let everything happen that is due by now: runs change their states."""
        for advance in self._advances:
            advance(now_ns)

    def wall_s(self, at_ns: int) -> float:
        """Return seconds since 1970 at a monotonic time."""
        return self.wall_s_at_zero + at_ns / 1e9

    def ordinal(self, subject: str, doing: str) -> int:
        """Return how often this was asked before, and count it."""
        key = f"{subject}\x1f{doing}"
        ordinal = self._ordinals.get(key, 0)
        self._ordinals[key] = ordinal + 1
        return ordinal

    def takes(self, exchange: Exchange, doing: str, characters: int = 0) -> float:
        """Return how long this call's work takes, in seconds (see `Latency.draw`)."""
        if self.latency.scale == 0.0:
            return 0.0
        subject = exchange.subject
        return self.latency.draw(doing, subject, self.ordinal(subject, f"{exchange.route} {doing}"), characters)

    def think(self, exchange: Exchange, ask: Ask) -> Thought:
        """Return what the model says, faults included."""
        # A message with nothing but calls of tools is no answer yet.
        answers = 0
        for message in ask.messages:
            answers += message.role == "assistant" and bool(message.text)
        exchange.earlier_answers = answers
        return self.faults.think(exchange, ask, self._model)
