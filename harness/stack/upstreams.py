"""The upstreams' process: how is it started, spoken to and ended?"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from harness.model import LogLine
from harness.stack.child import Child, how_it_ended
from harness.stack.errors import StackError
from harness.stack.household import Household
from harness.telemetry import ask

_READY_WITHIN_S = 20.0
_CONTROL_WITHIN_S = 20.0
_POLL_S = 0.01


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """What the upstreams say when they are ready."""

    control: str
    upstreams: dict[str, str]


class Upstreams:
    """The stand-ins, in one process of their own. `start` it first.

    Args:
        household: where it belongs.
        command: what starts it; it prints its `Addresses` as one JSON line when it is ready.
    """

    def __init__(self, household: Household, command: Sequence[str]) -> None:
        self._household = household
        self._command = list(command)
        self._child: Child | None = None
        self._addresses: asyncio.Future[str] | None = None
        self._last_said: deque[str] = deque(maxlen=3)
        self.control = ""
        self.urls: dict[str, str] = {}
        """Base URLs by the names of the upstreams."""

    def exit_code(self) -> int | None:
        """Return how the process ended, None while it runs."""
        return None if self._child is None else self._child.exit_code()

    async def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            StackError: it ended, said something else than its addresses, or said nothing in time.
        """
        self._addresses = asyncio.get_running_loop().create_future()
        try:
            self._child = self._household.start(self._command, os.environ)
        except OSError as error:
            msg = f"The upstreams cannot be started: {self._command[0]}: {error.strerror or error}."
            raise StackError(msg, exit_code=2) from error
        self._child.listen(self._said)
        line = await self._first_line(self._child, self._addresses)
        try:
            addresses = msgspec.json.decode(line, type=Addresses)
            if urlsplit(addresses.control).port is None:
                raise ValueError(addresses.control)
        except (msgspec.DecodeError, ValueError) as error:
            msg = f'The upstreams should print {{"control": URL, "upstreams": {{...}}}} when ready, but said {line!r}.'
            raise StackError(msg) from error
        self.control, self.urls = addresses.control, addresses.upstreams

    async def control_call(self, method: str, path: str, order: Mapping[str, Any] | None = None) -> None:
        """Make one call to the control API.

        Raises:
            StackError: the process is gone, does not answer, or says no; with its own reason.
        """
        self.check_alive()
        parts = urlsplit(self.control)
        body = b"" if order is None else json.dumps(order).encode()
        answer = await ask(
            parts.hostname or "127.0.0.1", parts.port or 80, path, within_s=_CONTROL_WITHIN_S, method=method, body=body
        )
        if answer.status is None or answer.status >= 300:
            said = answer.error or answer.body[:300].decode("utf-8", "replace")
            msg = f"The upstreams did not do {method} {path}: {said} (status {answer.status})."
            raise StackError(msg)

    def check_alive(self) -> None:
        """Raise StackError where the process has ended."""
        exit_code = self.exit_code()
        if exit_code is not None:
            said = f"; they last said: {self._last_said[-1]}" if self._last_said else ""
            msg = f"The upstreams' process has ended ({how_it_ended(exit_code)}){said}. Start the run again."
            raise StackError(msg)

    async def end(self) -> None:
        """End the process."""
        if self._child is not None:
            await self._child.end()

    def _said(self, line: LogLine) -> None:
        if line.stream == "stdout" and self._addresses is not None and not self._addresses.done():
            self._addresses.set_result(line.text)
            return
        if line.text.strip():
            self._last_said.append(line.text.strip())
        print(line.text, file=sys.stderr, flush=True)

    async def _first_line(self, child: Child, line: asyncio.Future[str]) -> str:
        loop = asyncio.get_running_loop()
        until = loop.time() + _READY_WITHIN_S
        while not line.done():
            exit_code = child.exit_code()
            if exit_code is not None:
                child.bury()
                if line.done():
                    break
                said = f": {self._last_said[-1]}" if self._last_said else ", saying nothing."
                msg = f"The upstreams could not be started ({how_it_ended(exit_code)}){said}"
                raise StackError(msg, exit_code=2 if exit_code == 2 else 4)
            if loop.time() >= until:
                msg = f"The upstreams were not ready within {_READY_WITHIN_S:g} s: is the machine overloaded?"
                raise StackError(msg)
            await asyncio.wait((line,), timeout=_POLL_S)
        return line.result()
