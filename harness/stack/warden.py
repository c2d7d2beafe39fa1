"""What is left when the supervisor is gone? A process that waits for its end, then kills what it started.

Run as a script by `harness.stack.child`, with nothing imported but the standard library: it costs 8 MB and no CPU.

    warden.py MARKER SCRATCH      and on standard input one line for each process group: `+PGID` begins, `-PGID` ends

When standard input ends, the supervisor has ended, in whatever way: every process group that is still there is killed,
then (where there is /proc) every process whose environment carries MARKER, which also finds what made itself a session
of its own. Last it removes the directory SCRATCH.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time

_ROUNDS = 40
_ROUND_S = 0.05


def marked(marker: bytes) -> list[int]:
    """Return the processes whose environment holds `marker`, this one left out."""
    found = []
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as environment:
                if marker in environment.read().split(b"\0"):
                    found.append(int(name))
        except OSError:  # it has ended meanwhile, or is another user's
            continue
    return found


def _kill(pid: int, *, group: bool) -> bool:
    try:
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main(marker: str, scratch: str) -> None:
    """Wait for the end of standard input, then leave nothing behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        sign, group = line[:1], line[1:].strip()
        if group.isdigit():
            (groups.add if sign == "+" else groups.discard)(int(group))
    for group_id in groups:
        _kill(group_id, group=True)
    # What forks while it is being looked for is found in the next round.
    for _ in range(_ROUNDS):
        if not [pid for pid in marked(marker.encode()) if _kill(pid, group=False)]:
            break
        time.sleep(_ROUND_S)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
