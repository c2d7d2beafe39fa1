"""Load-test and chaos evaluation of LLM chat agents. What a scenario file imports, beside `harness.load`."""

from harness.declaration import check, fault
from harness.model import ConstantRate, Durations, Poisson, Scenario

__all__ = ["ConstantRate", "Durations", "Poisson", "Scenario", "check", "fault"]
