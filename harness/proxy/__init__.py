"""A TCP fault proxy in front of any host:port, for agents whose upstream address cannot be changed.

    async with FaultProxy("127.0.0.1:6379") as proxy:  # without asyncio: `with proxy_in_thread(...) as proxy`
        id_ = proxy.arm("latency", delay_s=0.3)
        ...  # the agent calls proxy.address
        proxy.lift(id_)

As a process: `python -m harness.proxy --listen PORT --upstream HOST:PORT`, told what to break over a control API as
that of the upstreams: GET and POST /_control/faults, DELETE /_control/faults/{id}, GET /_control/events.
"""

from harness.proxy.fault_proxy import Address, FaultProxy, ListenError, address
from harness.proxy.faults import LINE_FAULTS, Bandwidth, Blackhole, HalfOpen, Latency, LineFault, Reset
from harness.proxy.thread import ThreadedProxy, proxy_in_thread

__all__ = [
    "LINE_FAULTS",
    "Address",
    "Bandwidth",
    "Blackhole",
    "FaultProxy",
    "HalfOpen",
    "Latency",
    "LineFault",
    "ListenError",
    "Reset",
    "ThreadedProxy",
    "address",
    "proxy_in_thread",
]
