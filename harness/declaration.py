"""How a scenario file writes down its faults and checks: by name, with their fields, refused at once when mistyped."""

from __future__ import annotations

from typing import Any, get_args

import harness.checks
import harness.faults
from harness.model import CheckPlan, FaultPlan, Phase


def fault(
    name: str,
    *,
    during: tuple[Phase, ...] = ("attack",),
    from_s: float = 0.0,
    for_s: float | None = None,
    must_fire: bool = True,
    because: str = "",
    full: dict[str, Any] | None = None,
    **fields: Any,
) -> FaultPlan:
    """Plan a fault.

    Args:
        name: the fault's name; `harness list --faults` shows them with their fields.
        during: the phases in which it is armed, neighbours in the order of play.
        from_s: seconds after the beginning of the first of these phases.
        for_s: seconds that it stays armed; None: to the end of the last of these phases.
        must_fire: False for a hazard that only lies in wait, and whose firing is itself the failure.
        because: why it is played like this.
        full: fields that are different at the documented size.
        fields: the fault's own fields, e.g. `upstream="openai"`.

    Returns:
        The plan, to be put into `Scenario(faults=...)`.

    Raises:
        ValueError: there is no such fault, it has no such field, or it could never fire; the message says what was
            expected.
    """
    spec = {"fault": name, **fields}
    times = {"from_s": from_s, "for_s": for_s}
    harness.faults.parse_timed(spec | times)
    if full:
        harness.faults.parse_timed(spec | full | times)
    _check_neighbours(during)
    return FaultPlan(
        spec=spec, full=full or {}, during=during, from_s=from_s, for_s=for_s, must_fire=must_fire, because=because
    )


def _check_neighbours(during: tuple[Phase, ...]) -> None:
    """Refuse phases that are none, or have others between them, in which the fault would be armed as well."""
    order = get_args(Phase)
    if isinstance(during, str) or not during or any(phase not in order for phase in during):
        msg = f'`during` is {during!r}, expected phases such as ("attack",): some of {", ".join(order)}.'
        raise ValueError(msg)
    at = sorted(order.index(phase) for phase in during)
    if at != list(range(at[0], at[0] + len(at))):
        msg = f"`during` is {during!r}, expected neighbours, each once, in the order of play: {', '.join(order)}."
        raise ValueError(msg)


def check(name: str, *, because: str, **limits: Any) -> CheckPlan:
    """Plan a check.

    Args:
        name: the check's name; `harness list --checks` shows them with their limits.
        because: why these limits and no others; shown beside the finding.
        limits: the check's limits. `"declared:NAME"` takes what the target declares of itself in its `target.toml`.

    Returns:
        The plan, to be put into `Scenario(checks=...)`.

    Raises:
        ValueError: there is no such check, or it has no such limit; the message names the nearest.
    """
    plan = CheckPlan(name=name, limits=limits, because=because)
    harness.checks.validate(plan)
    return plan
