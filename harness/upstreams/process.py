"""How is the process of the upstreams started, and how does it end? Options in, one line on readiness out."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from harness.evidence import EvidenceError
from harness.faults import Fault, FaultError, parse
from harness.upstreams.epoch import EpochSettings
from harness.upstreams.served import PortInUseError
from harness.upstreams.server import Addresses, Server


class StartError(Exception):
    """The upstreams cannot be started; the message says why and what to do."""


def parse_faults(texts: tuple[str, ...]) -> tuple[Fault, ...]:
    """Return the faults that JSON texts describe.

    Raises:
        StartError: one is no JSON, or describes no fault.
    """
    faults = []
    for text in texts:
        try:
            faults.append(parse(json.loads(text)))
        except json.JSONDecodeError as error:
            msg = f'--fault {text!r} is no JSON ({error}); expected e.g. \'{{"fault": "hang", "upstream": "openai"}}\'.'
            raise StartError(msg) from error
        except FaultError as error:
            raise StartError(str(error)) from error
    return tuple(faults)


def serve(
    *,
    port: int,
    record: Path | None,
    settings: EpochSettings,
    faults: tuple[Fault, ...],
    ready: Callable[[Addresses], None],
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        port: of the control API; the upstreams' follow. 0: free ones.
        record: where the ledgers are written; None: memory only.
        settings: what the first epoch is begun with.
        faults: armed from the start.
        ready: is told the addresses as soon as every port answers.

    Raises:
        StartError: a port is taken, or the record cannot be written, or a fault is not for upstreams.
    """

    async def run() -> None:
        try:
            server = Server(port=port, record=record, settings=settings, faults=faults)
        except (PortInUseError, EvidenceError, FaultError) as error:
            raise StartError(str(error)) from error
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        await server.serve()
        ready(server.addresses)
        await ended.wait()
        server.close()

    try:
        import uvloop
    except ImportError:  # not on Windows
        asyncio.run(run())
    else:
        uvloop.run(run())


@click.command()
@click.option(
    "--port", default=0, show_default=True, type=click.IntRange(0, 65_500), help="Control port; 0: free ones."
)
@click.option("--record", type=click.Path(path_type=Path, file_okay=False), help="Directory for the ledgers.")
@click.option("--latency", default="fast", show_default=True, type=click.Choice(["fast", "documented", "realistic"]))
@click.option("--latency-scale", default=1.0, show_default=True, type=click.FloatRange(0), help="Multiplies latencies.")
@click.option("--seed", default=0, show_default=True, help="Seed of every random choice.")
@click.option("--fault", "faults", multiple=True, metavar="JSON", help="A fault that is armed from the start.")
@click.option("--emotion-labels", default="ja", show_default=True, type=click.Choice(["ja", "ko", "en"]))
@click.option("--api-key", "api_keys", multiple=True, help="A key that OpenAI accepts; none given: every key.")
def main(
    port: int,
    record: Path | None,
    latency: str,
    latency_scale: float,
    seed: int,
    faults: tuple[str, ...],
    emotion_labels: str,
    api_keys: tuple[str, ...],
) -> None:
    """Serve the stand-ins of an agent's upstreams on loopback until SIGTERM or Ctrl-C.

    Prints one JSON line as soon as every port answers.
    """
    settings = msgspec.convert(
        {
            "seed": seed,
            "latency": latency,
            "latency_scale": latency_scale,
            "emotion_labels": emotion_labels,
            "api_keys": api_keys,
        },
        EpochSettings,
    )

    def ready(addresses: Addresses) -> None:
        sys.stdout.write(msgspec.json.encode(addresses).decode() + "\n")
        sys.stdout.flush()

    try:
        serve(port=port, record=record, settings=settings, faults=parse_faults(faults), ready=ready)
    except StartError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
