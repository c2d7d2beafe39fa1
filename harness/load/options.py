"""What can be said about a campaign on Locust's command line?"""

from __future__ import annotations

import argparse

from locust.argument_parser import LocustArgumentParser


def add_options(parser: LocustArgumentParser) -> None:
    """Add the harness's options to Locust's own."""
    group = parser.add_argument_group("harness", "How scenarios are played and judged")
    group.add_argument(
        "--upstreams",
        metavar="URL",
        default="",
        env_var="HARNESS_UPSTREAMS",
        help="control URL of the bundled upstreams that the target calls; joins their ledger to the evidence",
    )
    group.add_argument(
        "--target",
        metavar="FILE",
        default="",
        env_var="HARNESS_TARGET",
        help="target.toml that describes the target; one with [start] is started fresh for every scenario",
    )
    group.add_argument("--variant", default="", help="a variant that the target file names")
    group.add_argument(
        "--full",
        action="store_true",
        default=False,
        help="play the documented size (100,000 user ids) instead of the quick one",
    )
    group.add_argument(
        "--replicas",
        type=int,
        default=0,
        metavar="N",
        help="processes of the target that are started, behind a balancer; 0: as its file says",
    )
    group.add_argument("--pid", type=int, default=None, help="process id of a target that runs here already: watched")
    group.add_argument("--log-file", metavar="FILE", default=None, help="what a target that runs already logs to: read")
    group.add_argument(
        "--metrics-url", metavar="URL", default=None, help="Prometheus metrics of a target that runs already: read"
    )
    group.add_argument("--seed", type=int, default=1, help="one seed reproduces every choice of a run")
    group.add_argument("--runs", metavar="DIR", default="runs", help="where run directories are written")
    group.add_argument(
        "--deadline", type=float, default=0.0, help="seconds until a caller gives up; 0: the target's own"
    )
    # What `harness run` says beside these: where to record, and variables for the target.
    parser.add_argument("--run-dir", default="", include_in_web_ui=False, help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, default=0, include_in_web_ui=False, help=argparse.SUPPRESS)
    parser.add_argument("--set", action="append", default=[], include_in_web_ui=False, help=argparse.SUPPRESS)
