"""Does the reference agent's target file say of every part what it is there for, in names that exist?"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import checks
from harness.target import read_target
from reference_agent.compose import ENGINES, SAFE_VARIANT, choose, variants
from reference_agent.settings import PART_PREFIX, BadSetting

ROOT = Path(__file__).resolve().parents[3]
TARGET = read_target(ROOT / "reference_agent" / "target.toml")


def weaker(part: str) -> set[str]:
    """Return the variants to which a part can be turned back alone; of two names for one class, the first."""
    found = set()
    seen = [variants()[part][SAFE_VARIANT]]
    for name, cls in variants()[part].items():
        if cls in seen:
            continue
        seen.append(cls)
        try:
            choose(SAFE_VARIANT, {part: name})
        except BadSetting:
            continue  # it does not go together with the other hardened parts
        found.add(name)
    return found


@pytest.mark.parametrize("part", variants())
def test_every_part_is_in_the_target_file_with_all_that_it_can_be_turned_back_to(part: str) -> None:
    assert part in TARGET.parts, f"add [parts.{part}] to reference_agent/target.toml"
    assert TARGET.parts[part].switch == f"{PART_PREFIX}{part.upper()}"
    assert set(TARGET.parts[part].weaker) == weaker(part)


def test_the_target_file_names_no_part_engine_scenario_or_check_that_there_is_not() -> None:
    assert set(TARGET.parts) == set(variants())
    assert TARGET.ablation is not None
    assert TARGET.ablation.engines == tuple(ENGINES)
    TARGET.check_names([path.stem for path in (ROOT / "scenarios").glob("*.py")], checks.catalog())
