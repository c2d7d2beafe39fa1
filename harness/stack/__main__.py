"""The supervisor's command: `python -m harness.stack`. See `harness.stack` for what it does."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import uvicorn

from harness.evidence import EvidenceError, JsonLinesWriter
from harness.stack.api import application
from harness.stack.errors import StackError
from harness.stack.household import Household, program_problem
from harness.stack.redis import NO_SERVER, find_redis_server
from harness.stack.supervisor import Settings, Supervisor
from harness.stack.upstreams import Upstreams
from harness.target import MOST_REPLICAS, TargetError, read_target

_USAGE = 2
_SETTING = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the supervisor until its standard input ends or it is told to stop; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        _check_standard_input()
        with asyncio.Runner(loop_factory=_event_loop()) as runner:
            return runner.run(_serve(settings, _upstreams_command(options, settings)))
    except TargetError as error:
        print(error, file=sys.stderr, flush=True)
        return _USAGE
    except StackError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the event loop whose 10 ms beat costs a third less CPU, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.stack",
        description="Starts, watches, breaks and ends the upstreams and the target of a run. Ends with its stdin.",
        allow_abbrev=False,
    )
    parser.add_argument("--run-dir", type=Path, required=True, metavar="DIR", help="where records are written")
    parser.add_argument("--target", type=Path, required=True, metavar="FILE", help="a target.toml")
    parser.add_argument("--variant", metavar="NAME", help="one of the target's variants")
    parser.add_argument("--size", choices=("quick", "full"), default="quick", help="whose declared limits count")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the upstreams' choices")
    parser.add_argument("--replicas", type=int, metavar="N", help="processes of the target; default: as its file says")
    parser.add_argument(
        "--set", action="append", default=[], metavar="ENV=VALUE", help="overrides a variable of the target"
    )
    parser.add_argument(
        "--upstreams-command",
        metavar="COMMAND",
        help="another program with the control API of the bundled upstreams, instead of them",
    )
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    target = read_target(options.target)
    target.variant(options.variant)
    variables = {}
    for setting in options.set:
        match = _SETTING.fullmatch(setting)
        if match is None or "\0" in setting:
            raise StackError(f"--set {setting!r}: expected ENV=VALUE, e.g. --set LOG_LEVEL=debug.", exit_code=_USAGE)
        variables[match[1]] = match[2]
    if variables and target.start is None:
        msg = f"--set has no effect: {options.target} has no [start], so the harness does not start this target."
        raise StackError(msg, exit_code=_USAGE)
    replicas = options.replicas if options.replicas is not None else target.start.replicas if target.start else 1
    if not 1 <= replicas <= MOST_REPLICAS:
        raise StackError(f"--replicas {replicas}: expected 1 to {MOST_REPLICAS}.", exit_code=_USAGE)
    if options.replicas is not None and target.start is None:
        msg = f"--replicas has no effect: {options.target} has no [start], so the harness does not start this target."
        raise StackError(msg, exit_code=_USAGE)
    settings = Settings(
        run=options.run_dir.absolute(),
        target=target,
        variant=options.variant,
        size=options.size,
        seed=options.seed,
        variables=variables,
        replicas=replicas,
    )
    if target.start is not None and "{" not in target.start.command[0]:
        problem = program_problem(target.start.command, settings.directory)
        if problem:
            raise StackError(f"{options.target}: start.command cannot be started: {problem}.", exit_code=_USAGE)
    if settings.directory is not None and not settings.directory.is_dir():
        msg = f"{options.target}: start.directory is {str(settings.directory)!r}: expected a directory that exists."
        raise StackError(msg, exit_code=_USAGE)
    if target.uses("redis", options.variant) and find_redis_server() is None:
        raise StackError(f"{options.target} asks for {{redis}}. {NO_SERVER}", exit_code=_USAGE)
    _check_writable(settings.run)
    return settings


def _check_writable(run: Path) -> None:
    probe = run / "scenarios" / f".writable-{os.getpid()}"
    try:
        writer = JsonLinesWriter(probe)
        writer.add({})
        writer.close()
        probe.unlink()
    except EvidenceError as error:
        raise StackError(str(error), exit_code=_USAGE) from error


def _check_standard_input() -> None:
    """Standard input is the string that ties the supervisor to who started it; a file or /dev/null cannot be that."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        mode = 0
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(0)):
        msg = "Standard input must be a pipe or a terminal: the supervisor stops when it ends, and a file has ended."
        raise StackError(msg, exit_code=_USAGE)


def _upstreams_command(options: argparse.Namespace, settings: Settings) -> list[str]:
    start = [sys.executable, "-m", "harness.upstreams"]
    if options.upstreams_command is not None:
        start = shlex.split(options.upstreams_command)
        problem = program_problem(start, None) if start else "it is empty"
        if problem:
            raise StackError(f"--upstreams-command cannot be started: {problem}.", exit_code=_USAGE)
    return [*start, "--port", "0", "--record", str(settings.run / "scenarios"), "--seed", str(settings.seed)]


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers: a signal here ends children first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(settings: Settings, upstreams_command: list[str]) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    household = Household()
    upstreams = Upstreams(household, upstreams_command)
    supervisor = Supervisor(settings, household, upstreams)
    try:
        _follow_standard_input(loop, stop)
        starting = loop.create_task(upstreams.start())
        await _either(starting, stop)
        if not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
            return 0
        starting.result()
        supervisor.watch()
        listener = socket.create_server(("127.0.0.1", 0))
        server = _Server(
            uvicorn.Config(
                application(supervisor, stop),
                lifespan="off",
                log_level="error",
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        serving = loop.create_task(server.serve(sockets=[listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"url": url, "upstreams": upstreams.control}), flush=True)
        await _either(serving, stop)
        closing = loop.create_task(supervisor.close())
        server.should_exit = True
        await asyncio.wait((serving, closing))
        closing.result()
    finally:
        await supervisor.close()
        household.close()
    return 0


async def _either(task: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Wait until a task has ended or the supervisor is to stop."""
    stopping = asyncio.get_running_loop().create_task(stop.wait())
    await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()


def _follow_standard_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def read() -> None:
        try:
            data = os.read(0, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            loop.remove_reader(0)
            stop.set()

    loop.add_reader(0, read)


if __name__ == "__main__":
    sys.exit(main())
