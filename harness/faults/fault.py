"""What is a fault? A frozen record whose fields are its JSON configuration, in one of five families.

    Fault
    +-- UpstreamFault   wraps the answer of an upstream: around(exchange, proceed) -> Reply
    +-- ModelFault      wraps what the model says: think(ask, proceed) -> Thought, or decides the fate of a generation
    +-- NetworkFault    takes the whole listening socket of an upstream away
    +-- ProcessFault    done by the supervisor to a process of the target, or to the Redis that it uses
    +-- CallerFault     done by the load: hang up, read slowly, send twice

A fault returns None where it does not apply; only what applied is a firing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from harness.model import Record, Role

if TYPE_CHECKING:
    from harness.faults.manner import Manner
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.thought import Ask, Fate, Thought
    from harness.upstreams.wire import Reply

Family = Literal["upstream", "model", "network", "process", "caller"]
LONGEST_S = 1e6
"""Eleven days. Beyond what a timer can be set to, the stand-in itself would give way."""


class Fault(Record, frozen=True, kw_only=True, tag_field="fault"):
    """Parent of every fault. A fault's file names it: `class Slow(UpstreamFault, ..., tag="slow")`."""

    family: ClassVar[Family]
    may_be_empty: ClassVar[tuple[str, ...]] = ()
    """Fields whose text may be empty beside those that are so unless something else is given."""

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(self):
            given = getattr(self, field.name)
            if isinstance(given, float) and not math.isfinite(given):
                msg = f"`{field.name}` is {given}, expected a finite number."
                raise ValueError(msg)
            is_duration = field.name.endswith("_s") and not field.name.endswith("_per_s")
            if is_duration and given is not None and given > LONGEST_S:
                msg = f"`{field.name}` is {given:g}, expected at most {LONGEST_S:g}: no run lasts longer."
                raise ValueError(msg)
            if given == "" and field.default != "" and field.name not in self.may_be_empty:
                msg = f"`{field.name}` is empty, expected some text" + (", or nothing." if not field.required else ".")
                raise ValueError(msg)
        self.validate()

    def validate(self) -> None:
        """Raise ValueError, in one clear sentence, where the fields make no sense."""

    @property
    def name(self) -> str:
        """The name that JSON calls it by."""
        return str(type(self).__struct_config__.tag)


class MatchedFault(Fault, frozen=True, kw_only=True):
    """A fault that is given to some calls and not to others."""

    upstream: str = "*"
    """Name of the upstream, `*` for all."""
    route: str | None = None
    """Pattern such as `POST /v1/threads/*`; None for all."""
    text: str | None = None
    """What the latest message of the user (or the text that is spoken, analysed, ...) must contain; None for all."""
    caller: str | None = None
    """Who is calling, as far as the upstream is told; None for all."""
    probability: float = 1.0
    """Share of the matching calls that it is given to, drawn from the seed."""
    times: int | None = None
    """How often it fires at most; None for always."""

    def validate(self) -> None:
        check_share(self.probability, self.times)


class UpstreamFault(MatchedFault, frozen=True, kw_only=True):
    """Parent of the faults that wrap an upstream's answer."""

    family: ClassVar[Family] = "upstream"

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply | None:
        """Answer a call.

        Args:
            exchange: the call. Nothing of it has happened yet.
            proceed: lets the upstream do what was asked and returns its reply; not calling it means that nothing
                happened upstream.
            draw: a number in [0, 1) for this call, the same for the same seed.

        Returns:
            The reply. Where the fault does not apply: None if `proceed` was not called, else the very reply that it
            returned.
        """
        raise NotImplementedError


class ModelFault(MatchedFault, frozen=True, kw_only=True):
    """Parent of the faults that change what the model says or how its work goes on."""

    family: ClassVar[Family] = "model"

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        """Return what the model says instead, None where the fault does not apply."""
        return None

    @property
    def fate(self) -> Fate | None:
        """What becomes of a generation that begins, None where it goes on as usual."""
        return None


class NetworkFault(Fault, frozen=True, kw_only=True):
    """Parent of the faults that take an upstream's listening socket away."""

    family: ClassVar[Family] = "network"

    upstream: str = "*"
    """Name of the upstream, `*` for all."""


class ProcessFault(Fault, frozen=True, kw_only=True):
    """Parent of what is done by the supervisor to a process that it started."""

    family: ClassVar[Family] = "process"

    process: Literal["target", "redis", "balancer"] = "target"
    """Whose process: the target's, that of the Redis it was given, or that of the balancer before its replicas."""
    replica: int = 0
    """Which replica of the target, from 0."""

    def validate(self) -> None:
        if self.replica and self.process != "target":
            msg = f"`replica` is {self.replica}, but there is only one {self.process}: expected `replica` left out."
            raise ValueError(msg)
        if self.replica < 0:
            msg = f"`replica` is {self.replica}, expected 0 or more."
            raise ValueError(msg)


class CallerFault(Fault, frozen=True, kw_only=True):
    """Parent of what callers do wrong; carried out by the load.

    It is given to callers, not to single requests: one who is drawn does it with every request of the visit. Who
    that is follows from the seed and the schedule alone, so that one worker and four choose the same.
    """

    family: ClassVar[Family] = "caller"

    callers: str | None = None
    """Name of the class of callers; None for all."""
    role: Role | None = None
    """What callers are there for: real, attacker or probe; None for all."""
    probability: float = 1.0
    """Share of the callers, drawn from the seed."""
    times: int | None = None
    """How many callers at most, the first ones to come; None for all."""

    def validate(self) -> None:
        check_share(self.probability, self.times)

    @property
    def manner(self) -> Manner:
        """How such a caller conducts a request."""
        raise NotImplementedError


def check_share(probability: float, times: int | None) -> None:
    """Raise ValueError where a fault's share of what it meets makes no sense."""
    if not 0.0 < probability <= 1.0:
        msg = f"`probability` is {probability:g}, expected more than 0, at most 1: else it never fires."
        raise ValueError(msg)
    if times is not None and times < 1:
        msg = f"`times` is {times}, expected 1 or more, or none for always."
        raise ValueError(msg)


def above_0(name: str, *figures: float) -> None:
    """Raise ValueError where a fault would do nothing, since none of these figures is above 0."""
    if not any(figure > 0 for figure in figures):
        msg = f"{name} is 0, expected more: else nothing happens."
        raise ValueError(msg)


def at_least(name: str, figure: float, least: float) -> None:
    """Raise ValueError where a field is below its least sensible value."""
    if figure < least:
        msg = f"`{name}` is {figure:g}, expected {least:g} or more."
        raise ValueError(msg)


def from_to(name: str, figure: float, least: float, most: float) -> None:
    """Raise ValueError where a field is outside its sensible values: beyond them the stand-in itself would give way."""
    if not least <= figure <= most:
        msg = f"`{name}` is {figure:g}, expected {least:g} to {most:g}."
        raise ValueError(msg)
