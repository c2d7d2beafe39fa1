"""Where does a Locust process spend its CPU? Loaded beside a locustfile, it samples the stack per CPU-millisecond.

A signal of the CPU timer, not a tracer: gevent switches stacks under a tracer, and tracing would cost more than what it
measures. What C code costs is put down to the Python line that called it. Writes BENCH_SAMPLES when the process ends.
"""

import atexit
import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

_EVERY_S = 0.001
_OWN = (f"{os.sep}harness{os.sep}", f"{os.sep}tests{os.sep}bench{os.sep}")

_functions: Counter[tuple[str, str]] = Counter()
_lines: Counter[tuple[str, str, int]] = Counter()
_begin_s = float("inf")
_cpu_s = 0.0


def _sample(_number: int, frame: FrameType | None) -> None:
    if frame is None or time.monotonic() < _begin_s:
        return
    code = frame.f_code
    _functions[_short(code.co_filename), code.co_qualname] += 1
    # The innermost line of ours: what it calls outside of the harness is its own cost.
    ours: FrameType | None = frame
    while ours is not None and not any(part in ours.f_code.co_filename for part in _OWN):
        ours = ours.f_back
    if ours is not None:
        _lines[_short(ours.f_code.co_filename), ours.f_code.co_qualname, ours.f_lineno] += 1
    else:
        _lines[_short(code.co_filename), code.co_qualname, frame.f_lineno] += 1


def _short(path: str) -> str:
    return os.sep.join(Path(path).parts[-3:])


def _write() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    Path(os.environ["BENCH_SAMPLES"]).write_text(
        json.dumps(
            {
                "functions": [[*key, count] for key, count in _functions.most_common(60)],
                "lines": [[*key, count] for key, count in _lines.most_common(80)],
                "samples": sum(_functions.values()),
            }
        ),
        encoding="utf-8",
    )


if "BENCH_SAMPLES" in os.environ and threading.current_thread() is threading.main_thread():
    # From the steady phase on: start-up is none of a request's costs.
    _begin_s = time.monotonic() + float(os.environ.get("BENCH_SAMPLE_AFTER_S", "3"))
    signal.signal(signal.SIGPROF, _sample)
    signal.setitimer(signal.ITIMER_PROF, _EVERY_S, _EVERY_S)
    atexit.register(_write)
