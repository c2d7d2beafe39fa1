"""Load-test and chaos evaluation of LLM chat agents. What a scenario file imports, beside `harness.load`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.declaration import check, fault
    from harness.model import ConstantRate, Durations, Poisson, Scenario

__all__ = ["ConstantRate", "Durations", "Poisson", "Scenario", "check", "fault"]


def __getattr__(name: str) -> Any:
    # Looked up when it is asked for: every process of the product imports this package, and those that play no scenario
    # need none of it: the checks and what they import were a fifth of the start of the stand-ins (82 of 374 ms).
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module("harness.declaration" if name in ("check", "fault") else "harness.model"), name)
