"""How does Locust come to the campaign? Its test start, its test stop and its exit are the campaign's."""

from __future__ import annotations

import functools
import logging
import os
import traceback
from typing import Any, Final

import gevent
from locust import argument_parser, events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from harness import verdict
from harness.evidence import EvidenceError
from harness.load.declared import ScenarioFileError
from harness.load.driver import JUDGING_WITHIN_S, Campaign, CampaignError, complain
from harness.load.ensemble import Ensemble
from harness.load.options import add_options
from harness.load.page import show_verdicts
from harness.load.player import Player
from harness.load.stage import StageError
from harness.target import TargetError

_LOG = logging.getLogger("harness")

_GLANCE_S: Final = 0.5
"""How often it is looked whether the command that started the campaign is still there."""

events.init_command_line_parser.add_listener(add_options)


@events.init.add_listener
def _install(environment: Environment, **_: Any) -> None:
    if not isinstance(environment.runner, MasterRunner):
        environment.harness_player = Player(environment)  # type: ignore[attr-defined]  # lives as long as Locust's
    if isinstance(environment.runner, WorkerRunner):
        # With every order to spawn users Locust asks for its default options, once for each option there is, and makes
        # its whole command line each time: a second of CPU in which nothing is sent and nothing is read.
        argument_parser.default_args_dict = functools.cache(argument_parser.default_args_dict)
        return
    # Until a campaign says otherwise: Locust itself would exit with 0 after a run that sent nothing.
    if environment.parsed_options is not None and environment.parsed_options.headless:
        environment.process_exit_code = verdict.EXIT_INCONCLUSIVE
    door = _Door(environment)
    environment.events.test_start.add_listener(door.on_test_start)
    environment.events.test_stop.add_listener(door.on_test_stop)
    environment.events.quitting.add_listener(door.on_quitting)


class _Door:
    """Joins Locust's test start, test stop and exit to campaigns: one for every test that is started."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._ensemble = Ensemble(environment)
        self._campaign: Campaign | None = None
        self._greenlet: gevent.Greenlet | None = None
        if environment.web_ui is not None:
            show_verdicts(environment.web_ui, lambda: self._campaign.rows() if self._campaign else [])

    def on_test_start(self, environment: Environment, **_: Any) -> None:
        try:
            self._campaign = Campaign(environment, self._ensemble)
        except (CampaignError, ScenarioFileError, TargetError, StageError, EvidenceError) as error:
            complain(error)
            environment.process_exit_code = error.exit_code if isinstance(error, StageError) else verdict.EXIT_USAGE
            gevent.spawn(self._leave)
            return
        self._greenlet = gevent.spawn(self._run, self._campaign)

    def on_test_stop(self, **_: Any) -> None:
        """The Stop button, `--run-time`, or the end of the campaign itself."""
        self._interrupt("the test was stopped before the campaign had ended")

    def on_quitting(self, **_: Any) -> None:
        """Ctrl-C, SIGTERM, or the end."""
        self._interrupt("interrupted")

    def _interrupt(self, reason: str) -> None:
        running = self._campaign
        if running is None or running.finished or gevent.getcurrent() is self._greenlet:
            return
        running.interrupt(reason)
        if self._greenlet is not None:
            self._greenlet.join(timeout=JUDGING_WITHIN_S)

    def _run(self, running: Campaign) -> None:
        watch = gevent.spawn(self._watch_parent, running)
        try:
            running.run()
        except Exception as error:  # a mistake of ours: shown whole, and never the reason why Locust runs on for ever
            _LOG.exception("The campaign broke")
            traceback.print_exc()
            complain(f"The campaign broke with {type(error).__name__}: {error}. This is a mistake of the harness.")
        finally:
            watch.kill()
            self._environment.process_exit_code = running.exit_code
            gevent.spawn(self._leave)

    def _watch_parent(self, running: Campaign) -> None:
        """End the campaign when the command that started it is gone: killed, it cannot say so itself."""
        options = self._environment.parsed_options
        while options is not None and options.parent and os.getppid() == options.parent:
            gevent.sleep(_GLANCE_S)
        if options is not None and options.parent:
            running.interrupt("the command that started the campaign was killed")

    def _leave(self) -> None:
        """End Locust where nobody watches its page; there, end only the test."""
        runner = self._environment.runner
        options = self._environment.parsed_options
        if runner is None or options is None:
            return
        if options.headless:
            runner.quit()
            return
        runner.stop()
        if options.autostart and options.autoquit != -1 and self._environment.web_ui is not None:
            gevent.sleep(options.autoquit)
            runner.quit()
            self._environment.web_ui.stop()
