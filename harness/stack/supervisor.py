"""What runs while a scenario is played? Fresh upstreams' state and a fresh target for each, and their records."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from harness.evidence import EvidenceError, scenario_directory
from harness.faults import FaultError, ProcessFault, parse, parse_timed
from harness.model import FaultEvent, Size
from harness.proxy.faults import LineFault
from harness.stack.balancer import Balancer
from harness.stack.child import how_it_ended
from harness.stack.errors import StackError
from harness.stack.household import Household, free_port
from harness.stack.process import Process
from harness.stack.proxy import Proxy
from harness.stack.records import Records
from harness.stack.redis import Redis
from harness.stack.replica import TICK_S, Replica
from harness.stack.upstreams import Upstreams
from harness.target import Start, Target, TargetError
from harness.telemetry import Machine

_TICKS_PER_FLUSH = 40
"""What is recorded is readable by others within 0.4 s."""
_TICKS_PER_MACHINE = 50
"""Twice a second: a phase of two seconds has a beginning and an end."""


class ScenarioOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `POST /scenario` is given."""

    name: str
    latency: Literal["fast", "documented", "realistic"] = "fast"
    latency_scale: float = 1.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor is told when it is started."""

    run: Path
    target: Target
    variant: str | None
    size: Size
    seed: int
    variables: dict[str, str]
    """Environment variables that override those of the target's file."""
    replicas: int = 1
    """How many processes of the target there are; a balancer stands before several."""

    @property
    def directory(self) -> Path | None:
        """Where the target runs; None for where the supervisor runs."""
        if self.target.start is None or self.target.start.directory is None:
            return None
        return Path(self.target.file).parent / self.target.start.directory


class Supervisor:
    """Starts, watches, breaks and ends what a run needs, one scenario after another.

    Args:
        settings: what was asked for.
        household: where processes belong.
        upstreams: the stand-ins, started.
    """

    def __init__(self, settings: Settings, household: Household, upstreams: Upstreams) -> None:
        self._settings = settings
        self._household = household
        self._upstreams = upstreams
        self._replicas: list[Replica] = []
        self._balancer: Balancer | None = None
        self._redis: Redis | None = None
        self._proxies: dict[str, Proxy] = {}
        self._lines_broken: dict[str, Proxy] = {}
        """The proxies' faults, by their ids."""
        self._records: Records | None = None
        self._homes: list[Path] = []
        self._busy = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._fault_ids = (f"p{number}" for number in itertools.count(1))
        self._upstreams_missed = False
        # Whoever started the supervisor started all that belongs to the run: the load, or who starts the load.
        self._machine = Machine(os.getppid())
        self._ticks = 0
        self._loop = asyncio.get_running_loop()
        self._next_tick_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Begin to look at what runs, every 10 ms."""
        self._timer = self._loop.call_at(self._next_tick_s, self._tick)

    async def scenario(self, order: ScenarioOrder) -> dict[str, Any]:
        """Begin a scenario: old target stopped, upstreams in a new epoch, target, Redis and proxies fresh and ready.

        Returns:
            `host`, `pid` (of replica 0) and `ready_after_s` (of the slowest replica); pid is None for a target that is
            not started by the harness.

        Raises:
            StackError: something of it does not work.
        """
        if not order.name or not order.name.replace("_", "").replace("-", "").isalnum():
            msg = f"A scenario's name is made of letters, digits, '_' and '-', not {order.name!r}."
            raise StackError(msg, status=400)
        begun: dict[str, Any] = await self._alone(self._begin(order))
        return begun

    async def end_scenario(self) -> None:
        """Bring everything recorded so far to disk. Raises StackError where the upstreams cannot."""
        if self._records is not None:
            self._records.flush()
        await self._upstreams.control_call("POST", "/_control/flush")

    async def fault(self, spec: Mapping[str, Any]) -> str:
        """Break a process of the target, its Redis, or a line of it that leads through a proxy.

        Returns:
            The fault's id, under which its events are recorded.

        Raises:
            StackError: nonsense, or it cannot be done now.
        """
        try:
            fault = parse_timed(spec).fault if "proxy" in spec else parse(spec)
        except FaultError as error:
            raise StackError(str(error), status=400) from error
        if isinstance(fault, LineFault):
            proxy = self._proxy(fault.proxy)
            id_ = await proxy.arm(spec)
            self._lines_broken[id_] = proxy
            return id_
        if not isinstance(fault, ProcessFault):
            instead = (
                "plan it in a scenario, the load carries it out"
                if fault.family == "caller"
                else "give it to the upstreams' control API"
            )
            msg = f"The fault {fault.name!r} is not one of the target's process: {instead}."
            raise StackError(msg, status=400)
        process = self._process(fault)
        id_ = next(self._fault_ids)
        match fault.name:
            case "kill":
                process.kill(id_)
            case "pause":
                process.pause(id_)
            case "resume":
                process.resume(id_)
            case "restart":
                if self._busy.locked():
                    msg = "A process is being started or stopped at the moment: none can be restarted."
                    raise StackError(msg, status=409)
                self._spawn(self._locked(process.restart(id_)))
            case other:
                raise StackError(f"The supervisor does not know how to do {other!r}.", status=400)
        return id_

    async def lift(self, id_: str) -> None:
        """Lift a fault: a pause is resumed, a line mended; of the others there is nothing to lift."""
        if id_ in self._lines_broken:
            await self._lines_broken.pop(id_).lift(id_)
        for process in self._processes():
            if process.paused_by(id_):
                process.resume(next(self._fault_ids))

    def status(self) -> dict[str, Any]:
        """Return what is running."""
        replica = self._replicas[0] if self._replicas else None
        return {
            "target": {
                "pid": replica.pid if replica else None,
                "alive": replica.alive if replica else False,
                "host": self._host(),
            },
            "replicas": [{"pid": one.pid, "alive": one.alive, "host": one.host} for one in self._replicas],
            "balancer": {"pid": self._balancer.pid, "alive": self._balancer.alive} if self._balancer else None,
            "redis": {"pid": self._redis.pid, "alive": self._redis.alive, "url": self._redis.url}
            if self._redis
            else None,
            "proxies": {
                name: {"pid": proxy.pid, "alive": proxy.alive, "address": proxy.address, "to": proxy.upstream}
                for name, proxy in self._proxies.items()
            },
            "upstreams": self._upstreams.control,
            "upstreams_alive": self._upstreams.exit_code() is None,
            "addresses": self._upstreams.urls,
        }

    async def close(self) -> None:
        """Stop everything, also what is just being started."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        await self._stop_target()
        if self._timer is not None:
            self._timer.cancel()
        self._machine.close()
        await self._upstreams.end()

    # --- how it is done ---------------------------------------------------------------------------------------------

    async def _alone(self, deed: Any) -> Any:
        """Do something to the target while nothing else is being done to it, so that `close` can break it off."""
        task = self._spawn(self._locked(deed))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise StackError("The supervisor is being stopped.", status=503) from None
            raise

    async def _locked(self, deed: Any) -> Any:
        try:
            async with self._busy:
                return await deed
        finally:
            deed.close()

    def _spawn(self, deed: Any) -> asyncio.Task[Any]:
        task = self._loop.create_task(deed)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _begin(self, order: ScenarioOrder) -> dict[str, Any]:
        await self._stop_target()
        try:
            self._records = Records(scenario_directory(self._settings.run, order.name))
        except EvidenceError as error:
            raise StackError(str(error)) from error
        await self._upstreams.control_call(
            "POST",
            "/_control/epoch",
            {
                "name": order.name,
                "seed": self._settings.seed,
                "latency": order.latency,
                "latency_scale": order.latency_scale,
            },
        )
        await self._begin_redis(self._records)
        await self._begin_proxies(self._records)
        start = self._settings.target.start
        if start is None:
            return {"host": self._settings.target.host, "pid": None, "ready_after_s": 0.0}
        home = self._new_home()
        count = self._settings.replicas
        self._replicas = [self._new_replica(start, number, home, self._records) for number in range(count)]
        begun = await asyncio.gather(*(replica.begin() for replica in self._replicas), return_exceptions=True)
        for outcome in begun:
            if isinstance(outcome, BaseException):
                raise outcome
        if count > 1:
            ports = [replica.port for replica in self._replicas]
            self._balancer = Balancer(self._household, self._records, ports, start.ready.path)
            await self._balancer.begin()
        slowest_s = max(outcome for outcome in begun if isinstance(outcome, float))
        return {"host": self._host(), "pid": self._replicas[0].pid, "ready_after_s": round(slowest_s, 3)}

    def _new_replica(self, start: Start, number: int, home: Path, records: Records) -> Replica:
        port = free_port()
        try:
            command, environment = self._command(port, number, home)
        except TargetError as error:
            raise StackError(str(error)) from error
        return Replica(
            self._household,
            start,
            command=command,
            environment=self._household.environment(home, {**environment, **self._settings.variables}),
            directory=self._settings.directory,
            port=port,
            records=records,
            number=number,
            alone=self._settings.replicas == 1,
        )

    def _host(self) -> str | None:
        """Return the base URL at which the load finds the target."""
        if self._balancer is not None:
            return self._balancer.host
        return self._replicas[0].host if self._replicas else self._settings.target.host

    def _new_home(self) -> Path:
        """Return a new directory that lasts as long as the scenario."""
        home = self._household.home()
        self._homes.append(home)
        return home

    async def _begin_redis(self, records: Records) -> None:
        target = self._settings.target
        if not target.uses("redis", self._settings.variant):
            return
        self._redis = Redis(
            self._household,
            self._new_home(),
            records,
            appendonly=target.redis is not None and target.redis.appendonly,
        )
        await self._redis.begin()

    async def _begin_proxies(self, records: Records) -> None:
        addresses = self._addresses()
        for number, (name, proxied) in enumerate(self._settings.target.proxy.items()):
            url = addresses.get(proxied.to)
            self._proxies[name] = Proxy(
                self._household,
                self._new_home(),
                records,
                name=name,
                upstream=proxied.to if url is None else urlsplit(url).netloc,
                port=proxied.port,
                seed=self._settings.seed,
                number=number,
            )
            await self._proxies[name].begin()

    def _addresses(self) -> dict[str, str]:
        """Return the URLs of the stand-ins and the Redis, by name."""
        return {**self._upstreams.urls, **({"redis": self._redis.url} if self._redis is not None else {})}

    def _command(self, port: int, number: int, home: Path) -> tuple[list[str], dict[str, str]]:
        facts = {
            **self._settings.target.facts(self._settings.size),
            **self._addresses(),
            **self._facts_of_proxies(),
            "python": sys.executable,
            "port": str(port),
            "replica": str(number),
            "host": "127.0.0.1",
            "home": str(home),
        }
        target = self._settings.target
        return target.command(facts), target.environment(self._settings.variant, facts)

    def _facts_of_proxies(self) -> dict[str, str]:
        """Return where each proxy is, and the URLs that lead through one."""
        facts, addresses = {}, self._addresses()
        for name, proxied in self._settings.target.proxy.items():
            address = facts[f"proxy.{name}"] = self._proxies[name].address
            if proxied.to in addresses:
                facts[proxied.to] = urlsplit(addresses[proxied.to])._replace(netloc=address).geturl()
        return facts

    async def _stop_target(self) -> None:
        if self._balancer is not None:
            await self._balancer.end()
            self._balancer = None
        await asyncio.gather(*(replica.end() for replica in self._replicas))
        self._replicas = []
        await asyncio.gather(*(proxy.end() for proxy in self._proxies.values()))
        self._proxies, self._lines_broken = {}, {}
        if self._redis is not None:
            await self._redis.end()  # after those who use it
            self._redis = None
        if self._records is not None:
            self._records.close()
            self._records = None
        for home in self._homes:
            shutil.rmtree(home, ignore_errors=True)
        self._homes = []

    def _processes(self) -> tuple[Process, ...]:
        equipment = (self._balancer, self._redis)
        return (*self._replicas, *self._proxies.values(), *(one for one in equipment if one is not None))

    def _proxy(self, name: str | None) -> Proxy:
        if name not in self._proxies:
            there = f"there are {', '.join(self._proxies)}" if self._proxies else "its file has no [proxy]"
            raise StackError(f"There is no proxy {name!r} of the target: {there}.", status=400)
        return self._proxies[name]

    def _process(self, fault: ProcessFault) -> Process:
        if fault.process == "redis":
            if self._redis is None:
                msg = "There is no Redis: the supervisor starts one where the target's command or env names {redis}."
                raise StackError(msg, status=400)
            return self._redis
        if fault.process == "balancer":
            if self._balancer is None:
                msg = "There is no balancer: the supervisor starts one where the target has several replicas."
                raise StackError(msg, status=400)
            return self._balancer
        return self._replica(fault.replica)

    def _replica(self, number: int) -> Replica:
        if number >= len(self._replicas):
            started = f"there are {len(self._replicas)}, counted from 0" if self._replicas else "none is started"
            raise StackError(f"There is no replica {number} of the target: {started}.", status=400)
        return self._replicas[number]

    def _tick(self) -> None:
        self._ticks += 1
        for process in self._processes():
            process.tick()
        if self._ticks % _TICKS_PER_FLUSH == 0:
            if self._records is not None:
                self._records.flush()
            self._miss_upstreams()
        if self._ticks % _TICKS_PER_MACHINE == 0 and self._records is not None:
            point = self._machine.read(time.monotonic_ns())
            if point is not None:
                self._records.machine(point)
        # Keeps its beat; what was missed on a busy machine is not made up for.
        self._next_tick_s = max(self._next_tick_s + TICK_S, self._loop.time())
        self._timer = self._loop.call_at(self._next_tick_s, self._tick)

    def _miss_upstreams(self) -> None:
        """Say once that the upstreams have ended by themselves: what is seen from here on is not the target's doing."""
        exit_code = self._upstreams.exit_code()
        if exit_code is None or self._upstreams_missed:
            return
        self._upstreams_missed = True
        msg = f"The upstreams' process has ended by itself ({how_it_ended(exit_code)}): what follows proves nothing."
        print(msg, file=sys.stderr, flush=True)
        if self._records is not None:
            self._records.event(
                FaultEvent(
                    at_ns=time.monotonic_ns(),
                    fault="upstreams",
                    id="upstreams",
                    event="exited",
                    family="upstream",
                    where="upstreams",
                    detail=msg,
                    must_fire=False,
                )
            )
