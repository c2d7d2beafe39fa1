"""Open-model load in Locust: the callers that scenario files subclass, and the plug-in that plays them.

Importing it imports Locust, which patches this process's sockets, and registers the plug-in with Locust's events.
"""

from harness.load import plugin as _plugin  # registers with Locust's events
from harness.load.callers import Attackers, Probes, RealUsers

__all__ = ["Attackers", "Probes", "RealUsers"]

del _plugin
