"""What is an agent in a process of its own told of its upstreams, its home and its machine?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_OF_THE_MACHINE = ("PATH", "LANG", "PYTHONPATH")


def upstream_variables(upstreams: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that lead an agent to the served stand-ins, by the address of each."""
    addresses = {f"{name.upper()}_URL": url for name, url in upstreams.items() if name != "openai"}
    return {**addresses, "OPENAI_BASE_URL": upstreams["openai"], "OPENAI_API_KEY": "sk-test"}


def agent_environment(home: Path, upstreams: Mapping[str, str], **further: str) -> dict[str, str]:
    """Return all variables of a hardened agent that sees nothing of what else is set on this machine.

    Args:
        home: a directory of its own; its sessions are there.
        upstreams: the addresses of the served stand-ins.
        further: variables that come on top.
    """
    passed_on = {name: os.environ[name] for name in _OF_THE_MACHINE if name in os.environ}
    given = {"HOME": str(home), "AGENT_PROFILE": "hardened"}
    return {**passed_on, **upstream_variables(upstreams), **given, **further}
