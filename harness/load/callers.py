"""Who calls: the classes that a scenario file subclasses, whose tasks are what one arrival does."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import gevent
from gevent.event import Event as GeventEvent
from locust import User
from locust.env import Environment
from locust.user.users import LOCUST_STATE_WAITING  # type: ignore[attr-defined]  # Locust re-exports it implicitly

from harness.faults import AS_USUAL
from harness.load.misconduct import Misconduct
from harness.load.people import Person, population
from harness.load.transport import Exchange
from harness.model import Arrivals, FaultEvent, Outcome, Role, Sample, Size

if TYPE_CHECKING:
    from harness.load.arrivals import Arrival
    from harness.load.performance import Performance

_MARK_LENGTH: Final = 10
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_EXCERPT_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class _Question:
    """One request that a caller has in mind."""

    turn: int
    intended_ns: int
    user_id: str
    mark: str | None
    text: str
    misconduct: Misconduct | None = None
    copy: int = 0


class Callers(User):
    """One population of callers of a scenario. Its `@task`s are what one arrival does, with Locust's weights.

    Locust spawns and stops instances of it as it does with every User, but they only idle: callers arrive by the
    schedule of `arrivals`, each as an instance of its own, whatever number of users Locust was asked for.
    """

    abstract = True

    role: ClassVar[Role]
    """real: wants an answer, nothing else; attacker: causes the trouble; probe: asks on the harness's behalf."""
    arrivals: ClassVar[Arrivals]
    """How often somebody arrives, and in which phases."""
    people: ClassVar[int] = 40
    """How many different people they are: with fewer arrivals a second than this, nobody talks twice at once."""

    ordinal: int
    """Number of this arrival within its class, from 0."""

    _performance: Performance
    _arrival: Arrival
    _turn: int
    _task: str

    def on_start(self) -> None:
        """Idle until Locust stops the instance. Overriding it in a scenario has no effect on arrivals."""
        self._state = LOCUST_STATE_WAITING
        GeventEvent().wait()

    @classmethod
    def arrive(cls, environment: Environment, performance: Performance, arrival: Arrival) -> Callers:
        """Return one arrival, ready to `live`."""
        caller = cls(environment)
        caller._performance = performance
        caller._arrival = arrival
        caller._turn = 0
        caller._task = ""
        caller.ordinal = arrival.ordinal
        return caller

    def live(self) -> None:
        """Do what this arrival does: one of the class's tasks, chosen by weight and seed."""
        tasks: list[Callable[[Callers], Any]] = self.tasks  # type: ignore[assignment]  # TaskSets are refused on loading
        task = tasks[0] if len(tasks) == 1 else self.draw.choice(tasks)
        self._task = task.__name__
        task(self)

    @cached_property
    def draw(self) -> random.Random:
        """The source of this arrival's choices: the same for the same seed, whatever else goes on."""
        performance = self._performance
        return random.Random(f"{performance.seed}/{performance.scenario}/{type(self).__name__}/{self.ordinal}")

    @property
    def size(self) -> Size:
        """Which size of the scenario is played: quick, or full as documented."""
        return self._performance.size

    @property
    def person(self) -> Person:
        """The person who arrives: the people of the class take turns."""
        people = population(self._performance.seed, self._performance.scenario, type(self).people)
        return people[self.ordinal % len(people)]

    def say(self, message: str, *, user_id: str | None = None, exact: bool = False) -> Sample:
        """Send one message and wait for its answer, at most until the caller's deadline.

        Args:
            message: what is said.
            user_id: who says it; by default the person who arrives.
            exact: True where the payload must be exact to the letter; else a mark is put behind it, by which the
                upstreams' ledger knows whose calls are whose.

        Returns:
            What came of it. Nothing is raised for a request that failed.
        """
        turn, self._turn = self._turn, self._turn + 1
        performance = self._performance
        # Only the first request of an arrival has a place in the schedule; the next ones follow when it has ended.
        intended_ns = performance.due_ns(self._arrival) if turn == 0 else performance.now_ns()
        mark = None if exact else self._mark(turn)
        text = message if mark is None else f"{message} {mark}"
        speaker = self.person.user_id if user_id is None else user_id
        misconduct = performance.misconduct.get((type(self).__name__, self.ordinal))
        if misconduct is None:
            return self._ask(_Question(turn, intended_ns, speaker, mark, text))
        question = _Question(turn, intended_ns, speaker, mark, text, misconduct)
        after_s = misconduct.manner.sends_again_after_s
        if after_s is not None:
            again_ns = performance.now_ns() + round(after_s * 1e9)
            again = replace(question, intended_ns=again_ns, copy=1)
            if not performance.besides("a second request", partial(self._ask_again, again, after_s)):
                self._recorded(again, Exchange(outcome=Outcome.UNSERVED))
        return self._ask(question)

    def _ask_again(self, question: _Question, after_s: float) -> None:
        gevent.sleep(after_s)
        self._ask(question)

    def _ask(self, question: _Question) -> Sample:
        misconduct = question.misconduct
        done = Exchange()
        try:
            manner = AS_USUAL if misconduct is None else misconduct.manner
            self._performance.transport.exchange(question.user_id, question.text, done, manner)
        finally:
            if misconduct is not None and question.copy and done.sent_ns is not None:
                done.misbehaved_ns, done.misbehaviour = done.sent_ns, "sent the same request again"
            # Also when the greenlet is killed in the middle: an arrival that was begun is always accounted for.
            sample = self._recorded(question, done)
        return sample

    def _recorded(self, question: _Question, done: Exchange) -> Sample:
        misconduct = question.misconduct if done.misbehaved_ns is not None else None
        sample = Sample(
            callers=type(self).__name__,
            role=self.role,
            task=self._task,
            ordinal=self.ordinal,
            turn=question.turn,
            copy=question.copy,
            fault=None if misconduct is None else misconduct.fault,
            phase=self._arrival.phase,
            user_id=question.user_id,
            mark=question.mark,
            intended_ns=question.intended_ns,
            sent_ns=done.sent_ns,
            first_byte_ns=done.first_byte_ns,
            end_ns=done.end_ns or self._performance.now_ns(),
            outcome=done.outcome,
            status=done.status,
            error=done.error[:_EXCERPT_CHARS],
            message=question.text[:_EXCERPT_CHARS],
            message_chars=len(question.text),
            reply=done.text[:_EXCERPT_CHARS],
            reply_chars=len(done.text),
            audio_bytes=done.audio_bytes,
            audio_s=done.audio_s,
        )
        self._performance.record(sample)
        if misconduct is not None and done.misbehaved_ns is not None:
            self._performance.record_fault(
                FaultEvent(
                    at_ns=done.misbehaved_ns,
                    fault=misconduct.fault,
                    id=misconduct.id,
                    event="fired",
                    family="caller",
                    where=sample.callers,
                    detail=f"{sample.ordinal}.{sample.turn}{f' {sample.mark}' if sample.mark else ''}: "
                    f"{done.misbehaviour}",
                )
            )
        return sample

    def unserved(self) -> None:
        """Record that this arrival found the cap of requests in flight and was not sent."""
        intended_ns = self._performance.due_ns(self._arrival)
        self._recorded(_Question(0, intended_ns, self.person.user_id, None, ""), Exchange(outcome=Outcome.UNSERVED))

    def _mark(self, turn: int) -> str:
        performance = self._performance
        key = f"{performance.seed}/{performance.scenario}/{type(self).__name__}/{self.ordinal}/{turn}"
        number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
        digits = []
        for _ in range(_MARK_LENGTH):
            number, digit = divmod(number, len(_ALPHABET))
            digits.append(_ALPHABET[digit])
        return "#h" + "".join(digits)


class RealUsers(Callers):
    """People who only want an answer. What the attack does to them is its blast radius."""

    abstract = True
    role = "real"


class Attackers(Callers):
    """Those who cause the trouble, on purpose or not."""

    abstract = True
    role = "attacker"


class Probes(Callers):
    """Those who ask what the harness wants to know: always the same question, so that answers compare."""

    abstract = True
    role = "probe"
