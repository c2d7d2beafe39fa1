"""What does a client library's exception mean: is the upstream at fault, did it act on the call, when to try again?"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import aiohttp
import httpx2
import openai

from reference_agent.errors import NotUnderstood

_NEVER_ARRIVED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@dataclass(frozen=True)
class Trouble:
    """An upstream that does not do its work."""

    reason: str
    never_arrived: bool
    """It is certain that the upstream did not act on the call."""
    worth_repeating: bool
    """The next attempt may do better."""
    retry_after_s: float | None = None
    upstream_is_down: bool = True
    """False where the upstream is well, and only asks for patience."""


def trouble_in(failure: BaseException) -> Trouble | None:
    """Return what is wrong with the upstream; None when it is not the upstream that is wrong.

    Args:
        failure: what a call through httpx2 or the openai client raised.
    """
    match failure:
        case openai.APIStatusError(status_code=401 | 403):
            return Trouble("our key is rejected", never_arrived=True, worth_repeating=False)
        case openai.APIStatusError(code="insufficient_quota"):
            # A 429 that no patience helps against: somebody has to pay first.
            return Trouble("quota exhausted", never_arrived=True, worth_repeating=False)
        case openai.APIStatusError(status_code=429):
            wait_s = _retry_after_s(failure.response.headers)
            return Trouble(
                "429", never_arrived=True, worth_repeating=True, retry_after_s=wait_s, upstream_is_down=False
            )
        case openai.APIStatusError(code="conversation_locked"):
            return Trouble(
                "conversation locked",
                never_arrived=True,
                worth_repeating=True,
                retry_after_s=0.3,
                upstream_is_down=False,
            )
        case openai.APIStatusError(status_code=status) if status >= 500:
            wait_s = _retry_after_s(failure.response.headers)
            return Trouble(str(status), never_arrived=False, worth_repeating=True, retry_after_s=wait_s)
        case openai.APIResponseValidationError() | NotUnderstood():
            return Trouble("answer not understood", never_arrived=False, worth_repeating=False)
        case openai.APIConnectionError():
            return Trouble("connection failed", _never_arrived(failure.__cause__), worth_repeating=True)
        case openai.APIStatusError():
            return None
        case openai.APIError():
            return Trouble("stream broke off", never_arrived=False, worth_repeating=True)
        case httpx2.HTTPStatusError(response=response):
            down = response.status_code >= 500 or response.status_code in (401, 403)
            repeat = response.status_code >= 500 or response.status_code == 429
            return Trouble(
                str(response.status_code),
                never_arrived=response.status_code < 500,
                worth_repeating=repeat,
                retry_after_s=_retry_after_s(response.headers) if repeat else None,
                upstream_is_down=down,
            )
        case httpx2.TransportError():
            return Trouble("connection failed", _never_arrived(failure), worth_repeating=True)
        case TimeoutError() | asyncio.TimeoutError():
            return Trouble("no answer in time", never_arrived=False, worth_repeating=True)
    return None


def _never_arrived(failure: BaseException | None) -> bool:
    """Return whether it is certain that the upstream has not seen the call.

    On aiohttp every connection that breaks is a ConnectTimeout, also one that breaks in the middle of an answer: which
    it was is in aiohttp's own exception, below.
    """
    if not isinstance(failure, _NEVER_ARRIVED):
        return False
    broken = failure.__cause__
    return not isinstance(broken, aiohttp.ClientConnectionError) or isinstance(broken, _NEVER_CONNECTED)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After; the header in milliseconds goes before the one in seconds, as in the SDK.

    A moment (RFC 9110 allows one) counts from the answer's own Date: our clock may differ from theirs.
    """
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        written = headers.get(name, "")
        try:
            seconds = float(written) * unit_s
        except ValueError:
            try:
                seconds = (
                    parsedate_to_datetime(written) - parsedate_to_datetime(headers.get("date", ""))
                ).total_seconds()
            except (ValueError, TypeError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
