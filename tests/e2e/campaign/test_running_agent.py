"""Does the hardened agent also hold where its owner has started it, and its upstreams' ledger joins in?"""

from __future__ import annotations

from typing import Any

import pytest

from harness.model import Verdict

pytestmark = pytest.mark.timeout(900)  # the first test that runs waits for all campaigns


def test_the_upstreams_of_a_running_agent_join_their_ledger(campaigns: dict[tuple[str, str], Any]) -> None:
    result, verdicts = campaigns["started by its owner", "hardened"]

    assert verdicts["characters_bounded"] is Verdict.PASS
    assert verdicts["target_survived"] is Verdict.INCONCLUSIVE  # nobody watches a process that somebody else started
    assert result.returncode == 3, result.stdout
