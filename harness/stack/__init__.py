"""What stands around a run? The supervisor: a process of its own that starts, watches, breaks and ends the others.

`python -m harness.stack --run-dir DIR --target target.toml [--variant NAME] [--size quick|full] [--seed N]
[--replicas N] [--set ENV=VALUE ...]` prints one JSON line when it is ready, `{"url": ..., "upstreams": ...}`, and
serves on `url`:

    POST /scenario      {"name", "latency", "latency_scale"}: fresh upstreams, fresh target, a balancer before it
                        where it has several replicas, and an empty Redis where its command or environment names
                        {redis}; answers when all is ready
    POST /scenario/end  everything recorded so far is on disk
    POST /fault         {"fault": "kill" | "pause" | "resume" | "restart", "replica": 0} -> {"id"}; with
                        "process": "redis" or "balancer" instead of a replica it is done to that; {"fault": "latency",
                        "proxy": NAME, "delay_s": 1, "from_s": 0, "for_s": 5} and the like break a line
    DELETE /fault/ID    lifts it: a pause is resumed, a line mended
    GET  /status        what is running
    POST /shutdown      stops everything, itself last

It ends when its standard input does. What it started ends with it, however it ends: on Linux the kernel kills its
children (PR_SET_PDEATHSIG), and everywhere a warden process kills whatever those have left behind.

    supervisor   one scenario after another: fresh upstreams, fresh target, their records
    process      one process at one address: started, watched every 10 ms, broken, stopped
    replica      one process of the target, and its telemetry
    redis        a Redis for what the target shares between its replicas
    proxy        a fault proxy for a line of the target
    balancer     the one address before several replicas; round_robin: what its process does; framing: HTTP as far as
                 that needs it
    upstreams    the stand-ins' process and its control API
    records      what is written to the run directory
    child        how a process is started so that it cannot outlive the supervisor
    warden       kills what is left when the supervisor is gone
    api          the loopback API
    __main__     the command: arguments, signals, exit codes

Exit codes: 0 stopped in order, 2 a mistake in what it was given, 4 something that it needs does not work; then the
last line on standard error says what, in one sentence.
"""

from harness.stack.errors import StackError

__all__ = ["StackError"]
