"""How is the process of the upstreams started, and how does it end? Options in, one line on readiness out."""

from __future__ import annotations

import asyncio
import gc
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from harness.evidence import EvidenceError
from harness.faults import FaultError, TimedFault, parse_timed_json
from harness.upstreams.described import DescriptionError, read_description
from harness.upstreams.epoch import EpochSettings, Extras
from harness.upstreams.exchange import MARK_FORM
from harness.upstreams.latency import PROFILES
from harness.upstreams.prices import Prices, PricesError, read_prices
from harness.upstreams.script import ScriptError, read_script
from harness.upstreams.served import PortInUseError
from harness.upstreams.server import Addresses, Server

_PORT = click.IntRange(0, 65_500)


class StartError(Exception):
    """The upstreams cannot be started; the message says why and what to do."""


def parse_faults(texts: tuple[str, ...]) -> tuple[TimedFault, ...]:
    """Return the faults that JSON texts describe.

    Raises:
        StartError: one is no JSON, or describes no fault.
    """
    try:
        return tuple(parse_timed_json(text) for text in texts)
    except FaultError as error:
        msg = f"--fault: {error}"
        raise StartError(msg) from error


def serve(
    *,
    port: int,
    record: Path | None,
    settings: EpochSettings,
    extras: Extras | None = None,
    faults: tuple[TimedFault, ...] = (),
    ready: Callable[[Addresses], None],
) -> tuple[str, ...]:
    """Serve until SIGTERM or SIGINT.

    Args:
        port: of the control API; the upstreams' follow. 0: free ones.
        record: where the ledgers are written; None: memory only.
        settings: what the first epoch is begun with, and later ones as far as they say nothing else.
        extras: rules for the model, upstreams of one's own, prices.
        faults: armed from the start.
        ready: is told the addresses as soon as every port answers.

    Returns:
        The names of the faults that were in force or planned at the end and never fired.

    Raises:
        StartError: a port is taken, or the record cannot be written, or a fault is not for upstreams.
    """

    # Threads, runs and ledger live as long as their epoch: looking through them for garbage every 700 allocations, as
    # Python does, took a tenth of the time of a call.
    gc.set_threshold(50_000, 20, 50)

    async def run() -> tuple[str, ...]:
        try:
            server = Server(port=port, record=record, settings=settings, extras=extras, faults=faults)
        except (PortInUseError, EvidenceError, FaultError, DescriptionError) as error:
            raise StartError(str(error)) from error
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        await server.serve()
        ready(server.addresses)
        await ended.wait()
        known = (*server.epoch.faults.in_force, *server.epoch.faults.planned)
        server.close()
        return tuple(armed.fault.name for armed in known if not armed.fired)

    try:
        import uvloop
    except ImportError:  # not on Windows
        return asyncio.run(run())
    return uvloop.run(run())


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that both forms of it have."""
    number = click.IntRange(min=1)
    file = click.Path(path_type=Path, dir_okay=False)
    for option in reversed(
        (
            click.option(
                "--record",
                type=click.Path(path_type=Path, file_okay=False),
                help="Directory for ledgers, one for each epoch.",
            ),
            click.option(
                "--latency",
                default="fast",
                show_default=True,
                type=click.Choice(list(PROFILES)),
                help="How long answers take: milliseconds, as the upstreams are documented, or as the real ones.",
            ),
            click.option(
                "--latency-scale",
                default=1.0,
                show_default=True,
                type=click.FloatRange(0),
                help="Multiplies latencies.",
            ),
            click.option("--seed", default=0, show_default=True, help="Seed of every random choice."),
            click.option(
                "--fault",
                "faults",
                multiple=True,
                metavar="JSON",
                help="A fault that is armed from the start, as often as there are faults, e.g."
                ' \'{"fault": "hang", "upstream": "openai"}\'. `harness list --faults` shows them.',
            ),
            click.option(
                "--emotion-labels",
                default="ja",
                show_default=True,
                type=click.Choice(["ja", "ko", "en"]),
                help="In which language emotions are named.",
            ),
            click.option(
                "--api-key", "api_keys", multiple=True, help="A key that OpenAI accepts; none given: every key."
            ),
            click.option("--requests-per-minute", type=number, help="What OpenAI takes from each key. [default: all]"),
            click.option("--tokens-per-minute", type=number, help="The same, in tokens. [default: all]"),
            click.option(
                "--adopt-unknown-ids",
                is_flag=True,
                help="What nobody created comes to life when it is first used: assistants, threads and conversations"
                " new and empty; runs of a thread, responses (also as previous_response_id) and stored completions"
                " completed and empty. Messages, steps and items that nobody made are 404 as ever, and so is what was"
                " deleted.",
            ),
            click.option("--script", type=file, help="Rules for the model (TOML), before what it does by itself."),
            click.option("--upstream", "described", type=file, multiple=True, help="An upstream of your own (TOML)."),
            click.option("--prices", type=file, help="Prices (TOML) instead of the documented ones."),
        )
    ):
        command = option(command)
    return command


def _extras(script: Path | None, described: tuple[Path, ...], prices: Path | None) -> Extras:
    try:
        return Extras(
            rules=read_script(script) if script else (),
            described=tuple(read_description(path) for path in described),
            prices=read_prices(prices) if prices else Prices(),
        )
    except (ScriptError, DescriptionError, PricesError) as error:
        raise StartError(str(error)) from error


def _serve(
    ready: Callable[[Addresses], None],
    *,
    port: int,
    record: Path | None,
    faults: tuple[str, ...],
    script: Path | None,
    described: tuple[Path, ...],
    prices: Path | None,
    **settings: Any,
) -> tuple[str, ...]:
    try:
        return serve(
            port=port,
            record=record,
            settings=msgspec.convert(settings, EpochSettings),
            extras=_extras(script, described, prices),
            faults=parse_faults(faults),
            ready=ready,
        )
    except (StartError, msgspec.ValidationError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)


@click.command()
@click.option("--port", default=0, show_default=True, type=_PORT, help="Control port; the others follow. 0: free ones.")
@_options
def main(**options: Any) -> None:
    """Serve the stand-ins of an agent's upstreams on loopback until SIGTERM or Ctrl-C.

    Prints one JSON line as soon as every port answers.
    """

    def ready(addresses: Addresses) -> None:
        line = {"control": addresses.control, "upstreams": addresses.upstreams}
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        sys.stdout.flush()

    _serve(ready, **options)


@click.command(
    "upstreams",
    epilog=f"A mark in what a user says joins all calls that are made for it: {MARK_FORM}. The ledger is asked for it"
    " with GET /_control/ledger?mark=h1a2b3c4d, at the control port.",
)
@click.option(
    "--port", default=8100, show_default=True, type=_PORT, help="Control port; the others follow. 0: free ones."
)
@_options
def alone(**options: Any) -> None:
    """Serve the stand-ins alone, as the mock server of your agent's development, until Ctrl-C.

    Prints one line for each upstream, and the exports to paste.
    """

    def ready(addresses: Addresses) -> None:
        width = max(len(name) for name in addresses.upstreams)
        for name, url in addresses.upstreams.items():
            click.echo(f"{name:{width}}  {url}")
        click.echo(f"{'control':{width}}  {addresses.control}/_control")
        click.echo()
        for variable, value in addresses.exports.items():
            click.echo(f"export {variable}={value}")
        # Clients of OpenAI refuse to start without a key, though any is taken here unless --api-key says otherwise.
        keys: tuple[str, ...] = options["api_keys"]
        click.echo(f"export OPENAI_API_KEY={shlex.quote(keys[0]) if keys else 'any'}")
        click.echo("\nServing until Ctrl-C.")

    for name in _serve(ready, **options):
        click.echo(f"The fault {name} never fired.", err=True)
