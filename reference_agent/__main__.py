"""How is the agent started? `python -m reference_agent --profile hardened --port 8000`; and a worker beside it, for
jobs: `python -m reference_agent worker --profile hardened`"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Mapping, Sequence

import uvicorn

from reference_agent.app import create_app
from reference_agent.compose import PROFILES, Composition, variants
from reference_agent.duty import Server
from reference_agent.settings import PART_PREFIX, BadSetting, known_variables, read_settings
from reference_agent.worker import for_worker, is_loopback, work

EXIT_USAGE = 2
_DESCRIPTION = """\
A chat agent built out of exchangeable parts.

  POST   /chat-agent         {user_id, message} -> audio/wav, the reply in X-GPT-Reply
  POST   /chat-agent/stream  the same, to read along: server-sent events (hardened)
  POST   /jobs               the same, answered later (hardened, with REDIS_URL and a worker)
  DELETE /users/{user_id}    everything about a user is deleted, upstream too (hardened)
  GET    /health, /status, /metrics, and /docs with an example of every answer

Told to end (SIGTERM, Ctrl-C) it finishes what is under way within AGENT_SHUTDOWN_S; a second signal waits for no turn.
Exit codes: 0, or 2 when a setting makes no sense."""
_SHUTDOWN_S = 3  # for what cannot be cancelled, where nothing is known of turns
_PORT = 8000


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Serve until told to stop.

    Returns:
        The exit code: 0, or 2 after one sentence on stderr when a setting makes no sense.
    """
    options = _parser().parse_args(arguments)
    try:
        settings, overrides = read_settings(
            os.environ if environ is None else environ, profile=options.profile, engine=options.engine
        )
        if options.what == "worker":
            listener = None if options.port is None else _bind(options.host, options.port)
            return work(Composition(for_worker(settings), overrides), options.turns_at_once, listener)
        composition = Composition(settings, overrides)
        if not composition.is_safe and not is_loopback(options.host):
            weak = next(part for part, variant in composition.chosen.items() if variant != "hardened")
            msg = (
                f"Refusing to listen on {options.host}: part {weak} is {composition.chosen[weak]}, which is vulnerable"
                " on purpose. Listen on 127.0.0.1, or use --profile hardened without overrides."
            )
            raise BadSetting(msg)
        app = create_app(composition)
        listener = _bind(options.host, _PORT if options.port is None else options.port)
    except BadSetting as bad:
        print(f"reference_agent: {bad}", file=sys.stderr)
        return EXIT_USAGE
    config = uvicorn.Config(
        app,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        ws="none",  # none is served, and to refuse one uvicorn writes down who asked for it, with the whole query
        proxy_headers=False,  # who calls through a proxy is found out by us, and only believed of proxies we know
        **{"access_log": False, **composition.get("logging").take_over()},
    )
    Server(config, composition.get("duty")).run(sockets=[listener])
    return 0


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as why:
        listener.close()
        msg = f"Cannot listen on {host}:{port} ({why}). Choose another port with --port, or stop what uses this one."
        raise BadSetting(msg) from None
    return listener


def _parser() -> argparse.ArgumentParser:
    settings = "\n".join(f"  {name:28} {line}" for name, line in known_variables().items())
    chosen = "\n".join(f"  {PART_PREFIX + part.upper():28} {' | '.join(names)}" for part, names in variants().items())
    parser = argparse.ArgumentParser(
        prog="python -m reference_agent",
        description=_DESCRIPTION,
        epilog=f"environment variables:\n{settings}\n\none part other than in the profile:\n{chosen}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=("serve", "worker"),
        default="serve",
        help="serve: answer requests (default); worker: play the jobs that such an agent has taken in",
    )
    parser.add_argument(
        "--profile",
        help=f"{' or '.join(PROFILES)} (default: AGENT_PROFILE, else documented); documented has every hole",
    )
    parser.add_argument("--engine", help="how the model is reached (default: AGENT_ENGINE, else the profile's)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument(
        "--port",
        type=int,
        help=f"port to listen on (default {_PORT}); of a worker: for /health, /status and /metrics (default: none)",
    )
    parser.add_argument(
        "--turns-at-once", type=_at_least_one, default=16, help="of a worker: jobs played at once (default %(default)s)"
    )
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main())
