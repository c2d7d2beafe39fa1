"""Does the hardened agent also hold where its owner has started it, and its upstreams' ledger joins in?"""

from __future__ import annotations

from typing import Any

from harness.model import Verdict


def test_the_upstreams_of_a_running_agent_join_their_ledger(place: Any, play_on_a_running_agent: Any) -> None:
    result, verdicts = play_on_a_running_agent(place, "hardened")

    assert verdicts["characters_bounded"] is Verdict.PASS
    assert verdicts["target_survived"] is Verdict.INCONCLUSIVE  # nobody watches a process that somebody else started
    assert result.returncode == 3, result.stdout
