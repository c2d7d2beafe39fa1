"""How is a fault proxy started, and how does it end? `python -m harness.proxy --listen PORT --upstream HOST:PORT`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable

import click
import msgspec

from harness.faults import FaultError, TimedFault, parse_timed_json
from harness.model import FaultEvent
from harness.proxy.control import ProxyControl
from harness.proxy.fault_proxy import Address, FaultProxy, ListenError, address
from harness.proxy.faults import LINE_FAULTS
from harness.upstreams.served import Port, PortInUseError


class Ready(msgspec.Struct, frozen=True):
    """Where everything is: what is printed on readiness."""

    listen: str
    upstream: str
    control: str


def _address(context: click.Context, parameter: click.Parameter, text: str) -> Address:
    try:
        return address(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _faults(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> list[TimedFault]:
    try:
        return [parse_timed_json(text, LINE_FAULTS) for text in texts]
    except FaultError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--listen", required=True, type=click.IntRange(0, 65535), help="Port on 127.0.0.1; 0: a free one.")
@click.option("--upstream", required=True, callback=_address, metavar="HOST:PORT", help="Where connections lead to.")
@click.option("--control", default=0, type=click.IntRange(0, 65535), help="Port of the control API; 0: a free one.")
@click.option("--fault", "faults", multiple=True, callback=_faults, metavar="JSON", help="Armed from the start.")
@click.option("--seed", default=0, show_default=True, help="Seed of every random choice.")
@click.option(
    "--name", default="", help="What its faults' ids begin with, e.g. where several proxies share a timeline."
)
@click.option("--events", is_flag=True, help="Print what becomes of the faults, one JSON line each.")
def main(
    listen: int, upstream: Address, control: int, faults: list[TimedFault], seed: int, name: str, events: bool
) -> None:
    """Carry TCP connections to an upstream, and break them as told, until SIGTERM or Ctrl-C.

    Prints one JSON line as soon as it listens. Faults: latency, bandwidth, reset, blackhole, half_open.
    """

    def said(line: object) -> None:
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        sys.stdout.flush()

    record: Callable[[FaultEvent], None] = said if events else lambda event: None

    async def run() -> None:
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        async with FaultProxy(upstream, port=listen, seed=seed, name=name, record=record) as proxy:
            port = Port(control, ProxyControl(proxy))
            await port.serve()
            said(Ready(proxy.address, str(upstream), f"http://127.0.0.1:{port.number}"))
            for timed in faults:
                proxy.arm_timed(timed)
            await ended.wait()
            port.end()

    try:
        try:
            import uvloop
        except ImportError:  # not on Windows
            asyncio.run(run())
        else:
            uvloop.run(run())
    except ListenError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    except PortInUseError as error:
        click.echo(str(error).replace("--port", "--control"), err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
