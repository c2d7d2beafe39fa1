"""Who is being answered: in which language, from where, and what time is it where they are?"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Language = Literal["ja", "ko", "en", "de", "fr", "es"]
LANGUAGES: tuple[Language, ...] = ("ja", "ko", "en", "de", "fr", "es")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Hints(NamedTuple):
    """What a request says of its caller beside the message; empty: nothing."""

    language: str = ""
    """What somebody chose; as in Accept-Language, or a code alone."""
    time_zone: str = ""
    """A name of the time-zone database, or an offset like +09:00."""
    address: str = ""
    """Where the caller is on the network; empty: not known, or on this machine."""
    by_unknown_proxy: bool = False
    """It says for whom it calls, and nobody has said that it is to be believed: all its callers have one address."""
    accepts: str = ""
    """What their program sends: Accept-Language."""


def hints_of(
    said: Mapping[str, Any], headers: Mapping[str, str], address: str = "", *, by_unknown_proxy: bool = False
) -> Hints:
    """Return what a request says of its caller.

    Args:
        said: the request's body. `language` and `timezone` (or `time_zone`), in it or in its `profile`, are what
            somebody chose, and go before everything else; headers are what a program sends.
        headers: Accept-Language, and X-Time-Zone (or X-Timezone); by names in lower case.
        address: the caller's, see `caller_address`.
        by_unknown_proxy: see `Hints`.
    """
    profile = said.get("profile")
    chosen = {**profile, **said} if isinstance(profile, dict) else said
    return Hints(
        _first(chosen.get("language")),
        _first(chosen.get("timezone"), chosen.get("time_zone"), headers.get("x-time-zone"), headers.get("x-timezone")),
        address,
        by_unknown_proxy,
        _first(headers.get("accept-language")),
    )


_HINT_CHARS = 250  # an Accept-Language that names twenty languages; a hint is kept with its job


def _first(*candidates: object) -> str:
    """Return the first that may mean something: text, of a sensible length, with nothing in it that has no shape."""
    for text in candidates:
        if isinstance(text, str) and len(text) <= _HINT_CHARS and (hint := text.strip()) and hint.isprintable():
            return hint
    return ""


_MOST_PROXIES = 10  # one behind the other; a longer list was made up by somebody


def caller_address(peer: str, forwarded_for: str, proxies: tuple[Network, ...]) -> str:
    """Return the network address of whoever calls.

    Args:
        peer: the other end of the connection.
        forwarded_for: the header X-Forwarded-For. Each proxy appends whom it serves, so that it is read from its end,
            and only for as long as those who wrote it are trusted: what stands before is what a caller made up.
        proxies: networks of the proxies that are trusted.

    Returns:
        The address (of IPv6 its network of 64 bits, which is what one line is given); empty where the call comes from
        this machine, or from a trusted proxy that does not say for whom: then it is nobody's in particular.
    """
    address = _address(peer)
    for written in reversed(forwarded_for.rsplit(",", _MOST_PROXIES)[-_MOST_PROXIES:] if forwarded_for else ()):
        if address is None or not _is_proxy(address, proxies):
            break
        if not written.strip():
            continue
        address = _address(written.strip())
    if address is None or _is_proxy(address, proxies):
        return ""
    return _line_of(address)


@functools.lru_cache(maxsize=1024)
def _line_of(address: Address) -> str:
    if address.is_loopback:
        return ""
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


def is_unknown_proxy(peer: str, forwarded_for: str, proxies: tuple[Network, ...]) -> bool:
    """Return whether somebody who is not believed says for whom they call; arguments as above."""
    if not forwarded_for:
        return False
    address = _address(peer)
    return address is not None and not _is_proxy(address, proxies)


def _address(written: str) -> Address | None:
    return _parsed(written) if len(written) <= _ADDRESS_CHARS else None


_ADDRESS_CHARS = 64  # 45 of the longest, brackets, a port; what is longer is nothing that anybody remembers


@functools.lru_cache(maxsize=1024)  # read with every request, twice where there is a proxy
def _parsed(written: str) -> Address | None:
    bare = written.removeprefix("[").partition("]")[0] if written.startswith("[") else written
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]  # some proxies add the port
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_proxy(address: Address, proxies: tuple[Network, ...]) -> bool:
    for network in proxies:  # noqa: SIM110 - a generator for any() is most of what this takes
        if address in network:
            return True
    return False


class Asking(NamedTuple):
    """What is known of somebody before anything is spent on them: enough for the words of a refusal."""

    language: str = ""
    """As in `Hints`."""
    text: object = ""
    """What they say, as it came."""
    user_id: object = ""
    """Who they say they are, as it came."""
    accepts: str = ""
    """As in `Hints`."""


ASKING: ContextVar[Asking] = ContextVar("asking", default=Asking())  # noqa: B039 - it is frozen
"""Whose request is being looked at."""


@dataclass(frozen=True)
class Caller:
    """The one who is being answered."""

    language: Language = "ja"
    time_zone: str = "Asia/Tokyo"


CALLER: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039 - it is frozen
"""The caller of the turn that is being played; for tools, which are many levels below the turn."""
